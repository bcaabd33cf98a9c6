"""Hyperparameter tuning by cross-validation."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import numpy as np

from halfstep._support.checks import as_generator, as_path, check_choice, check_flag, check_integer
from halfstep.data import Interactions, as_interactions
from halfstep.errors import ParameterError, PoorFitWarning
from halfstep.evaluation.tuning.folds import Direction, Folds, Score, TrialMetric, check_comparable, make_folds
from halfstep.evaluation.tuning.result import Tuning
from halfstep.evaluation.tuning.space import (
    Choices,
    SearchName,
    Space,
    default_search,
    default_space,
    start_of,
    with_parameters,
)
from halfstep.evaluation.tuning.warm_starts import Fitter
from halfstep.solver.backends import need_device


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

    Optuna runs the search.

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
        `direction`. The default is "ndcg@10" for `Popularity`, `EASE`, `ItemKNN` and the objective `Implicit`, else
        "rmse". Rating metrics require values, and a model whose targets are the values (unlike `Implicit` for
        ratings). For all metrics, test interactions of cold-start users or items are excluded and counted: their
        predictions do not depend on the parameters, but could dominate the comparison.
    direction : {"minimize", "maximize"}, optional
        Whether to minimize or maximize a metric that is a function.
    split : int, callable or pairs of Interactions, optional
        The number of folds, in time order (`time_folds`) if there are timestamps, else with random tenths of the data
        as test sets; a function that returns pairs of training and test data; or the pairs. By default 3.
    search : {"grid", "random", "tpe", "doubling"}, optional
        All combinations of lists; random search; Optuna's tree-structured Parzen estimator; or "doubling": a TPE
        search at the lowest listed rank, whose best parameters are then evaluated at each higher rank until the
        metric stops improving. The default is "grid" if all dimensions are lists and `n_trials` is None; "doubling"
        for `Implicit` if several ranks are listed; otherwise "tpe".
    n_trials : int, optional
        Maximum number of trials; no point is tried twice. The default is 100 for "tpe", 300 for "random", all for
        "grid", and for "doubling" 30 at the lowest rank and 3 at each other rank.
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
        A file that records finished trials, in Optuna's format (JournalStorage). If it exists, the search resumes,
        with the same result as an uninterrupted search. A larger `n_trials` extends a search, unless it is
        "doubling". If anything else that affects the result has changed, an error names it.
    progress : bool, optional
        Whether to show a progress bar. By default, it is shown in terminals and notebooks after two seconds.

    Returns
    -------
    Tuning

    Raises
    ------
    ModuleNotFoundError
        If Optuna is not installed (``pip install 'halfstep[tune]'``).
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
    need_optuna()
    from halfstep.evaluation.tuning.journal import identity_of, open_journal, recorded_trials, seed_of
    from halfstep.evaluation.tuning.run import Run
    from halfstep.evaluation.tuning.search import Search

    _check(estimator, progress, prune=prune, warm_starts=warm_starts, refit=refit)
    interactions = as_interactions(data)
    read, search = _read(estimator, interactions, space, search, n_trials)
    path = None if journal is None else Path(as_path("journal", journal))
    measured = _metric(metric, direction, estimator, interactions, read)
    with nullcontext() if path is None else open_journal(path, measured.maximize) as recorded_study:
        seed = _seed(random_state, None if recorded_study is None else seed_of(recorded_study))
        if isinstance(own := getattr(estimator, "random_state", None), np.random.Generator):
            estimator = with_parameters(estimator, {"random_state": _seed(own)})
        folds, how = make_folds(interactions, split, seed)
        identity = identity_of(interactions, folds, estimator, read) | {
            "metric": [getattr(metric, "__qualname__", measured.label), measured.maximize],
            "search": search, "seed": seed, "prune": bool(prune), "warm_starts": bool(warm_starts),
            "n_trials": n_trials if search == "doubling" else None,  # determines the number at the lowest rank
        }  # fmt: skip
        recorded = [] if recorded_study is None else recorded_trials(recorded_study, path, identity)
        start = start_of(estimator, interactions, read)
        study = Search(search, read, start, seed, n_trials, maximize=measured.maximize, prune=prune)
        fitter = Fitter(estimator, folds, seed, warm_starts=warm_starts)
        run = Run(read, measured, folds, prune, fitter, study, recorded_study, recorded)
        best = run.search_for(progress)
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
        model=_refitted(fitter.estimator(best.parameters), interactions) if refit else None,
        untuned=fitter.estimator({}),
        frame_kind=interactions.frame_kind,
    )


def _check(estimator: Any, progress: bool | None, **flags: bool) -> None:
    if isinstance(estimator, type) or not (dataclasses.is_dataclass(estimator) and hasattr(estimator, "fit")):
        raise ParameterError(f"estimator={estimator!r}: give an unfitted model such as ALS()")
    need_device(getattr(estimator, "backend", "cpu"))  # otherwise, each trial would fail
    for name, flag in flags.items():
        check_flag(name, flag)
    check_flag("progress", progress, optional=True)


def need_optuna() -> None:
    """Raise an error if Optuna is not installed."""
    if find_spec("optuna") is None:
        raise ModuleNotFoundError("hs.tune requires Optuna: run pip install 'halfstep[tune]'", name="optuna")


def _read(
    estimator: Any,
    data: Interactions,
    given: Mapping[str, Any] | None,
    search: SearchName | None,
    n_trials: int | None,
) -> tuple[Space, SearchName]:
    """Return the space and the search."""
    space = Space.of(default_space(estimator, data) if given is None else given, estimator)
    search = default_search(estimator, space, n_trials) if search is None else search
    check_choice("search", search, get_args(SearchName))
    if n_trials is not None:
        check_integer("n_trials", n_trials, minimum=1)
    if search == "grid":
        for name, dimension in space.dimensions.items():
            if not isinstance(dimension, Choices):
                raise ParameterError(
                    f"search='grid' requires a list of values for each parameter, and {name} is {dimension!r}: list "
                    "its values in space=..., or use search='random'"
                )
    return space.ascending_ranks() if search == "doubling" else space, search


def _metric(
    given: str | Score | None, direction: Direction | None, estimator: Any, data: Interactions, space: Space
) -> TrialMetric:
    metric = TrialMetric.of(given, direction, estimator, getattr(estimator, "threads", None))
    tunes_objective = any(name.partition(".")[0] == "objective" for name in space.dimensions)
    if not callable(given) and not tunes_objective:  # otherwise, each trial is checked
        check_comparable(metric.label, estimator, data)
    return metric


def _refitted(estimator: Any, data: Interactions) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PoorFitWarning)  # the parameters have been validated on folds
        return estimator.fit(data)


def _seed(random_state: Any, recorded: int | None = None) -> int:
    """Return an integer seed; None uses the seed of the journal, if there is one."""
    if random_state is None and recorded is not None:
        return recorded
    if isinstance(random_state, int | np.integer):
        as_generator(random_state)
        return int(random_state)
    return int(as_generator(random_state).integers(1 << 32))
