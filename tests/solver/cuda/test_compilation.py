"""NVIDIA's compiler accepts all kernels, as the library launches them, for all supported architectures."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import pytest

import nvrtc
from emulated_device import DeviceFunctions, EmulatedDevice
from halfstep.data import IndexLists
from halfstep.solver.cuda.device import Kernel
from halfstep.solver.cuda.session import CudaBackend
from halfstep.solver.cuda.sources import OPTIONS, source_of
from halfstep.solver.cuda.top_n import best_columns
from halfstep.solver.session import Side
from halfstep.solvers import Cholesky, ConjugateGradient
from session_contract import start_of
from settings import SETTINGS, Table
from thorough import THOROUGH, only_thorough

DTYPES = ("float32", "float64")
PROBLEMS = [(64, "float32"), (128, "float64"), (128, "float32"), (64, "float64")]
EACH_ONCE = list(zip(PROBLEMS, nvrtc.ARCHITECTURES, strict=True))
COMBINATIONS = list(product(PROBLEMS, nvrtc.ARCHITECTURES)) if THOROUGH else [EACH_ONCE[0], EACH_ONCE[-1]]
LARGE = list(product((256, 512), DTYPES))
LARGEST_STATIC = 48 * 1024  # bytes of shared memory that every GPU has


class Zeros(DeviceFunctions):
    """Arrays that are not initialized are zeros, because no kernel writes to them."""

    empty = staticmethod(DeviceFunctions().zeros)


class RecordingDevice(EmulatedDevice):
    """A device that records the sources of kernels instead of running them."""

    xp = Zeros()

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}

    def kernel(self, source: str, name: str, **constants: int | str) -> Kernel:
        text = source_of(source, constants)
        self.texts[text] = f"{source} {' '.join(f'{macro}={value}' for macro, value in constants.items())}"
        return lambda blocks, threads, *arguments: None


def table() -> Table:
    """Return a table with rows of all lengths for which there are kernels."""
    lengths = np.repeat([5, 20, 50, 100, 200, 300], 30)
    return Table(np.arange(300) < lengths[:, None], np.ones((len(lengths), 300)))


@cache
def launched(rank: int, dtype: str) -> dict[str, str]:
    """Return the sources of all kernels of fits of a rank, and their constants."""
    device = RecordingDevice()
    for setting in SETTINGS:
        if setting.name in {"biased", "ials", "signed-biased-missing"}:
            problems = setting.half_problems(table(), rank=rank, reg=2.0, rho=2.0, dtype=dtype)
            with CudaBackend(device).open(*problems, start_of(problems, dtype)) as session:
                for solver in Cholesky(), ConjugateGradient():
                    session.half_step(Side.USERS, solver)
                session.terms()
    for c in np.zeros(40), np.ones(40):
        best_columns(device, np.ones((2, rank), dtype), np.ones((40, rank), dtype), c, 10, skip=IndexLists.empty(2))
    return device.texts


@pytest.fixture(autouse=True)
def compiler() -> None:
    nvrtc.require_nvrtc()


@pytest.mark.slow
@pytest.mark.parametrize(("problem", "architecture"), COMBINATIONS, ids=str)
def test_kernels_compile_without_spilling_registers(problem: tuple[int, str], architecture: int) -> None:
    texts = launched(*problem)
    assert {constants.split()[0] for constants in texts.values()} >= {"exact", "dual", "loss", "cg", "top_n"}
    for text, constants in texts.items():
        for name, usage in nvrtc.usage_of(text, OPTIONS, architecture).items():
            assert usage.spilled == 0, f"{name} of {constants}: {usage}"
            assert usage.shared <= LARGEST_STATIC, f"{name} of {constants}: {usage}"


@only_thorough
@pytest.mark.slow
@pytest.mark.parametrize(("rank", "dtype"), LARGE)
def test_kernels_of_large_ranks_fit_the_shared_memory(rank: int, dtype: str) -> None:
    for text, constants in launched(rank, dtype).items():
        for name, usage in nvrtc.usage_of(text, OPTIONS, 90).items():
            assert usage.shared <= LARGEST_STATIC, f"{name} of {constants}: {usage}"


def test_errors_and_warnings_of_the_compiler_are_shown() -> None:
    for body, message in (
        ("int unused;", "declared but never referenced"),
        ("x = 1;", 'identifier "x" is undefined'),
    ):
        with pytest.raises(AssertionError, match=message):
            nvrtc.usage_of(f'extern "C" __global__ void kernel() {{ {body} }}', OPTIONS, 90)


def test_usage_is_that_of_the_kernel() -> None:
    """A copy of 300 numbers in a loop that the compiler unrolls needs more registers than there are."""
    text = """extern "C" __global__ void kernel(const float *a, float *b) {
  __shared__ float shared[96];
  float own[300];
#pragma unroll
  for (int i = 0; i < 300; i++) own[i] = a[i * 96 + threadIdx.x];
  shared[threadIdx.x] = own[0];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 300; i++) b[i * 96 + threadIdx.x] = own[i] * own[299 - i] + shared[95 - threadIdx.x];
}"""
    usage = nvrtc.usage_of(text, OPTIONS, 90)["kernel"]
    assert usage.registers > 200
    assert usage.spilled > 0
    assert usage.shared == 96 * 4
