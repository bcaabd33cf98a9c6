"""Parts of splits: masks of test sets, their sizes and orders, and some of the users."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from halfstep._support.checks import check_choice
from halfstep.data import Interactions, Vocabulary
from halfstep.data.columns import as_timestamps
from halfstep.errors import DataError, ParameterError

Split = tuple[Interactions, Interactions]
Order = Literal["random", "time"]


def timestamps_of(data: Interactions) -> NDArray[Any]:
    """Return the timestamps; DataError if there are none."""
    if data.timestamps is None:
        raise DataError(
            "the interactions have no timestamps to split by: set timestamp=... to their column "
            "when creating the interactions, or use split_random"
        )
    return data.timestamps


def train_and_test(data: Interactions, is_test: NDArray[np.bool_], change: str) -> Split:
    """Return training and test sets; DataError if one is empty, with the parameters to change."""
    n_test = int(np.count_nonzero(is_test))
    if n_test in (0, len(data)):
        name = "test" if n_test == 0 else "training"
        raise DataError(
            f"the {name} set of the split has none of the {len(data):,} interactions: change {change}, or give more "
            "interactions"
        )
    return data.subset(~is_test), data.subset(is_test)


def mask_of(length: int, rows: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return a mask that is true for some rows."""
    mask = np.zeros(length, dtype=bool)
    mask[rows] = True
    return mask


def size_of_test_set(data: Interactions, test_fraction: Any) -> int:
    """Return the number of interactions of a test set."""
    return round(checked_fraction("test_fraction", test_fraction) * len(data))


def checked_fraction(name: str, fraction: Any) -> float:
    """Return a fraction; ParameterError if it is not between 0 and 1."""
    if not isinstance(fraction, float | int | np.floating) or not 0 < fraction < 1:
        raise ParameterError(f"{name}={fraction!r}: give a number above 0 and below 1")
    return float(fraction)


def share_of(counts: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    """Return a fraction of each count, rounded."""
    shares: NDArray[np.int64] = np.rint(fraction * counts).astype(np.int64)
    return shares


def order_of(data: Interactions, order: Order, rng: np.random.Generator) -> NDArray[Any]:
    """Return a sort key for each interaction; the last ones are in the test set."""
    check_choice("order", order, ("random", "time"))
    return timestamps_of(data) if order == "time" else rng.permutation(len(data))


def last_of_each(data: Interactions, sizes: NDArray[np.integer], keys: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of the last interactions of each user in the stable order of the keys."""
    order = np.lexsort((keys, data.user_positions))
    users = data.user_positions[order]
    is_last = np.arange(len(data)) >= np.cumsum(data.user_counts)[users] - sizes[users]
    return mask_of(len(data), order[is_last])


def with_some_users(data: Interactions, users: NDArray[np.bool_]) -> Interactions:
    """Return interactions with a vocabulary of some users, which must include all their users."""
    numbers = (np.cumsum(users) - 1).astype(np.int32)
    return replace(
        data, users=Vocabulary.of_distinct(data.users.ids[users]), user_positions=numbers[data.user_positions]
    )


def without_users(data: Interactions, positions: NDArray[np.integer]) -> Interactions:
    """Return interactions without the users at these positions; their ids are removed from the vocabulary."""
    is_kept = ~mask_of(data.n_users, positions)
    return with_some_users(data.subset(is_kept[data.user_positions]), is_kept)


def time_like(timestamps: NDArray[Any], at: Any) -> Any:
    """Convert `at` to the type of the timestamps; numbers and datetimes cannot be compared."""
    try:
        time = as_timestamps([at])
    except DataError:
        raise ParameterError(f"at={at!r}: give a time or a finite number") from None
    if (time.dtype.kind == "M") != (timestamps.dtype.kind == "M"):
        kind = "datetimes" if timestamps.dtype.kind == "M" else "numbers"
        raise ParameterError(f"at={at!r}, but the timestamps are {kind}: give a {kind.removesuffix('s')}")
    return time[0]
