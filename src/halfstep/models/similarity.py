"""Rows of factors that are closest to given rows."""

from __future__ import annotations

from typing import Literal, NamedTuple
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from halfstep.data import IndexLists
from halfstep.solver.top_n import Ranked, best_columns

Floats = NDArray[np.floating]


class UnitRows(NamedTuple):
    """Factors whose rows have length 1.

    Attributes
    ----------
    rows : ndarray of shape (n_rows, rank)
        Zero if the factors are zero.
    excluded : ndarray of shape (n_rows,), float64
        −∞ if the factors are zero, else 0: added to scores.
    """

    rows: Floats
    excluded: NDArray[np.float64]

    @classmethod
    def of(cls, F: Floats) -> UnitRows:
        """Divide each row by its length."""
        lengths = np.linalg.norm(F.astype(np.float64), axis=1)
        rows = (F / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(F.dtype)
        return cls(rows, np.where(lengths > 0, 0.0, -np.inf))


class UnitFactors:
    """The factors of both sides of a model with rows of length 1, computed once for each array.

    Arrays are compared by identity and held by weak references. Rows of writable arrays are normalized in each call.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[ref[Floats], UnitRows]] = {}

    def of(self, side: Literal["user", "item"], F: Floats) -> UnitRows:
        """Return the factors of a side with rows of length 1."""
        known = self._known.get(side)
        if known is not None and known[0]() is F:
            return known[1]
        unit = UnitRows.of(F)
        if not F.flags.writeable:
            self._known[side] = ref(F), unit
        return unit


def most_similar(
    F: Floats, unit: UnitRows, rows: NDArray[np.int32], n: int, metric: Literal["cosine", "dot"], threads: int | None
) -> Ranked:
    """Rank all rows of F by their inner product with given rows, excluding each row itself and zero rows.

    Parameters
    ----------
    F : ndarray of shape (n_rows, rank)
    unit : UnitRows
        The rows of F with length 1.
    n : int
        Maximum number of rows in each list.
    metric : {"cosine", "dot"}
    threads
        As in `best_columns`.
    """
    factors = unit.rows if metric == "cosine" else F
    itself = IndexLists(np.arange(len(rows) + 1, dtype=np.int64), rows)
    positions, scores = best_columns(
        factors[rows], factors, unit.excluded, min(n, len(F)), skip=itself, threads=threads
    )
    is_zero = unit.excluded[rows] != 0  # the similarity to such a row is not defined
    positions[is_zero], scores[is_zero] = -1, np.nan
    return positions, scores
