"""The data of the experiments: the write-up's splits, its starting points and its synthetic matrices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import halfstep as hs

N_TRAIN = 80_000
MIN_TRAIN_RATINGS = 10  # that a user of the test side has in training
LIKED_FROM = 4.0  # stars that count as +1
SCALE = (1.0, 5.0)  # of the ratings

# The write-up did not sort stably. Of the ratings of the boundary's instant, its order put this row of the file
# into training and that one to the test side, where a stable order has them the other way round.
SWAPPED_INTO_TRAINING, SWAPPED_INTO_TEST = 18_651, 1_257
INNER_TEST_FRACTION = 0.2  # as outside


@dataclass(frozen=True)
class Split:
    """One training side and two test sides, of ratings in the order of time.

    Attributes
    ----------
    train : Interactions
    test : Interactions
        Of users with some history; some of its items never occur in training.
    known : Interactions
        The part of `test` whose items occur in training.
    """

    train: hs.Interactions
    test: hs.Interactions
    known: hs.Interactions

    def signed(self) -> Split:
        """The same split with +1 for each rating that says "liked" and −1 for all others."""
        return Split(*(signed(side) for side in (self.train, self.test, self.known)))


def signed(data: hs.Interactions) -> hs.Interactions:
    """Replace stars by +1 for those that say "liked" and −1 for all others."""
    return data.with_values(np.where(data.values >= LIKED_FROM, 1.0, -1.0))


def write_up_split(ratings: hs.Interactions) -> Split:
    """Split MovieLens 100K as the write-up did: the first 80,000 by time, and its own order at the boundary."""
    if ratings.timestamps is None:
        raise hs.errors.DataError("the lab needs the ratings' timestamps: take hs.datasets.movielens_100k()")
    order = np.argsort(ratings.timestamps, kind="stable")
    train, test = order[:N_TRAIN].copy(), order[N_TRAIN:].copy()
    train[train == SWAPPED_INTO_TEST] = SWAPPED_INTO_TRAINING
    test[test == SWAPPED_INTO_TRAINING] = SWAPPED_INTO_TEST
    return _split(ratings.subset(train), ratings.subset(test))


def inner_split(train: hs.Interactions) -> Split:
    """Split the training side as the whole was split: for choosing without a look at the test side."""
    return _split(*hs.split_by_time(train, test_fraction=INNER_TEST_FRACTION))


def _split(train: hs.Interactions, later: hs.Interactions) -> Split:
    return Split(
        train,
        hs.keep_known(later, train, min_train_ratings=MIN_TRAIN_RATINGS),
        hs.keep_known(later, train, min_train_ratings=MIN_TRAIN_RATINGS, drop_unseen_items=True),
    )


@dataclass(frozen=True)
class Synthetic:
    """A matrix of zeros and ones, and factors to start from.

    Attributes
    ----------
    ones : Interactions
        The ones as observed cells; all rows and columns are in the vocabularies, in order.
    init : tuple of ndarray
        Users' and items' factors.
    """

    ones: hs.Interactions
    init: tuple[NDArray[np.floating], NDArray[np.floating]]


SYNTHETIC_SHAPE, SYNTHETIC_RANK, SHARE_OF_ZEROS = (50, 30), 10, 0.9
SEED = 42


def legacy_synthetic() -> Synthetic:
    """The matrix and the start of experiment A, one after the other from NumPy's legacy generator, in float64."""
    rng = np.random.RandomState(SEED)
    matrix = rng.choice([0, 1], SYNTHETIC_SHAPE, p=[SHARE_OF_ZEROS, 1 - SHARE_OF_ZEROS])
    n_users, n_items = SYNTHETIC_SHAPE
    return Synthetic(_ones_of(matrix), (rng.randn(n_users, SYNTHETIC_RANK), rng.randn(n_items, SYNTHETIC_RANK)))


def synthetic() -> Synthetic:
    """The matrix and the start of experiments B and C, each from a fresh generator with the same seed."""
    rng = np.random.default_rng(SEED)
    matrix = rng.choice([0, 1], SYNTHETIC_SHAPE, p=[SHARE_OF_ZEROS, 1 - SHARE_OF_ZEROS])
    return Synthetic(_ones_of(matrix), starting_factors(*SYNTHETIC_SHAPE, SYNTHETIC_RANK))


def starting_factors(n_users: int, n_items: int, rank: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The write-up's start: standard normal, users' factors before items', stored in float32."""
    rng = np.random.default_rng(SEED)
    users, items = (rng.normal(0.0, 1.0, (n, rank)).astype(np.float32) for n in (n_users, n_items))
    return users, items


def _ones_of(matrix: NDArray[np.integer]) -> hs.Interactions:
    from scipy.sparse import csr_array

    return hs.Interactions.from_sparse(csr_array(matrix.astype(np.float64)))
