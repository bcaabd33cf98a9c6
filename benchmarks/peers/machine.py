"""The machine, and the installed packages."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import sys
import time

import numpy as np
import scipy.linalg  # noqa: F401 - loads the BLAS of implicit and cmfrec, for threadpoolctl
from threadpoolctl import threadpool_limits

import halfstep as hs
from benchmarks.peers.measurements import Machine
from halfstep.solver.threads import available_cores

THREADS = available_cores()
PEERS = {"implicit": "implicit", "irspack": "irspack", "cmfrec": "cmfrec", "surprise": "scikit-surprise"}
SETTINGS = ("OPENBLAS_", "OMP_", "MKL_")  # variables that change the speed of BLAS and of peers
GEMM_SIZE = 4096
SLOW = 8.0  # seconds; longer fits are not repeated


def without_settings() -> None:
    """Restart this program without settings of BLAS, which reads them once, if the environment has any."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    if len(kept) < len(os.environ):
        sys.stdout.flush()
        os.execve(sys.executable, sys.orig_argv, kept)


def describe() -> Machine:
    found = hs.doctor.examine(measure=False)
    blas = tuple(sorted({f"{each.name} {each.version} ({each.architecture})" for each in found.blas}))
    versions = {name: found.versions[name] for name in ("halfstep", "Python", "numpy", "scipy", "numba")}
    versions |= {name: version(name) for name in PEERS.values()}
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return Machine(found.processor, found.cores, platform.system(), blas, versions, today)


def version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def is_installed(package: str) -> bool:
    """Return whether a package is installed."""
    return package not in PEERS or version(PEERS[package]) is not None


def gemm_rate() -> float:
    """Return the GFLOP/s of a large float32 product on all cores, the best of three."""
    a = np.ones((GEMM_SIZE, GEMM_SIZE), np.float32)
    seconds = []
    with threadpool_limits(THREADS, user_api="blas"):
        for _ in range(3):
            began = time.perf_counter()
            a @ a
            seconds.append(time.perf_counter() - began)
    return 2e-9 * GEMM_SIZE**3 / min(seconds)
