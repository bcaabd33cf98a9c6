"""Statistics of all cells that the objective and its regularization depend on, summed over blocks of users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep.cluster.build import Table
from halfstep.cluster.cells import BlockCells, Missing, ids_of_items
from halfstep.cluster.engine import Engine
from halfstep.cluster.folder import Folder
from halfstep.cluster.ids import as_vocabulary
from halfstep.data import Interactions, Vocabulary
from halfstep.errors import DataError, NumericalError
from halfstep.models import default_regularization as defaults
from halfstep.objective.cost import Cost
from halfstep.objective.objective import Objective, ObservedTotals
from halfstep.objective.regularization import Counted, RowRegularization
from halfstep.solver.session import Backend, Side
from halfstep.weights import Cells

Floats = NDArray[np.float64]


class Targets(NamedTuple):
    """Sums over the targets of some cells.

    Attributes
    ----------
    least, most : float
    largest : float
        The largest absolute target, by which targets are divided in the sums, so that their squares do not overflow.
    sums : ndarray of shape (3,)
        Σ w, Σ w t and Σ w t².
    """

    least: float
    most: float
    largest: float
    sums: Floats

    @classmethod
    def of(cls, targets: Floats, weights: Floats) -> Targets:
        """Return the sums of some cells."""
        least, most = float(targets.min()), float(targets.max())
        largest = max(-least, most)
        scaled = targets / largest if largest else targets
        sums = weights.sum(), (weights * scaled).sum(), (weights * np.square(scaled)).sum()
        return cls(least, most, largest, np.array(sums))

    def __add__(self, other: Targets) -> Targets:  # type: ignore[override]
        """Return the sums of the cells of both."""
        largest = max(self.largest, other.largest)
        sums = np.zeros(3)
        for each in (self, other):
            sums += each.sums * (each.largest / largest if largest else 1.0) ** np.arange(3)
        return Targets(min(self.least, other.least), max(self.most, other.most), largest, sums)

    @property
    def mean(self) -> float:
        """The weighted mean."""
        return float(self.largest * self.sums[1] / self.sums[0])

    def unit(self, mean: float, *, is_centered: bool) -> float:
        """Return the unit of the targets minus `mean`; see `unit_of_targets`."""
        largest = max(abs(self.least - mean), abs(self.most - mean))
        if not defaults.SMALLEST < largest < 1 / defaults.SMALLEST:
            return 1.0
        ratio = self.largest / largest
        first, second = (self.sums[1:] / self.sums[0] * [ratio, ratio**2]).tolist()
        shift = mean / largest
        return defaults.unit_from(
            largest, first - shift, max(second - 2 * shift * first + shift**2, 0.0), is_centered=is_centered
        )


@dataclass(frozen=True)
class Task:
    """A block of cells, and what to compute for it.

    Attributes
    ----------
    folder : Folder
    table : Table
    side : Side
    number : int
    objective : Objective
    more : object
        Further arguments.
    """

    folder: Folder
    table: Table
    side: Side
    number: int
    objective: Objective
    more: Any = None

    @property
    def block(self) -> BlockCells:
        """The cells."""
        return BlockCells.read(self.folder, self.table, self.side, self.number)


@dataclass(frozen=True)
class Statistics:
    """Computes statistics on the workers."""

    engine: Engine
    folder: Folder
    table: Table
    objective: Objective

    def map(self, function: Callable[[Task], Any], side: Side = Side.USERS, more: Any = None) -> list[Any]:
        """Call a function for each block of a side."""
        numbers = range(len(self.table.partitions[side]))
        tasks = [Task(self.folder, self.table, side, number, self.objective, more) for number in numbers]
        return self.engine.map(function, tasks)

    @property
    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The number of observed cells of each user and item."""
        return self.table.counts(self.folder)

    def resolved(self) -> Statistics:
        """Return the same for the objective with its weight of missing cells."""
        no_cells = np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0), None
        if self.objective.observed_totals(Cells(*no_cells, *self.counts)) is None:
            return self
        totals = reduce(add, self.map(observed_totals))
        return replace(self, objective=self.objective.with_missing_weight(totals.default_missing_weight))

    def missing(self) -> tuple[Floats, Floats] | None:
        """Return s of each user and m of each item, and write them for workers; None without such weights."""
        no_cells = np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0), None
        missing = self.objective.missing_factors(Cells(*no_cells, *self.counts))
        Missing.write(self.folder, missing)
        return missing

    def targets(self) -> Targets:
        """Return the sums over all targets."""
        found: Targets = reduce(add, self.map(sum_targets))
        if found.sums[0] <= 0:
            raise DataError("all observed weights are 0: give at least one positive weight")
        if not np.isfinite(found.sums).all():
            raise NumericalError(
                f"the mean of the values is {found.mean}: check the data for extreme values or weights"
            )
        return found

    def counted(self, counts: Counted, missing: tuple[Floats, Floats] | None) -> tuple[Floats, Floats]:
        """Return c of each user and item, as defined by `Regularization.counts`."""
        if counts == "positive":
            users = np.concatenate(self.map(count_cells, Side.USERS, counts))
            items = np.sum(self.map(count_positive), axis=0)
        else:
            users, items = (each.astype(np.float64) for each in self.counts)
        if counts == "cells" and missing is not None:
            s, m = missing
            return users + s * m.sum(), items + m * s.sum()
        return users, items

    def default_regularization(
        self,
        rank: int,
        given: RowRegularization,
        targets: Targets,
        unit: float,
        mean: float,
        missing: tuple[Floats, Floats] | None,
        backend: Backend,
    ) -> RowRegularization:
        """Return the default λ; see `halfstep.models.default_regularization`."""
        counts, default = self.counts, self.objective.defaults
        c = self.counted(given.counts, missing)
        scale = float(targets.sums[0]) / self.table.n_cells * unit
        scale *= defaults.count_scale(counts, c, given.exponent, default.regularization_exponent)

        def highest() -> float:
            users, items = (np.where(each > 0, each, 1.0) ** (-given.exponent / 2) for each in c)
            x = np.sqrt(counts[0]) * users
            sums = sum(self.map(sum_useful, more=(given, mean)))
            return defaults.highest_from(sums * items, float(np.linalg.norm(x)))

        def held_out() -> defaults.HeldOut:
            data, cost = self._sample(mean)
            return defaults.HeldOut(data, cost, min(rank, defaults.HIGHEST_RANK), backend)

        return defaults.default_for(
            given,
            default,
            scale,
            self.table.n_cells,
            has_missing=missing is not None,
            highest=highest,
            held_out=held_out,
        )

    def _sample(self, mean: float) -> tuple[Interactions, Cost]:
        """Return the cells of random users, and the data terms of the objective for them."""
        rng = np.random.default_rng(0)
        counts, bounds = self.counts[0], self.table.partitions[Side.USERS].bounds
        users = rng.permutation(len(counts))
        users = np.sort(users[np.cumsum(counts[users]) - counts[users] < defaults.MOST])
        parts = self.map(sample_cells, more=[users[slice(*np.searchsorted(users, span))] for span in pairs(bounds)])
        of_users, items, values, targets, weights = (np.concatenate(each) for each in zip(*parts, strict=True))
        data = Interactions(
            users=Vocabulary.of_distinct(users),
            items=as_vocabulary(ids_of_items(self.folder)),
            user_positions=np.searchsorted(users, of_users).astype(np.int32),
            item_positions=items,
            values=values,
        )
        return data, Cost(
            targets - mean,
            weights,
            None,
            None,
            mean,
            bool(self.objective.biases),
            nonnegative=bool(self.objective.nonnegative),
        )


def pairs(bounds: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the first row of each block, and the first one after it."""
    return list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))


def observed_totals(task: Task) -> ObservedTotals | None:
    """Return the totals of a block."""
    return task.objective.observed_totals(task.block.cells)


def sum_targets(task: Task) -> Targets:
    """Return the sums over the targets of a block."""
    return Targets.of(*task.block.evaluate(task.objective))


def count_cells(task: Task) -> Floats:
    """Return the number of cells that c counts in each row of a block."""
    return task.block.counted(task.more)


def count_positive(task: Task) -> Floats:
    """Return the number of positive values of each item in a block of users."""
    cells = task.block.cells
    return np.bincount(cells.items, cells.values > 0, len(cells.item_counts)).astype(np.float64)


def sum_useful(task: Task) -> Floats:
    """Return the sums of a block for `highest_useful`."""
    given, mean = task.more
    block, missing = task.block, Missing.read(task.folder, task.side)
    c = block.counted(given.counts)
    if given.counts == "cells" and missing is not None:
        c = c + missing.of_rows(block.first, block.last) * missing.total
    x = np.sqrt(block.row_counts) * np.where(c > 0, c, 1.0) ** -given.exponent
    t, w = block.evaluate(task.objective)
    return defaults.useful_sums(w, t - mean, x, block.rows, block.cells.items, len(block.cells.item_counts))


def sample_cells(task: Task) -> tuple[NDArray[Any], ...]:
    """Return the users, items, values, targets and weights of the cells of some users."""
    block = task.block
    is_chosen = np.isin(block.cells.users, task.more[task.number])
    t, w = block.evaluate(task.objective)
    cells = block.cells
    return cells.users[is_chosen], cells.items[is_chosen], cells.values[is_chosen], t[is_chosen], w[is_chosen]
