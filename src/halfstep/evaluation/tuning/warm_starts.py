"""Fits of the models of trials, optionally from the factors of a similar trial."""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep.data import Interactions
from halfstep.errors import FitInterruptedWarning, PoorFitWarning
from halfstep.evaluation.tuning.folds import Fold
from halfstep.evaluation.tuning.space import Point, is_number, with_parameters
from halfstep.evaluation.tuning.trial import Trial
from halfstep.models.als import ALS

Floats = NDArray[np.floating]
OnIteration = Callable[[Any, int], None]
"""Called with the model and the number of its iterations."""

WARM_SHARE = 0.5
"""Share of the iterations that fits with warm starts run."""

MAX_KEPT = 1 << 28
"""Maximum bytes of factors kept for warm starts; discarded ones are fitted again if needed."""


class Fitter:
    """Fits the models of a search, all with the same seed, so that trials differ only by their parameters.

    With `warm_starts`, fits of `ALS` can start from the factors of a similar trial.
    """

    def __init__(self, estimator: Any, folds: Sequence[Fold], seed: int, *, warm_starts: bool) -> None:
        self._estimator, self._folds, self._seed = estimator, folds, seed
        self._warm_starts = warm_starts and isinstance(estimator, ALS) and estimator.init is None
        self._trials: dict[int, Trial] = {}
        self._kept: dict[tuple[int, int], tuple[Floats, Floats]] = {}

    def remember(self, trial: Trial) -> None:
        """Let later trials start from this one, if it has finished."""
        if trial.state == "finished":
            self._trials[trial.number] = trial
        else:
            self._kept = {key: kept for key, kept in self._kept.items() if key[0] != trial.number}

    def estimator(self, parameters: Mapping[str, Any]) -> Any:
        """Return the unfitted estimator with given parameters, and a seed if it has none."""
        made: Any = with_parameters(self._estimator, parameters)
        if getattr(made, "random_state", 0) is None:
            made = dataclasses.replace(made, random_state=self._seed)
        return made

    def fit(
        self,
        number: int,
        parameters: Mapping[str, Any],
        fold: int,
        source: Trial | None,
        on_iteration: OnIteration | None = None,
    ) -> Any:
        """Fit to the training data of a fold.

        Raises
        ------
        KeyboardInterrupt
            If the fit was interrupted.
        """
        made = self.estimator(parameters)
        changes: dict[str, Any] = {}
        if hasattr(made, "progress"):
            changes["progress"] = False
        if on_iteration is not None and hasattr(made, "callbacks"):
            changes["callbacks"] = [*made.callbacks, _counting(on_iteration)]
        train = self._folds[fold].train
        if source is not None:
            changes |= {
                "iterations": math.ceil(WARM_SHARE * made.iterations),
                "init": self._start(made, fold, source),
            }
        model = _fitted(dataclasses.replace(made, **changes), train)
        if self._warm_starts:
            self._keep(number, fold, model)
        return model

    def source(self, point: Point, parameters: Mapping[str, Any]) -> Trial | None:
        """Return the trial to start from: one that differs only by a larger λ or a lower rank, or None.

        The nearest λ is preferred to a lower rank, because its factors have all columns.
        """
        if not self._warm_starts:
            return None
        regularizations = [name for name in point if name.partition(".")[0] == "regularization"]
        for name in (*regularizations, *(name for name in point if name == "rank")):
            here, sign = parameters[name], -1 if name == "rank" else 1
            if not is_number(here):
                continue
            ahead = {
                sign * trial.parameters[name]: trial
                for trial in self._trials.values()
                if is_number(trial.parameters[name])
                and sign * trial.parameters[name] > sign * here
                and all(trial.point[other] == point[other] for other in point if other != name)
            }
            if ahead:
                return ahead[min(ahead)]
        return None

    def _start(self, estimator: ALS, fold: int, source: Trial) -> tuple[Floats, Floats]:
        """Return the factors of another trial plus the initial factors of a fit from scratch.

        Columns that the other trial lacks, or that its λ has shrunk to 0, would remain 0 in all half-steps.
        """
        train = self._folds[fold].train
        initial = estimator._start(train, estimator._rank, estimator._unit(estimator.objective.cost(train)))
        P, Q = (each[:, : estimator._rank].astype(np.float64) for each in initial)
        for start, given in zip((P, Q), self._factors(source, fold), strict=True):
            start[:, : given.shape[1]] += given
            if estimator.objective.nonnegative:  # the other trial's may not be
                np.maximum(start, 0.0, out=start)
        return P, Q

    def _factors(self, source: Trial, fold: int) -> tuple[Floats, Floats]:
        """Return the fitted factors of a trial, which is fitted again if they were not kept."""
        if (source.number, fold) not in self._kept:
            start = None if source.started_from is None else self._trials[source.started_from]
            self.fit(source.number, source.parameters, fold, start)
        return self._kept[source.number, fold]

    def _keep(self, number: int, fold: int, model: ALS) -> None:
        factors = model.user_factors_, model.item_factors_
        self._kept.pop((number, fold), None)
        self._kept[number, fold] = factors
        while len(self._kept) > 1 and sum(P.nbytes + Q.nbytes for P, Q in self._kept.values()) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]


def _counting(on_iteration: OnIteration) -> Callable[[Any], None]:
    counts = itertools.count(1)

    def callback(model: Any) -> None:
        on_iteration(model, next(counts))

    return callback


def _fitted(model: Any, train: Interactions) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error", FitInterruptedWarning)
        warnings.simplefilter("ignore", PoorFitWarning)  # the scores on folds show it
        try:
            return model.fit(train)
        except FitInterruptedWarning:
            raise KeyboardInterrupt from None
