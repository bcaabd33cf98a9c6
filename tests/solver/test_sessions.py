"""Sessions of all backends on this machine, and fits with any of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import halfstep as hs
from cluster_backend import ClusterBackend
from halfstep.errors import FitInterruptedWarning, NumericalError
from halfstep.models import als
from halfstep.solver.cpu_session import CPUBackend
from halfstep.solver.session import Backend, Session, Side
from reference_session import ReferenceBackend
from serial_engine import SerialEngine
from session_contract import SessionContract, small_table
from settings import Table

FOLDER = tempfile.TemporaryDirectory(prefix="halfstep-tests-", ignore_cleanup_errors=True)
BACKENDS: dict[str, Backend] = {
    "one thread": CPUBackend(1),
    "three threads": CPUBackend(3),
    "reference": ReferenceBackend(),
    "three blocks": ClusterBackend(SerialEngine(3), FOLDER.name),
}


class TestSessions(SessionContract):
    @pytest.fixture(params=BACKENDS.values(), ids=BACKENDS)
    def backend(self, request: pytest.FixtureRequest) -> Backend:
        return request.param


@pytest.fixture(scope="module")
def table() -> Table:
    return small_table()


OBJECTIVES: list[hs.Explicit | hs.Implicit] = [
    hs.Explicit(),
    hs.Explicit(biases=False),
    hs.Implicit(missing_weight=0.2),
]


@pytest.fixture
def on_reference(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr(als, "backend_of", lambda *_: ReferenceBackend())


@pytest.mark.filterwarnings("ignore::halfstep.errors.PoorFitWarning")
@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
@pytest.mark.parametrize("beta", [0.0, 0.8, 20.0])
def test_fits_are_equal_on_all_backends(
    objective: Any, beta: float, table: Table, on_reference: Callable[[], None]
) -> None:
    """`ALS.fit` needs only a session: defaults, extrapolation, undone iterations, early stopping."""
    options = {"rank": 2, "iterations": 8, "dtype": "float64", "random_state": 0, "tol": 1e-6}
    solver = hs.solvers.Cholesky(extrapolation=beta)
    ours = hs.ALS(objective, solver=solver, **options).fit(table.interactions)
    on_reference()
    theirs = hs.ALS(objective, solver=solver, **options).fit(table.interactions)
    assert ours.regularization_ == theirs.regularization_
    assert len(ours.history_) == len(theirs.history_)
    np.testing.assert_allclose(ours.user_factors_, theirs.user_factors_, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ours.item_factors_, theirs.item_factors_, rtol=1e-6, atol=1e-8)
    for one, other in zip(ours.history_, theirs.history_, strict=True):
        assert one.objective == pytest.approx(other.objective, rel=1e-8)


@pytest.mark.filterwarnings("ignore::halfstep.errors.PoorFitWarning")
def test_interrupted_fit_keeps_the_last_iteration_on_any_backend(
    table: Table, on_reference: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_reference()
    steps, plain = [], ReferenceBackend.open

    def interrupting(self: ReferenceBackend, *args: Any) -> Session:
        session = plain(self, *args)
        half_step = session.half_step

        def step(side: Side, solver: Any) -> None:
            half_step(side, solver)
            steps.append(side)
            if len(steps) == 6:
                raise KeyboardInterrupt

        session.half_step = step  # type: ignore[method-assign]
        return session

    options = {"rank": 2, "regularization": 1.0, "random_state": 0}
    expected = hs.ALS(hs.Implicit(), iterations=2, **options).fit(table.interactions)
    monkeypatch.setattr(ReferenceBackend, "open", interrupting)
    with pytest.warns(FitInterruptedWarning, match="after 2 of 9 iterations"):
        model = hs.ALS(hs.Implicit(), rank=2, iterations=9, regularization=1.0, random_state=0).fit(
            table.interactions
        )
    np.testing.assert_array_equal(model.item_factors_, expected.item_factors_)
    np.testing.assert_array_equal(model.user_factors_, expected.user_factors_)


def test_errors_name_the_user_on_any_backend(table: Table, on_reference: Callable[[], None]) -> None:
    on_reference()
    with pytest.raises(NumericalError, match="the system of user 0 is not positive definite"):
        hs.ALS(hs.Explicit(biases=False), rank=9, regularization=0.0, random_state=0).fit(table.interactions)
