"""The trials of a search: models are fitted, scored, possibly pruned, and recorded."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from halfstep._support.progress import progress_bar, warn_of_interruption
from halfstep.errors import JournalError, TuningError
from halfstep.evaluation.tuning.folds import Fold, TrialMetric, checked
from halfstep.evaluation.tuning.search import Search
from halfstep.evaluation.tuning.space import Space
from halfstep.evaluation.tuning.trial import Trial, best_of
from halfstep.evaluation.tuning.warm_starts import Fitter

RUNGS = (5, 10, 20, 40, 80, 160)
"""Iterations after which a model is scored during the fit, and possibly pruned."""

STEPS = 1000
"""Steps per fold in Optuna; the last one is the end of the fit."""

SHOWN_EVERY = 0.2  # seconds


@dataclass
class Run:
    """The trials of a search; those `recorded` in a journal are not run again."""

    space: Space
    metric: TrialMetric
    folds: list[Fold]
    prune: bool
    fitter: Fitter
    search: Search
    journal: optuna.Study | None
    recorded: Sequence[FrozenTrial]
    trials: list[Trial] = field(default_factory=list)
    _bar: Any = None
    _shown: float = 0.0

    def search_for(self, progress: bool | None) -> Trial:
        """Run trials, or take them from the journal, and return the best one.

        Raises
        ------
        TuningError
            If all trials failed.
        KeyboardInterrupt
            If the search was interrupted before the end of the first trial; later, a warning is issued.
        """
        interrupted = False
        try:
            with progress_bar(progress, self.search.n_planned, "tune") as self._bar:
                self._run_trials()
        except KeyboardInterrupt:
            interrupted = True
            if self._best is None:
                raise
        best = self._best
        if best is None:
            raise TuningError(_why_none(self.trials))
        if interrupted:
            done = f"{len(self.trials)} of {self.search.n_planned} trials"
            warn_of_interruption(f"the search was interrupted: this is the best of {done}")
        return best

    def _run_trials(self) -> None:
        points = self.search.points(self.trials)
        for number, point in zip(range(self.search.n_planned), points, strict=False):
            if number < len(self.recorded):
                trial = self._read(number)
            else:
                asked = self.search.ask(point, self.trials)
                if asked is None:
                    break
                frozen = self._tried(number, asked)
                if self.journal is not None:
                    self.journal.add_trial(frozen)
                trial = Trial.of(frozen, self.space)
            self.fitter.remember(trial)
            self.trials.append(trial)
            self._bar.set_postfix_str(self._best_so_far(), refresh=False)
            self._bar.update()

    @property
    def _best(self) -> Trial | None:
        return best_of(self.trials, self.metric.maximize)

    def _best_so_far(self) -> str:
        best = self._best
        return "" if best is None else f"best {self.metric.label} {best.value:.4f}"

    def _show(self, fold: int, iteration: int) -> None:
        """Show the fold and the iteration of the current trial."""
        now = time.perf_counter()
        if now - self._shown < SHOWN_EVERY:
            return
        self._shown = now
        running = f"fold {fold + 1} of {len(self.folds)}, iteration {iteration}"
        self._bar.set_postfix_str(", ".join(filter(None, [running, self._best_so_far()])))

    def _read(self, number: int) -> Trial:
        """Return a trial of the journal."""
        frozen = self.recorded[number]
        try:
            trial = Trial.of(frozen, self.space)
            if trial.number != number:
                raise ValueError(f"its number is {trial.number}")
            if trial.state == "finished" and not (
                len(trial.values) == len(self.folds) and math.isfinite(trial.value)
            ):
                raise ValueError(f"its values are {trial.values}, instead of a finite number for each fold")
            if trial.started_from not in {None} | {
                other.number for other in self.trials if other.state == "finished"
            }:
                raise ValueError(
                    f"it started from trial {trial.started_from!r}, which is not a finished trial before it"
                )
            self.search.study.add_trial(frozen)
        except Exception as error:
            raise JournalError(
                f"trial {number} of the journal cannot be read ({error or type(error).__name__}): delete the file, "
                "or name another"
            ) from error
        return trial

    def _tried(self, number: int, asked: optuna.Trial) -> FrozenTrial:
        """Fit and score a model on each fold in turn."""
        point = {name: asked.params[name] for name in self.space.dimensions}
        parameters = self.space.values(point)
        source = self.fitter.source(point, parameters)
        asked.set_user_attr("started_from", None if source is None else source.number)
        values: list[float] = []
        state, error, fold = TrialState.COMPLETE, None, 0
        began = time.perf_counter()

        def on_iteration(model: Any, count: int) -> None:
            self._show(fold, count)
            if count in RUNGS and count < model.iterations and self.prune:
                self._report(asked, fold * STEPS + count, self._score(model, fold))

        try:
            for fold in range(len(self.folds)):
                model = self.fitter.fit(number, parameters, fold, source, on_iteration)
                values.append(self._score(model, fold))
                self._report(asked, (fold + 1) * STEPS - 1, values[-1])
        except optuna.TrialPruned:
            state = TrialState.PRUNED
        except Exception as raised:  # recorded with the trial
            state, error = TrialState.FAIL, f"{type(raised).__name__}: {raised}"
        seconds = time.perf_counter() - began
        for name, value in {
            "number": number,
            "values": values,
            "seconds": seconds,
            "n_fits": fold + 1,
            "error": error,
        }.items():
            asked.set_user_attr(name, value)
        value = statistics.fmean(values) if state == TrialState.COMPLETE else None
        return self.search.study.tell(asked, value, state)

    def _report(self, asked: optuna.Trial, step: int, value: float) -> None:
        asked.report(value, step)
        if step < len(self.folds) * STEPS - 1 and asked.should_prune():
            raise optuna.TrialPruned

    def _score(self, model: Any, fold: int) -> float:
        return checked(self.metric.score(model, self.folds[fold].test), self.metric.label)


def _why_none(trials: list[Trial]) -> str:
    failed = [trial for trial in trials if trial.state == "failed"]
    first = failed[0]
    parameters = ", ".join(f"{name}={value!r}" for name, value in first.parameters.items())
    what = (
        "the only trial failed; its error"
        if len(failed) == 1
        else f"all {len(failed)} trials failed; the first error"
    )
    return f"{what}, with {parameters}: {first.error}"
