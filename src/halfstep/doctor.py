"""Report on the environment: versions, processor, compiled kernels, and the speed of this machine.

>>> import halfstep as hs
>>> report = hs.doctor.examine(measure=False)
>>> report.versions["halfstep"] == hs.__version__
True
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from halfstep._support.checks import check_flag
from halfstep._support.integer_sets import distinct
from halfstep._support.jit import Kernel, target
from halfstep._support.kernel_archive import read_archive, write_archive
from halfstep._support.kernel_cache import CacheContent, KernelFiles
from halfstep._support.version import __version__
from halfstep.data import Interactions
from halfstep.data import kernels as data_kernels
from halfstep.models.als import ALS, EXACT_RANK
from halfstep.models.bayesian.bayesian_als import BayesianALS
from halfstep.models.sgd import SGD
from halfstep.objective.objective import Explicit, Implicit
from halfstep.objective.problem import half_problems
from halfstep.objective.regularization import RowRegularization
from halfstep.solver import kernels as solver_kernels
from halfstep.solver.cpu import CPU
from halfstep.solver.layout import empty_factors
from halfstep.solver.schedule import LEAST_SEGMENT
from halfstep.solver.threads import available_cores
from halfstep.solvers import NAMES

REQUIRED = ("numpy", "scipy", "numba", "llvmlite")  # their versions affect speed and compiled kernels
OPTIONAL = ("matplotlib", "pandas", "polars", "pyarrow")  # plots and dataframes

RANK = 64  # of the measured half-steps
N_USERS, N_ITEMS, SAMPLED = 20_000, 5_000, 1_000_000  # of their data
GEMM_SIZE = 1536
COPIED_BYTES = 1 << 27  # larger than caches
SECONDS_EACH = 0.3  # for each measurement

VECTOR_BITS = {"+avx512f": 512, "+avx2": 256}  # by features as LLVM names them
OTHER_VECTOR_BITS = 128  # SSE, NEON
WIDE_BLAS = ("SkylakeX", "Cooperlake", "SapphireRapids")  # OpenBLAS's kernels with vectors of 512 bits


class Blas(NamedTuple):
    """A loaded BLAS library, such as those of NumPy and SciPy."""

    name: str
    version: str
    architecture: str
    threads: int


class Speed(NamedTuple):
    """Measured speeds.

    Attributes
    ----------
    gemm_one_core, gemm_all_cores : float
        GFLOP/s of a large float32 matrix product.
    copy : float
        GB/s of a memory copy, counting reads and writes.
    first_call : float
        Seconds of the first half-step of the process, including loading or compiling kernels.
    compiled : int
        The number of kernels that were compiled for it.
    half_steps : dict
        Nanoseconds per observed cell of a half-step at rank 64, by solver.
    """

    gemm_one_core: float
    gemm_all_cores: float
    copy: float
    first_call: float
    compiled: int
    half_steps: dict[str, float]


@dataclass(frozen=True)
class EnvironmentReport:
    """The result of `examine`.

    Attributes
    ----------
    versions : dict
        By name; None if an optional package is not installed.
    processor : str
        Its name in the operating system, and the target of compiled kernels.
    cores, machine_cores : int
        The cores that are available to this process, and those of the machine.
    vector_bits : int
        The vector width of kernels.
    blas : list of Blas
    kernels : list of CacheContent
        Folders that are searched for compiled kernels, in this order; empty if the sources are not files.
    speed : Speed or None
        None if not measured.
    advice : list of str
        Problems and remedies.
    """

    versions: dict[str, str | None]
    processor: str
    cores: int
    machine_cores: int
    vector_bits: int
    blas: list[Blas]
    kernels: list[CacheContent]
    speed: Speed | None
    advice: list[str]


class Warmth(NamedTuple):
    """The result of `warm`: the number of compiled kernels, and the time taken."""

    compiled: int
    seconds: float


def examine(*, measure: bool = True) -> EnvironmentReport:
    """Examine this installation and this machine.

    Parameters
    ----------
    measure : bool
        Whether to measure speeds, which takes a few seconds.

    Returns
    -------
    EnvironmentReport
    """
    check_flag("measure", measure)
    speed = _measure() if measure else None  # first, so that the report includes the kernels that this compiles
    triple, processor, features = target()
    vector_bits = next((bits for name, bits in VECTOR_BITS.items() if name in features), OTHER_VECTOR_BITS)
    blas = [
        Blas(each["internal_api"], each["version"] or "", each.get("architecture", ""), each["num_threads"])
        for each in threadpool_info()
        if each["user_api"] == "blas"
    ]
    versions = {"halfstep": __version__, "Python": platform.python_version()} | {
        name: _version(name) for name in REQUIRED + OPTIONAL
    }
    kernels = [holding for files in _packages().values() for holding in files.contents(target())]
    return EnvironmentReport(
        versions,
        f"{_processor()} ({triple.partition('-')[0]}, {processor})",
        available_cores(),
        os.cpu_count() or 1,
        vector_bits,
        blas,
        kernels,
        speed,
        _advise(vector_bits, blas, kernels),
    )


def warm() -> Warmth:
    """Compile the kernels of models with default precisions that are not in the cache.

    These are the kernels of all objectives at low and high ranks, of recommending, folding in, explaining and
    updating, and of `BayesianALS` and `SGD`. Later processes load them from the cache.

    Returns
    -------
    Warmth
    """
    began, before = time.perf_counter(), _compiled()
    n_users, n_items = LEAST_SEGMENT + 64, 48  # all users have item 0, which is a long row
    users = np.concatenate([np.arange(n_users), np.repeat(np.arange(n_items), n_items)])
    items = np.concatenate([np.zeros(n_users, np.int64), np.tile(np.arange(n_items), n_items)])
    data = Interactions.from_arrays(users, items, 1.0 + users % 5, duplicates="last")
    history = {"new": {0: 1.0, 1: 5.0}}
    more = Interactions.from_arrays([0, n_users], [1, 2], [1.0, 2.0])
    objectives = (
        Explicit(),
        Explicit(biases=True),
        Explicit(missing_weight=1.0),
        Implicit(),
        Implicit(
            observed_weight=0.5, missing_weight=1.0
        ),  # not positive definite in float32: solved again in float64
    )
    for objective in objectives:
        for rank in (8, EXACT_RANK + 8):
            model = ALS(objective, rank=rank, iterations=1, random_state=0, progress=False).fit(data)
            model.recommend([0, 1], 3)
            model.recommend([0, 1], 3, candidates=[1, 2])
            model.fold_in(history)
            model.explain(0, 1)
            model.partial_fit(more)
        ALS(objective, rank=EXACT_RANK + 8, iterations=1, solver="subspace", progress=False).fit(data)
    ALS(Explicit(nonnegative=True), rank=8, iterations=1, random_state=0, progress=False).fit(data).fold_in(history)
    for objective in (Explicit(biases=True), Implicit()):
        model = ALS(objective, rank=8, iterations=2, implicit_features=True, random_state=0, progress=False)
        model.fit(data).fold_in(history)
    for rank in (8, 16):  # with systems in float64 and in float32
        sampled = BayesianALS(rank=rank, iterations=2, burn_in=1, random_state=0, progress=False).fit(data)
        sampled.predict([0], [1], interval=0.9)
        sampled.recommend([0, 1], 3)
        sampled.fold_in(history)
        ordinal = BayesianALS(ordinal=True, rank=rank, iterations=2, burn_in=1, random_state=0, progress=False)
        ordinal.fit(data).fold_in({"new": {0: 1.0}}).predict(["new"], [1])
    SGD(rank=8, iterations=1, random_state=0, progress=False).fit(data).recommend([0], 3)
    return Warmth(_compiled() - before, time.perf_counter() - began)


def export_kernels(path: str | os.PathLike[str]) -> int:
    """Write the compiled kernels to a file, for machines with the same versions and kind of processor.

    Call `warm` before, so that all kernels are compiled.

    Parameters
    ----------
    path : path-like
        A ZIP file, which is replaced if it exists.

    Returns
    -------
    int
        The number of kernels.

    Raises
    ------
    DataError
        If no kernels are compiled.
    OSError
        If the file cannot be written.
    """
    return write_archive(Path(path), _packages(), target())


def import_kernels(path: str | os.PathLike[str]) -> int:
    """Add the kernels of a file of `export_kernels` to the cache of this machine.

    Kernels are code, which is executed without further checks: only import files from sources you trust.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    int
        The number of kernels.

    Raises
    ------
    DataError
        If the file is damaged, or was exported by other versions or for another processor.
    OSError
        If the file cannot be read, or no folder for kernels can be written.
    """
    return read_archive(Path(path), _packages(), target())


def clear() -> None:
    """Delete all compiled kernels of this installation.

    Raises
    ------
    OSError
        If one cannot be deleted.
    """
    for files in _packages().values():
        files.clear()


def _packages() -> dict[str, KernelFiles]:
    """Return the compiled kernels of each package of kernels; empty if the sources are not files."""
    packages = {"data": data_kernels, "solver": solver_kernels}
    found = {name: KernelFiles.of(cast(str, each.__file__)) for name, each in packages.items()}
    return {name: files for name, files in found.items() if files is not None}


def _measure() -> Speed:
    A = np.random.default_rng(0).normal(size=(GEMM_SIZE, GEMM_SIZE)).astype(np.float32)
    rates = []
    for threads in (1, available_cores()):
        with threadpool_limits(threads, user_api="blas"):
            rates.append(2e-9 * GEMM_SIZE**3 / _fastest(lambda: A @ A))
    source = np.zeros(COPIED_BYTES, np.uint8)
    target = np.ones_like(source)
    copy = 2e-9 * COPIED_BYTES / _fastest(lambda: np.copyto(target, source))

    rng = np.random.default_rng(0)
    popularity = 1.0 / (10.0 + np.arange(N_ITEMS)) ** 0.9
    items = rng.choice(N_ITEMS, SAMPLED, p=popularity / popularity.sum())
    cells = distinct(rng.integers(N_USERS, size=SAMPLED) * N_ITEMS + items)
    data = Interactions.from_arrays(cells // N_ITEMS, cells % N_ITEMS)
    cost = Implicit(missing_weight=0.1).cost(data)
    problem, _ = half_problems(data, cost, rank=RANK, regularization=RowRegularization(1.0, 1.0), dtype="float32")
    X, Y = (empty_factors(n, RANK, np.float32) for n in (data.n_users, data.n_items))
    Y[:, :RANK] = rng.normal(0.0, 0.1, (data.n_items, RANK))
    with CPU() as backend:
        plan = backend.plan(problem)
        began, before = time.perf_counter(), _compiled()
        backend.half_step(plan, Y, X)
        first_call = time.perf_counter() - began
        compiled = _compiled() - before
        half_steps = {
            name: 1e9 * _fastest(partial(backend.half_step, plan, Y, X, solver=solver())) / len(data)
            for name, solver in NAMES.items()
        }
    return Speed(rates[0], rates[1], copy, first_call, compiled, half_steps)


def _fastest(run: Callable[[], object]) -> float:
    """Return the seconds of the fastest of some runs."""
    run()
    times: list[float] = []
    while not times or sum(times) < SECONDS_EACH:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def _advise(vector_bits: int, blas: list[Blas], kernels: list[CacheContent]) -> list[str]:
    advice = []
    if kernels and not any(each.is_writable for each in kernels):
        folders = " and ".join(str(each.folder) for each in kernels)
        advice.append(
            f"compiled kernels cannot be cached, because {folders} cannot be written to: set HALFSTEP_CACHE to a "
            "writable folder"
        )
    narrow = {each.architecture for each in blas if each.name == "openblas"}.difference(WIDE_BLAS)
    if vector_bits == max(VECTOR_BITS.values()) and narrow:
        chosen = os.environ.get("OPENBLAS_CORETYPE")
        remedy = f"unset OPENBLAS_CORETYPE, which is {chosen}" if chosen else f"set OPENBLAS_CORETYPE={WIDE_BLAS[0]}"
        advice.append(
            f"OpenBLAS uses kernels for {', '.join(sorted(narrow))}, with half the vector width of this processor: "
            f"{remedy}, and compare the measured speed"
        )
    crowded = {each.threads for each in blas if each.threads > available_cores()}
    if crowded:
        advice.append(
            f"BLAS uses {max(crowded)} threads on {available_cores()} cores, which slow each other down: "
            f"set OPENBLAS_NUM_THREADS, OMP_NUM_THREADS or MKL_NUM_THREADS to {available_cores()}"
        )
    return advice


def _compiled() -> int:
    """Return the number of kernels that this process has compiled."""
    kernels = {
        each
        for name, module in list(sys.modules.items())
        if name.startswith(("halfstep.data.kernels.", "halfstep.solver.kernels."))
        for each in vars(module).values()
        if isinstance(each, Kernel)
    }
    return sum(sum(each.stats.cache_misses.values()) for each in kernels)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """Return the name of the processor in the operating system."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
