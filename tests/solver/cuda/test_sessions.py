"""Sessions on the emulated device."""

from __future__ import annotations

import pytest

from emulated_device import EmulatedDevice
from halfstep.solver.cuda.session import CudaBackend
from halfstep.solver.session import Backend
from halfstep.solvers import ConjugateGradient, Solver
from session_contract import SessionContract

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def device() -> EmulatedDevice:
    return EmulatedDevice()


class TestSessions(SessionContract):
    @pytest.fixture
    def backend(self, device: EmulatedDevice) -> Backend:
        return CudaBackend(device)

    @pytest.fixture
    def approximate(self) -> Solver:
        return ConjugateGradient()
