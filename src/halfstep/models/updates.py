"""Incremental updates: rows with new interactions are solved again.

An update is two half-steps for the affected rows, users then items. The sums over all rows,

    H_I = Σ_i m_i q_i q_iᵀ      H_U = Σ_u s_u p_u p_uᵀ      Σ_i m_i      Σ_u s_u

change by m_i' q_i' q_i'ᵀ − m_i q_i q_iᵀ if a row or its popularity changes (He et al. 2016, §4.3). Popularity weights
of missing cells are stored before normalization, so that an interaction changes one of them and the scale, not all.

`UpdateState.prepared` computes an update without changing anything that readers of the model see; `LiveArray` then
publishes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep._support.integer_sets import distinct
from halfstep.data import Added, GrowableArray, GrowableInteractions, Interactions
from halfstep.data.named_rows import naming_the_row
from halfstep.errors import DataError, NumericalError, ParameterError
from halfstep.models.factorization import Factorization
from halfstep.models.gramians import gram
from halfstep.models.live_array import Write
from halfstep.objective.objective import Objective
from halfstep.objective.problem import HalfProblem
from halfstep.objective.regularization import RowRegularization
from halfstep.solver.subset import solve_subset
from halfstep.weights import Cells, missing_popularity

Floats = NDArray[np.float64]

CANCELLATION = 1e-6  # relative size of a changed sum below which it has lost precision


class Solved(NamedTuple):
    """New factors and biases of some rows, given by ascending positions."""

    rows: NDArray[np.integer]
    factors: NDArray[np.floating]
    biases: NDArray[np.floating]


class UpdateSide:
    """The factors of the users or the items, and their sums in the systems of the other side.

    Attributes
    ----------
    factors, biases : ndarray
        Those of the model; read-only.
    counts : GrowableArray
        The number of observed cells of each row.
    missing : GrowableArray or None
        s, or m before normalization; None if missing cells have no weight.
    total : float
        The sum of `missing`.
    solved : Solved or None
        The rows that the current update has changed.
    gram_or_none : ndarray or None
        Σ missing · f fᵀ over all rows; None until it is needed.
    threads : int or None
        Number of threads for sums over all rows.
    """

    def __init__(
        self, factors: NDArray[np.floating], biases: NDArray[np.floating], counts: NDArray[np.int64]
    ) -> None:
        self.factors, self.biases, self.counts = factors, biases, GrowableArray(counts)
        self.missing: GrowableArray | None = None
        self.total = 0.0
        self.solved: Solved | None = None
        self.gram_or_none: Floats | None = None
        self.threads: int | None = None

    def taken(self, rows: NDArray[np.integer]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return factors and biases of some rows, including changes of the current update; zeros for new rows."""
        known = rows < len(self.factors)
        if known.all():
            factors, biases = self.factors[rows], self.biases[rows]
        else:
            factors = np.zeros((len(rows), self.factors.shape[1]), self.factors.dtype)
            biases = np.zeros(len(rows), self.biases.dtype)
            factors[known], biases[known] = self.factors[rows[known]], self.biases[rows[known]]
        if self.solved is not None:
            positions = np.minimum(np.searchsorted(self.solved.rows, rows), len(self.solved.rows) - 1)
            is_solved = self.solved.rows[positions] == rows
            factors[is_solved] = self.solved.factors[positions[is_solved]]
            biases[is_solved] = self.solved.biases[positions[is_solved]]
        return factors, biases

    def set_missing(self, missing: Floats) -> None:
        """Replace all of `missing`."""
        self.missing, self.total, self.gram_or_none = GrowableArray(missing), float(missing.sum()), None

    def weigh_new_rows(self) -> None:
        """Set `missing` of the added rows, whose factors are still 0, to 1."""
        assert self.missing is not None
        n, length = len(self.missing.array), len(self.counts.array)
        self.missing.grow(length)
        self.missing.array[n:] = 1.0
        self.total += length - n

    def change_missing(self, rows: NDArray[np.integer], missing: Floats) -> None:
        """Replace some of `missing`."""
        assert self.missing is not None
        H = self.gram
        self.missing.grow(len(self.counts.array))
        change = missing - self.missing.array[rows]
        f = self.taken(rows)[0].astype(np.float64)
        self.missing.array[rows] = missing
        self.total += float(change.sum())
        self.gram_or_none = _changed(H, (f * change[:, None]).T @ f)

    def put(self, solved: Solved) -> None:
        """Replace some rows."""
        if self.missing is not None and self.gram_or_none is not None:
            weights = self.missing.array[solved.rows][:, None]
            before, after = (f.astype(np.float64) for f in (self.taken(solved.rows)[0], solved.factors))
            with np.errstate(over="ignore", invalid="ignore"):
                change = (after * weights).T @ after - (before * weights).T @ before
                self.gram_or_none = _changed(self.gram, change)
        self.solved = solved

    @property
    def gram(self) -> Floats:
        """Σ missing · f fᵀ over all rows."""
        if self.gram_or_none is None:
            assert self.missing is not None
            self.gram_or_none = self._summed(self.missing.array)
        return self.gram_or_none

    def _summed(self, missing: Floats) -> Floats:
        n = len(self.factors)
        if self.solved is None:
            return gram(missing[:n], self.factors, self.threads)
        unsolved = missing.copy()
        unsolved[self.solved.rows] = 0.0
        return gram(unsolved[:n], self.factors, self.threads) + gram(
            missing[self.solved.rows], self.solved.factors, self.threads
        )


class Update(NamedTuple):
    """The result of `UpdateState.prepared`.

    Attributes
    ----------
    data : GrowableInteractions
        With the new interactions.
    writes : dict from str to Write
        The changes of arrays, by the names of the fields of the factorization.
    error : NumericalError or None
        The error of rows that could not be solved, which stay unchanged.
    """

    data: GrowableInteractions
    writes: dict[str, Write]
    error: NumericalError | None


class UpdateState:
    """The state for incremental updates of a model.

    Attributes
    ----------
    users, items : UpdateSide
    data : GrowableInteractions
    scale : float
        The factor of s_u · m_i.
    is_consistent : bool
        Whether the last update was finished. If not, a new state must be created from the model.

    Parameters
    ----------
    known : callable
        Returns the Gramian of the users or the items for given weights if it is known, else None.
    """

    def __init__(
        self,
        data: GrowableInteractions,
        users: UpdateSide,
        items: UpdateSide,
        *,
        objective: Objective,
        regularization: RowRegularization,
        mean: float,
        rank: int,
        known: Callable[[Literal["user", "item"], Floats], Floats | None],
    ) -> None:
        self.data, self.users, self.items = data, users, items
        self.is_consistent = True
        self._objective, self._regularization, self._mean = objective, regularization, mean
        self._rank = rank
        self._weigh_all_missing()
        if users.missing is not None and items.missing is not None:
            users.gram_or_none = known("user", users.missing.array)
            items.gram_or_none = known("item", items.missing.array)

    def prepared(
        self,
        new: Interactions,
        *,
        duplicates: Literal["last", "sum", "error"],
        update_items: bool,
        threads: int | None,
    ) -> Update:
        """Add new interactions and solve the rows that they affect.

        Nothing changes for readers of the model. The caller publishes the update, then calls `accept`.

        Raises
        ------
        DataError
            If `GrowableInteractions.added` or the objective raises it; then nothing has changed.
        """
        added = self.data.added(new, duplicates)
        self.users.threads = self.items.threads = threads
        self.is_consistent = False
        of_users, of_items = self._counted(added)
        self._weigh_missing(of_items.rows)
        error = None
        try:
            self._solve(of_users, added.data, threads)
            if update_items:
                self._solve(of_items, added.data, threads)
        except NumericalError as caught:
            error = caught
        return Update(added.data, self._writes(added), error)

    def solved_items(self, rows: NDArray[np.integer], threads: int | None) -> Update:
        """Solve some items with their current interactions, at least one each.

        Nothing changes for readers of the model. The caller publishes the update, then discards this state.
        """
        self.users.threads = self.items.threads = threads
        none, error = np.empty(0, np.int32), None
        added = Added(self.data, none, rows.astype(np.int32), np.zeros(len(rows), bool))
        if len(rows):
            try:
                self._solve(self._affected("item", added), self.data, threads)
            except NumericalError as caught:
                error = caught
        return Update(self.data, self._writes(added), error)

    def accept(self, update: Update, fitted: Factorization) -> None:
        """Continue from an update that was published."""
        self.data = update.data
        for side, what in ((self.users, "user"), (self.items, "item")):
            if f"{what}_factors" in update.writes:
                side.factors, side.biases = getattr(fitted, f"{what}_factors"), getattr(fitted, f"{what}_biases")
                side.solved = None
        self.is_consistent = True

    @property
    def items_gram(self) -> tuple[Floats, float] | None:
        """The weighted item Gramian Σ m q qᵀ and Σ m; None if missing cells have zero weight."""
        return None if self.items.missing is None else (self.items.gram, self.items.total)

    def _weigh_all_missing(self) -> None:
        weight = getattr(self._objective, "missing_weight", None)
        self._shares: Callable[[NDArray[np.int64]], Floats] | None = None
        self._is_constant, self.scale = False, 1.0
        if isinstance(weight, missing_popularity):
            self._shares, self._c0 = weight.shares, weight.c0
            self.users.set_missing(np.ones(len(self.users.factors)))
            self.items.set_missing(weight.shares(self.items.counts.array))
            self.scale = weight.c0 / self.items.total
        elif isinstance(weight, int | float):
            self._is_constant = True
            if weight > 0:
                self.users.set_missing(np.ones(len(self.users.factors)))
                self.items.set_missing(np.ones(len(self.items.factors)))
                self.scale = float(weight)
        else:
            self._compute_missing()

    def _compute_missing(self) -> None:
        """Compute all weights of missing cells, because a custom objective may change any of them."""
        nothing = np.empty(0)
        none = np.empty(0, np.int32)
        counts = self.users.counts.array, self.items.counts.array
        missing = self._objective.missing_factors(Cells(none, none, nothing, nothing, *counts))
        if missing is not None:
            self.users.set_missing(missing[0])
            self.items.set_missing(missing[1])

    def _weigh_missing(self, items: NDArray[np.integer]) -> None:
        """Update the weights of missing cells after rows were added and the counts of some items changed."""
        if self._shares is None and not self._is_constant:
            self._compute_missing()
        elif self.users.missing is not None:
            self.users.weigh_new_rows()
            if self._shares is None:
                self.items.weigh_new_rows()
            else:
                self.items.change_missing(items, self._shares(self.items.counts.array[items]))
                self.scale = self._c0 / self.items.total

    def _counted(self, added: Added) -> tuple[_Affected, _Affected]:
        """Count the new interactions, and compute targets and weights of all interactions of the affected rows."""
        sides = self.users, self.items
        before = [len(side.counts.array) for side in sides]
        new = [rows[added.is_new] for rows in (added.users, added.items)]
        for side, ids, rows in zip(sides, (added.data.users, added.data.items), new, strict=True):
            side.counts.grow(len(ids))
            np.add.at(side.counts.array, rows, 1)
        try:
            return self._affected("user", added), self._affected("item", added)
        except (DataError, ParameterError):  # raised by the objective for invalid weights
            for side, length, rows in zip(sides, before, new, strict=True):
                np.subtract.at(side.counts.array, rows, 1)
                side.counts.cut(length)
            self.is_consistent = True
            raise

    def _affected(self, what: Literal["user", "item"], added: Added) -> _Affected:
        """Compute targets and weights of all interactions of some users or items."""
        data, of_users = added.data, what == "user"
        rows = _distinct(added.users if of_users else added.items)
        indptr, indices, values, weights = data.user_rows(rows) if of_users else data.item_rows(rows)
        lengths = np.diff(indptr)
        own = np.repeat(rows, lengths)
        cells = Cells(
            users=own if of_users else indices,
            items=indices if of_users else own,
            values=values,
            weights=weights if data.has_weights else None,
            user_counts=self.users.counts.array,
            item_counts=self.items.counts.array,
        )
        targets, observed = self._objective.of_cells(
            cells, lambda n: (data.users[cells.users[n]], data.items[cells.items[n]])
        )
        counted = lengths.astype(np.float64)
        if self._regularization.counts == "positive":
            counted = np.add.reduceat((values > 0).astype(np.float64), indptr[:-1])
        return _Affected(what, rows, indptr, indices, targets - self._mean, np.array(observed), counted)

    def _solve(self, affected: _Affected, data: GrowableInteractions, threads: int | None) -> None:
        """Solve some users while the items are held fixed, or the reverse."""
        solved, fixed = self.users, self.items
        regularization, ids = self._regularization.users, data.users
        if affected.what == "item":
            solved, fixed = fixed, solved
            regularization, ids = self._regularization.items, data.items
        columns, positions = affected.indices, np.arange(len(affected.indices))
        if len(affected.rows) > 1:
            columns, positions = np.unique(affected.indices, return_inverse=True)
        s = m = np.empty(0)
        G = weighed = None
        if solved.missing is not None and fixed.missing is not None:
            s, m, G = self.scale * solved.missing.array[affected.rows], fixed.missing.array[columns], fixed.gram
            weighed = s * fixed.total
        side = HalfProblem(
            indptr=affected.indptr,
            indices=positions.astype(np.int32),
            targets=affected.targets,
            weights=affected.weights,
            row_missing=s,
            column_missing=m,
            regularization=self._regularization.of_counts(regularization, affected.counted, weighed),
            bias_ratio=float(self._regularization.bias_ratio),
            rank=self._rank,
            biases=bool(self._objective.biases),
            gram=G,
            nonnegative=bool(self._objective.nonnegative),
        )
        with naming_the_row(affected.what, ids, affected.rows):
            factors, biases = solve_subset(side, *fixed.taken(columns), threads=threads)
        solved.put(Solved(affected.rows, factors, biases))

    def _writes(self, added: Added) -> dict[str, Write]:
        """Return the changes of the model's arrays."""
        writes = {}
        ids = {"user": added.data.users, "item": added.data.items}
        for side, what in ((self.users, "user"), (self.items, "item")):
            n, length = len(side.factors), len(ids[what])
            nothing = np.empty(0, np.int64), side.factors[:0], side.biases[:0]
            rows, factors, biases = nothing if side.solved is None else side.solved
            if length > n or len(rows):
                writes[f"{what}_factors"] = Write(n, length, rows, factors)
                writes[f"{what}_biases"] = Write(n, length, rows, biases)
        items = _distinct(added.items[added.is_new])
        if len(items):
            counts = self.items.counts.array[items]
            writes["item_counts"] = Write(len(self.items.factors), len(ids["item"]), items, counts)
        return writes


class _Affected(NamedTuple):
    """Rows of one side, with the targets and weights of their interactions."""

    what: Literal["user", "item"]
    rows: NDArray[np.integer]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    targets: Floats
    weights: Floats
    counted: Floats


def _distinct(rows: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the distinct rows, ascending; fast for a single one."""
    return rows if len(rows) < 2 else distinct(rows)


def _changed(H: Floats, change: Floats) -> Floats | None:
    """Return H + change; None after cancellation."""
    changed = H + change
    largest, left = max(np.abs(H).max(initial=0.0), np.abs(change).max(initial=0.0)), np.abs(changed).max(initial=0.0)
    return changed if np.isfinite(left) and left >= CANCELLATION * largest else None
