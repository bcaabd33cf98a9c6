"""Factors of at least 0 compared with cmfrec on MovieLens 1M: ``python -m benchmarks.nonnegative``.

Both libraries minimize the same objective with the same λ, in as many iterations, on all cores; times are medians of
alternating fits. ``--write`` puts the table into ``docs/speed.md``. ``--only NAME`` makes one fit and nothing else,
for programs that time processes.

Data: the folder ``ncf-ml-1m`` in the folder that HALFSTEP_DATA names, as in `benchmarks.ncf`; the implicit objective
ignores the ratings in ``ml-1m.train.pairs.tsv``.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

import halfstep as hs
from benchmarks.marks import ROOT, table, write_between
from benchmarks.peers.contenders import peers_threads
from benchmarks.peers.machine import THREADS, describe
from benchmarks.peers.ratings import time_alternately
from halfstep.objective.problem import half_problems

ALPHA = 1.0  # of the implicit objective
LAMBDA: Mapping[str, float] = {"implicit": 1.0, "explicit": 10.0}  # the defaults of cmfrec
Factors = tuple[np.ndarray, np.ndarray]


class Case(NamedTuple):
    """An objective, with the number of factors and of iterations."""

    kind: str
    rank: int
    iterations: int


def load(kind: str) -> hs.Interactions:
    folder = Path(os.environ.get("HALFSTEP_DATA", "nowhere")) / "ncf-ml-1m"
    if not folder.is_dir():
        raise SystemExit(f"there is no folder {folder}: set HALFSTEP_DATA to the folder that contains ncf-ml-1m")
    pairs = np.loadtxt(folder / "ml-1m.train.pairs.tsv", dtype=np.int64)
    values = pairs[:, 2].astype(float) if kind == "explicit" else np.ones(len(pairs))
    return hs.Interactions.from_arrays(pairs[:, 0], pairs[:, 1], values)


def ours(case: Case) -> hs.ALS:
    """Return the estimator with the objective of `theirs`, and the default solver."""
    if case.kind == "implicit":
        preset = hs.presets.cmfrec(case.rank, LAMBDA[case.kind], ALPHA, case.iterations, nonneg=True)
    else:
        plain: dict[str, Any] = {"user_bias": False, "item_bias": False, "center": False}
        preset = hs.presets.cmfrec_explicit(case.rank, LAMBDA[case.kind], niter=case.iterations, nonneg=True, **plain)
    return preset.set_params(solver="auto", random_state=0, progress=False)


def theirs(case: Case) -> Any:
    """Return the model of cmfrec; its documentation advises against centering with nonnegative factors."""
    import cmfrec

    options: dict[str, Any] = {
        "k": case.rank,
        "lambda_": LAMBDA[case.kind],
        "niter": case.iterations,
        "nonneg": True,
        "nthreads": THREADS,
        "precompute_for_predictions": False,
        "verbose": False,
    }
    if case.kind == "implicit":
        return cmfrec.CMF_implicit(alpha=ALPHA, **options)
    return cmfrec.CMF(user_bias=False, item_bias=False, center=False, **options)


def matrix(data: hs.Interactions) -> sparse.coo_matrix:
    cells = data.values, (data.user_positions, data.item_positions)
    return sparse.coo_matrix(cells, (data.n_users, data.n_items)).astype(np.float32)


def objective(case: Case, data: hs.Interactions, factors: Factors) -> float:
    """Return J in float64, by its definition."""
    P, Q = (F.astype(np.float64) for F in factors)
    scores, cells = P @ Q.T, (data.user_positions, data.item_positions)
    if case.kind == "explicit":
        loss = ((data.values - scores[cells]) ** 2).sum()
    else:
        observed = scores[cells]
        loss = ((1 + ALPHA * data.values) * (1 - observed) ** 2).sum() + (scores**2).sum() - (observed**2).sum()
    return float(loss + LAMBDA[case.kind] * ((P**2).sum() + (Q**2).sum()))


def violation(model: hs.ALS, data: hs.Interactions) -> float:
    """Return the largest violation of the optimality conditions over all users, as defined in ``docs/speed.md``."""
    objective = model.objective_
    problem = half_problems(
        data,
        objective.cost(data),
        rank=model.item_factors_.shape[1],
        regularization=model.regularization_.for_rows,
        dtype="float64",
    )[0]
    X, Y = model.user_factors_.astype(np.float64), model.item_factors_.astype(np.float64)
    s, m = problem.row_missing, problem.column_missing
    G = (Y.T * m) @ Y if len(m) else np.zeros((Y.shape[1],) * 2)
    worst = 0.0
    for u, x in enumerate(X):
        cells = slice(problem.indptr[u], problem.indptr[u + 1])
        y = Y[problem.indices[cells]]
        w, t = (np.broadcast_to(each, problem.indices.shape)[cells] for each in (problem.weights, problem.targets))
        weights = w - s[u] * m[problem.indices[cells]] if len(m) else w
        A = (y.T * weights) @ y + (s[u] * G if len(m) else 0.0) + problem.regularization[u] * np.eye(len(x))
        b, root = y.T @ (w * t), np.sqrt(np.diag(A))
        g = A @ x - b
        worst = max(worst, np.abs(np.where(x == 0, np.minimum(g, 0), g) / root).max() / np.abs(b / root).max())
    return worst


def measured(case: Case, data: hs.Interactions) -> list[str]:
    """Return a line of the table."""
    model = ours(case)
    name = f"{case.kind}, rank {case.rank}, {case.iterations} iterations"
    model.fit(data)  # compiles
    if importlib.util.find_spec("cmfrec") is None:
        own, other, value = float("nan"), float("nan"), float("nan")
    else:
        peer, given = theirs(case), matrix(data)
        with peers_threads():
            own, other = time_alternately(lambda: model.fit(data), lambda: peer.fit(given))
        value = objective(case, data, (peer.A_, peer.B_))
    mine = objective(case, data, (model.user_factors_, model.item_factors_))
    zeros = (model.item_factors_ == 0).mean()
    return [
        name,
        f"{own:.1f}",
        f"{other:.1f}",
        f"{other / own:.1f}",
        f"{mine:,.0f}",
        f"{value:,.0f}",
        f"{100 * zeros:.0f}%",
        f"{violation(model, data):.0e}",
    ]


HEAD = (
    "objective, MovieLens 1M",
    " seconds",
    " seconds, cmfrec",
    " ratio",
    " J",
    " J, cmfrec",
    " item factors that are 0",
    " violation",
)


def fit_alone(name: str, case: Case) -> None:
    """Make a single fit."""
    data = load(case.kind)
    alone: Mapping[str, Callable[[], Any]] = {
        "halfstep": lambda: ours(case).fit(data),
        "cmfrec": lambda: theirs(case).fit(matrix(data)),
    }
    with peers_threads():
        alone[name]()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rank", type=int, nargs="+", default=[16, 64], help="ranks (default: 16 64)")
    parser.add_argument("--iterations", type=int, default=20, help="iterations (default: 20)")
    parser.add_argument("--kind", nargs="+", choices=[*LAMBDA], default=[*LAMBDA], help="objectives (default: both)")
    parser.add_argument("--only", choices=["halfstep", "cmfrec"], help="make one fit of this library")
    parser.add_argument("--write", action="store_true", help="write the table to docs/speed.md")
    options = parser.parse_args(arguments)
    cases = [Case(kind, rank, options.iterations) for kind in options.kind for rank in options.rank]
    if options.only is not None:
        fit_alone(options.only, cases[0])
        return
    data = {kind: load(kind) for kind in options.kind}
    lines = table(HEAD, [measured(case, data[case.kind]) for case in cases])
    machine = describe()
    versions = f"cmfrec {machine.versions['cmfrec']}" if machine.versions["cmfrec"] else "cmfrec is not installed"
    text = f"{machine.processor}, {machine.cores} cores; {versions}.\n\n{lines}"
    print(text)
    if options.write:
        write_between(ROOT / "docs" / "speed.md", "nonnegative", text)


if __name__ == "__main__":
    main()
