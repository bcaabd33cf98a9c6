"""Models with backend="cuda", on an emulated device, compared with those of the CPU."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import halfstep as hs
from emulated_device import EmulatedDevice
from halfstep.errors import NumericalError, ParameterError
from halfstep.solver import backends, subset

pytestmark = pytest.mark.slow

OBJECTIVES = [hs.Explicit(), hs.Implicit(), hs.Implicit(observed_weight=hs.weights.confidence(2.0))]
NEW = {"new": {0: 5.0, 1: 1.0, 2: 4.0}, "other": {3: 2.0}}


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> EmulatedDevice:
    device = EmulatedDevice()
    monkeypatch.setattr(backends, "default_device", lambda: device)
    monkeypatch.setattr(backends, "RANKED_ON_GPU", 1)
    monkeypatch.setattr(subset, "WORTH_THREADS", 0)
    return device


@pytest.fixture(scope="module")
def data() -> hs.Interactions:
    rng = np.random.default_rng(0)
    users, items = np.divmod(np.unique(rng.integers(0, 60 * 40, 700)), 40)
    return hs.Interactions.from_arrays(users, items, rng.integers(1, 6, len(users)).astype(float))


def fitted(data: hs.Interactions, objective: Any = OBJECTIVES[1], **parameters: Any) -> tuple[hs.ALS, hs.ALS]:
    settings = {"rank": 6, "iterations": 4, "random_state": 0, "progress": False} | parameters
    on_cpu, on_gpu = (hs.ALS(objective, **settings, backend=backend).fit(data) for backend in ("cpu", "cuda"))
    return on_cpu, on_gpu


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_fits_and_recommendations_equal_those_of_the_cpu(objective: Any, data: hs.Interactions) -> None:
    on_cpu, on_gpu = fitted(data, objective)
    np.testing.assert_allclose(on_gpu.user_factors_, on_cpu.user_factors_, atol=1e-5)
    np.testing.assert_allclose(on_gpu.item_factors_, on_cpu.item_factors_, atol=1e-5)
    assert on_gpu.history_[-1].objective == pytest.approx(on_cpu.history_[-1].objective, rel=1e-6)
    for one, other in ((on_gpu, on_cpu), (on_gpu.fold_in(NEW), on_cpu.fold_in(NEW))):
        found, expected = (model.recommend(n=5).to_frame("pandas") for model in (one, other))
        assert found["item"].tolist() == expected["item"].tolist()
        np.testing.assert_allclose(found["score"], expected["score"], atol=1e-5)


def test_little_work_stays_on_the_cpu(data: hs.Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted(data)[1]
    used: list[str] = []
    monkeypatch.setattr(backends, "default_device", lambda: used.append("device") or EmulatedDevice())
    model.recommend(n=3)
    model.fold_in(NEW)
    assert len(used) == 2
    monkeypatch.setattr(backends, "RANKED_ON_GPU", 1000)
    monkeypatch.setattr(subset, "WORTH_THREADS", 10**7)
    model.recommend(n=3)
    model.fold_in(NEW)
    assert len(used) == 2


def test_callbacks_and_tolerance_work_as_on_the_cpu(data: hs.Interactions) -> None:
    seen: list[float] = []
    model = fitted(
        data, iterations=50, tol=1e-3, callbacks=[lambda model: seen.append(model.history_[-1].objective)]
    )[1]
    assert len(model.history_) < 50
    assert seen[-len(model.history_) :] == [each.objective for each in model.history_]
    assert np.all(np.diff([each.objective for each in model.history_]) < 0)


def test_high_ranks_are_solved_exactly(data: hs.Interactions) -> None:
    on_cpu, on_gpu = hs.ALS(rank=64), hs.ALS(rank=64, backend="cuda")
    assert isinstance(on_cpu._solver, hs.solvers.ConjugateGradient)
    assert isinstance(on_gpu._solver, hs.solvers.Cholesky)
    assert isinstance(hs.ALS(rank=257, backend="cuda")._solver, hs.solvers.ConjugateGradient)


def test_what_is_not_on_the_gpu_is_refused_before_anything_is_computed(data: hs.Interactions) -> None:
    with pytest.raises(ParameterError, match="does not support side information: set backend='cpu'"):
        hs.ALS(implicit_features=True, backend="cuda").fit(data)
    with pytest.raises(ParameterError, match="does not support solver='subspace': set solver='cg'"):
        hs.ALS(solver="subspace", backend="cuda").fit(data)
    with pytest.raises(ParameterError, match="backend='gpu'"):
        hs.ALS(backend="gpu").fit(data)  # type: ignore[arg-type]


def test_users_that_cannot_be_solved_are_named(data: hs.Interactions) -> None:
    model = hs.ALS(hs.Explicit(biases=False), rank=6, regularization=0.5, random_state=0, backend="cuda").fit(data)
    object.__setattr__(model._fitted, "regularization", hs.Regularization(0.0, 0.0, 0.0, 1.0))
    with pytest.raises(NumericalError, match="the system of user 'new' is not positive definite"):
        model.fold_in(NEW)


def test_saved_models_do_not_require_a_gpu(data: hs.Interactions, tmp_path: Path) -> None:
    model = fitted(data)[1]
    model.save(tmp_path / "model.halfstep")
    assert hs.load(tmp_path / "model.halfstep").backend == "cpu"
    for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert copied.backend == "cuda"
        assert copied.recommend([0], 3).to_frame("pandas").equals(model.recommend([0], 3).to_frame("pandas"))
