"""Sessions in which factors of users are not sent to other workers.

The half-step of the items takes steps of conjugate gradients for all items at once. Each step needs A_i p_i of all
items i, to which each block of users contributes (`halfstep.solver.kernels.products`). Only arrays of the size of the
items' factors are exchanged: the directions p, and the sums. The blocks of items are not needed.

The iterations are those of ``halfstep/solver/kernels/cg.py``, with the same preconditioner M = s_i G + λ_i, except
that items with few observed cells are not solved exactly. Sums are in float64 within a block, and over blocks.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from halfstep.cluster.block_files import read_problem
from halfstep.cluster.engine import Engine, Partitions
from halfstep.cluster.file_steps import FileSteps, block_at, factors_at
from halfstep.cluster.folder import Folder
from halfstep.cluster.session import ClusterSession
from halfstep.cluster.step import FactorsAt
from halfstep.errors import ParameterError
from halfstep.objective.problem import HalfProblem
from halfstep.solver.layout import empty_factors
from halfstep.solver.session import Side
from halfstep.solvers import ConjugateGradient, Solver

SUM_BYTES = 1 << 25  # of the sums that a worker returns

Floats = NDArray[np.float64]


class StayingUsersSession(ClusterSession):
    """A session of one block of items, which is solved on this machine; users are solved as in `ClusterSession`."""

    _side_of_cells = Side.USERS

    def __init__(
        self, engine: Engine, folder: Folder, partitions: Partitions, unknowns: int, dtype: DTypeLike
    ) -> None:
        steps = FileSteps(engine.map, folder, partitions, engine.threads)
        super().__init__(steps, folder, partitions, unknowns, dtype)
        self._engine, self._fit = engine, steps.fit

    def half_step(self, side: Side, solver: Solver) -> None:
        if side is Side.USERS:
            super().half_step(side, solver)
            return
        assert isinstance(solver, ConjugateGradient)
        self._data_terms = None
        at = self._current[Side.ITEMS]
        X = at.of({version: next(iter(self._steps.blocks(Side.ITEMS, version))) for version in at.versions}).copy()
        system = _Systems(read_problem(self._folder, Side.ITEMS, 0)[0], self._gram(Side.USERS), self._products)
        X[:, : self._unknowns] = system.solved(X[:, : self._unknowns].astype(np.float64), int(solver.steps))
        self._version += 1
        self._steps.put(Side.ITEMS, self._version, [X])
        self._kept[Side.ITEMS].add(self._version)
        self._current[Side.ITEMS] = FactorsAt(self._version)
        self._drop_unused()

    def _products(self, P: Floats, *, has_sides: bool) -> Floats:
        """Return the sums of `BlockSolver.products` over all blocks of users, side by side."""
        folder, name = self._folder, f"products/{uuid.uuid4().hex}"
        padded = empty_factors(len(P), self._unknowns, self._dtype)
        padded[:, : self._unknowns] = P
        folder.write_array(f"{name}/directions", padded)
        version = self._current[Side.USERS].version
        numbers = range(len(self._partitions[Side.USERS]))
        tasks = [_Products(folder, self._fit, name, number, version, has_sides) for number in numbers]
        self._engine.map(write_products, tasks)
        rows = max(1, SUM_BYTES // (8 * (2 * self._unknowns + 1)))
        ranges = [(first, min(first + rows, len(P))) for first in range(0, len(P), rows)]
        sums = self._engine.map(sum_products, [_Sum(folder, name, len(numbers), *each) for each in ranges])
        folder.remove(name)
        return np.concatenate(sums)


class _Products(NamedTuple):
    folder: Folder
    fit: str
    name: str
    number: int
    version: int
    has_sides: bool


class _Sum(NamedTuple):
    folder: Folder
    name: str
    n_blocks: int
    first: int
    last: int


def write_products(task: _Products) -> None:
    """Write the part of a block of users in the systems of all items."""
    P = task.folder.read_array(f"{task.name}/directions")
    X = factors_at(task.folder, Side.USERS, task.version, task.number)
    products, sides = block_at(task.folder, task.fit, Side.USERS, task.number).products(
        X, P, has_sides=task.has_sides
    )
    both = np.hstack([products, sides]) if task.has_sides else products
    task.folder.write_array(f"{task.name}/{task.number:05d}", both.astype(P.dtype))


def sum_products(task: _Sum) -> Floats:
    """Return the sums over blocks, in their order, for some items."""
    total: Floats | None = None
    for number in range(task.n_blocks):
        part = task.folder.read_array(f"{task.name}/{number:05d}")[task.first : task.last].astype(np.float64)
        total = part if total is None else total + part
    assert total is not None
    return total


class _Systems:
    """The systems of all items.

    Parameters
    ----------
    problem : HalfProblem
        The problem of the items, without cells.
    gram : ndarray of shape (rank, rank), or None
        G of the users.
    products : callable
        Returns the parts of all observed cells.
    """

    def __init__(self, problem: HalfProblem, gram: Floats | None, products: Callable[..., Floats]) -> None:
        self._k, self._products = problem.rank, products
        self._reg = problem.regularization.astype(np.float64)
        self._bias_reg = self._reg * problem.bias_ratio
        self._s = problem.row_missing.astype(np.float64)
        self._G = gram
        self._basis = None if gram is None else np.linalg.eigh(gram)

    def solved(self, X: Floats, steps: int) -> Floats:
        """Return the solutions after some steps from X."""
        K = X.shape[1]
        sums = self._products(X, has_sides=True)
        right, weights = sums[:, K : 2 * K], sums[:, -1]
        residual = right - sums[:, :K] - self._base(X)
        tiny = np.finfo(np.float64).tiny
        direction = z = self._preconditioned(residual, weights)
        norm = np.einsum("nk,nk->n", residual, z)
        smallest = np.maximum(norm * np.finfo(np.float32).eps ** 2, tiny)  # below this, steps are rounding errors
        for step in range(steps):
            A_times = self._products(direction, has_sides=False) + self._base(direction)
            curvature = np.einsum("nk,nk->n", direction, A_times)
            is_open = (norm > smallest) & (curvature > 0)
            length = np.divide(norm, curvature, out=np.zeros_like(norm), where=is_open)[:, None]
            X = X + length * direction
            if step == steps - 1:
                break
            residual = residual - length * A_times
            z = self._preconditioned(residual, weights)
            before, norm = norm, np.einsum("nk,nk->n", residual, z)
            direction = z + np.divide(norm, before, out=np.zeros_like(norm), where=is_open)[:, None] * direction
        return X

    def _base(self, X: Floats) -> Floats:
        """Return the products with the part of A that does not depend on observed cells."""
        product = X * self._reg[:, None]
        if self._G is not None:
            product[:, : self._k] += self._s[:, None] * (X[:, : self._k] @ self._G)
        if X.shape[1] > self._k:
            product[:, self._k] = X[:, self._k] * self._bias_reg
        return product

    def _preconditioned(self, residual: Floats, weights: Floats) -> Floats:
        """Return the solutions with that part of A, and the diagonal for biases."""
        k, reg = self._k, self._reg[:, None]
        solved = np.empty_like(residual)
        if self._basis is None:
            solved[:, :k] = residual[:, :k] / np.where(reg > 0, reg, 1.0)
        else:
            g, vectors = self._basis
            diagonal = self._s[:, None] * np.maximum(g, 0.0) + reg
            solved[:, :k] = (residual[:, :k] @ vectors / diagonal) @ vectors.T
        if residual.shape[1] > k:
            solved[:, k] = residual[:, k] / (weights + self._bias_reg)
        return solved


def check_solver(solver: Solver) -> None:
    """Check that the solver does not require the factors of users."""
    if not isinstance(solver, ConjugateGradient):
        raise ParameterError(
            f"exchange='items' does not support solver={solver!r}: set solver='cg', or exchange='all'"
        )
