"""Interactions without some users."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from halfstep.data.interactions import Interactions
from halfstep.data.vocabulary import Vocabulary


def without_users(data: Interactions, positions: NDArray[np.integer]) -> Interactions:
    """Return interactions without the users at these positions; their ids are removed from the vocabulary."""
    is_kept = np.ones(data.n_users, bool)
    is_kept[positions] = False
    renumbered = (np.cumsum(is_kept) - 1).astype(np.int32)
    kept = data.subset(is_kept[data.user_positions])
    users = Vocabulary.of_distinct(data.users.ids[is_kept])
    return replace(kept, users=users, user_positions=renumbered[kept.user_positions])
