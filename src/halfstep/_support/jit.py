"""Decorators that compile kernels."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from numba import config, extending, types
from numba.core import serialize
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher, cpu_target

from halfstep._support import host_locks
from halfstep._support.kernel_cache import KernelFiles

P = ParamSpec("P")
R = TypeVar("R")

# Allow reordered sums and fused multiply-adds for vectorization, but keep NaN and infinity, which are checked.
RELAXED_ARITHMETIC = {"reassoc", "contract", "nsz", "arcp"}
OPTIONS = {
    "nopython": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": RELAXED_ARITHMETIC,
    "boundscheck": None,  # set by NUMBA_BOUNDSCHECK
    "no_cfunc_wrapper": True,  # kernels are not called as C functions
}


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function on its first call for the types of its arguments, and cache it on disk."""
    return cast(Callable[P, R], Kernel(function, targetoptions=OPTIONS))


def inner(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that kernels call for each row, and that does not allocate.

    It does not count references to its arrays, since threads would contend for the counters. It is always inlined:
    otherwise the linker would choose the first of several compiled copies, which may differ in the order of sums, and
    the results of a process that compiles would differ from those of a process that loads cached kernels.
    """
    return cast(Callable[P, R], Kernel(function, targetoptions={**OPTIONS, "_nrt": False, "forceinline": True}))


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function for kernels from one that emits its LLVM instructions; literal integers stay literal."""
    return cast(Callable[..., Any], extending.intrinsic(prefer_literal=True)(function))


def target() -> tuple[str, str, str]:
    """Return the platform, the processor and its features, by their names in LLVM."""
    return cast(tuple[str, str, str], cpu_target.target_context.codegen().magic_tuple())


class Kernel(CPUDispatcher):  # type: ignore[misc]
    """A compiled function with the cache of this package."""

    def __init__(self, py_func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        super().__init__(py_func, *args, **kwargs)
        files = KernelFiles.of(inspect.getfile(py_func))
        if files is not None:
            self._cache = KernelCache(py_func, files)

    def compile(self, sig: Any) -> Any:
        """Load or compile for the types of arguments."""
        with global_compiler_lock:
            try:
                return super().compile(sig)
            finally:
                if isinstance(self._cache, KernelCache):
                    self._cache.release(sig)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Resolve a call by another kernel, without compiling again for literal numbers."""
        plain = {name: types.unliteral(kind) for name, kind in kws.items()}
        return super().get_call_template(tuple(map(types.unliteral, args)), plain)


class KernelCache(NullCache):  # type: ignore[misc]
    """The cache of one kernel, with the interface of Numba."""

    def __init__(self, function: Callable[..., Any], files: KernelFiles) -> None:
        self.files = files
        self._kernel = f"{function.__module__.rpartition('.')[-1]}.{function.__qualname__}"
        self._held: dict[Any, str] = {}  # locks by the types of arguments

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        target_context.refresh()
        name = self._name(sig, target_context.codegen())
        content = self.files.read(name)
        if content is None:
            host_locks.acquire(self.files.temporary, name)
            self._held[sig] = name
            content = self.files.read(name)  # another process may have compiled it meanwhile
        return None if content is None else CompileResult._rebuild(target_context, *pickle.loads(content))

    def save_overload(self, sig: Any, data: Any) -> None:
        if not data.library.has_dynamic_globals:  # addresses, which are valid in this process only
            self.files.write(self._name(sig, data.library.codegen), serialize.dumps(data._reduce()))

    def release(self, sig: Any) -> None:
        """Let other processes load or compile."""
        name = self._held.pop(sig, None)
        if name is not None:
            host_locks.release(self.files.temporary, name)

    def _name(self, sig: Any, codegen: Any) -> str:
        settings = (config.OPT, config.BOUNDSCHECK, config.DEBUGINFO_DEFAULT)
        return self.files.name(self._kernel, codegen.magic_tuple(), repr((sig, settings)))
