"""The data of the experiments: the splits, initial factors and synthetic matrices of the write-up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import halfstep as hs

N_TRAIN = 80_000
MIN_TRAIN_RATINGS = 10  # of each user in the test set
LIKED_FROM = 4.0  # the lowest rating that becomes +1
SCALE = (1.0, 5.0)  # of the ratings

# The write-up did not use a stable sort: of the ratings with the timestamp of the boundary, it has the first of these
# rows in the training set and the second in the test set; a stable sort has the opposite.
SWAPPED_INTO_TRAINING, SWAPPED_INTO_TEST = 18_651, 1_257
INNER_TEST_FRACTION = 0.2  # as in the outer split


@dataclass(frozen=True)
class Split:
    """A training set and two test sets, split by time.

    Attributes
    ----------
    train : Interactions
    test : Interactions
        Ratings of users with a minimum number of training ratings, including those of unseen items.
    known : Interactions
        The part of `test` whose items occur in training.
    """

    train: hs.Interactions
    test: hs.Interactions
    known: hs.Interactions

    def signed(self) -> Split:
        """The same split with +1 for ratings of at least 4 stars, and −1 for all others."""
        return Split(*(signed(side) for side in (self.train, self.test, self.known)))


def signed(data: hs.Interactions) -> hs.Interactions:
    """Replace ratings of at least 4 stars by +1, and all others by −1."""
    return data.with_values(np.where(data.values >= LIKED_FROM, 1.0, -1.0))


def write_up_split(ratings: hs.Interactions) -> Split:
    """Split MovieLens 100K as the write-up did: the first 80,000 by time, in its order at the boundary."""
    if ratings.timestamps is None:
        raise hs.errors.DataError("the lab requires timestamps: use hs.datasets.movielens_100k()")
    order = np.argsort(ratings.timestamps, kind="stable")
    train, test = order[:N_TRAIN].copy(), order[N_TRAIN:].copy()
    train[train == SWAPPED_INTO_TEST] = SWAPPED_INTO_TRAINING
    test[test == SWAPPED_INTO_TRAINING] = SWAPPED_INTO_TEST
    return _split(ratings.subset(train), ratings.subset(test))


def inner_split(train: hs.Interactions) -> Split:
    """Split a training set by time, for the choice of hyperparameters."""
    return _split(*hs.split_by_time(train, test_fraction=INNER_TEST_FRACTION))


def _split(train: hs.Interactions, later: hs.Interactions) -> Split:
    return Split(
        train,
        hs.keep_known(later, train, min_train_ratings=MIN_TRAIN_RATINGS),
        hs.keep_known(later, train, min_train_ratings=MIN_TRAIN_RATINGS, drop_unseen_items=True),
    )


@dataclass(frozen=True)
class Synthetic:
    """A matrix of zeros and ones, and initial factors.

    Attributes
    ----------
    ones : Interactions
        The ones as observed cells; all rows and columns are in the vocabularies, in order.
    init : tuple of ndarray
        Factors of users and of items.
    """

    ones: hs.Interactions
    init: tuple[NDArray[np.floating], NDArray[np.floating]]


SYNTHETIC_SHAPE, SYNTHETIC_RANK, FRACTION_OF_ZEROS = (50, 30), 10, 0.9
SEED = 42


def legacy_synthetic() -> Synthetic:
    """Return the matrix and the initial factors of experiment A, both from one legacy generator of NumPy."""
    rng = np.random.RandomState(SEED)
    matrix = rng.choice([0, 1], SYNTHETIC_SHAPE, p=[FRACTION_OF_ZEROS, 1 - FRACTION_OF_ZEROS])
    n_users, n_items = SYNTHETIC_SHAPE
    return Synthetic(_ones_of(matrix), (rng.randn(n_users, SYNTHETIC_RANK), rng.randn(n_items, SYNTHETIC_RANK)))


def synthetic() -> Synthetic:
    """Return the matrix and the initial factors of experiments B and C, from two generators with the same seed."""
    rng = np.random.default_rng(SEED)
    matrix = rng.choice([0, 1], SYNTHETIC_SHAPE, p=[FRACTION_OF_ZEROS, 1 - FRACTION_OF_ZEROS])
    return Synthetic(_ones_of(matrix), initial_factors(*SYNTHETIC_SHAPE, SYNTHETIC_RANK))


def initial_factors(n_users: int, n_items: int, rank: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the initial factors of the write-up: standard normal, users before items, in float32."""
    rng = np.random.default_rng(SEED)
    users, items = (rng.normal(0.0, 1.0, (n, rank)).astype(np.float32) for n in (n_users, n_items))
    return users, items


def _ones_of(matrix: NDArray[np.integer]) -> hs.Interactions:
    from scipy.sparse import csr_array

    return hs.Interactions.from_sparse(csr_array(matrix.astype(np.float64)))
