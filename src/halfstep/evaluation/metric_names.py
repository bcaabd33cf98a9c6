"""What may be asked for: the names of metrics, with the number of places that each looks at."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from halfstep.errors import ParameterError
from halfstep.metrics.marks import MEASURES
from halfstep.parameters import check_integer

PER_LIST = (*MEASURES, "coverage", "novelty")
PER_PAIR = ("rmse", "mae")


class Metric(NamedTuple):
    """A metric and how many places count; None for metrics of predictions."""

    name: str
    n: int | None

    @property
    def label(self) -> str:
        """What it is called in a table, such as ndcg@10."""
        return self.name if self.n is None else f"{self.name}@{self.n}"


def read_metrics(metrics: str | Sequence[str], n: int | Sequence[int], allowed: Collection[str]) -> list[Metric]:
    """Combine names with numbers of places; a name such as "recall@20" brings a number of its own.

    Raises
    ------
    ParameterError
        If nothing is asked for, a metric is not among the allowed, or a number of places is less than 1.
    """
    everywhere = list(n) if isinstance(n, Iterable) else [n]
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    if not names or not everywhere:
        raise ParameterError(f"metrics={metrics!r} and n={n!r}: give at least one of each")
    asked: list[Metric] = []
    for given in names:
        name, at, own = given.partition("@")
        if name not in allowed:
            close = get_close_matches(name, allowed, 1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise ParameterError(f"there is no metric {name!r} here{hint}; there are {', '.join(allowed)}")
        if name in PER_PAIR:
            if at:
                raise ParameterError(
                    f"metric {given!r}: {name} looks at predictions, not at places; leave out @{own}"
                )
            asked.append(Metric(name, None))
        elif at:
            if not own.isdecimal():
                raise ParameterError(f"metric {given!r}: give a number of places, such as {name}@10")
            asked.append(Metric(name, int(own)))
        else:
            asked += [Metric(name, places) for places in everywhere]
    for metric in asked:
        if metric.n is not None:
            check_integer("n", metric.n, minimum=1)
    return list(dict.fromkeys(Metric(name, None if places is None else int(places)) for name, places in asked))
