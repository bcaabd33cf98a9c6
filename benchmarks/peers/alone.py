"""Memory of a fit and start-up time, each measured in a new process."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.machine import THREADS, is_installed
from benchmarks.peers.measurements import OURS, Memory, Start
from benchmarks.peers.problems import REGULARIZATION, WEIGHT, Problem

RANK, ITERATIONS = 64, 2
STARTS = 3  # for the median

# A small fit loads and compiles first; then the peak is reset.
MEMORY = """
import json, re, sys, warnings
from pathlib import Path
import numpy as np, scipy.linalg
from scipy import sparse
warnings.simplefilter("ignore")
def mebibytes(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
path, rank, iterations, weight, regularization, threads = json.loads(sys.argv[1])
def run(users, items):
    before = mebibytes("VmRSS")
    {data}
    Path("/proc/self/clear_refs").write_text("5")
    held = mebibytes("VmRSS")
    {fit}
    return [held - before, mebibytes("VmHWM") - held]
few = np.arange(1000)
run(few, few % 100)
users, items = np.load(path)
print("\\n" + json.dumps(run(users, items)))
"""
CSR = "data = sparse.csr_matrix((np.ones(len(users), np.float32), (users, items)))"
COO = CSR.replace("csr_matrix", "coo_matrix")
OWN_DATA = "import halfstep as hs; data = hs.Interactions.from_arrays(users, items); data.by_user"
OWN_FIT = (
    "hs.ALS(hs.Implicit(observed_weight=weight), rank=rank, iterations=iterations, progress=False, solver={!r})"
    ".fit(data)"
)
IMPLICIT = (
    "from implicit.cpu.als import AlternatingLeastSquares as Peer; "
    "Peer(factors=rank, iterations=iterations, num_threads=threads).fit(data, show_progress=False)"
)
IRSPACK = (
    "from irspack import IALSRecommender as Peer; "
    "Peer(data, n_components=rank, train_epochs=iterations, alpha0=1.0, reg=regularization, "
    "n_threads=threads).learn()"
)
CMFREC = (
    "from cmfrec import CMF_implicit as Peer; "
    "Peer(k=rank, niter=iterations, nthreads=threads, verbose=False, precompute_for_predictions=False)"
    ".fit(data)"
)
FITS = {
    "halfstep": (OURS, OWN_DATA, OWN_FIT.format("auto")),
    "halfstep, Cholesky": (OURS, OWN_DATA, OWN_FIT.format("cholesky")),
    "implicit, CG": ("implicit", CSR, IMPLICIT),
    "irspack, CG": ("irspack", CSR, IRSPACK),
    "cmfrec, CG": ("cmfrec", COO, CMFREC),
}

START = """
import json, time
import numpy as np
rng = np.random.default_rng(0)
users, items = rng.integers(500, size=20_000), rng.integers(300, size=20_000)
began = time.perf_counter()
{imports}
imported = time.perf_counter()
{data}
taken = [imported - began]
for _ in range(2):
    began = time.perf_counter()
    {fit}
    taken.append(time.perf_counter() - began)
print("\\n" + json.dumps(taken))
"""
STARTS_OF = {
    OURS: (
        "import halfstep as hs; hs.ALS",
        "data = hs.Interactions.from_arrays(users, items, duplicates='last')",
        "hs.ALS(hs.Implicit(), rank=64, iterations=1, progress=False).fit(data)",
    ),
    "implicit": (
        "import warnings; warnings.simplefilter('ignore'); "
        "from implicit.cpu.als import AlternatingLeastSquares as Peer",
        "from scipy import sparse; data = sparse.csr_matrix((np.ones(20_000, np.float32), (users, items)))",
        "Peer(factors=64, iterations=1).fit(data, show_progress=False)",
    ),
    "irspack": (
        "from irspack import IALSRecommender as Peer",
        "from scipy import sparse; data = sparse.csr_matrix((np.ones(20_000, np.float32), (users, items)))",
        "Peer(data, n_components=64, train_epochs=1, alpha0=1.0).learn()",
    ),
    "cmfrec": (
        "from cmfrec import CMF_implicit as Peer",
        "from scipy import sparse; data = sparse.coo_matrix((np.ones(20_000, np.float32), (users, items)))",
        "Peer(k=64, niter=1, verbose=False, precompute_for_predictions=False).fit(data)",
    ),
}


def in_new_process(package: str, code: str, *arguments: str, environment: dict[str, str] | None = None) -> Any:
    """Return the last line that a program prints as JSON; for peers, BLAS has one thread, as they recommend."""
    one_thread = {} if package == OURS else {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | one_thread | (environment or {}),
    )
    for line in reversed(done.stdout.splitlines()):
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(line)
    raise ValueError(f"there is no JSON in the output of {code}: {done.stdout}")


def memory(problem: Problem) -> list[Memory]:
    """Return the memory of the data, and of fits in addition."""
    rows, factors = 8 * (len(problem.users) + sum(problem.shape) / 2) / 2**20, 4 * RANK * sum(problem.shape) / 2**20
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.npy"
        np.save(path, np.array([problem.users, problem.items], dtype=np.int64))
        given = json.dumps([str(path), RANK, ITERATIONS, WEIGHT, REGULARIZATION, THREADS])
        for name, (package, data, fit) in FITS.items():
            if is_installed(package):
                held, on_top = in_new_process(package, MEMORY.format(data=data, fit=fit), given)
                found.append(Memory(name, package, held, on_top, rows, factors))
    return found


def starts() -> list[Start]:
    """Time the import, a first and a second fit of 20,000 pairs; for halfstep also with an empty cache."""
    found = []
    for package, (imports, data, fit) in STARTS_OF.items():
        if is_installed(package):
            code = START.format(imports=imports, data=data, fit=fit)
            in_new_process(package, code)  # reads files into memory, and compiles kernels
            taken = np.median([in_new_process(package, code) for _ in range(STARTS)], axis=0)
            found.append(Start(package, *taken.tolist()))
    with tempfile.TemporaryDirectory() as empty:
        imports, data, fit = STARTS_OF[OURS]
        code = START.format(imports=imports, data=data, fit=fit)
        cold = in_new_process(OURS, code, environment={"NUMBA_CACHE_DIR": empty})
    return [*found, Start(f"{OURS}, empty cache", *cold)]
