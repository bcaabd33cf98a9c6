"""One trial: its parameters, and its scores on each fold."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from halfstep.evaluation.tuning.space import Point, Space

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

State = Literal["finished", "pruned", "failed"]
STATES: Mapping[str, State] = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}
"""By their names in Optuna."""


@dataclass(frozen=True)
class Trial:
    """One trial of a search.

    Attributes
    ----------
    number : int
        Numbered from 0.
    point : dict
        The point of the parameters in the space.
    parameters : dict
        The parameters, by name.
    state : {"finished", "pruned", "failed"}
        Whether all folds were scored; the trial was pruned, because it was worse than the best ones; or a fit or the
        metric raised an error.
    values : tuple of float
        The metric on each fold that was scored.
    seconds : float
    n_fits : int
        The number of fits, including one that was pruned or failed.
    started_from : int or None
        The trial whose factors its fits started from.
    error : str or None
        The error that was raised.
    """

    number: int
    point: Point
    parameters: Mapping[str, Any]
    state: State
    values: tuple[float, ...]
    seconds: float
    n_fits: int = 0
    started_from: int | None = None
    error: str | None = None

    @classmethod
    def of(cls, trial: FrozenTrial, space: Space) -> Trial:
        """Return the trial that Optuna has recorded."""
        point = {name: trial.params[name] for name in space.dimensions}
        attributes = trial.user_attrs | {"values": tuple(trial.user_attrs["values"])}
        return cls(point=point, parameters=space.values(point), state=STATES[trial.state.name], **attributes)

    @property
    def value(self) -> float:
        """The mean over the folds; NaN if not all were scored."""
        return statistics.fmean(self.values) if self.state == "finished" else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Return the trial in types that JSON supports."""
        record = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "point"
        }
        return record | {
            "parameters": {name: shown(value) for name, value in self.parameters.items()},
            "values": list(self.values),
        }


def best_of(trials: Iterable[Trial], maximize: bool) -> Trial | None:
    """Return the best finished trial; the first one in case of ties."""
    finished = [trial for trial in trials if trial.state == "finished"]
    if not finished:
        return None
    return (max if maximize else min)(finished, key=lambda trial: trial.value)


def shown(value: Any) -> Any:
    """Return a value for a table or for JSON."""
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
