"""NVIDIA's compiler of kernels at run time, which needs no GPU, from its wheel."""

from __future__ import annotations

import ctypes
import os
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

ARCHITECTURES = (75, 80, 90, 100)  # Turing, Ampere, Hopper, Blackwell


class Usage(NamedTuple):
    """What the compiler reports of a kernel: registers of a thread, and bytes."""

    registers: int
    stack: int
    spilled: int
    shared: int


def require_nvrtc() -> None:
    """Skip a test if NVRTC is not installed; in continuous integration, let it fail."""
    if _library() is None:
        reason = "nvidia-cuda-nvrtc-cu12 is not installed"
        (pytest.fail if os.environ.get("HALFSTEP_TEST_SERVICES") == "required" else pytest.skip)(reason)


@cache
def _library() -> ctypes.CDLL | None:
    package = find_spec("nvidia")
    folders = [] if package is None else [Path(folder) for folder in package.submodule_search_locations or ()]
    pattern = "nvrtc64_*_0.dll" if os.name == "nt" else "libnvrtc.so.*"
    found = sorted(path for folder in folders for path in folder.glob(f"*/*/{pattern}") if "alt" not in path.name)
    return ctypes.CDLL(str(found[0])) if found else None


@cache  # some kernels are the same for several ranks
def usage_of(text: str, options: tuple[str, ...], architecture: int) -> dict[str, Usage]:
    """Compile a source to machine code; return the usage of each kernel.

    Raises
    ------
    AssertionError
        With the compiler's messages if it does not compile, or compiles with warnings.
    """
    library = _library()
    assert library is not None
    program = ctypes.c_void_p()
    assert library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernel.cu", 0, None, None) == 0
    options = (f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v", *options)
    status = library.nvrtcCompileProgram(
        program, len(options), (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    )
    size = ctypes.c_size_t()
    assert library.nvrtcGetProgramLogSize(program, ctypes.byref(size)) == 0
    log = ctypes.create_string_buffer(size.value)
    assert library.nvrtcGetProgramLog(program, log) == 0
    assert library.nvrtcDestroyProgram(ctypes.byref(program)) == 0
    report = log.value.decode()
    assert status == 0, report
    assert "warning" not in report, report
    return _parsed(report)


def _parsed(report: str) -> dict[str, Usage]:
    patterns = r"Used (\d+) registers", r"(\d+) bytes stack", r"(\d+) bytes spill", r"(\d+) bytes smem"
    kernels = re.split(r"Compiling entry function '(\w+)'", report)[1:]
    return {
        name: Usage(*(sum(int(number) for number in re.findall(pattern, text)) for pattern in patterns))
        for name, text in zip(kernels[::2], kernels[1::2], strict=True)
    }
