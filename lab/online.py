"""Online learning: the last ratings as a stream, for models with and without updates.

The protocol is that of He et al. (2016): for each event, all movies that the user has not rated are ranked, the
position of the movie is recorded, and the model is updated. Values are ignored: a rating is an interaction. The
parameters are published ones for other data; nothing is tuned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import halfstep as hs
from halfstep.evaluation import Row, StreamEvaluation
from lab.clock import Clock
from lab.parallel import Part

TEST_FRACTION = 0.04
CUTOFF = 100
METRICS = "hit_rate", "ndcg"
SEED = 0

RANK = 64
EALS = {"w0": 512.0, "alpha": 0.4, "reg": 0.01, "maxIter": 20}  # He et al. 2016, on Yelp
IALS = {"regularization": 0.007, "unobserved_weight": 0.3, "regularization_exp": 1.0, "epochs": 12}  # on MovieLens 1M


def eals() -> hs.ALS:
    """Return eALS, unfitted."""
    return hs.presets.eals(
        RANK, int(EALS["maxIter"]), EALS["reg"], EALS["w0"], EALS["alpha"], random_state=SEED
    ).set_params(progress=False)


def ials() -> hs.ALS:
    """Return iALS, unfitted."""
    return hs.presets.ials(
        RANK,
        IALS["regularization"],
        IALS["unobserved_weight"],
        IALS["regularization_exp"],
        int(IALS["epochs"]),
        random_state=SEED,
    ).set_params(progress=False)


class Setting(NamedTuple):
    """The name of a model, a description of its parameters, and a function that creates it."""

    name: str
    words: str
    make: Callable[[], hs.ALS]


SETTINGS = {
    "eals": Setting("eALS", f"rank {RANK}, c0 {EALS['w0']:g}, exponent {EALS['alpha']:g}, λ {EALS['reg']:g}", eals),
    "ials": Setting(
        "iALS", f"rank {RANK}, α0 {IALS['unobserved_weight']:g}, λ {IALS['regularization']:g}, ν 1", ials
    ),
}


@dataclass(frozen=True)
class OnlineRow:
    """A model on the stream, without and with updates.

    Attributes
    ----------
    key, name : str
        In JSON and in the report.
    setting : str
        A description of its parameters.
    frozen, learning : StreamEvaluation
        The evaluations without and with updates.
    """

    key: str
    name: str
    setting: str
    frozen: StreamEvaluation
    learning: StreamEvaluation

    def gain(self, metric: str) -> Row:
        """Return the gain of online learning, with the interval of the paired bootstrap."""
        return self.learning.compared_with(self.frozen, metric)


@dataclass(frozen=True)
class Online:
    """All models on the stream; popularity is not updated."""

    rows: list[OnlineRow]
    popularity: StreamEvaluation

    def to_dict(self) -> dict[str, Any]:
        """Return the results for JSON."""
        return {
            "popularity": self.popularity.to_dict(),
            **{row.key: {"frozen": row.frozen.to_dict(), "learning": row.learning.to_dict()} for row in self.rows},
        }


def parts(ratings: hs.Interactions) -> dict[str, Part]:
    """Return the evaluations on the last ratings by time, of models that were fitted to all others."""
    train, events = hs.split_by_time(ratings, TEST_FRACTION)
    rows = {_name(key): Part("online", online_row, (key, train, events)) for key in SETTINGS}
    return {**rows, _name("popularity"): Part("online", popular, (train, events))}


def online_row(clock: Clock, key: str, train: hs.Interactions, events: hs.Interactions) -> OnlineRow:
    """Fit a model, and evaluate it on the stream without and with updates."""
    name, setting, make = SETTINGS[key]
    model = clock.fit(make(), train)
    return OnlineRow(key, name, setting, _evaluated(model, events, False), _evaluated(model, events, True))


def popular(clock: Clock, train: hs.Interactions, events: hs.Interactions) -> StreamEvaluation:
    """Evaluate popularity on the stream without updates."""
    return _evaluated(clock.fit(hs.Popularity(), train), events, False)


def collected(found: Mapping[str, Any]) -> Online:
    """Combine the results of the parts."""
    return Online([found[_name(key)] for key in SETTINGS], found[_name("popularity")])


def _evaluated(model: Any, events: hs.Interactions, update: bool) -> StreamEvaluation:
    return hs.evaluate_stream(model, events, METRICS, CUTOFF, update=update, random_state=SEED, progress=False)


def _name(key: str) -> str:
    return f"online {key}"
