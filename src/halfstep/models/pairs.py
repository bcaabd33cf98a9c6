"""Pairs of a user and an item."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from halfstep._support.checks import check_choice
from halfstep.data import Interactions
from halfstep.errors import DataError
from halfstep.models.factorization import Factorization


def positions_of_pairs(
    fitted: Factorization, users: ArrayLike | Interactions, items: ArrayLike | None, unknown: str
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the positions of the users and items of pairs, −1 for unknown ids; see `FactorModel.predict`."""
    missing = mark_or_raise(unknown)
    if isinstance(users, Interactions):
        if items is not None:
            raise DataError("items is given in addition to Interactions, which have their own items: omit it")
        pairs = users
        users, items = pairs.user_ids, pairs.item_ids
    elif items is None:
        raise DataError("items is missing: give as many items as users, or Interactions alone")
    user_positions = fitted.users.positions(users, missing, name="user id")
    item_positions = fitted.items.positions(items, missing, name="item id")
    if len(user_positions) != len(item_positions) and 1 not in (len(user_positions), len(item_positions)):
        raise DataError(
            f"users has {len(user_positions)} ids and items has {len(item_positions)}: "
            "give the same number of ids, or a single id for one of the two"
        )
    u, i = np.broadcast_arrays(user_positions, item_positions)
    return u, i


def mark_or_raise(unknown: str) -> Literal["mark", "raise"]:
    """Return how a `Vocabulary` handles unknown ids, from the parameter `unknown` of a model."""
    check_choice("unknown", unknown, ("baseline", "raise"))
    return "raise" if unknown == "raise" else "mark"
