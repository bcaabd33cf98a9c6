"""Gramians against dense ones, and when they are known."""

from __future__ import annotations

import numpy as np
import pytest

from halfstep.models import gramians
from halfstep.models.gramians import Gramians, gram


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [0, 1, 5_000])
def test_a_gramian_is_that_of_the_twin_for_any_number_of_threads(
    rows: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    F = rng.normal(size=(rows, 7)).astype(dtype)
    for m in (np.ones(rows), np.full(rows, 0.3), rng.random(rows)):
        G = gram(m, F)
        np.testing.assert_allclose(G, (F.T.astype(float) * m) @ F.astype(float), rtol=1e-11, atol=1e-11)
        monkeypatch.setattr(gramians, "WORTH_THREADS", 0)
        for threads in (1, 2, 5):
            np.testing.assert_array_equal(gram(m, F, threads), G)


def test_what_is_known() -> None:
    rng = np.random.default_rng(0)
    F, m = rng.normal(size=(50, 4)), rng.random(50)
    m[3] = 0.0
    G = gram(m, F)
    known = Gramians()
    assert known.known("user", m, F) is None
    known.put("user", m, F, G)
    np.testing.assert_array_equal(known.known("user", m.copy(), F), G)
    np.testing.assert_allclose(known.known("user", 5.0 * m, F), 5.0 * G, rtol=1e-12)
    assert known.known("item", m, F) is None
    assert known.known("user", m, F.copy()) is None
    assert known.known("user", np.append(m, 1.0), F) is None
    for changed in (0, 3):
        other = m.copy()
        other[changed] += 1e-9
        assert known.known("user", other, F) is None
        np.testing.assert_allclose(known.of("item", other, F), gram(other, F), rtol=1e-12)
    assert known.known("item", other, F) is not None


def test_factors_are_not_kept_alive() -> None:
    known, F = Gramians(), np.ones((5, 2))
    known.of("user", np.ones(5), F)
    same_place = np.ones((5, 2))
    del F
    assert known.known("user", np.ones(5), same_place) is None


def test_weights_of_zero() -> None:
    known, F = Gramians(), np.ones((5, 2))
    known.of("user", np.zeros(5), F)
    np.testing.assert_array_equal(known.known("user", np.zeros(5), F), np.zeros((2, 2)))
    assert known.known("user", np.ones(5), F) is None
