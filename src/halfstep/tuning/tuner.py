"""Hyperparameter tuning by cross-validation."""

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

from halfstep._support.checks import as_generator, as_path, check_choice, check_flag, check_integer
from halfstep._support.progress import warn_of_interruption
from halfstep.data import Interactions, as_interactions
from halfstep.errors import ParameterError, PoorFitWarning, TuningError
from halfstep.models.als import ALS
from halfstep.objective.objective import Implicit
from halfstep.storage.values import pack_value
from halfstep.tuning.defaults import default_space, default_start
from halfstep.tuning.doubling import FACTORS, Doubling, ascending_ranks, low_rank, n_ranks
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
"""Default number of trials; of "doubling", at the lowest rank. Random search needs more trials for the same score."""


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
    """Tune the parameters of an estimator by cross-validation, and fit it with the best parameters to all data.

    Parameters
    ----------
    estimator : unfitted model
        `ALS`, `SGD`, a baseline, or any other dataclass with `fit` and `predict`. Parameters that are not in the
        space keep their values. If its `random_state` is None, all fits use the seed of the search, so that trials
        differ only by their parameters.
    data : Interactions, scipy.sparse matrix or dataframe
        Data as for `fit`. Hold out the test set first.
    space : mapping, optional
        Maps names of parameters to lists of values or to distributions: `Uniform`, `LogUniform` or `Integers`. A name
        may be a path, such as "objective.weight" or "objective.weight.w0". By default, `default_space` of the
        estimator.
    metric : str or callable, optional
        A rating metric ("rmse", "mae", "sign_accuracy"), a ranking metric such as "ndcg@10" or "recall@20" (see
        `evaluate`), or a function of a fitted model and the test `Interactions` of a fold, which requires
        `direction`. The default is "ndcg@10" for `Popularity` and the objective `Implicit`, else "rmse". Rating
        metrics require values, and a model whose targets are the values (unlike `Implicit` for ratings). For all
        metrics, test interactions of cold-start users or items are excluded and counted: their predictions do not
        depend on the parameters, but could dominate the comparison.
    direction : {"minimize", "maximize"}, optional
        Whether to minimize or maximize a metric that is a function.
    split : int, callable or pairs of Interactions, optional
        The number of folds, in time order (`time_folds`) if there are timestamps, else with random tenths of the data
        as test sets; a function that returns pairs of training and test data; or the pairs. By default 3.
    search : {"grid", "random", "optuna", "doubling"}, optional
        All combinations of lists; random search; Optuna's tree-structured Parzen estimator
        (``pip install 'halfstep[tune]'``); or such a search at the lowest of the listed ranks, whose best parameters
        are then tried at each higher rank in turn, until the metric no longer improves. The default is "grid" if all
        dimensions are lists and `n_trials` is None; "doubling" for `Implicit` if several ranks are listed; otherwise
        "optuna" if it is installed, else "random".
    n_trials : int, optional
        Maximum number of trials. The default is 100 for "optuna", 300 for "random", all for "grid", and for
        "doubling" 30 at the lowest rank and 3 at each other rank.
    prune : bool
        Whether to prune a trial if its model is worse than each of the five best trials was after the same number of
        iterations, or after the same fold.
    warm_starts : bool
        Whether a fit of `ALS` can start from the factors of a trial that differs only by a larger λ or a lower rank,
        and run half the iterations. Missing columns, and those that are 0, start from small random numbers. A grid
        visits its points in such an order.
    refit : bool
        Whether to fit the model with the best parameters to all data, from scratch.
    random_state : int, Generator or None
        With an int, trials and results are reproducible for any number of threads.
    journal : path, optional
        A file that records finished trials. If it exists, the search resumes, with the same result as an
        uninterrupted search. A larger `n_trials` extends a search. If anything else that the result depends on has
        changed, an error names it.
    progress : bool, optional
        Whether to show a progress bar. By default, it is shown in terminals and notebooks after two seconds.

    Returns
    -------
    Tuning

    Raises
    ------
    ParameterError
        If the space is empty or names an unknown parameter, or another parameter is invalid.
    DataError
        If there are no data, or a fold has no test interactions of known users and items.
    TuningError
        If all trials failed. A single failed trial is recorded with its error.
    JournalError
        If the journal belongs to another search, or is in use.

    Notes
    -----
    If Ctrl-C interrupts the search, the best parameters so far are used, and a `FitInterruptedWarning` is issued;
    before the end of the first trial, `KeyboardInterrupt` is raised.

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
    if search == "doubling":
        read = ascending_ranks(read)
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
    if not callable(metric) and not tunes_objective:  # otherwise, each trial is checked
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
        warnings.simplefilter("ignore", PoorFitWarning)  # the parameters have been validated on folds
        return estimator.fit(data)


def _default_search(estimator: Any, space: Space, n_trials: int | None) -> SearchName:
    if space.is_finite and n_trials is None:
        return "grid"
    if n_ranks(space) > 1 and isinstance(getattr(estimator, "objective", None), Implicit):
        return "doubling"
    return _learning()


def _learning() -> SearchName:
    """Return "optuna" if it is installed, else "random"."""
    return "optuna" if find_spec("optuna") else "random"


def _start(estimator: Any, data: Interactions, space: Space) -> Point | None:
    """Return the point of the defaults, where a search starts; None if a parameter of the space has no default."""
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
        if start is not None and n_ranks(space) > 1:
            start = start | {"rank": 0}
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
    if search == "optuna":  # it may try a point twice
        return n_trials or N_TRIALS[search]
    if search == "grid":
        return int(min(space.size, n_trials or space.size))
    return int(min(space.size, n_trials or N_TRIALS[search]))


def _seed(random_state: Any, path: Path | None) -> int:
    """Return an integer seed; None uses the seed of the journal, if there is one."""
    if random_state is None and path is not None and (found := seed_of(path)) is not None:
        return found
    if isinstance(random_state, int | np.integer):
        as_generator(random_state)
        return int(random_state)
    return int(as_generator(random_state).integers(1 << 32))


def _described(thing: Any) -> Any:
    """Describe a dataclass for comparison with a journal; arrays by their hash."""
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
    return f"all {len(failed)} trials failed; the error of the first one, with {parameters}: {first.error}"
