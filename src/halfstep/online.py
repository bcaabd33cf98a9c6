"""A model that is kept current: new interactions come, and the rows that they touch are solved again.

An update is two half-steps for the touched rows, users then items, with what all rows share kept up to date:

    H_I = Σ_i m_i q_i q_iᵀ      H_U = Σ_u s_u p_u p_uᵀ      Σ_i m_i      Σ_u s_u

change by m_i' q_i' q_i'ᵀ − m_i q_i q_iᵀ where a row or its popularity does (He et al. 2016, §4.3). Popularity weights
of missing cells are kept before they are scaled to their sum, so that one more interaction changes one of them and
the scale, not all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from halfstep.errors import DataError, NumericalError, ParameterError
from halfstep.interactions import Growing, Interactions, Ledger
from halfstep.objective import Objective
from halfstep.rows import gram, solve_rows
from halfstep.sides import Regularization, Side
from halfstep.weights import Cells, missing_popularity

Floats = NDArray[np.float64]

DIGITS_LEFT = 1e-6  # of a sum that is kept, relative to what was added to it or taken from it


class OnlineSide:
    """The factors of users or of items, and what the other side's systems take from all of them.

    Attributes
    ----------
    factors, biases : Growing
    missing : Growing or None
        s, or m before it is scaled; None where missing cells do not count.
    total : float
        The sum of `missing`.
    """

    def __init__(self, factors: NDArray[np.floating], biases: NDArray[np.floating]) -> None:
        self.factors, self.biases = Growing(factors), Growing(biases)
        self.missing: Growing | None = None
        self.total = 0.0
        self._gram: Floats | None = None

    def grow(self, length: int) -> NDArray[np.intp]:
        """Append rows, whose factors are 0 and whose missing cells weigh nothing; return which these are."""
        added = np.arange(len(self.factors.array), length)
        for array in filter(None, (self.factors, self.biases, self.missing)):
            array.grow(length)
        return added

    def set_missing(self, missing: Floats) -> None:
        """Replace all of `missing`."""
        self.missing, self.total, self._gram = Growing(missing), float(missing.sum()), None

    def change_missing(self, rows: NDArray[np.integer], missing: Floats) -> None:
        """Replace some of `missing`."""
        assert self.missing is not None
        H = self.gram
        change = missing - self.missing.array[rows]
        f = self.factors.array[rows].astype(np.float64)
        self._gram = None  # whatever happens between here and the last line, it is not taken for true
        self.missing.array[rows] = missing
        self.total += float(change.sum())
        self._gram = _changed(H, (f * change[:, None]).T @ f)

    def put(self, rows: NDArray[np.integer], factors: NDArray[np.floating], biases: NDArray[np.floating]) -> None:
        """Replace some rows."""
        H = None
        if self.missing is not None:
            weights = self.missing.array[rows][:, None]
            before, after = (f.astype(np.float64) for f in (self.factors.array[rows], factors))
            with np.errstate(over="ignore", invalid="ignore"):
                H = _changed(self.gram, (after * weights).T @ after - (before * weights).T @ before)
        self._gram = None
        self.factors.array[rows] = factors
        self.biases.array[rows] = biases
        self._gram = H

    @property
    def gram(self) -> Floats:
        """Σ missing · f fᵀ over all rows."""
        if self._gram is None:
            assert self.missing is not None
            self._gram = gram(self.missing.array, self.factors.array)
        return self._gram


class Online:
    """What it takes to update a model, and the model's arrays as they grow.

    Attributes
    ----------
    users, items : OnlineSide
    ledger : Ledger
    scale : float
        What s_u · m_i is multiplied by.
    sharers : WeakSet
        Models that share the items' arrays, and have to part from them before these are written to.
    """

    def __init__(
        self,
        ledger: Ledger,
        users: OnlineSide,
        items: OnlineSide,
        *,
        objective: Objective,
        regularization: Regularization,
        mean: float,
        rank: int,
    ) -> None:
        self.ledger, self.users, self.items = ledger, users, items
        self.sharers: WeakSet[Any] = WeakSet()
        self._objective, self._regularization, self._mean = objective, regularization, mean
        self._rank = rank
        self._weigh_all_missing()

    def update(
        self,
        new: Interactions,
        *,
        duplicates: Literal["last", "sum", "error"],
        update_items: bool,
        threads: int | None,
    ) -> None:
        """Enter new interactions and solve the rows that they touch.

        Raises
        ------
        DataError
            If `Ledger.add` or the objective refuses them; then nothing has changed.
        NumericalError
            If a row's system is not positive definite. The interactions are entered then, the row stays as it was.
        """
        if len(new) == 0:
            return
        positions = self.ledger.add(new, duplicates)
        users, items = (np.unique(side) for side in positions)
        try:
            of_users, of_items = self._told("user", users), self._told("item", items)
        except (DataError, ParameterError):  # the objective has no weight for them
            self.ledger.undo()
            raise
        added = self.users.grow(len(self.ledger.users)), self.items.grow(len(self.ledger.items))
        self._weigh_missing(added, items)
        self._solve(of_users, threads)
        if update_items:
            self._solve(of_items, threads)

    def gram_of_items(self, m: Floats) -> Floats:
        """G = Σ_i m_i q_i q_iᵀ for weights m in proportion to those that are kept here."""
        return self.items.gram * (float(m.sum()) / self.items.total)

    def _weigh_all_missing(self) -> None:
        weight = getattr(self._objective, "missing_weight", None)
        counts = self.ledger.item_counts.array
        self._shares: Callable[[NDArray[np.int64]], Floats] | None = None
        self._is_constant, self.scale = False, 1.0
        if isinstance(weight, missing_popularity):
            self._shares, self._c0 = weight.shares, weight.c0
            self.users.set_missing(np.ones(len(self.users.factors.array)))
            self.items.set_missing(weight.shares(counts))
            self.scale = weight.c0 / self.items.total
        elif isinstance(weight, int | float):
            self._is_constant = True
            if weight > 0:
                self.users.set_missing(np.ones(len(self.users.factors.array)))
                self.items.set_missing(np.ones(len(self.items.factors.array)))
                self.scale = float(weight)
        else:
            self._ask_for_missing()

    def _ask_for_missing(self) -> None:
        """Ask the objective for all weights of missing cells, which may have changed in any way."""
        nothing = np.empty(0)
        none = np.empty(0, np.int32)
        counts = self.ledger.user_counts.array, self.ledger.item_counts.array
        missing = self._objective.missing(Cells(none, none, nothing, nothing, *counts))
        if missing is not None:
            self.users.set_missing(missing[0])
            self.items.set_missing(missing[1])

    def _weigh_missing(
        self, added: tuple[NDArray[np.integer], NDArray[np.integer]], items: NDArray[np.integer]
    ) -> None:
        """Bring the weights of missing cells up to date: users and items were added, some items' counts changed."""
        if self._shares is None and not self._is_constant:
            self._ask_for_missing()
        elif self.users.missing is not None:
            self.users.change_missing(added[0], np.ones(len(added[0])))
            if self._shares is None:
                self.items.change_missing(added[1], np.ones(len(added[1])))
            else:
                self.items.change_missing(items, self._shares(self.ledger.item_counts.array[items]))
                self.scale = self._c0 / self.items.total

    def _told(self, what: Literal["user", "item"], rows: NDArray[np.integer]) -> _Rows:
        """Ask the objective about all that some users or items have."""
        ledger, of_users = self.ledger, what == "user"
        entries = [(ledger.user_row if of_users else ledger.item_row)(row) for row in rows.tolist()]
        lengths = np.array([len(each.indices) for each in entries])
        indices, values, weights = (np.concatenate(column) for column in zip(*entries, strict=True))
        own = np.repeat(rows, lengths)
        cells = Cells(
            users=own if of_users else indices,
            items=indices if of_users else own,
            values=values,
            weights=weights if ledger.has_weights else None,
            user_counts=ledger.user_counts.array,
            item_counts=ledger.item_counts.array,
        )
        targets, observed = self._objective.of_cells(
            cells, lambda n: (ledger.users[cells.users[n]], ledger.items[cells.items[n]])
        )
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        counted = lengths.astype(np.float64)
        if self._regularization.counts == "positive":
            counted = np.add.reduceat((values > 0).astype(np.float64), indptr[:-1])
        return _Rows(what, rows, indptr, indices, targets - self._mean, np.array(observed), counted)

    def _solve(self, told: _Rows, threads: int | None) -> None:
        """Solve some users while the items are held fixed, or the reverse."""
        solved, fixed = self.users, self.items
        strength, ids = self._regularization.users, self.ledger.users
        if told.what == "item":
            solved, fixed = fixed, solved
            strength, ids = self._regularization.items, self.ledger.items
        nothing = np.empty(0)
        s = m = G = None
        if solved.missing is not None and fixed.missing is not None:
            s, m, G = self.scale * solved.missing.array[told.rows], fixed.missing.array, fixed.gram
        ridge = self._regularization.of_rows(strength, told.counted, None if s is None else s * fixed.total)
        side = Side(
            indptr=told.indptr,
            indices=told.indices,
            targets=told.targets,
            weights=told.weights,
            row_missing=nothing if s is None else s,
            column_missing=nothing if m is None else m,
            regularization=ridge,
            bias_ratio=float(self._regularization.bias_ratio),
            rank=self._rank,
            biases=bool(self._objective.biases),
            gram=None if G is None else G,
        )
        try:
            solution = solve_rows(side, fixed.factors.array, fixed.biases.array, threads=threads)
        except NumericalError as error:
            if error.row is None:
                raise
            raise NumericalError(f"{told.what} {ids[int(told.rows[error.row])]!r}: {error.message}") from error
        solved.put(told.rows, *solution)


class _Rows(NamedTuple):
    """Some rows of one side, and what the objective says of their observations."""

    what: Literal["user", "item"]
    rows: NDArray[np.integer]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    targets: Floats
    weights: Floats
    counted: Floats


def _changed(H: Floats, change: Floats) -> Floats | None:
    """H + change; None where next to nothing of it would be true, as after a huge value was taken back."""
    changed = H + change
    largest, left = max(np.abs(H).max(initial=0.0), np.abs(change).max(initial=0.0)), np.abs(changed).max(initial=0.0)
    return changed if np.isfinite(left) and left >= DIGITS_LEFT * largest else None
