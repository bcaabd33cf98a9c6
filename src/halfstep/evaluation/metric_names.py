"""Names of metrics, with their cutoffs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from halfstep._support.checks import LARGEST, check_integer
from halfstep.errors import ParameterError
from halfstep.metrics.marks import MEASURES

OF_RELEVANT_ITEMS = (*MEASURES,)  # the larger, the better
PER_LIST = (*OF_RELEVANT_ITEMS, "coverage", "novelty")
PER_PAIR = ("rmse", "mae")


class Metric(NamedTuple):
    """A metric and its cutoff; None for metrics of predictions."""

    name: str
    n: int | None

    @property
    def label(self) -> str:
        """The name in tables, such as ndcg@10."""
        return self.name if self.n is None else f"{self.name}@{self.n}"


ALIASES = {
    "accuracy": ("sign_accuracy", "precision"),
    "ap": ("average_precision",),
    "auc": ("ndcg", "recall"),
    "catalog": ("coverage",),
    "dcg": ("ndcg",),
    "f1": ("precision", "recall"),
    "hit": ("hit_rate",),
    "hit_ratio": ("hit_rate",),
    "hits": ("hit_rate",),
    "hr": ("hit_rate",),
    "map": ("average_precision",),
    "mean_absolute_error": ("mae",),
    "mean_average_precision": ("average_precision",),
    "mean_reciprocal_rank": ("reciprocal_rank",),
    "mean_squared_error": ("rmse",),
    "mrr": ("reciprocal_rank",),
    "mse": ("rmse",),
    "normalized_discounted_cumulative_gain": ("ndcg",),
    "p": ("precision",),
    "prec": ("precision",),
    "r": ("recall",),
    "rec": ("recall",),
    "roc_auc": ("ndcg", "recall"),
    "root_mean_squared_error": ("rmse",),
    "rr": ("reciprocal_rank",),
    "sensitivity": ("recall",),
    "success": ("hit_rate",),
    "tpr": ("recall",),
}
"""Metrics of other libraries: the names of the same metrics, or of similar ones."""

_SPELLING = re.compile(r"(?P<name>f1|.*?[a-z])(?:[@_]*(?:at)?[@_]*(?P<n>[0-9]+|k))?")
"""A name in lower case with a cutoff in any notation: ndcg@10, ndcg_at_10, ndcg10."""


def close_names(given: str, allowed: Collection[str]) -> list[str]:
    """Return suggestions for an unknown metric, with the given cutoff."""
    plain = re.sub(r"[\s.-]+", "_", given.strip().lower())
    spelled = None if plain in ALIASES else _SPELLING.fullmatch(plain)
    name, n = (spelled["name"], spelled["n"]) if spelled else (plain, None)
    names = [name] if name in allowed else [each for each in ALIASES.get(name, ()) if each in allowed]
    names = names or get_close_matches(name, allowed, 1)
    cutoff = f"@{n}" if n is not None and n.isdecimal() else ""
    return [each if each in PER_PAIR else each + cutoff for each in names]


def _listed(given: Any) -> list[Any]:
    """Return the elements of an iterable; anything else as a list of one element."""
    is_single = isinstance(given, str | bytes | Mapping) or not isinstance(given, Iterable)
    return [given] if is_single or getattr(given, "ndim", 1) == 0 else list(given)


def _names_of(metrics: Any) -> list[str]:
    """Return the given names of metrics as a list."""
    names = _listed(metrics)
    if not names or not all(isinstance(name, str) for name in names):
        raise ParameterError(f"metrics={metrics!r}: give the name of a metric, such as 'ndcg', or a list of names")
    return names


def _cutoffs_of(n: Any) -> list[int]:
    """Return the given cutoffs as a list."""
    cutoffs = _listed(n)
    if not cutoffs:
        raise ParameterError(f"n={n!r}: give at least one cutoff, such as 10")
    for each in cutoffs:
        check_integer("n", each, minimum=1)
    return list(map(int, cutoffs))


def _own_cutoff(given: str) -> int:
    """Return the cutoff of a name such as "recall@20"."""
    name, _, own = given.partition("@")
    digits = own.lstrip("0")
    if not digits or not (own.isascii() and own.isdecimal()):
        raise ParameterError(f"metric {given!r}: give a cutoff, such as {name}@10")
    if len(digits) > len(str(LARGEST)) or int(digits) > LARGEST:
        raise ParameterError(f"metric {given!r}: give a cutoff of at most {LARGEST}, such as {name}@10")
    return int(digits)


def read_metrics(metrics: str | Sequence[str], n: int | Sequence[int], allowed: Collection[str]) -> list[Metric]:
    """Combine names with cutoffs; a name such as "recall@20" has its own cutoff."""
    names, cutoffs = _names_of(metrics), _cutoffs_of(n)
    asked: list[Metric] = []
    for given in names:
        name, at, own = given.partition("@")
        if name not in allowed:
            close = close_names(given, allowed)
            hint = f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""
            raise ParameterError(f"unknown metric {given!r}{hint}: give one of {', '.join(allowed)}")
        if name in PER_PAIR:
            if at:
                raise ParameterError(
                    f"metric {given!r}: {name} is a metric of predictions, which has no cutoff; remove @{own}"
                )
            asked.append(Metric(name, None))
        elif at:
            asked.append(Metric(name, _own_cutoff(given)))
        else:
            asked += [Metric(name, cutoff) for cutoff in cutoffs]
    return list(dict.fromkeys(asked))
