"""Machines whose vectors are half as wide: the kernels written for vectors, compiled as for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from thorough import THOROUGH

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
from halfstep.solver.kernels import _llvm
_llvm.HAS_WIDE_REGISTERS, _llvm.WIDE_BYTES = False, 32  # before other modules import them
sys.path.insert(0, sys.argv[1])
import numpy as np
import halfstep as hs
import reference
from settings import SETTINGS, Table, half_step_and_loss
from halfstep.solver import precision
from halfstep.solvers import Cholesky, ConjugateGradient, Subspace
from thorough import THOROUGH

precision.fewest_approximate = lambda *_: 0
solvers = {"cholesky": Cholesky(), "cg": ConjugateGradient(steps=120), "subspace": Subspace()}
rng = np.random.default_rng(0)
table = Table(rng.random((60, 90)) < 0.5, rng.choice([-1.0, 0.0, 1.0, 2.5, 5.0], (60, 90)))
(setting,) = [each for each in SETTINGS if each.name == "ials"]
problem = setting.problem(table, rank=37, reg=0.5, rho=2.0)
Y = rng.normal(size=(90, 37))
expected = reference.half_step(problem, Y)
for dtype, precision, names in (
    ("float64", 1e-9, ["cholesky"] if THOROUGH else []),  # compiling is slow
    ("float32", 1e-3, ["cholesky", "cg", "subspace"]),
):
    half_problem, _ = setting.half_problems(table, rank=37, reg=0.5, rho=2.0, dtype=dtype)
    for solver in names:
        options = {"dtype": dtype, "start": 0 * expected, "solver": solvers[solver]}
        X, loss = half_step_and_loss(half_problem, Y.astype(dtype), **options)
        np.testing.assert_allclose(X, expected, rtol=precision, atol=precision, err_msg=f"{dtype} {solver}")
        np.testing.assert_allclose(loss, reference.terms(problem, X.astype(float), Y)[:2], rtol=10 * precision)
        print(dtype, solver, X.tobytes().hex(), *(float(each).hex() for each in loss))
"""


def run(cache: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(Path(__file__).parents[2])],
        capture_output=True,
        text=True,
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)},  # whose keys do not include the changed width
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_half_steps_with_narrow_vectors_equal_dense_solutions(tmp_path: Path) -> None:
    """Compiled kernels and those of the cache have equal results."""
    compiled = run(tmp_path)
    solvers = [*(["cholesky"] if THOROUGH else []), "cholesky", "cg", "subspace"]
    assert [line.split()[1] for line in compiled.splitlines()] == solvers
    kernels = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}
    assert kernels
    assert run(tmp_path) == compiled
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")} == kernels
