"""Forged sparse matrices and lists in every function that accepts them, with bounds checks in kernels.

Run as ``python -m benchmarks.stress.sparse_matrices [cases]``. A separate process compiles the kernels with
``NUMBA_BOUNDSCHECK=1`` into a separate cache, which takes minutes the first time. Loops that check every index read
the expected cells from the arrays of a matrix: each function uses these, or raises hs.errors.DataError.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

import halfstep as hs
from benchmarks.stress.forged import FORMATS, cells_of, forge, made, random_dense
from halfstep.data import IndexLists, Interactions
from halfstep.solver.top_n import best_columns, best_of_given

CASES = 3000
SHAPE = (6, 5)
CACHE = Path(tempfile.gettempdir()) / "halfstep-with-bounds-checks"

SUMMED = ("user_features", "item_features", "fold_in with features", "frobenius")  # sum duplicates

Reader = Callable[[Any], np.ndarray]


def als(**parameters: Any) -> hs.ALS:
    return hs.ALS(rank=2, iterations=1, random_state=0, threads=1, **parameters)


def readers() -> dict[str, Reader]:
    """Return functions that accept a sparse matrix of `SHAPE`, and return numbers that depend on all its values."""
    data = sp.csr_array(np.arange(1.0, 31).reshape(SHAPE))
    model = als().fit(data)
    features_model = als().fit(data, user_features=data)

    def imported(matrix: Any) -> np.ndarray:
        factors = np.ones((SHAPE[0], 2)), np.ones((SHAPE[1], 2))
        return hs.persistence.from_arrays(*factors, interactions=matrix).recommend(n=5).scores

    def fitted(matrix: Any) -> np.ndarray:
        found = als().fit(matrix)
        return np.append(found.user_factors_.ravel(), found.recommend(n=3).scores.ravel())

    return {
        "from_sparse": lambda matrix: Interactions.from_sparse(matrix).to_sparse().toarray(),
        "fit": fitted,
        "fold_in": lambda matrix: model.fold_in(matrix).user_factors_,
        "partial_fit": lambda matrix: als().fit(data).partial_fit(matrix, duplicates="last").item_factors_,
        "user_features": lambda matrix: als().fit(data, user_features=matrix).user_factors_,
        "item_features": lambda matrix: als().fit(data.T.tocsr(), item_features=matrix).item_factors_,
        "fold_in with features": lambda matrix: features_model.fold_in(data, user_features=matrix).user_factors_,
        "from_arrays": imported,
        "frobenius": lambda matrix: np.array(hs.metrics.frobenius(matrix, np.ones((6, 2)), np.ones((5, 2)))),
    }


def outcome(name: str, read: Reader, matrix: Any) -> str:
    """Return the outcome of a function: "accepted" or "refused", or else the fault."""
    cells = cells_of(matrix, summed=name in SUMMED)
    try:
        found = read(matrix)
    except hs.errors.DataError as error:
        is_right = cells is None or (len(cells) == 0 and name not in SUMMED)
        return "refused" if is_right else f"refused, though valid: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if cells is None:
        return "accepted, though not valid"
    rows, columns = np.array(list(cells), int).reshape(-1, 2).T
    clean = sp.coo_array((list(cells.values()), (rows, columns)), shape=matrix.shape).tocsr()
    return "accepted" if np.array_equal(found, read(clean), equal_nan=True) else "accepted as something else"


def list_outcome(rng: np.random.Generator) -> str:
    """Return the outcome of rankings with random lists of columns, most of which are invalid."""
    indptr = np.concatenate([[0], np.cumsum(rng.integers(0, 4, 3))])
    indices = rng.integers(-1, 8, indptr[-1]).astype(np.int32)
    if rng.random() < 0.5:
        indices = np.concatenate([np.unique(rng.integers(0, 7, n)) for n in np.diff(indptr)]).astype(np.int32)
        indptr = np.minimum(indptr, len(indices))
    lists = IndexLists(indptr, indices)
    rows = [indices[begin:end].tolist() for begin, end in pairwise(indptr)]
    is_valid = indptr[-1] == len(indices) and all(row == sorted(row) and set(row) <= set(range(7)) for row in rows)
    P, Q, c = rng.normal(size=(3, 2)), rng.normal(size=(7, 2)), rng.normal(size=7)
    try:
        left, _ = best_columns(P, Q, c, 7, skip=lists, threads=1)
        chosen, _ = best_of_given(P, Q, c, 7, given=lists, threads=1)
    except hs.errors.DataError:
        return "refused" if not is_valid else "lists refused, though valid"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    for listed, without, within in zip(rows, left.tolist(), chosen.tolist(), strict=True):
        row = sorted(set(listed))
        if sorted(without)[len(row) :] != sorted(set(range(7)) - set(row)) or sorted(within)[7 - len(row) :] != row:
            return "lists accepted as something else"
    return "accepted" if is_valid else "lists accepted, though not valid"


def main(cases: int = CASES) -> int:
    """Run all cases and print the outcomes; return how many are faults."""
    began, rng, readers_by_name = time.perf_counter(), np.random.default_rng(0), readers()
    outcomes, faults = Counter[str](), 0
    for number in range(cases):
        name = list(readers_by_name)[number % len(readers_by_name)]
        matrix = made(FORMATS[number % len(FORMATS)], random_dense(rng, SHAPE), as_matrix=bool(rng.integers(2)))
        if rng.random() < 0.8:
            matrix = forge(matrix, rng)
        for found in (f"{name}: {outcome(name, readers_by_name[name], matrix)}", f"lists: {list_outcome(rng)}"):
            is_fault = not found.endswith((": accepted", ": refused"))
            outcomes["fault" if is_fault else found] += 1
            faults += is_fault
            if is_fault:
                print(f"case {number}, {matrix.format}: {found}", flush=True)
    for found, count in sorted(outcomes.items()):
        print(f"{count:6,}  {found}")
    print(f"{2 * cases:,} cases in {time.perf_counter() - began:.0f} s, {faults} faults")
    return faults


def with_bounds_checks(arguments: list[str]) -> int:
    """Run this module in a process whose kernels check bounds; a crash is an exit status, too."""
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(CACHE)}
    command = [sys.executable, "-W", "error", "-m", "benchmarks.stress.sparse_matrices", *arguments]
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    if os.environ.get("NUMBA_BOUNDSCHECK") == "1":
        sys.exit(min(main(*map(int, sys.argv[1:])), 1))
    sys.exit(with_bounds_checks(sys.argv[1:]))
