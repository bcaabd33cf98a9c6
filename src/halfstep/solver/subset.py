"""Half-steps for some rows only: users that are folded in, and rows with new interactions.

They run on the same sessions as a fit, with only the columns that occur in the rows. The Gramian of all columns is
known.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep.errors import NumericalError
from halfstep.objective.problem import HalfProblem, Prior
from halfstep.solver.arguments import base_of, cell_arrays_of, fixed_of
from halfstep.solver.backends import BackendName, half_step_on
from halfstep.solver.kernels.small_systems import sum_system
from halfstep.solver.layout import empty_factors

Floats = NDArray[np.floating]

WORTH_THREADS = 10_000_000  # multiply-adds from which several threads are faster


def solve_subset(
    problem: HalfProblem,
    factors: Floats,
    biases: Floats,
    *,
    threads: int | None = None,
    backend: BackendName = "cpu",
    prior: Prior | None = None,
) -> tuple[Floats, Floats]:
    """Solve a half-problem that contains only some of the rows.

    Parameters
    ----------
    problem : HalfProblem
        With `gram` if missing cells have weight. The order of observed cells within a row does not matter.
    factors, biases : ndarray of shape (n_columns, rank) and (n_columns,)
        The fixed side.
    threads : int, optional
        All cores by default, and one if there is little work.
    backend : {"cpu", "cuda"}
        The CPU is always used if there is little work or a prior, or if the problem is nonnegative.
    prior : Prior, optional
        The prior of these rows.

    Returns
    -------
    factors, biases : ndarray of shape (n_rows, rank) and (n_rows,)
        In the precision of the given ones.

    Raises
    ------
    NumericalError
        With the first row whose system is not positive definite, or whose factors are not finite.
    """
    n_rows, k = len(problem.indptr) - 1, problem.rank
    if n_rows == 0:
        return np.empty((0, k), factors.dtype), np.empty(0, factors.dtype)
    compact, Y = _with_its_columns(problem, factors, biases)
    X = empty_factors(n_rows, problem.unknowns, factors.dtype)
    is_little = len(problem.indices) * k * k + n_rows * k**3 / 3 < WORTH_THREADS
    half_step_on("cpu" if is_little else backend, compact, Y, X, threads=1 if is_little else threads, prior=prior)
    finite = np.isfinite(X).all(axis=1)
    if not finite.all():
        raise NumericalError(
            "the factors of {row} are not finite: check the data for extreme values or weights",
            row=int(np.argmin(finite)),
        )
    return X[:, :k].copy(), X[:, k].copy() if problem.biases else np.zeros(n_rows, X.dtype)


class System(NamedTuple):
    """The normal equations of one row, A x = Σ_j rhs_j y_j.

    Attributes
    ----------
    A : ndarray of shape (K, K)
    Y : ndarray of shape (n_cells, K)
        The fixed rows of its observed cells: [q | 1] with biases, else q.
    rhs : ndarray of shape (n_cells,)
        w (t − o).
    """

    A: Floats
    Y: Floats
    rhs: Floats


def system(problem: HalfProblem, factors: Floats, biases: Floats) -> System:
    """Return the system of a half-problem with one row, from the kernel that half-steps use."""
    compact, Y = _with_its_columns(problem, factors, biases)
    k, K, dtype = problem.rank, problem.unknowns, problem.weights.dtype
    rows, o = Y.astype(dtype), np.zeros(len(Y), dtype)
    if problem.biases:
        o, rows[:, k] = rows[:, k].copy(), 1.0
    G = np.empty((0, 0), dtype) if problem.gram is None else problem.gram
    A = sum_system(0, cell_arrays_of(compact), base_of(compact, G), fixed_of(compact, rows, o))
    return System(A, rows[compact.indices, :K], problem.weights * (problem.targets - o[compact.indices]))


def _with_its_columns(problem: HalfProblem, factors: Floats, biases: Floats) -> tuple[HalfProblem, Floats]:
    """Gather the columns that occur in the rows, and renumber them."""
    if len(problem.indptr) == 2:
        columns, positions = problem.indices, np.arange(len(problem.indices))
    else:
        columns, positions = np.unique(problem.indices, return_inverse=True)
    Y = empty_factors(len(columns), problem.unknowns, factors.dtype)
    Y[:, : problem.rank] = factors[columns]
    if problem.biases:
        Y[:, problem.rank] = biases[columns]
    m = problem.column_missing
    if len(problem.row_missing) > 0:
        m = m[columns].astype(problem.weights.dtype)
    return replace(problem, indices=positions.astype(np.int32), column_missing=m), Y
