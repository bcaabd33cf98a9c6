"""Time of each library to an equal objective or NDCG@10, with alternating fits."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

import numpy as np

from benchmarks.peers.contenders import CONTENDERS, Contender, Watch
from benchmarks.peers.machine import SLOW, gemm_rate, is_installed
from benchmarks.peers.measurements import OURS, Fit, Race
from benchmarks.peers.problems import HeldOut, Problem

ITERATIONS = 10  # of the contender that determines the target
MORE_ITERATIONS = 14  # maximum for the others
EXACT_ITERATIONS = 3
NDCG_ITERATIONS, NDCG_SHARE = 15, 0.995
ROUNDS = 3
CACHED_RUN = 50_000  # pairs of the fit that compiles


def to_objective(title: str, problem: Problem, rank: int) -> Race:
    """Time fits to the objective of the first contender after `ITERATIONS`, and iterations of exact solvers."""
    contenders = [each for each in CONTENDERS if is_installed(each.package) and rank <= each.highest_rank]
    compile_kernels(problem, rank, contenders)
    gemm, first = gemm_rate(), contenders[0]
    scored: dict[str, Watch] = {}
    target = -np.inf
    for each in contenders:
        if not each.exact:
            watch = Watch(problem.objective, lambda score, least=target: score <= least)
            run(each, problem, rank, ITERATIONS if each is first else MORE_ITERATIONS, watch, title)
            scored[each.name] = watch
            if each is first:
                target = watch.scores[-1]
    timed = time_alternately(contenders, problem, rank, scored, title)
    flops = 2 * (len(problem.users) * rank * (rank + 1) + sum(problem.shape) * rank**3 / 6)
    fits = [
        fit(
            each,
            scored.get(each.name),
            timed[each.name],
            lambda score: score <= target,
            flops / gemm / 1e9 if each.exact else None,
        )
        for each in contenders
    ]
    of_target = f"that of {first.name} after {ITERATIONS} iterations"
    return Race(title, str(problem), rank, "objective", target, of_target, gemm, fits)


def to_ndcg(title: str, problem: Problem, rank: int) -> Race:
    """Time fits to nearly the best NDCG@10 that all peers reach."""
    contenders = [
        each for each in CONTENDERS if is_installed(each.package) and not each.exact and rank <= each.highest_rank
    ]
    held_out = HeldOut(problem)
    compile_kernels(problem, rank, contenders)
    scored = {each.name: Watch(held_out.ndcg) for each in contenders}
    for each in contenders:
        run(each, held_out.train, rank, NDCG_ITERATIONS, scored[each.name], title)
    theirs = [each for each in contenders if each.package != OURS] or contenders
    target = NDCG_SHARE * min(max(scored[each.name].scores) for each in theirs)
    timed = time_alternately(contenders, held_out.train, rank, scored, title)
    fits = [
        fit(each, scored[each.name], timed[each.name], lambda score: score >= target, None) for each in contenders
    ]
    of_target = f"{100 * NDCG_SHARE:g}% of the best that all peers reach in {NDCG_ITERATIONS} iterations"
    about = f"{held_out.train}, {len(held_out.tested):,} test users"
    return Race(title, about, rank, "NDCG@10", target, of_target, gemm_rate(), fits)


def time_alternately(
    contenders: list[Contender], problem: Problem, rank: int, scored: dict[str, Watch], title: str
) -> dict[str, list[Watch]]:
    """Time alternating fits without scores, with the iterations of the scored ones; slow fits are not repeated."""
    timed: dict[str, list[Watch]] = {each.name: [] for each in contenders}
    for round_ in range(ROUNDS):
        for each in contenders:
            if round_ > 0 and timed[each.name][0].seconds[-1] > SLOW:
                continue
            watch = Watch()
            iterations = EXACT_ITERATIONS if each.exact else len(scored[each.name].seconds)
            run(each, problem, rank, iterations, watch, title)
            timed[each.name].append(watch)
    return timed


def compile_kernels(problem: Problem, rank: int, contenders: list[Contender]) -> None:
    """Compile kernels on part of the data."""
    few = Problem(problem.users[:CACHED_RUN], problem.items[:CACHED_RUN])
    few.objective(*few.start(rank))
    for each in contenders:
        if each.package == OURS:
            each.fit(few, rank, 2, Watch())


def run(each: Contender, problem: Problem, rank: int, iterations: int, watch: Watch, title: str) -> None:
    each.fit(problem, rank, iterations, watch)
    print(f"{title}, rank {rank}: {each.name}, {watch.seconds[-1]:.2f} s", file=sys.stderr, flush=True)


def fit(
    each: Contender,
    scored: Watch | None,
    timed: list[Watch],
    good: Callable[[float], bool],
    exact_seconds: float | None,
) -> Fit:
    """Return medians over timed runs, until the first iteration that reaches the target."""
    seconds = np.median([watch.seconds for watch in timed], axis=0)
    iteration = statistics.median(np.concatenate([np.diff(watch.seconds) for watch in timed]))
    scores = [] if scored is None else scored.scores
    reached = (
        next((float(s) for s, score in zip(seconds, scores, strict=True) if good(score)), None) if scores else None
    )
    share = None if exact_seconds is None else exact_seconds / iteration
    return Fit(each.name, each.package, each.exact, len(timed), len(seconds), iteration, reached, share)
