"""`tune`: try parameters on folds of the data, choose, and fit the chosen model to all of it."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np

from halfstep.als import ALS
from halfstep.errors import ParameterError, PoorFitWarning, TuningError
from halfstep.interactions import Interactions, as_interactions
from halfstep.objective import Implicit
from halfstep.parameters import as_generator, as_path, check_choice, check_flag, check_integer
from halfstep.progress import warn_of_interruption
from halfstep.storage.values import pack_value
from halfstep.tuning.defaults import default_space, default_start
from halfstep.tuning.doubling import FACTORS, Doubling, low_rank, n_ranks
from halfstep.tuning.fitting import Fitter
from halfstep.tuning.folds import Direction, Folds, Metric, Score, check_comparable, make_folds
from halfstep.tuning.journal import Journal, digest, journal_path, seed_of
from halfstep.tuning.result import Tuning
from halfstep.tuning.running import Run
from halfstep.tuning.searching import Grid, Random, Search
from halfstep.tuning.space import NOT_TUNED, Point, Space, with_parameters
from halfstep.tuning.trial import Trial, best_of

SearchName = Literal["grid", "random", "optuna", "doubling"]

N_TRIALS: dict[SearchName, int] = {"optuna": 100, "random": 300, "doubling": 30}
"""Of searches without an end of their own, of "doubling" at the lowest rank. Random draws need more to do as well on
folds."""


def tune(
    estimator: Any,
    data: Any,
    space: Mapping[str, Any] | None = None,
    *,
    metric: str | Score | None = None,
    direction: Direction | None = None,
    split: Folds | None = None,
    search: SearchName | None = None,
    n_trials: int | None = None,
    prune: bool = True,
    warm_starts: bool = True,
    refit: bool = True,
    random_state: int | np.random.Generator | None = 0,
    journal: str | PathLike[str] | None = None,
    progress: bool | None = None,
) -> Tuning:
    """Choose an estimator's parameters by how well it does on folds of the data, and fit it with them to all.

    Parameters
    ----------
    estimator : unfitted model
        `ALS`, `SGD`, a baseline, or any other dataclass with `fit` and `predict`. What the space does not name stays
        as it is here. Where its `random_state` is None, every fit has the seed of the search, so that trials differ
        by their parameters alone.
    data : Interactions, scipy.sparse matrix or dataframe
        As `fit` takes it. Give the training side alone: what is chosen here has seen all of it.
    space : mapping, optional
        From the name of a parameter to a list of values, or to a distribution: `Uniform`, `LogUniform` or `Integers`.
        A name may be a path: "objective.weight", "objective.weight.w0". By default `default_space` of the estimator.
    metric : str or callable, optional
        "rmse", "mae", "sign_accuracy", or of ranked lists "ndcg@10", "recall@20" and the like (see `evaluate`); or
        a function from a fitted model and the test `Interactions` of a fold to a number, with a `direction`. By
        default the RMSE, or NDCG@10 of `Popularity` and where the objective is `Implicit`. Metrics of predictions
        require values, and a model whose targets are the values (unlike `Implicit` for ratings). With any metric,
        test interactions whose user or item has no training interactions are left out, and counted: their
        predictions do not depend on the parameters, but could dominate the comparison.
    direction : {"minimize", "maximize"}, optional
        Which way is better, for functions.
    split : int, callable or pairs of Interactions, optional
        A number of folds, in the order of time (`time_folds`) if there are timestamps, else with random tenths of the
        data as test sets; a function that makes such pairs of the data; or the pairs of training and test data
        themselves. 3 by default.
    search : {"grid", "random", "optuna", "doubling"}, optional
        All combinations of lists; independent draws; or Optuna's tree-structured Parzen estimator, which learns from
        what was tried (``pip install 'halfstep[tune]'``); or such a search at the lowest of the listed ranks, whose
        best parameters are then tried at the next rank, and so on as long as that helps. By default a grid where
        everything is listed and `n_trials` is not set; "doubling" for `Implicit` where several ranks are listed;
        otherwise Optuna where it is installed, and random draws where it is not.
    n_trials : int, optional
        At most so many; by default 100 of Optuna's, 300 random ones, a grid's all, and of "doubling" 30 at the lowest
        rank and 3 at each other rank.
    prune : bool
        Give a trial up once its model is worse than each of the five best trials so far was after the same number of
        iterations, or after the same fold.
    warm_starts : bool
        Let a fit of `ALS` start from the factors of a trial that differs in λ alone, which is stronger, or in rank
        alone, which is lower, and have half the iterations. The columns that are missing start small and random, as
        do all columns that have vanished. A grid goes through its points in such an order.
    refit : bool
        Fit the chosen model to all data, from scratch.
    random_state : int, Generator or None
        The same int gives the same trials and the same winner, for any number of threads.
    journal : path, optional
        A file that keeps each finished trial. If it is there already, its trials are taken over and the search goes
        on: killed anywhere, it ends with the winner of a search that was not. A larger `n_trials` lengthens a search.
        What the winner depends on must be as it was, or it is an error that says what is not.
    progress : bool, optional
        Whether to show a progress bar; by default in terminals and notebooks, where it takes more than two seconds.

    Returns
    -------
    Tuning

    Raises
    ------
    ParameterError
        If the estimator has no parameter of a name, the space is empty, or another parameter makes no sense.
    DataError
        If there is nothing to fit, or a fold holds nothing that can be scored.
    TuningError
        If all trials failed; a trial alone that fails is recorded with its error.
    JournalError
        If the journal is of another search, or in use.

    Notes
    -----
    Ctrl-C leaves the best trial so far, fitted to all data, and warns `FitInterruptedWarning`; before the first trial
    has finished it raises `KeyboardInterrupt`.

    Examples
    --------
    >>> import halfstep as hs
    >>> data = hs.Interactions.from_arrays(list("aabbccdd"), list("xyxyxyxy"), [5, 1, 4, 2, 5, 1, 4, 1], range(8))
    >>> tuning = hs.tune(hs.ItemBias(), data, {"regularization": [0.0, 100.0]}, split=1)
    >>> tuning.best_parameters
    {'regularization': 0.0}
    """
    if isinstance(estimator, type) or not (dataclasses.is_dataclass(estimator) and hasattr(estimator, "fit")):
        raise ParameterError(f"estimator={estimator!r}: give an unfitted model such as ALS()")
    interactions = as_interactions(data)
    read = Space.of(default_space(estimator, interactions) if space is None else space, estimator)
    if search is None:
        search = _default_search(estimator, read, n_trials)
    check_choice("search", search, ("grid", "random", "optuna", "doubling"))
    if n_trials is not None:
        check_integer("n_trials", n_trials, minimum=1)
    for name, flag in (("prune", prune), ("warm_starts", warm_starts), ("refit", refit)):
        check_flag(name, flag)
    check_flag("progress", progress, optional=True)
    path = None if journal is None else journal_path(as_path("journal", journal))
    seed = _seed(random_state, path)
    if isinstance(own := getattr(estimator, "random_state", None), np.random.Generator):
        estimator = with_parameters(estimator, {"random_state": _seed(own, None)})
    measured = Metric.of(metric, direction, estimator, getattr(estimator, "threads", None))
    tunes_objective = any(name.partition(".")[0] == "objective" for name in read.dimensions)
    if not callable(metric) and not tunes_objective:  # else each trial is checked
        check_comparable(measured.label, estimator, interactions)
    start = _start(estimator, interactions, read)
    chosen_search = _search(search, read, seed, measured.maximize, n_trials, start)
    planned = _planned(read, search, n_trials)
    folds, how = make_folds(interactions, split, seed)
    run = Run(
        read, measured, folds, prune,
        Fitter(estimator, folds, seed, warm_starts=warm_starts), chosen_search, [],
    )  # fmt: skip
    identity = {
        "data": digest(interactions),
        "folds": [[digest(fold.train), digest(fold.test)] for fold in folds],
        "estimator": _described(estimator),
        "space": {name: _described(each) for name, each in read.dimensions.items()},
        "metric": [_name_of(metric) or measured.label, "maximize" if measured.maximize else "minimize"],
        "search": search,
        "seed": seed,
        "prune": bool(prune),
        "warm_starts": bool(warm_starts),
    }
    interrupted = False
    with nullcontext() if path is None else Journal(path, identity) as book:
        try:
            run.search_for(planned, book, progress)
        except KeyboardInterrupt:
            if best_of(run.trials, measured.maximize) is None:
                raise
            interrupted = True
    best = best_of(run.trials, measured.maximize)
    if best is None:
        raise TuningError(_why_none(run.trials))
    if interrupted:
        warn_of_interruption(f"the search was interrupted: this is the best of {len(run.trials)} of {planned} trials")
    return Tuning(
        estimator=type(estimator).__name__,
        metric=measured.label,
        maximize=measured.maximize,
        search=search,
        folds=how,
        trials=tuple(run.trials),
        space=read,
        n_scored=tuple(len(fold.test) for fold in folds),
        n_cold=tuple(fold.n_cold for fold in folds),
        model=_refitted(run.fitter.estimator(best.parameters), interactions) if refit else None,
        untuned=run.fitter.estimator({}),
        frame_kind=interactions.frame_kind,
    )


def _refitted(estimator: Any, data: Interactions) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PoorFitWarning)  # folds have judged
        return estimator.fit(data)


def _default_search(estimator: Any, space: Space, n_trials: int | None) -> SearchName:
    if space.is_finite and n_trials is None:
        return "grid"
    if n_ranks(space) > 1 and isinstance(getattr(estimator, "objective", None), Implicit):
        return "doubling"
    return _learning()


def _learning() -> SearchName:
    """Return the search that learns from trials, if it is installed."""
    return "optuna" if find_spec("optuna") else "random"


def _start(estimator: Any, data: Interactions, space: Space) -> Point | None:
    """Return the point of the defaults where a search begins, if the space has no parameters without one."""
    if not (isinstance(estimator, ALS) and isinstance(estimator.objective, Implicit)):
        return None
    values = default_start(estimator, data)
    return space.point(values) if space.dimensions.keys() <= values.keys() else None


def _search(
    name: SearchName, space: Space, seed: int, maximize: bool, n_trials: int | None, start: Point | None
) -> Search:
    if name == "grid":
        return Grid(space)
    if name == "doubling":
        low, n_low = low_rank(space), max(_planned(space, name, n_trials) - _n_at_higher_ranks(space), 1)
        start = None if start is None else start | dict.fromkeys(start.keys() & {"rank"}, 0)
        return Doubling(space, _search(_learning(), low, seed, maximize, n_low, start), n_low, maximize)
    if name == "random":
        return Random(space, seed, start)
    from halfstep.tuning.optuna_search import OptunaSearch

    return OptunaSearch(space, seed, maximize, start)


def _n_at_higher_ranks(space: Space) -> int:
    return len(FACTORS) * (n_ranks(space) - 1)


def _planned(space: Space, search: SearchName, n_trials: int | None) -> int:
    if search == "doubling":
        return n_trials or N_TRIALS[search] + _n_at_higher_ranks(space)
    if search == "optuna":  # which may try a point twice
        return n_trials or N_TRIALS[search]
    if search == "grid":
        return int(min(space.size, n_trials or space.size))
    return int(min(space.size, n_trials or N_TRIALS[search]))


def _seed(random_state: Any, path: Path | None) -> int:
    """Turn a `random_state` into an integer; None goes on with the seed of the journal, if there is one."""
    if random_state is None and path is not None and (found := seed_of(path)) is not None:
        return found
    if isinstance(random_state, int | np.integer):
        as_generator(random_state)
        return int(random_state)
    return int(as_generator(random_state).integers(1 << 32))


def _described(thing: Any) -> Any:
    """What a dataclass is made of, for a journal to compare; arrays by their hash."""
    arrays: dict[str, Any] = {}
    fields = {
        field.name: pack_value(getattr(thing, field.name), field.name, arrays)
        for field in dataclasses.fields(thing)
        if field.name not in NOT_TUNED or field.name in ("init", "random_state")
    }
    hashes = {name: hashlib.sha256(np.ascontiguousarray(each).tobytes()).hexdigest() for name, each in arrays.items()}
    return {"class": type(thing).__name__, **fields, **({"arrays": hashes} if hashes else {})}


def _name_of(metric: Any) -> str | None:
    return f"{metric.__module__}.{metric.__qualname__}" if hasattr(metric, "__qualname__") else None


def _why_none(trials: list[Trial]) -> str:
    failed = [trial for trial in trials if trial.state == "failed"]
    first = failed[0]
    parameters = ", ".join(f"{name}={value!r}" for name, value in first.parameters.items())
    return f"all {len(failed)} trials failed; the first one, with {parameters}, by {first.error}"
