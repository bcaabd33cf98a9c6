"""One trial: what was tried, what came of it on each fold, and how a search judges it beside others."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from halfstep.tuning.space import Point

State = Literal["finished", "pruned", "failed"]

RUNGS = (5, 10, 20, 40, 80, 160)
"""After which iterations a model that is being fitted is scored: what is far behind then is given up."""

BEST = 5
"""A trial is given up when it is behind each of so many."""


@dataclass(frozen=True)
class Trial:
    """Parameters that were tried.

    Attributes
    ----------
    number : int
        From 0.
    point : dict
        The parameters as the space numbers them.
    parameters : dict
        The parameters themselves, by name.
    state : {"finished", "pruned", "failed"}
        Whether all folds were fitted and scored; or it was given up, as it was behind the best; or a fit, or the
        metric, raised an error.
    values : tuple of float
        The metric on each fold that was scored.
    seconds : float
    started_from : int or None
        The trial whose factors its fits started from.
    rungs : tuple of dict
        For each fold that was begun, the metric after some iterations; 0 stands for the end of the fit.
    error : str or None
        What was raised.
    """

    number: int
    point: Point
    parameters: Mapping[str, Any]
    state: State
    values: tuple[float, ...]
    seconds: float
    started_from: int | None = None
    rungs: tuple[Mapping[int, float], ...] = ()
    error: str | None = None

    @property
    def value(self) -> float:
        """The mean over the folds; NaN if not all were scored."""
        return statistics.fmean(self.values) if self.state == "finished" else float("nan")

    def as_record(self) -> dict[str, Any]:
        """Give what a journal keeps; the values of parameters are there for people alone."""
        return {
            "trial": self.number,
            "point": self.point,
            "parameters": {name: shown(value) for name, value in self.parameters.items()},
            "state": self.state,
            "values": list(self.values),
            "seconds": self.seconds,
            "started_from": self.started_from,
            "rungs": [{str(step): value for step, value in fold.items()} for fold in self.rungs],
            "error": self.error,
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any], parameters: Mapping[str, Any], n_folds: int) -> Trial:
        """Return the trial of a record in a journal.

        Raises
        ------
        KeyError, TypeError, ValueError, ArithmeticError or AttributeError
            If the record is not a trial with `n_folds` folds.
        """
        trial = cls(
            number=int(record["trial"]),
            point=dict(record["point"]),
            parameters=parameters,
            state=record["state"],
            values=tuple(map(float, record["values"])),
            seconds=float(record["seconds"]),
            started_from=record["started_from"],
            rungs=tuple({int(step): float(value) for step, value in fold.items()} for fold in record["rungs"]),
            error=record["error"],
        )
        if trial.state not in get_args(State):
            raise ValueError(f"state {trial.state!r}")
        if trial.state == "finished" and not (len(trial.values) == len(trial.rungs) == n_folds):
            raise ValueError(f"{len(trial.values)} values and {len(trial.rungs)} rungs for {n_folds} folds")
        if not all(map(math.isfinite, trial.values)):
            raise ValueError(f"values {trial.values}")
        source = trial.started_from
        if source is not None and not (type(source) is int and 0 <= source < trial.number):
            raise ValueError(f"started_from {source!r}")
        if not isinstance(trial.error, str | None):
            raise TypeError(f"error {trial.error!r}")
        return trial


def best_of(trials: Iterable[Trial], maximize: bool) -> Trial | None:
    """Return the best finished trial; the first one in case of ties."""
    finished = [trial for trial in trials if trial.state == "finished"]
    if not finished:
        return None
    return (max if maximize else min)(finished, key=lambda trial: trial.value)


def should_prune(value: float, fold: int, step: int, trials: Iterable[Trial], *, warm: bool, maximize: bool) -> bool:
    """Whether a trial is worse than each of the best trials was at the same step of the same fold.

    A comparison with the median of the finished trials would prune too many, because the scores of a fold are noisy
    and trials become better during a search. Fits with warm starts are ahead of others, so each kind is compared with
    its own.
    """
    sign = -1.0 if maximize else 1.0
    finished = [
        trial
        for trial in trials
        if trial.state == "finished" and (trial.started_from is not None) == warm and step in trial.rungs[fold]
    ]
    best = sorted(finished, key=lambda trial: sign * trial.value)[:BEST]
    return len(best) == BEST and all(sign * trial.rungs[fold][step] < sign * value for trial in best)


def shown(value: Any) -> Any:
    """Return a value for a table or for JSON."""
    if isinstance(value, float):
        return value
    return value if value is None or isinstance(value, bool | int | str) else repr(value)
