"""Errors name what is missing for a GPU, and the remedy. A fake module stands for CuPy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from halfstep.errors import DeviceError
from halfstep.solver.cuda import cupy_device
from halfstep.solver.cuda.cupy_device import CupyDevice, default_device


class CUDARuntimeError(RuntimeError):
    pass


class RawModule:
    """A module whose kernels record their launches."""

    built: list[RawModule]

    def __init__(self, *, code: str, options: tuple[str, ...], backend: str) -> None:
        self.code, self.options, self.backend = code, options, backend
        self.launches: list[tuple[Any, ...]] = []
        self.found: list[str] = []
        RawModule.built.append(self)

    def get_function(self, name: str) -> Callable[..., None]:
        self.found.append(name)
        return lambda *arguments: self.launches.append((name, *arguments))


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """CuPy on a machine with a GPU, a driver of CUDA 12.8 and all libraries."""
    RawModule.built = []
    runtime = SimpleNamespace(
        driverGetVersion=lambda: 12080,
        runtimeGetVersion=lambda: 12090,
        getDeviceCount=lambda: 1,
        CUDARuntimeError=CUDARuntimeError,
    )
    device = SimpleNamespace(
        compute_capability="90", attributes={"MultiProcessorCount": 132}, mem_info=(1 << 30, 1 << 31)
    )
    fake = SimpleNamespace(
        cuda=SimpleNamespace(
            runtime=runtime, Device=lambda: device, nvrtc=SimpleNamespace(getVersion=lambda: (12, 9)), device=device
        ),
        RawModule=RawModule,
        get_default_memory_pool=lambda: SimpleNamespace(free_bytes=lambda: 5),
        matmul=np.matmul,
        asarray=np.asarray,
        asnumpy=np.asarray,
    )
    monkeypatch.setitem(sys.modules, "cupy", fake)
    default_device.cache_clear()
    yield fake
    default_device.cache_clear()


def test_default_device_is_the_gpu(cupy: SimpleNamespace) -> None:
    device = default_device()
    assert device is default_device()
    assert device.xp is cupy
    assert device.processors == 132
    assert device.free_memory() == (1 << 30) + 5


def test_kernels_are_compiled_once_for_each_set_of_constants(cupy: SimpleNamespace) -> None:
    device = CupyDevice(cupy)
    for rank in (3, 3, 4):
        device.kernel("cg", "conjugate_gradients", RANK=rank)(7, 32, np.int32(5), "array")
    assert [(module.options, module.backend) for module in RawModule.built] == [(("--std=c++17",), "nvrtc")] * 2
    assert RawModule.built[1].code.startswith("#define RANK 4\n")
    assert RawModule.built[1].code.isascii()  # whatever the encoding of the locale
    launched = "conjugate_gradients", (7,), (32,), (np.int32(5), "array")
    assert [module.found for module in RawModule.built] == [["conjugate_gradients"]] * 2
    assert [module.launches for module in RawModule.built] == [[launched] * 2, [launched]]


def test_cupy_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    default_device.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r"requires CuPy: run pip install 'halfstep\[cuda12\]'"):
        default_device()


def test_cupy_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cupy.py").write_text("raise ImportError('libcuda is broken\\nlong help')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    with pytest.raises(DeviceError, match=r"CuPy cannot be imported \(libcuda is broken\)"):
        cupy_device._cupy()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "runtime.driverGetVersion",
            lambda: 0,
            "no NVIDIA driver is installed .*: install one, or set backend='cpu'",
        ),
        (
            "runtime.driverGetVersion",
            lambda: 11040,
            "the NVIDIA driver supports CUDA 11.4, but CuPy requires CUDA 12:",
        ),
        (
            "runtime.getDeviceCount",
            raising(CUDARuntimeError("cudaErrorNoDevice: none\nmore")),
            "cudaErrorNoDevice: none$",
        ),
        ("runtime.getDeviceCount", lambda: 0, "there is no NVIDIA GPU"),
        ("device.compute_capability", "61", r"compute capability 6\.1, but 7\.5 \(Turing\) or later"),
        (
            "nvrtc.getVersion",
            raising(RuntimeError("libnvrtc.so.12\n")),
            r"CUDA libraries \(libnvrtc\.so\.12\): run pip",
        ),
    ],
)
def test_what_is_missing(cupy: SimpleNamespace, path: str, value: object, message: str) -> None:
    where, name = path.split(".")
    setattr(getattr(cupy.cuda, where), name, value)
    with pytest.raises(DeviceError, match=message):
        default_device()


def test_cublas_that_is_missing(cupy: SimpleNamespace) -> None:
    cupy.matmul = raising(ImportError("libcublas"))
    with pytest.raises(DeviceError, match=r"CUDA libraries \(libcublas\)"):
        default_device()


def test_products_in_lower_precision(cupy: SimpleNamespace) -> None:
    """With CUPY_TF32=1, lists of the top n could be wrong."""
    cupy.matmul = lambda a, b: np.matmul(a.astype(np.float16), b).astype(np.float32)
    with pytest.raises(DeviceError, match="lower precision: unset CUPY_TF32"):
        default_device()


def test_compute_capability_of_two_digits_before_the_point(cupy: SimpleNamespace) -> None:
    cupy.cuda.device.compute_capability = "100"
    assert default_device().processors == 132
