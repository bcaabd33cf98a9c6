"""Arguments of kernels, from a half-problem and the factors of the fixed side."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from halfstep.objective.problem import HalfProblem, Prior
from halfstep.solver.kernels.argument_groups import Base, CellArrays, Fixed, PriorArrays
from halfstep.solver.layout import Factors


def cell_arrays_of(problem: HalfProblem) -> CellArrays:
    """Group the observed cells."""
    return CellArrays(problem.indptr, problem.indices, problem.targets, problem.weights)


def base_of(problem: HalfProblem, G: Factors) -> Base:
    """Group the part of the systems that does not depend on observed cells."""
    return Base(problem.row_missing, G, problem.regularization, problem.bias_ratio)


def fixed_of(problem: HalfProblem, Y: Factors, offsets: Factors) -> Fixed:
    """Group the fixed side."""
    return Fixed(Y, offsets, problem.column_missing, problem.rank, problem.biases)


def prior_of(prior: Prior | None, dtype: DTypeLike) -> PriorArrays:
    """Group the arrays of a prior in the given precision."""
    if prior is None:
        return no_prior(np.dtype(dtype))
    noise = np.empty((0, 0)) if prior.noise is None else prior.noise
    return PriorArrays(*(np.ascontiguousarray(array, dtype) for array in (prior.means, prior.precision, noise)))


@cache  # because half-steps of small problems take microseconds
def no_prior(dtype: np.dtype[Any]) -> PriorArrays:
    """Return empty arrays, for rows without a prior."""
    none = np.empty((0, 0), dtype)
    return PriorArrays(none, none, none)
