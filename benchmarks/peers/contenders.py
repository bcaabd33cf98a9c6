"""Fits of the implicit objective by each library, with times and scores after each iteration."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

import halfstep as hs
from benchmarks.peers.machine import THREADS
from benchmarks.peers.measurements import OURS
from benchmarks.peers.problems import REGULARIZATION, WEIGHT, Factors, Problem


@dataclass
class Watch:
    """Seconds since the start of a fit after each iteration, without the time of scoring.

    Attributes
    ----------
    score : callable or None
        A function of P and Q.
    enough : callable
        A function of a score that returns whether to stop.
    """

    score: Callable[[np.ndarray, np.ndarray], float] | None = None
    enough: Callable[[float], bool] = lambda _: False
    seconds: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def start(self) -> None:
        self._began = time.perf_counter()

    def note(self, factors: Callable[[], Factors]) -> bool:
        """Record the time after an iteration, and the score if there is one; return whether to stop."""
        stopped = time.perf_counter()
        self.seconds.append(stopped - self._began)
        if self.score is None:
            return False
        self.scores.append(self.score(*factors()))
        self._began += time.perf_counter() - stopped
        return self.enough(self.scores[-1])


@dataclass(frozen=True)
class Contender:
    """A library with one of its solvers."""

    name: str
    package: str
    exact: bool
    fit: Callable[[Problem, int, int, Watch], None]  # problem, rank, iterations
    highest_rank: int = 1024  # of its fits; above, it is four times slower than the next one


@contextlib.contextmanager
def peers_threads() -> Iterator[None]:
    """Run BLAS with one thread, as peers recommend, without their warnings."""
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        warnings.simplefilter("ignore")
        yield


def ours(problem: Problem, rank: int, iterations: int, watch: Watch, *, solver: str) -> None:
    """Fit with the preset of implicit and a solver of halfstep, without the final half-step, as in peers."""
    preset = hs.presets.implicit(rank, REGULARIZATION, WEIGHT, iterations)
    model = preset.set_params(
        solver=hs.solvers.NAMES[solver](refresh_users=False), init=problem.start(rank), progress=False
    )
    data = problem.fresh_data()
    if watch.score is not None:
        model.callbacks = [lambda fitted: watch.note(lambda: (fitted.user_factors_, fitted.item_factors_))]
    watch.start()
    began = time.perf_counter()
    model.fit(data)
    if watch.score is None:  # from the history, because callbacks copy the factors
        before = time.perf_counter() - began - model.history_[-1].seconds
        watch.seconds += [before + line.seconds for line in model.history_]


def of_implicit(problem: Problem, rank: int, iterations: int, watch: Watch, *, use_cg: bool) -> None:
    from implicit.cpu.als import AlternatingLeastSquares

    with peers_threads():
        model = AlternatingLeastSquares(
            factors=rank,
            regularization=REGULARIZATION,
            alpha=WEIGHT,
            use_cg=use_cg,
            num_threads=THREADS,
            iterations=iterations,
        )
        model.user_factors, model.item_factors = problem.start(rank)
        watch.start()
        model.fit(
            problem.matrix,
            show_progress=False,
            callback=lambda *_: watch.note(lambda: (model.user_factors, model.item_factors)),
        )


def of_irspack(problem: Problem, rank: int, iterations: int, watch: Watch, *, solver: str) -> None:
    """Fit irspack, which samples its own initial factors from the same distribution."""
    from irspack import IALSRecommender

    confidences = problem.matrix * (WEIGHT - 1)  # it adds 1, the weight of missing cells
    with peers_threads():
        watch.start()
        model = IALSRecommender(
            confidences,
            n_components=rank,
            alpha0=1.0,
            reg=REGULARIZATION,
            nu=0.0,
            loss_type="ORIGINAL",
            solver_type=solver,
            n_threads=THREADS,
            train_epochs=iterations,
        )
        model.start_learning()
        for _ in range(iterations):
            model.run_epoch()
            if watch.note(lambda: (np.asarray(model.get_user_embedding()), np.asarray(model.get_item_embedding()))):
                break


CONTENDERS = (
    Contender("implicit, CG", "implicit", False, partial(of_implicit, use_cg=True)),
    Contender("irspack, CG", "irspack", False, partial(of_irspack, solver="CG")),
    Contender("irspack, iALS++", "irspack", False, partial(of_irspack, solver="IALSPP"), 64),
    Contender("halfstep", OURS, False, partial(ours, solver="cg")),  # the default above rank 32
    Contender("halfstep, subspace", OURS, False, partial(ours, solver="subspace")),
    Contender("implicit, Cholesky", "implicit", True, partial(of_implicit, use_cg=False), 64),
    Contender("irspack, Cholesky", "irspack", True, partial(of_irspack, solver="CHOLESKY")),
    Contender("halfstep, Cholesky", OURS, True, partial(ours, solver="cholesky")),
)
