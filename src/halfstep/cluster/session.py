"""Sessions on the machines of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from halfstep.cluster.block_files import Partition
from halfstep.cluster.engine import Partitions, Steps
from halfstep.cluster.folder import Folder
from halfstep.cluster.step import BlockTerms, FactorsAt, Step
from halfstep.solver.layout import Factors, empty_factors
from halfstep.solver.session import Side, Terms
from halfstep.solvers import Solver


class State(NamedTuple):
    """The versions of accepted factors, from which a fit that was killed continues.

    Attributes
    ----------
    users, items : int
    items_before : int or None
        For extrapolation.
    last : int
        The last version of all.
    """

    users: int
    items: int
    items_before: int | None
    last: int


class ClusterSession:
    """A session with factors on the workers; see `halfstep.solver.session.Session`.

    Factors have versions, which are never overwritten: a worker that replaces a failed one has the same results.
    Versions that are neither current, nor accepted, nor needed for extrapolation are dropped.

    Parameters
    ----------
    steps : context manager
        The workers.
    folder : Folder
        With the files of all blocks.
    unknowns : int
        The number of unknowns of each row.
    dtype : dtype
        The data type of the factors.
    """

    _side_of_cells = Side.ITEMS
    """The side whose blocks compute the terms of cells."""

    def __init__(
        self,
        steps: AbstractContextManager[Steps],
        folder: Folder,
        partitions: Partitions,
        unknowns: int,
        dtype: DTypeLike,
    ) -> None:
        self._context = steps
        self._folder = folder
        self._partitions, self._unknowns, self._dtype = partitions, unknowns, np.dtype(dtype)
        self._start: tuple[Factors | None, Factors | None] | None = None
        self._version = 0
        first = FactorsAt(0)
        self._accepted, self._current = [first, first], [first, first]
        self._before: list[FactorsAt | None] = [None, None]
        self._kept: list[set[int]] = [{0}, {0}]
        self._pinned: list[set[int]] = [set(), set()]
        self._of_rows: dict[tuple[Side, FactorsAt], tuple[NDArray[np.float64], float]] = {}
        self._data_terms: tuple[float, float] | None = None

    def starting_from(self, start: tuple[Factors | None, Factors | None]) -> Self:
        """Return this session, which will put these factors as version 0 on the workers; None stands for zeros."""
        self._start = start
        return self

    def __enter__(self) -> Self:
        self._steps: Steps = self._context.__enter__()
        try:
            if self._start is not None:
                for side in Side:
                    self._steps.put(side, 0, self._blocks_of(self._start[side], self._partitions[side]))
                self._start = None
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.__exit__(kind, error, trace)

    def extrapolate(self, side: Side, beta: float) -> None:
        before = self._before[side]
        if before is not None:
            self._current[side] = FactorsAt(self._accepted[side].version, before.version, beta)
            self._data_terms = None

    def half_step(self, side: Side, solver: Solver) -> None:
        is_last = side is Side.ITEMS  # the loss is cheapest while the rows are in the cache
        will_extrapolate = is_last and solver.extrapolation > 0
        self._data_terms = None
        self._version += 1
        step = Step(
            side,
            rows=self._current[side],
            fixed=self._current[1 - side],
            gram=self._gram(Side(1 - side)),
            solver=solver,
            is_loss=is_last,
            out=self._version,
            ahead=(self._accepted[side].version, solver.extrapolation) if will_extrapolate else None,
        )
        self._kept[side].add(self._version)
        terms = self._run(step)
        self._current[side] = FactorsAt(self._version)
        if is_last:
            self._data_terms = sum(each.observed for each in terms), sum(each.missing for each in terms)
        if step.ahead is not None:
            ahead = FactorsAt(self._version, *step.ahead)
            # its regularization is only needed by callers other than the training loop
            self._of_rows[side, ahead] = _sum(each.ahead_gram for each in terms), np.nan
        self._drop_unused()

    def terms(self) -> Terms:
        if self._data_terms is None:
            side = self._side_of_cells
            other = Side(1 - side)
            step = Step(
                side, rows=self._current[side], fixed=self._current[other], gram=self._gram(other), is_loss=True
            )
            terms = self._run(step)
            self._data_terms = sum(each.observed for each in terms), sum(each.missing for each in terms)
        return Terms(*self._data_terms, sum(self._regularization(side) for side in Side))

    def accept(self) -> None:
        for side in Side:
            if self._current[side].previous is not None:
                self._materialize(side)
            if self._current[side] != self._accepted[side]:
                self._before[side], self._accepted[side] = self._accepted[side], self._current[side]
        self._drop_unused()

    def undo(self) -> None:
        self._current = list(self._accepted)
        self._before = [None, None]
        self._data_terms = None
        self._drop_unused()

    def factors(self) -> tuple[Factors, Factors]:
        return self.factors_of(Side.USERS), self.factors_of(Side.ITEMS)

    def factors_of(self, side: Side) -> Factors:
        """Return the accepted factors of a side."""
        F = empty_factors(self._partitions[side].n_rows, self._unknowns, self._dtype)
        row = 0
        for block in self._steps.blocks(side, self._accepted[side].version):
            F[row : row + len(block)] = block
            row += len(block)
        return F

    @property
    def state(self) -> State | None:
        """The accepted factors, from which another session can continue; None if they do not outlive the workers."""
        if not self._steps.is_durable:
            return None
        users, items = self._accepted
        before = self._before[Side.ITEMS]
        return State(users.version, items.version, None if before is None else before.version, self._version)

    def keep(self, state: State) -> None:
        """Keep the factors of a state that was saved, instead of those of the state before it."""
        items = {state.items} if state.items_before is None else {state.items, state.items_before}
        self._pinned = [{state.users}, items]
        self._drop_unused()

    def going_on_from(self, state: State) -> Self:
        """Return this session, which will continue from a state of an earlier one with the same working folder."""
        self._accepted = [FactorsAt(state.users), FactorsAt(state.items)]
        self._current = list(self._accepted)
        self._before[Side.ITEMS] = None if state.items_before is None else FactorsAt(state.items_before)
        self._version = state.last
        self._kept = [{state.users}, {state.items, *(() if state.items_before is None else (state.items_before,))}]
        return self

    def save(self, side: Side) -> int:
        """Keep the accepted factors of a side in files of the working folder; return their version."""
        version = self._accepted[side].version
        self._steps.save(side, version)
        return version

    def _blocks_of(self, F: Factors | None, partition: Partition) -> Iterator[Factors]:
        for number in range(len(partition)):
            first, last = partition.range(number)
            yield empty_factors(last - first, self._unknowns, self._dtype) if F is None else F[first:last]

    def _materialize(self, side: Side) -> None:
        """Keep extrapolated factors as a version of their own."""
        self._version += 1
        self._kept[side].add(self._version)
        self._run(Step(side, rows=self._current[side], out=self._version))
        self._current[side] = FactorsAt(self._version)

    def _run(self, step: Step) -> list[BlockTerms]:
        """Run a step, and remember the sums over the new rows."""
        terms = self._steps.run(step)
        for each in terms:
            if each.failure is not None:
                raise each.failure.error
        at = step.rows if step.out is None else FactorsAt(step.out)
        self._of_rows[step.side, at] = _sum(each.gram for each in terms), sum(each.regularization for each in terms)
        return terms

    def _gram(self, side: Side) -> NDArray[np.float64] | None:
        """Return the Gramian of the current factors of a side; None without weights of missing cells."""
        if (side, self._current[side]) not in self._of_rows:
            self._run(Step(side, rows=self._current[side]))
        gram = self._of_rows[side, self._current[side]][0]
        return gram if len(gram) else None

    def _regularization(self, side: Side) -> float:
        known = self._of_rows.get((side, self._current[side]))
        if known is None or np.isnan(known[1]):
            self._run(Step(side, rows=self._current[side]))
        return self._of_rows[side, self._current[side]][1]

    def _drop_unused(self) -> None:
        for side in Side:
            used = {self._accepted[side], self._current[side], self._before[side]}
            versions = {version for at in used if at is not None for version in at.versions}
            for version in self._kept[side] - versions - self._pinned[side]:
                self._steps.drop(side, version)
            self._kept[side] &= versions | self._pinned[side]
            for key in [key for key in self._of_rows if key[0] is side and not versions.issuperset(key[1].versions)]:
                del self._of_rows[key]


def _sum(grams: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Add Gramians in the order of blocks, so that rounding does not depend on the workers."""
    first, *others = grams
    total = first.copy()
    for gram in others:
        total += gram
    return total
