"""An NVIDIA GPU, through CuPy, which is imported here only."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep.errors import DeviceError
from halfstep.solver.cuda.device import Kernel
from halfstep.solver.cuda.sources import OPTIONS, source_of

OLDEST = 75  # compute capability 7.5 (Turing), the oldest of CUDA 13
INSTALL = "run pip install 'halfstep[cuda12]', or 'halfstep[cuda13]' for driver 580 or later; or set backend='cpu'"


@cache
def default_device() -> CupyDevice:
    """Return the current GPU of CuPy; the same object, with its compiled kernels, in all calls.

    Raises
    ------
    ModuleNotFoundError
        If CuPy is not installed.
    DeviceError
        If no GPU can be used, with the reason.
    """
    return CupyDevice(_cupy())


class CupyDevice:
    """A GPU; see `halfstep.solver.cuda.device.Device`.

    Kernels are compiled by NVRTC for this GPU. CuPy stores them on disk, so that the next process only loads them.
    """

    def __init__(self, cupy: ModuleType) -> None:
        self.xp: Any = cupy
        self._modules: dict[str, Any] = {}
        self._kernels: dict[tuple[str, str, tuple[tuple[str, int | str], ...]], Kernel] = {}
        _check_driver(cupy)
        _check_gpu(cupy)
        _check_libraries(cupy)

    def kernel(self, source: str, name: str, **constants: int | str) -> Kernel:
        key = source, name, tuple(constants.items())
        if key not in self._kernels:  # found in a microsecond, because a half-step takes milliseconds
            self._kernels[key] = self._compiled(source_of(source, constants), name)
        return self._kernels[key]

    def _compiled(self, text: str, name: str) -> Kernel:
        if text not in self._modules:
            code = text.encode("ascii", "replace").decode()  # CuPy writes it to a file in the encoding of the locale
            self._modules[text] = self.xp.RawModule(code=code, options=OPTIONS, backend="nvrtc")
        function = self._modules[text].get_function(name)

        def launch(blocks: int, threads: int, *arguments: Any) -> None:
            function((blocks,), (threads,), arguments)

        return launch

    def asarray(self, array: NDArray[Any]) -> Any:
        return self.xp.asarray(array)

    def asnumpy(self, array: Any) -> NDArray[Any]:
        copied: NDArray[Any] = self.xp.asnumpy(array)
        return copied

    @property
    def processors(self) -> int:
        return int(self.xp.cuda.Device().attributes["MultiProcessorCount"])

    def free_memory(self) -> int:
        free, _ = self.xp.cuda.Device().mem_info
        return int(free) + int(self.xp.get_default_memory_pool().free_bytes())


def _cupy() -> ModuleType:
    try:
        import cupy
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"backend='cuda' requires CuPy: {INSTALL}", name="cupy") from error
    except ImportError as error:
        raise DeviceError(f"CuPy cannot be imported ({_line(error)}): {INSTALL}") from error
    module: ModuleType = cupy
    return module


def _check_driver(cupy: ModuleType) -> None:
    """Check that a driver is installed and supports the version of CUDA that CuPy is built for."""
    runtime = cupy.cuda.runtime
    driver, needed = int(runtime.driverGetVersion()), int(runtime.runtimeGetVersion()) // 1000
    if driver == 0:
        raise DeviceError(
            "no NVIDIA driver is installed (or this container has no access to it): install one, or set backend='cpu'"
        )
    if driver // 1000 < needed:
        raise DeviceError(
            f"the NVIDIA driver supports CUDA {driver // 1000}.{driver % 1000 // 10}, but CuPy requires CUDA "
            f"{needed}: update the driver, or install CuPy for an older version of CUDA"
        )


def _check_gpu(cupy: ModuleType) -> None:
    """Check that there is a GPU, and that it is not too old."""
    try:
        gpus = int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(f"no GPU can be used: {_line(error)}") from error
    if gpus == 0:
        raise DeviceError("there is no NVIDIA GPU: set backend='cpu'")
    capability = str(cupy.cuda.Device().compute_capability)
    if int(capability) < OLDEST:
        raise DeviceError(
            f"the GPU has compute capability {capability[:-1]}.{capability[-1]}, but 7.5 (Turing) or later is "
            "required: set backend='cpu'"
        )


def _check_libraries(cupy: ModuleType) -> None:
    """Check that CuPy finds the compiler and BLAS of CUDA, and that products of matrices have float32 precision."""
    numbers = np.full((64, 64), 1.0 + 2.0**-12, np.float32)  # TF32 rounds them to 1
    try:
        cupy.cuda.nvrtc.getVersion()
        product = cupy.asnumpy(cupy.matmul(cupy.asarray(numbers), cupy.asarray(np.eye(64, dtype=np.float32))))
    except (ImportError, RuntimeError, OSError) as error:
        raise DeviceError(f"CuPy cannot find the CUDA libraries ({_line(error)}): {INSTALL}") from error
    if not np.array_equal(product, numbers):
        raise DeviceError("CuPy multiplies float32 matrices in lower precision: unset CUPY_TF32")


def _line(error: Exception) -> str:
    """Return the first line of a message."""
    return (str(error).splitlines() or [type(error).__name__])[0]
