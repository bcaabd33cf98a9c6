"""Top-10 recommendations for all users, compared with implicit, with the same factors and without seen items."""

from __future__ import annotations

import numpy as np

import halfstep as hs
from benchmarks.peers.contenders import peers_threads
from benchmarks.peers.machine import THREADS, gemm_rate
from benchmarks.peers.measurements import Pair
from benchmarks.peers.problems import REGULARIZATION, WEIGHT, Problem
from benchmarks.peers.ratings import time_alternately

RANK, N = 64, 10


def compared_with_implicit(title: str, problem: Problem) -> Pair:
    from implicit.cpu.als import AlternatingLeastSquares

    model = (
        hs.presets.implicit(RANK, REGULARIZATION, WEIGHT, 2, random_state=0)
        .set_params(progress=False)
        .fit(problem.fresh_data())
    )
    peer = AlternatingLeastSquares(factors=RANK, num_threads=THREADS)
    peer.user_factors, peer.item_factors = model.user_factors_.copy(), model.item_factors_.copy()
    all_users = np.arange(problem.shape[0])
    model.recommend(all_users[:100], N)  # compiles
    with peers_threads():
        mine, theirs = time_alternately(
            lambda: model.recommend(n=N), lambda: peer.recommend(all_users, problem.matrix, N=N)
        )
    product = 2e-9 * problem.shape[0] * problem.shape[1] * RANK / gemm_rate()
    what = f"{title}, top {N} for all {problem.shape[0]:,} users, rank {RANK}"
    return Pair(what, mine, "implicit", theirs, f"{100 * product / mine:.0f}% of the time is the matrix product", "")
