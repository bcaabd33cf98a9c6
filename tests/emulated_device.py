"""A device that runs CUDA kernels on the CPU, compiled by g++ with ``emulator.h``."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from halfstep.solver.cuda.sources import source_of

HEADER = Path(__file__).parent / "emulator.h"
CACHE = Path(__file__).parents[1] / ".pytest_cache" / "emulator"
OPTIONS = [
    *("-O0", "-std=gnu++17", "-w", "-shared", "-fPIC"),
    *("-U_FORTIFY_SOURCE", "-fno-strict-aliasing", "-ftrivial-auto-var-init=pattern"),
]
KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\((?:[^()]|\([^()]*\))*\)\s*)?(\w+)\s*\('
)
ORDERS = {"forward": (0, 0), "reversed": (1, 0), "shuffled": (2, 1), "shuffled again": (2, 2)}
"""Orders of the threads of a block, with their seeds."""


def require_compiler() -> None:
    """Skip a test if g++ is not installed; in continuous integration, let it fail."""
    if shutil.which("g++") is not None:
        return
    if os.environ.get("HALFSTEP_TEST_SERVICES") == "required":
        pytest.fail("g++ is not installed")
    pytest.skip("g++ is not installed")


class DeviceArray(np.ndarray):
    """An array of the emulated device. As in CuPy, it cannot be mixed with arrays of NumPy."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        return _on_device(getattr(ufunc, method), *inputs, **options)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, options: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} of an array of the device: use device.xp")


def _to_host(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_to_host(each) for each in value)
    if isinstance(value, DeviceArray):
        return value.view(np.ndarray)
    if isinstance(value, np.ndarray):
        raise TypeError("an array of NumPy where an array of the device is needed: use device.asarray")
    return value


def _on_device(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    found = function(*_to_host(args), **{name: _to_host(value) for name, value in options.items()})
    if isinstance(found, tuple):
        return tuple(_as_device(each) for each in found)
    return _as_device(found)


def _as_device(value: Any) -> Any:
    if isinstance(value, np.generic):  # as in CuPy, where results of reductions have no dimensions
        value = np.asarray(value)
    return value.view(DeviceArray) if isinstance(value, np.ndarray) else value


class DeviceFunctions:
    """The functions of NumPy, of arrays of the emulated device."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if isinstance(found, type) or not callable(found):
            return found
        return lambda *args, **options: _on_device(found, *args, **options)


class EmulatedKernel:
    def __init__(self, library: ctypes.CDLL, name: str, device: EmulatedDevice) -> None:
        signature = getattr(library, f"signature_of_{name}")
        signature.restype = ctypes.c_char_p
        self._launch = getattr(library, f"launch_{name}")
        self._launch.restype = ctypes.c_char_p
        self.name, self._device, self._codes = name, device, signature().decode().split()

    def __call__(self, blocks: int, threads: int, *arguments: Any) -> None:
        assert blocks > 0, f"{self.name}: {blocks} blocks"
        assert 0 < threads <= 1024, f"{self.name}: {threads} threads"
        assert len(arguments) == len(self._codes), f"{self.name}: {len(arguments)} of {len(self._codes)} arguments"
        values = [
            self._value(n, code, given) for n, (code, given) in enumerate(zip(self._codes, arguments, strict=True))
        ]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        failure = self._launch(blocks, threads, pointers, *ORDERS[self._device.order])
        self._device.launches.append(self.name)
        if failure is not None:
            raise AssertionError(failure.decode())

    def _value(self, n: int, code: str, given: Any) -> np.ndarray:
        """Return an array with the value of an argument, which for an array is its address."""
        what = f"{self.name}, argument {n}"
        if code[0] not in "*>":
            assert isinstance(given, np.generic), f"{what}: {type(given).__name__} instead of a NumPy scalar"
            assert given.dtype == np.dtype(code), f"{what}: {given.dtype} instead of {np.dtype(code)}"
            return np.array([given])
        assert isinstance(given, DeviceArray), f"{what}: {type(given).__name__} instead of an array of the device"
        assert given.dtype == np.dtype(code[1]), f"{what}: {given.dtype} instead of {np.dtype(code[1])}"
        assert given.flags.c_contiguous, f"{what}: not contiguous"
        assert given.flags.writeable or code[0] == "*", f"{what}: read-only"
        return np.array([given.ctypes.data])


class EmulatedDevice:
    """Implement `halfstep.solver.cuda.device.Device` without a GPU.

    Parameters
    ----------
    order : str
        The order in which the threads of a block run, a key of `ORDERS`.
    memory : int
        What `free_memory` returns.

    Attributes
    ----------
    launches : list of str
        The names of the kernels that were launched.
    """

    xp: Any = DeviceFunctions()
    processors = 2

    def __init__(self, order: str = "forward", memory: int = 1 << 30) -> None:
        require_compiler()
        self.order, self._memory = order, memory
        self.launches: list[str] = []
        self._libraries: dict[str, ctypes.CDLL] = {}

    def kernel(self, source: str, name: str, **constants: int | str) -> EmulatedKernel:
        return self.compiled(source_of(source, constants), name)

    def compiled(self, text: str, name: str) -> EmulatedKernel:
        """Return a kernel of a source that is not in the package."""
        if text not in self._libraries:
            self._libraries[text] = ctypes.CDLL(str(_compile(text)))
        return EmulatedKernel(self._libraries[text], name, self)

    def asarray(self, array: np.ndarray) -> DeviceArray:
        return np.array(array, order="C").view(DeviceArray)

    def asnumpy(self, array: DeviceArray) -> np.ndarray:
        return np.array(array.view(np.ndarray))

    def free_memory(self) -> int:
        return self._memory


def _compile(text: str) -> Path:
    """Compile a source to a library in the cache, which parallel runs of the tests share."""
    exports = "".join(f"EMULATED_KERNEL({name})\n" for name in KERNEL.findall(text))
    return _built(
        f"{_digest(text)}.so",
        ["-include", str(_header()), "-x", "c++", "-"],
        f"{text}\n{exports}",
    )


@cache
def _header() -> Path:
    """Return the path of the header beside its compiled form, which g++ then uses; parsing takes most of its time."""
    folder = f"{_digest('')}.header"
    header = CACHE / folder / HEADER.name
    if not header.exists():
        _built(f"{folder}/{HEADER.name}.gch", ["-x", "c++-header", str(HEADER)])
        header.write_bytes(HEADER.read_bytes())
    return header


def _digest(text: str) -> str:
    return hashlib.sha256("\0".join([HEADER.read_text(), text, *OPTIONS]).encode()).hexdigest()[:24]


def _built(name: str, arguments: list[str], text: str = "") -> Path:
    """Return a file of the cache, which g++ builds if it is missing."""
    path = CACHE / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        building = path.with_name(f"{path.name}.{os.getpid()}")
        command = ["g++", *OPTIONS, *arguments, "-o", str(building)]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        building.replace(path)
    return path
