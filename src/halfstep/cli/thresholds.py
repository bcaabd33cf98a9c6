"""Limits of metrics for ``halfstep evaluate``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import halfstep as hs
from halfstep.evaluation import Evaluation, Metric, read_metrics
from halfstep.evaluation.metric_names import OF_RELEVANT_ITEMS, PER_LIST, PER_PAIR

FailingSide = Literal["under", "above"]

WRONG = {"under": PER_PAIR, "above": OF_RELEVANT_ITEMS}
"""By side, the metrics for which values on this side are better."""


class ThresholdError(hs.errors.HalfstepError):
    """A metric is outside its limits."""


@dataclass(frozen=True)
class Threshold:
    """A limit of a metric.

    Attributes
    ----------
    metric : Metric
    limit : float
    side : {"under", "above"}
        Values on this side of the limit fail.
    """

    metric: Metric
    limit: float
    side: FailingSide

    @classmethod
    def parse(cls, text: str, side: FailingSide, cutoffs: Sequence[int]) -> Threshold:
        """Parse the value of an option ``--fail-under`` or ``--fail-above``, such as ``ndcg@10=0.2``.

        Raises
        ------
        hs.errors.ParameterError
            If it is not a metric and a finite number, or if the cutoff is missing and there are several.
        """
        option = f"--fail-{side} {text}"
        name, _, number = text.rpartition("=")
        try:
            limit = float(number)
        except ValueError:
            limit = math.nan
        if not name or not math.isfinite(limit):
            raise hs.errors.ParameterError(f"{option}: give a metric and a number, such as ndcg@10=0.2")
        found = read_metrics(name.strip(), cutoffs, (*PER_LIST, *PER_PAIR))
        if len(found) > 1:
            raise hs.errors.ParameterError(f"{option}: give one of {', '.join(each.label for each in found)}")
        (metric,) = found
        if metric.name in WRONG[side]:
            better, other = ("lower", "above") if side == "under" else ("higher", "under")
            raise hs.errors.ParameterError(
                f"{option}: the {better} {metric.name} is, the better the model: use --fail-{other} instead"
            )
        return cls(metric, limit, side)

    def fault_of(self, value: float, model: str) -> str | None:
        """Return an error message if a value of the metric is outside the limit, else None."""
        if math.isnan(value):
            return f"{self.metric.label} is not defined for {model}, so --fail-{self.side} cannot be checked"
        is_within = value >= self.limit if self.side == "under" else value <= self.limit
        if is_within:
            return None
        where = "below" if self.side == "under" else "above"
        return f"{self.metric.label} of {model} is {value:.6g}, {where} the {self.limit:g} of --fail-{self.side}"


def check_thresholds(thresholds: Iterable[Threshold], report: Evaluation, model: str) -> None:
    """Check that all metrics of a model are within their limits.

    Raises
    ------
    ThresholdError
        If a metric is outside its limits; the message names all such metrics.
    """
    faults = (each.fault_of(report[model, each.metric.label], model) for each in thresholds)
    found = [fault for fault in faults if fault is not None]
    if found:
        raise ThresholdError("; ".join(found))
