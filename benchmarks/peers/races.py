"""How soon each library has factors that are as good: fits that take turns, to one objective or one NDCG@10."""

from __future__ import annotations

import statistics
import sys

import numpy as np

from benchmarks.peers.contenders import CONTENDERS, Contender, Watch
from benchmarks.peers.machine import PATIENCE, gemm_rate, is_installed
from benchmarks.peers.measurements import OURS, Fit, Race
from benchmarks.peers.problems import HeldOut, Problem

ITERATIONS = 10  # of the contender that sets the objective to be reached
MORE_ITERATIONS = 14  # that others are given to reach it
EXACT_ITERATIONS = 3
NDCG_ITERATIONS, NDCG_SHARE = 15, 0.995
ROUNDS = 2
CACHED_RUN = 50_000  # pairs of a fit that compiles


def to_objective(title: str, problem: Problem, rank: int) -> Race:
    """To the objective that the first contender has after `ITERATIONS`; exact solvers, to time an iteration."""
    takes_part = [each for each in CONTENDERS if is_installed(each.package) and rank <= each.highest_rank]
    compile_kernels(problem, rank, takes_part)
    gemm, first = gemm_rate(), takes_part[0]
    watches: dict[str, list[Watch]] = {each.name: [] for each in takes_part}
    target = -np.inf
    for turn in range(ROUNDS):
        for each in waiting(takes_part, watches, turn):
            scored = turn == 0 and not each.exact
            watch = Watch(problem.objective, lambda score, least=target: score <= least) if scored else Watch()
            run(each, problem, rank, limit(each, each is first, watches[each.name]), watch, title)
            watches[each.name].append(watch)
            if each is first and scored:
                target = watch.scores[-1]
    flops = 2 * (len(problem.users) * rank * (rank + 1) + sum(problem.shape) * rank**3 / 6)
    fits = [
        fit(each, watches[each.name], lambda score: score <= target, flops / gemm / 1e9 if each.exact else None)
        for each in takes_part
    ]
    of_target = f"what {first.name} has after {ITERATIONS} iterations"
    return Race(title, str(problem), rank, "objective", target, of_target, gemm, fits)


def to_ndcg(title: str, problem: Problem, rank: int) -> Race:
    """To nearly the best NDCG@10 that a peer reaches."""
    takes_part = [each for each in CONTENDERS if is_installed(each.package) and not each.exact]
    held_out = HeldOut(problem)
    compile_kernels(problem, rank, takes_part)
    watches: dict[str, list[Watch]] = {each.name: [] for each in takes_part}
    for turn in range(ROUNDS):
        for each in waiting(takes_part, watches, turn):
            watch = Watch(held_out.ndcg if turn == 0 else None)
            run(each, held_out.train, rank, NDCG_ITERATIONS, watch, title)
            watches[each.name].append(watch)
    theirs = [each for each in takes_part if each.package != OURS] or takes_part
    best = max(max(watches[each.name][0].scores) for each in theirs)
    target = NDCG_SHARE * best
    fits = [fit(each, watches[each.name], lambda score: score >= target, None) for each in takes_part]
    of_target = f"{100 * NDCG_SHARE:g} % of the best that a peer has within {NDCG_ITERATIONS} iterations"
    about = f"{held_out.train}, {len(held_out.tested):,} users tested"
    return Race(title, about, rank, "NDCG@10", target, of_target, gemm_rate(), fits)


def compile_kernels(problem: Problem, rank: int, takes_part: list[Contender]) -> None:
    """Before anything is timed, on some of the data."""
    few = Problem(problem.users[:CACHED_RUN], problem.items[:CACHED_RUN])
    few.objective(*few.start(rank))
    for each in takes_part:
        if each.package == OURS:
            each.fit(few, rank, 2, Watch())


def waiting(takes_part: list[Contender], watches: dict[str, list[Watch]], turn: int) -> list[Contender]:
    """Who has a turn: all the first time, then ours and those that are quick."""
    return [
        each
        for each in takes_part
        if turn == 0 or each.package == OURS or watches[each.name][0].seconds[-1] < PATIENCE
    ]


def limit(each: Contender, is_first: bool, before: list[Watch]) -> int:
    """How many iterations: as many as the first time, which may have ended early."""
    if before:
        return len(before[0].seconds)
    if each.exact:
        return EXACT_ITERATIONS
    return ITERATIONS if is_first else MORE_ITERATIONS


def run(each: Contender, problem: Problem, rank: int, iterations: int, watch: Watch, title: str) -> None:
    each.fit(problem, rank, iterations, watch)
    print(f"{title}, rank {rank}: {each.name}, {watch.seconds[-1]:.2f} s", file=sys.stderr, flush=True)


def fit(each: Contender, watches: list[Watch], good, exact_seconds: float | None) -> Fit:
    """Medians over the runs: without the first of several, in which scoring may have cost ours a copy."""
    scores = watches[0].scores
    timed = watches[1:] or watches
    seconds = np.median([watch.seconds for watch in timed], axis=0)
    iteration = statistics.median(np.concatenate([np.diff(watch.seconds) for watch in timed]))
    reached = next((float(s) for s, score in zip(seconds, scores, strict=False) if good(score)), None)
    share = None if exact_seconds is None else exact_seconds / iteration
    return Fit(each.name, each.package, each.exact, len(timed), len(seconds), iteration, reached, share)
