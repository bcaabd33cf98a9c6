"""Products of all systems with a direction, against dense ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import reference
from halfstep.solver.kernels.argument_groups import CellArrays, Fixed
from halfstep.solver.kernels.products import add_products
from halfstep.solver.layout import empty_factors
from reference_session import dense
from settings import SETTINGS, Setting, Table

RANK = 5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_products_and_right_hand_sides_equal_dense_ones(setting: Setting, dtype: str) -> None:
    rng = np.random.default_rng(0)
    observed = rng.random((14, 9)) < 0.4
    table = Table(observed, rng.integers(1, 6, observed.shape).astype(float))
    users, items = setting.half_problems(table, rank=RANK, reg=0.7, rho=2.0, dtype=dtype)
    unknowns = users.unknowns
    X, P = (empty_factors(n, unknowns, dtype) for n in observed.shape)
    for F in (X, P):
        F[:, :unknowns] = rng.normal(size=(len(F), unknowns))
    rows, offsets = X.copy(), np.zeros(1, dtype)
    if users.biases:
        offsets = X[:, RANK].copy()
        rows[:, RANK] = 1.0
    cells = CellArrays(users.indptr, users.indices, users.targets, users.weights)
    products, sides = np.zeros((len(P), unknowns)), np.zeros((len(P), unknowns + 1))
    fixed = Fixed(rows, offsets, users.column_missing, RANK, users.biases)
    add_products(cells, users.row_missing, fixed, P, products, sides)
    problem = dense(users, items).transposed
    unobserved = replace(problem, observed=np.zeros_like(problem.observed))
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-10, "atol": 1e-10}
    for i in range(len(P)):
        A, b = reference.system(problem, X[:, :unknowns].astype(float), i)
        of_none = reference.system(unobserved, X[:, :unknowns].astype(float), i)[0]
        np.testing.assert_allclose(products[i], (A - of_none) @ P[i, :unknowns], **tolerance)
        np.testing.assert_allclose(sides[i, :unknowns], b, **tolerance)
        assert sides[i, unknowns] == pytest.approx((problem.w * problem.observed)[i].sum(), rel=1e-6)
