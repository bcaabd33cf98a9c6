"""Ratings: explicit ALS with biases compared with cmfrec, and SGD compared with Surprise."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import sparse

import halfstep as hs
from benchmarks.peers.contenders import peers_threads
from benchmarks.peers.machine import SLOW, THREADS
from benchmarks.peers.measurements import Pair
from benchmarks.synthetic import ratings

ROUNDS = 3
TEST_FRACTION = 0.1


def time_alternately(mine: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Return the median seconds of both."""
    taken: list[list[float]] = []
    for _ in range(ROUNDS):
        taken.append([])
        for action in (mine, theirs):
            began = time.perf_counter()
            action()
            taken[-1].append(time.perf_counter() - began)
        if sum(taken[-1]) > SLOW:
            break
    own, other = zip(*taken, strict=True)
    return statistics.median(own), statistics.median(other)


def compared_with_cmfrec(
    title: str, data: hs.Interactions, rank: int, regularization: float, iterations: int
) -> list[Pair]:
    """Compare exact and default solvers, with the RMSE on held-out ratings."""
    from cmfrec import CMF

    train, test = hs.split_random(data, TEST_FRACTION, random_state=0)
    matrix = sparse.coo_matrix(
        (train.values, (train.user_positions, train.item_positions)), (train.n_users, train.n_items)
    )
    matrix = matrix.astype(np.float32)
    pairs = []
    for how, use_cg, solver in (("exact", False, "cholesky"), ("default solvers", True, "auto")):
        preset = hs.presets.cmfrec_explicit(rank, regularization, niter=iterations, random_state=0)
        if solver == "auto":
            preset.solver = "auto"
        model = preset.set_params(progress=False)
        peer = CMF(
            k=rank,
            lambda_=regularization,
            method="als",
            use_cg=use_cg,
            niter=iterations,
            nthreads=THREADS,
            use_float=True,
            verbose=False,
            precompute_for_predictions=False,
        )
        model.fit(train)  # compiles
        with peers_threads():
            mine, theirs = time_alternately(lambda m=model: m.fit(replace(train)), lambda p=peer: p.fit(matrix))
        known = (*peer.A_.shape, *peer.B_.shape)
        assert known == (train.n_users, rank, train.n_items, rank), f"factors of cmfrec have the shapes {known}"
        imported = hs.persistence.from_arrays(
            peer.A_,
            peer.B_,
            users=train.users,
            items=train.items,
            user_biases=peer.user_bias_,
            item_biases=peer.item_bias_,
            mean=peer.glob_mean_,
        )
        errors = [hs.metrics.rmse(test.values, each.predict(test)) for each in (model, imported)]
        totals = [objective(each, train, regularization) for each in (model, imported)]
        qualities = [f"RMSE {error:.4f}, objective {total:,.0f}" for error, total in zip(errors, totals, strict=True)]
        what = f"{title}, explicit with biases, rank {rank}, {iterations} iterations, {how}"
        pairs.append(Pair(what, mine, "cmfrec", theirs, *qualities))
    return pairs


def objective(model: hs.factor_model.FactorModel, data: hs.Interactions, regularization: float) -> float:
    """Return Σ_Ω (t − x)² + λ Σ (‖p_u‖² + b_u² + ‖q_i‖² + b_i²)."""
    fitted = (model.user_factors_, model.item_factors_, model.user_biases_, model.item_biases_)
    penalty = sum(float((numbers.astype(np.float64) ** 2).sum()) for numbers in fitted)
    return float(((data.values - model.predict(data)) ** 2).sum()) + regularization * penalty


def compared_with_surprise() -> Pair:
    """Compare SGD with the defaults of Surprise: 100 factors, 20 epochs."""
    import pandas as pd
    from surprise import SVD, Dataset, Reader

    train, test = hs.split_random(hs.datasets.movielens_100k(), TEST_FRACTION, random_state=0)
    frame = pd.DataFrame({"user": train.user_ids, "item": train.item_ids, "rating": train.values})
    trainset = Dataset.load_from_df(frame, Reader(rating_scale=(1, 5))).build_full_trainset()
    model, peer = hs.SGD(random_state=0, progress=False), SVD(random_state=0)
    model.fit(train)  # compiles
    mine, theirs = time_alternately(lambda: model.fit(train), lambda: peer.fit(trainset))
    predicted = [peer.predict(u, i, clip=False).est for u, i in zip(test.user_ids, test.item_ids, strict=True)]
    own = hs.metrics.rmse(test.values, model.predict(test))
    other = hs.metrics.rmse(test.values, np.array(predicted))
    what = "MovieLens 100K, SGD, 100 factors, 20 epochs"
    return Pair(what, mine, "Surprise", theirs, f"RMSE {own:.4f}", f"RMSE {other:.4f}")


def synthetic_ratings(users: np.ndarray, items: np.ndarray) -> hs.Interactions:
    return hs.Interactions.from_arrays(users, items, ratings(users, items))
