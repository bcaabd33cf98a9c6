"""Sessions on a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from halfstep.errors import DeviceError, ParameterError
from halfstep.objective.problem import HalfProblem, Prior
from halfstep.solver.cuda.device import Device
from halfstep.solver.cuda.half_step import DeviceHalfStep
from halfstep.solver.cuda.layout import Layout
from halfstep.solver.layout import Factors, empty_factors
from halfstep.solver.session import Side, Terms
from halfstep.solvers import Cholesky, Solver

USABLE = 0.8  # share of the free memory; the rest is for temporary arrays
ARRAYS_OF_FACTORS = 4
BYTES_OF_LISTS = 64  # of a row, at most
LEAST_CELLS = 1 << 10  # observed cells that must fit the device


@dataclass(frozen=True)
class CudaBackend:
    """A GPU."""

    device: Device

    def open(self, users: HalfProblem, items: HalfProblem, start: tuple[Factors, Factors]) -> CudaSession:
        return CudaSession(self.device, users, items, start)


class CudaSession:
    """A session with the factors in the memory of a device; see `halfstep.solver.session.Session`.

    As in `halfstep.solver.cpu_session.CPUSession`, each side has two arrays.
    """

    def __init__(
        self, device: Device, users: HalfProblem, items: HalfProblem, start: tuple[Factors, Factors]
    ) -> None:
        self._device, self._start = device, start
        self._problems = users, items
        self._has_previous = False
        self._data_terms: tuple[float, float] | None = None

    def __enter__(self) -> Self:
        cells = cells_at_once(self._problems, self._device.free_memory())
        self._sides = [DeviceHalfStep(self._device, problem, cells) for problem in self._problems]
        self._accepted = [
            side.layout.upload(self._device, F, side.problem.weights.dtype)
            for side, F in zip(self._sides, self._start, strict=True)
        ]
        self._spare = [self._device.xp.zeros_like(F) for F in self._accepted]
        self._current = list(self._accepted)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def set_prior(self, side: Side, prior: Prior | None) -> None:
        """Refuse priors, which only sessions on the CPU support."""
        raise ParameterError("side information is not supported on a GPU: fit without it, or on the CPU")

    def extrapolate(self, side: Side, beta: float) -> None:
        if not self._has_previous:
            return
        F, ahead = self._accepted[side], self._spare[side]
        ahead[...] = F + F.dtype.type(beta) * (F - ahead)
        self._current[side], self._data_terms = ahead, None

    def half_step(self, side: Side, solver: Solver) -> None:
        X, Y = self._spare[side], self._current[1 - side]
        if not isinstance(solver, Cholesky) and self._current[side] is not X:
            X[...] = self._current[side]
        self._data_terms = None
        self._sides[side].solve(Y, X, solver)
        self._current[side] = X

    def terms(self) -> Terms:
        P, Q = self._current
        if self._data_terms is None:
            self._data_terms = self._sides[Side.ITEMS].data_terms(P, Q)
        terms = [side.regularization_term(F) for side, F in zip(self._sides, self._current, strict=True)]
        return Terms(*self._data_terms, sum(terms))

    def accept(self) -> None:
        for side in Side:
            if self._current[side] is not self._accepted[side]:
                self._spare[side], self._accepted[side] = self._accepted[side], self._current[side]
        self._has_previous = True

    def undo(self) -> None:
        self._current = list(self._accepted)
        self._has_previous = False
        self._data_terms = None

    def factors(self) -> tuple[Factors, Factors]:
        P, Q = (self._downloaded(side) for side in Side)
        return P, Q

    def _downloaded(self, side: Side) -> Factors:
        F: Any = self._device.asnumpy(self._accepted[side])
        unknowns = self._problems[side].unknowns
        rows = empty_factors(len(F), unknowns, self._start[side].dtype)
        rows[:, :unknowns] = F[:, :unknowns]
        return rows


def cells_at_once(problems: tuple[HalfProblem, HalfProblem], free: int) -> int | None:
    """Return the number of observed cells for which a device has room in addition to the factors; None for all."""
    of_cells = max(bytes_per_cell(problem) for problem in problems)
    rows = sum(len(problem.regularization) * bytes_per_row(problem) for problem in problems)
    room, n_cells = int(USABLE * free) - rows, len(problems[0].indices)
    if room >= 2 * n_cells * of_cells:
        return None
    if room < LEAST_CELLS * of_cells:
        raise DeviceError(
            f"the factors need {rows:,} bytes on the GPU, which has {free:,} bytes left: set a lower rank, or fit on "
            "the CPU"
        )
    return room // of_cells


def bytes_per_cell(problem: HalfProblem) -> int:
    """Return the memory of an observed cell."""
    arrays = problem.indices, problem.targets, problem.weights
    return sum(each.itemsize for each in arrays if len(each) == len(problem.indices))


def bytes_per_row(problem: HalfProblem) -> int:
    """Return the memory of a row: its factors, accepted, spare and in a basis, and those of the fixed side in one."""
    return ARRAYS_OF_FACTORS * Layout.of(problem).width * problem.weights.itemsize + BYTES_OF_LISTS
