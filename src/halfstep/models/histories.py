"""Histories of users that are folded in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from halfstep.data import Interactions, Vocabulary, as_histories
from halfstep.data.sparse import is_sparse
from halfstep.errors import DataError
from halfstep.models.factorization import Factorization

NO_INTERACTIONS = "this model was saved without its interactions: fit it again, or save it with its interactions"


def with_items_checked(items: Vocabulary, histories: Any, unknown_items: Literal["ignore", "raise"]) -> Interactions:
    """Return histories as for `fold_in`, after checking the number of columns, or the types of item ids."""
    if is_sparse(histories):
        columns = histories.shape[-1]
        if columns != len(items):
            raise DataError(
                f"the histories have {columns:,} columns, and the model has {len(items):,} items: rows are users, "
                "columns are items"
            )
        return Interactions.of_stored(histories, items=items)
    data = as_histories(histories)
    unknown: Literal["raise", "mark"] = "raise" if unknown_items == "raise" else "mark"
    items.positions(data.items.ids[data.item_counts > 0], unknown, name="item id")
    return data


def with_items_of(fitted: Factorization, histories: Interactions) -> Interactions:
    """Return histories with the items of a model and their titles, without unknown items."""
    return replace(
        histories.rebased(items=fitted.items),
        item_titles=fitted.titles,
        frame_kind=histories.frame_kind or fitted.frame_kind,
    )
