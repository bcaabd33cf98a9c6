"""How kernels are compiled: two decorators, so that all of them are compiled alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba import extending

P = ParamSpec("P")
R = TypeVar("R")

# Sums may be reordered and multiply-adds fused, which is what vector units need. NaN and infinity keep their
# meaning: the factorisation looks for them.
RELAXED_ARITHMETIC = {"reassoc", "contract", "nsz", "arcp"}


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` on its first call, for the types it is called with; keep the result on disk."""
    options = {"nogil": True, "error_model": "numpy", "fastmath": RELAXED_ARITHMETIC}
    try:
        compiled = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder that can be written to: compiled anew in every process, but it works
        compiled = numba.njit(**options)(function)
    return cast(Callable[P, R], compiled)


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function that kernels can call from one that writes its LLVM instructions; literal ints stay literal."""
    return cast(Callable[..., Any], extending.intrinsic(prefer_literal=True)(function))
