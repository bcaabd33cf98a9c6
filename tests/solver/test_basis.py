"""The change of variables that makes the common part of systems diagonal."""

from __future__ import annotations

import numpy as np
import pytest

import halfstep as hs
from halfstep.objective.problem import half_problems
from halfstep.objective.regularization import RowRegularization
from halfstep.solver.basis import Basis
from halfstep.solver.schedule import HalfStepPlan


def user_plan(regularization: RowRegularization) -> HalfStepPlan:
    rng = np.random.default_rng(3)
    data = hs.Interactions.from_arrays(rng.integers(90, size=700), rng.integers(60, size=700), duplicates="last")
    user_problem, _ = half_problems(
        data, hs.Implicit(observed_weight=5.0).cost(data), rank=40, regularization=regularization, dtype="float64"
    )
    return HalfStepPlan.of(user_problem)


def gram(columns: int) -> np.ndarray:
    Y = np.random.default_rng(0).normal(size=(columns, 40))
    return Y.T @ Y


@pytest.mark.parametrize("exponent", [0.0, 1.0])
def test_common_part_of_systems_is_diagonal_in_the_basis(exponent: float) -> None:
    plan, G = user_plan(RowRegularization(0.3, 0.3, exponent)), gram(60)
    basis = Basis.of(plan, G)
    assert (len(basis.g) == 0) == (exponent == 0.0)  # empty if all rows share λ
    for row in (0, 1, 50):
        s, reg = plan.problem.row_missing[row], plan.problem.regularization[row]
        A = s * G + reg * np.eye(40)
        diagonal = basis.reg[row] + (s * basis.g if len(basis.g) else np.zeros(40))
        np.testing.assert_allclose(basis.V.T @ A @ basis.V, np.diag(diagonal), atol=1e-9 * np.abs(A).max())
        assert basis.reg[row] * basis.bias_ratio == pytest.approx(reg * plan.problem.bias_ratio)
    np.testing.assert_allclose(basis.V @ basis.inverse, np.eye(40), atol=1e-10)


def test_basis_of_a_singular_matrix_has_eigenvectors() -> None:
    G = gram(10)
    basis = Basis.of(user_plan(RowRegularization(0.0, 0.0)), G)
    assert np.isfinite(basis.V).all()
    assert basis.g.min() >= 0.0
    np.testing.assert_allclose(basis.V * basis.g @ basis.inverse, G, atol=1e-9)


def test_basis_has_eigenvectors_if_float32_loses_precision() -> None:
    plan, G = user_plan(RowRegularization(1e-5, 1e-5)), gram(10)
    assert len(Basis.of(plan, G).g) == 0
    assert len(Basis.of(plan, G.astype(np.float32)).g) == 40
