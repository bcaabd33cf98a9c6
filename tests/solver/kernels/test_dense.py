"""The linear algebra of one system against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from halfstep.solver.kernels import dense
from halfstep.solver.layout import aligned_zeros

NONE = np.empty(0, np.int32)  # observations to prefetch


@given(
    observations=st.integers(0, 70), unknowns=st.integers(1, 150), seed=st.integers(0, 9), is_float64=st.booleans()
)
def test_products_equal_numpy(observations: int, unknowns: int, seed: int, is_float64: bool) -> None:
    dtype = np.float64 if is_float64 else np.float32
    size, rng = dense.padded(unknowns), np.random.default_rng(seed)
    Z = aligned_zeros((observations, size), dtype)
    Z[:, :unknowns] = rng.normal(size=(observations, unknowns))
    A = aligned_zeros((size, size), dtype)
    A[...] = np.nan  # is overwritten if A is new
    dense.add_products(A, True, Z, observations, size, Z, NONE, 0, 0)
    dense.add_products(A, False, Z, observations, size, Z, NONE, 0, 0)
    dense.unfold(A, size)
    expected = np.eye(size) + 2 * Z.T.astype(np.float64) @ Z
    tolerance = 200 * np.finfo(dtype).eps * max(1.0, float(np.diag(expected).max()))
    np.testing.assert_allclose(np.triu(A), np.triu(expected), rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("unknowns", [16, 48, 64, 112])
def test_solutions_equal_numpy(unknowns: int, dtype: type) -> None:
    rng = np.random.default_rng(unknowns)
    Z = rng.normal(size=(3 * unknowns, unknowns)).astype(dtype)
    U = aligned_zeros((unknowns, unknowns), dtype)
    dense.add_products(U, True, Z, len(Z), unknowns, Z, NONE, 0, 0)
    dense.unfold(U, unknowns)
    A = np.eye(unknowns) + Z.T.astype(np.float64) @ Z
    b, inverse, v = (aligned_zeros((unknowns,), dtype) for _ in range(3))
    b[...] = rng.normal(size=unknowns)
    expected = np.linalg.solve(A, b.astype(np.float64))
    again, also = b.copy(), np.empty_like(v)
    assert dense.factor(U, unknowns, inverse, b, v)
    dense.solve_upper(U, unknowns, inverse, v)
    dense.solve_factored(U, unknowns, inverse, again, also)
    np.testing.assert_allclose(v, expected, rtol=0, atol=2000 * np.finfo(dtype).eps * np.abs(expected).max())
    np.testing.assert_array_equal(also, v)
