"""How kernels are compiled: three decorators, so that all of them are compiled alike."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from numba import config, extending, types
from numba.core import serialize
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.registry import CPUDispatcher, cpu_target

from halfstep._support.kernel_cache import KernelFiles

P = ParamSpec("P")
R = TypeVar("R")

# Sums may be reordered and multiply-adds fused, which is what vector units need. NaN and infinity keep their
# meaning: the factorisation looks for them.
RELAXED_ARITHMETIC = {"reassoc", "contract", "nsz", "arcp"}
OPTIONS = {
    "nopython": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": RELAXED_ARITHMETIC,
    "boundscheck": None,  # as NUMBA_BOUNDSCHECK says
    "no_cfunc_wrapper": True,  # nothing calls kernels as C functions
}


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` on its first call, for the types it is called with; keep the result on disk."""
    return cast(Callable[P, R], Kernel(function, targetoptions=OPTIONS))


def inner(function: Callable[P, R]) -> Callable[P, R]:
    """The same of what kernels call for a row or less, and which allocates nothing.

    Such a function does not count the references to its arrays, as its callers hold them: counters are shared by all
    threads, and a core that changes one has to wait for the others. It becomes part of each kernel that calls it: of
    several compiled copies, which may add up in another order, the linker would take the one that came first, and a
    process that compiles would get other last digits than those that find its kernels on disk.
    """
    return cast(Callable[P, R], Kernel(function, targetoptions={**OPTIONS, "_nrt": False, "forceinline": True}))


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function that kernels can call from one that writes its LLVM instructions; literal ints stay literal."""
    return cast(Callable[..., Any], extending.intrinsic(prefer_literal=True)(function))


def target() -> tuple[str, str, str]:
    """What kernels are compiled for: the platform, the processor and its features, as LLVM names them."""
    return cast(tuple[str, str, str], cpu_target.target_context.codegen().magic_tuple())


class Kernel(CPUDispatcher):  # type: ignore[misc]
    """A compiled function that finds its code in the cache of this package."""

    def __init__(self, py_func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(py_func, *args, **kwargs)
        files = KernelFiles.of(inspect.getfile(py_func))
        if files is not None:
            self._cache = KernelCache(py_func, files)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Resolve a call by another kernel; a number that is written there is no reason to compile once more."""
        plain = {name: types.unliteral(kind) for name, kind in kws.items()}
        return super().get_call_template(tuple(map(types.unliteral, args)), plain)


class KernelCache(NullCache):  # type: ignore[misc]
    """The cache as Numba asks for it, for one kernel."""

    def __init__(self, function: Callable[..., Any], files: KernelFiles) -> None:
        self.files = files
        self._kernel = f"{function.__module__.rpartition('.')[-1]}.{function.__qualname__}"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        target_context.refresh()
        content = self.files.read(self._name(sig, target_context.codegen()))
        return None if content is None else CompileResult._rebuild(target_context, *pickle.loads(content))

    def save_overload(self, sig: Any, data: Any) -> None:
        if not data.library.has_dynamic_globals:  # addresses, which the next process has elsewhere
            self.files.write(self._name(sig, data.library.codegen), serialize.dumps(data._reduce()))

    def _name(self, sig: Any, codegen: Any) -> str:
        settings = (config.OPT, config.BOUNDSCHECK, config.DEBUGINFO_DEFAULT)
        return self.files.name(self._kernel, codegen.magic_tuple(), repr((sig, settings)))
