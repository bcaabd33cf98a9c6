"""Running the trials of a search: models are fitted, scored, possibly pruned, and recorded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from halfstep._support.progress import progress_bar
from halfstep.errors import JournalError
from halfstep.tuning.fitting import Fitter
from halfstep.tuning.folds import Fold, Metric, checked
from halfstep.tuning.journal import Journal
from halfstep.tuning.searching import Search
from halfstep.tuning.space import Point, Space
from halfstep.tuning.trial import RUNGS, State, Trial, best_of, should_prune

SHOWN_EVERY = 0.2  # seconds


@dataclass
class Run:
    """The trials of a search.

    Attributes
    ----------
    trials : list of Trial
        Trials that are finished or from a journal.
    """

    space: Space
    metric: Metric
    folds: list[Fold]
    prune: bool
    fitter: Fitter
    search: Search
    trials: list[Trial]
    _bar: Any = None
    _shown: float = 0.0

    def search_for(self, planned: int, journal: Journal | None, progress: bool | None) -> None:
        """Run trials, or read them from the journal."""
        records = [] if journal is None else journal.records
        with progress_bar(progress, planned, "tune") as bar:
            self._bar = bar
            for number in range(planned):
                point = self.search.ask()
                if point is None:
                    break
                if number < len(records):
                    trial = self._recorded(records[number], point)
                else:
                    trial = self._tried(number, point)
                    if journal is not None:
                        journal.append(trial.as_record())
                self.search.tell(trial)
                self.fitter.remember(trial)
                self.trials.append(trial)
                bar.set_postfix_str(self._best_so_far(), refresh=False)
                bar.update()

    def _best_so_far(self) -> str:
        best = best_of(self.trials, self.metric.maximize)
        return "" if best is None else f"best {self.metric.label} {best.value:.4f}"

    def _show(self, fold: int, iteration: int) -> None:
        """Show the fold and the iteration of the current trial."""
        now = time.perf_counter()
        if self._bar is None or now - self._shown < SHOWN_EVERY:
            return
        self._shown = now
        running = f"fold {fold + 1} of {len(self.folds)}, iteration {iteration}"
        self._bar.set_postfix_str(", ".join(filter(None, [running, self._best_so_far()])))

    def _recorded(self, record: Mapping[str, Any], point: Point) -> Trial:
        try:
            trial = Trial.of_record(record, self.space.values(point), len(self.folds))
        except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            raise JournalError(
                f"the journal's trial {record['trial']} cannot be read ({error!r}): delete the file, or name another"
            ) from error
        if trial.point != point:
            raise JournalError(
                f"the journal's trial {trial.number} tried {trial.point}, and this search tries {point}: it was "
                "written with other versions of NumPy or Optuna; go on with those, or name another file"
            )
        return trial

    def _tried(self, number: int, point: Point) -> Trial:
        """Fit and score on one fold after the other."""
        parameters = self.space.values(point)
        source = self.fitter.source(point, parameters)
        rungs: list[dict[int, float]] = []
        values: list[float] = []
        state: State = "finished"
        error = None
        began = time.perf_counter()

        def should_prune_at(step: int, value: float) -> bool:
            nonlocal state
            rungs[-1][step] = value
            prune = self.prune and should_prune(
                value, len(rungs) - 1, step, self.trials, warm=source is not None, maximize=self.metric.maximize
            )
            state = "pruned" if prune else state
            return prune

        def on_iteration(model: Any, count: int) -> bool:
            self._show(len(rungs) - 1, count)
            return (
                self.prune
                and count in RUNGS
                and count < model.iterations
                and should_prune_at(count, self._score(model, len(rungs) - 1))
            )

        try:
            for fold in range(len(self.folds)):
                rungs.append({})
                model = self.fitter.fit(number, parameters, fold, source, on_iteration)
                if state == "pruned":
                    break
                values.append(self._score(model, fold))
                if fold == len(self.folds) - 1:
                    rungs[-1][0] = values[-1]
                elif should_prune_at(0, values[-1]):
                    break
        except Exception as raised:  # it is recorded with the trial
            state, error = "failed", f"{type(raised).__name__}: {raised}"
        return Trial(
            number, point, parameters, state, tuple(values), time.perf_counter() - began,
            None if source is None else source.number, tuple(rungs), error,
        )  # fmt: skip

    def _score(self, model: Any, fold: int) -> float:
        return checked(self.metric.score(model, self.folds[fold].test), self.metric.label)
