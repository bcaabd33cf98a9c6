"""The task of an evaluation: the users that are scored, and their relevant items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep._support.integer_sets import is_in
from halfstep.data import GrowableInteractions, Interactions, listed_for
from halfstep.errors import DataError, ParameterError
from halfstep.metrics.marks import self_information
from halfstep.models.factor_model import FactorModel
from halfstep.models.pretrained import PretrainedFactors

Candidates = Mapping[Any, Iterable[Any]]


@dataclass(frozen=True, eq=False)
class Task:
    """Users of a test set and their relevant items, by position; a row is a user of the test set.

    Attributes
    ----------
    users : ndarray of shape (n_rows,)
        Ids.
    is_cold : ndarray of shape (n_rows,)
        Whether the user has no training interactions.
    relevant : ndarray of shape (n_rows,)
        Number of relevant items.
    rows, items : ndarray of shape (n_relevant,)
        Row, ascending, and position in the catalog of the models of each relevant item; −1 if unknown.
    test : Interactions
        The test set, without ignored interactions.
    test_rows : ndarray of shape (n_test,)
        The row of each interaction of the test set.
    catalog : ndarray of shape (n_items,)
        Which items can be recommended.
    information : ndarray of shape (n_items,)
        Self-information of each item, in bits; NaN if unknown.
    exclude_seen, candidates
        Parameters of `recommend`.
    n_foreign : int
        Number of users in the vocabulary of the test set that are unknown to the models.
    n_repeats : int
        Number of test interactions that are in the training data, and ignored.
    unknown_items : float
        The proportion of cold-start items in the test set.
    """

    users: NDArray[Any]
    is_cold: NDArray[np.bool_]
    relevant: NDArray[np.int64]
    rows: NDArray[np.int64]
    items: NDArray[np.int64]
    test: Interactions
    test_rows: NDArray[np.int64]
    catalog: NDArray[np.bool_]
    information: NDArray[np.float64]
    exclude_seen: bool
    candidates: Candidates | None
    n_foreign: int
    n_repeats: int
    unknown_items: float

    @classmethod
    def of(
        cls,
        model: FactorModel,
        test: Interactions,
        exclude_seen: bool,
        candidates: Candidates | None,
        relevant_from: float | None,
    ) -> Task:
        if len(test) == 0:
            raise DataError("there is no data to score: the test set has no interactions")
        present, test_rows = np.unique(test.user_positions, return_inverse=True)
        users = test.users.ids[present]
        known_users, item_of = known_positions(model, test)
        relevant = np.ones(len(test), bool) if relevant_from is None else test.values >= relevant_from
        catalog = model.item_counts_ > 0
        repeated = np.zeros(len(test), bool)
        if candidates is not None:
            exclude_seen = False
            candidates, catalog = _check_candidates(candidates, model, test.subset(relevant))
        elif exclude_seen:
            repeated = seen(training_of(model), test)
            if repeated.all():
                raise DataError(
                    f"there is no data to score: all {len(test):,} interactions of the test set are in the training "
                    "data; give others, or set exclude_seen=False"
                )
        wanted = np.flatnonzero(relevant & ~repeated)
        wanted = wanted[np.argsort(test_rows[wanted], kind="stable")]
        rows = test_rows[wanted].astype(np.int64)
        at = known_users[present]
        is_cold = (at < 0) | (training_of(model).user_counts[at] == 0)
        of_items = item_of[test.item_counts > 0]
        unknown = (of_items < 0) | (model.item_counts_[of_items] == 0)
        return cls(
            users,
            is_cold,
            np.bincount(rows, minlength=len(users)).astype(np.int64),
            rows,
            item_of[test.item_positions[wanted]],
            test.subset(~repeated),
            test_rows[~repeated].astype(np.int64),
            catalog,
            _information_of(model),
            exclude_seen,
            candidates,
            int(np.count_nonzero(known_users < 0)),
            int(np.count_nonzero(repeated)),
            float(unknown.mean()),
        )


def training_of(model: FactorModel) -> Interactions:
    """Return the interactions that a model was fitted on."""
    if model.interactions_ is None:
        is_imported = isinstance(model, PretrainedFactors)
        remedy = (
            "create it with interactions=..." if is_imported else "fit it again, or save it with its interactions"
        )
        raise DataError(
            f"this {type(model).__name__} has no training interactions, so seen items and popularity are unknown: "
            f"{remedy}"
        )
    return model.interactions_


def training_of_items(model: FactorModel) -> Interactions | None:
    """Return the interactions that the items of a model were fitted on; None if unknown.

    It differs from `training_of` for models returned by `fold_in`, whose interactions are histories. For such a model
    from a file, it is unknown.
    """
    if not model._fitted.is_folded:
        return training_of(model)
    data = model._fitted.items_data
    return data.interactions if isinstance(data, GrowableInteractions) else data


def _information_of(model: FactorModel) -> NDArray[np.float64]:
    """Return the self-information of each item; NaN for a folded-in model from a file, whose training is unknown."""
    training = training_of_items(model)
    if training is None:
        return np.full(len(model.items_), np.nan)
    return self_information(training.item_counts, training.n_users)


def known_positions(model: FactorModel, test: Interactions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the model's positions of the users and of the items of a test set; −1 for an unknown id."""
    of_both = []
    for what, vocabulary, ids, counts in (
        ("user", model.users_, test.users.ids, test.user_counts),
        ("item", model.items_, test.items.ids, test.item_counts),
    ):
        positions = vocabulary.positions(ids, "mark", name=f"{what} id").astype(np.int64)
        if (positions[counts > 0] < 0).all():
            unknown, known = ids[counts > 0].tolist()[0], vocabulary[0]
            raise DataError(
                f"no {what} of the test set is known to the model: the test set has {what} ids such as {unknown!r}, "
                f"but the model has {what} ids such as {known!r}; use the ids of the training data"
            )
        of_both.append(positions)
    return of_both[0], of_both[1]


def seen(training: Interactions, test: Interactions) -> NDArray[np.bool_]:
    """Return a mask of the interactions whose user and item interact in the training data, by id."""
    users = training.users.shared(test.users).astype(np.int64)[test.user_positions]
    items = training.items.shared(test.items).astype(np.int64)[test.item_positions]
    cells = training.user_positions.astype(np.int64) * training.n_items + training.item_positions
    return is_in(users * training.n_items + items, cells) & (users >= 0) & (items >= 0)


def _check_candidates(
    candidates: Any, model: FactorModel, relevant: Interactions
) -> tuple[Candidates, NDArray[np.bool_]]:
    """Check that candidates include all relevant items; return them by user id, and a mask of all candidates.

    They are returned as arrays, because iterators can be read only once.
    """
    if not isinstance(candidates, Mapping):
        raise ParameterError(
            f"candidates is of type {type(candidates).__name__}: give a mapping from user id to item ids"
        )
    candidates = model.users_.keyed(candidates, name="user id in candidates")
    is_candidate = np.zeros(len(model.items_), bool)
    by_user: dict[Any, set[Any]] = {}
    lists: dict[Any, NDArray[Any]] = {}
    for user, item in zip(relevant.user_ids.tolist(), relevant.item_ids.tolist(), strict=True):
        if user not in by_user:
            listed = listed_for(candidates, user, "candidates")
            ids, positions = model.items_.look_up(listed, "mark", name="item id in candidates")
            is_candidate[positions[positions >= 0]] = True
            by_user[user], lists[user] = set(ids.tolist()), ids
        if item not in by_user[user]:
            raise DataError(
                f"the relevant item {item!r} of user {user!r} is not among the user's "
                f"{len(by_user[user]):,} candidates: add it, or drop it from the test set"
            )
    return lists, is_candidate
