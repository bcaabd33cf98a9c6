"""Published splits in folders, each with an inner split of its training data to tune on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import halfstep as hs
from benchmarks import ncf
from halfstep.evaluation.protocols import PROTOCOLS

INNER_FRACTION = 0.1  # of the interactions of each user
TEST_FRACTION = 0.2  # of a split by time; as in the lab
MIN_TRAIN_RATINGS = 10  # of a user that is tested in a split by time; as in the lab


@dataclass(frozen=True, eq=False)
class Phase:
    """Interactions to fit a model to, and others to score it on.

    Attributes
    ----------
    train, test : Interactions
    histories : Interactions, optional
        Of the users of the test set, if they are folded in.
    candidates : mapping from user id to item ids, optional
    """

    train: hs.Interactions
    test: hs.Interactions
    histories: hs.Interactions | None = None
    candidates: Mapping[Any, Sequence[Any]] | None = None

    def score(self, model: hs.FactorModel, protocol: str) -> dict[str, float]:
        """Return the metrics of a protocol for a model that is fitted to `train`."""
        if self.histories is not None:
            is_baseline = isinstance(model, hs.Popularity)
            model = model.of_users(self.histories) if is_baseline else model.fold_in(self.histories)
        found = hs.evaluate(
            model, self.test, protocol=protocol, candidates=self.candidates, baseline=None, resamples=1
        )
        return {row.label: row.value for row in found}


@dataclass(frozen=True, eq=False)
class PublishedSplit:
    """A published split.

    Attributes
    ----------
    name : str
        That of the folder.
    protocol : str
    inner, outer : Phase
        To tune on, and to measure on.
    about : str
        How the two are split, in a sentence.
    """

    name: str
    protocol: str
    inner: Phase
    outer: Phase
    about: str

    @property
    def metric(self) -> str:
        """The metric to tune for."""
        return PROTOCOLS[self.protocol].metrics[-1]

    def __str__(self) -> str:
        train = self.outer.train
        return (
            f"{len(train):,} training interactions of {np.count_nonzero(train.user_counts):,} users and "
            f"{np.count_nonzero(train.item_counts):,} items; {len(self.outer.test):,} test interactions"
        )


def read_split(folder: Path) -> PublishedSplit:
    """Return the split in a folder, which is detected from its files.

    Raises
    ------
    SystemExit
        If the folder has no known split.
    """
    for pattern, (_, read) in READERS.items():
        if any(folder.glob(pattern)):
            return read(folder)
    known = "; ".join(names for names, _ in READERS.values())
    raise SystemExit(f"{folder} has no known split: expected {known}")


def _adjacency_lists(folder: Path) -> PublishedSplit:
    train = hs.read_adjacency_lists(folder / "train.txt", duplicates="last")
    test = hs.read_adjacency_lists(folder / "test.txt", users=train.users, items=train.items, duplicates="last")
    inner = hs.split_fraction_per_user(train, INNER_FRACTION, random_state=0)
    about = f"To tune, a random {INNER_FRACTION:.0%} of the training interactions of each user are held out."
    return PublishedSplit(folder.resolve().name, "lightgcn", Phase(*inner), Phase(train, test), about)


def _held_out_users(folder: Path) -> PublishedSplit:
    names = ("train", "validation_tr", "validation_te", "test_tr", "test_te")
    read = {name: hs.read_interactions(folder / f"{name}.csv", user="uid", item="sid") for name in names}
    inner, outer = (
        Phase(read["train"], read[f"{side}_te"], histories=read[f"{side}_tr"]) for side in ("validation", "test")
    )
    about = "To tune, the validation users are scored. Users of both sets are folded in."
    return PublishedSplit(folder.resolve().name, "vae", inner, outer, about)


def _leave_one_out(folder: Path) -> PublishedSplit:
    protocol = ncf.load(folder)
    train, rng = protocol.train, np.random.default_rng(0)
    n_sampled = max(map(len, protocol.candidates.values())) - 1
    if train.timestamps is None:
        kept, held_out = _one_of_each(train, rng)
    else:
        kept, held_out = hs.split_leave_last_out(train)
    candidates = {}
    for user, item in zip(held_out.user_positions.tolist(), held_out.item_positions.tolist(), strict=True):
        begin, end = train.by_user.indptr[user : user + 2]
        unseen = np.setdiff1d(np.arange(train.n_items), train.by_user.indices[begin:end])
        sampled = rng.choice(unseen, min(n_sampled, len(unseen)), replace=False)
        candidates[train.users[user]] = train.items.ids[[*sampled, item]].tolist()
    about = (
        f"To tune, {'a random' if train.timestamps is None else 'the last'} training item of each user is ranked "
        f"among {n_sampled} random items without training interactions."
    )
    inner, outer = Phase(kept, held_out, candidates=candidates), Phase(*protocol[:2], candidates=protocol.candidates)
    return PublishedSplit(folder.resolve().name, "ncf", inner, outer, about)


def _one_of_each(train: hs.Interactions, rng: np.random.Generator) -> tuple[hs.Interactions, hs.Interactions]:
    """Hold out a random interaction of each user with several."""
    order = rng.permutation(np.flatnonzero(train.user_counts[train.user_positions] > 1))
    _, first = np.unique(train.user_positions[order], return_index=True)
    is_held_out = np.isin(np.arange(len(train)), order[first])
    return train.subset(~is_held_out), train.subset(is_held_out)


def _by_time(folder: Path) -> PublishedSplit:
    data = hs.read_interactions(folder / "u.data", user=0, item=1, value=None, timestamp=3, header=False)
    filters = {"min_train_ratings": MIN_TRAIN_RATINGS, "drop_unseen_items": True}
    train, test = hs.split_by_time(data, TEST_FRACTION, **filters)
    about = (
        f"The latest {TEST_FRACTION:.0%} of the ratings are the test set, without users with fewer than "
        f"{MIN_TRAIN_RATINGS} training ratings and items without any; ratings of any value are "
        f"interactions. To tune, the latest {TEST_FRACTION:.0%} of the training ratings are held out in the same way."
    )
    inner = hs.split_by_time(train, TEST_FRACTION, **filters)
    return PublishedSplit(folder.resolve().name, "lightgcn", Phase(*inner), Phase(train, test), about)


READERS: Mapping[str, tuple[str, Callable[[Path], PublishedSplit]]] = {
    "test.txt": ("LightGCN: train.txt, test.txt", _adjacency_lists),
    "*.test.negative": ("NCF: *.train.rating (or *.train.pairs.tsv), *.test.rating, *.test.negative", _leave_one_out),
    "validation_tr.csv": ("Mult-VAE: train.csv, validation_{tr,te}.csv, test_{tr,te}.csv", _held_out_users),
    "u.data": ("MovieLens 100K by time: u.data", _by_time),
}
