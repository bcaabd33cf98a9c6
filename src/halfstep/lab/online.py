"""Learning on: the last tenth of the ratings as a stream, for models that stay as they are and models that learn.

The protocol of He et al. (2016): for each event all films that the user has not had are ranked, it is noted at which
place the event's film is, and then the model may learn the event. Values do not count: a rating is a film watched.
The settings are published ones, for other data; nothing is tuned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import halfstep as hs
from halfstep.evaluation import Row, StreamEvaluation
from halfstep.lab.clock import Clock

TEST_FRACTION = 0.1
PLACES = 100
METRICS = "hit_rate", "ndcg"
SEED = 0

RANK = 64
EALS = {"w0": 512.0, "alpha": 0.4, "reg": 0.01, "maxIter": 20}  # He et al. 2016, on Yelp
IALS = {"regularization": 0.007, "unobserved_weight": 0.3, "regularization_exp": 1.0, "epochs": 12}  # on MovieLens 1M


@dataclass(frozen=True)
class OnlineRow:
    """One model on the stream, twice.

    Attributes
    ----------
    key, name : str
        For machines and for people.
    setting : str
        Its parameters, in words.
    frozen, learning : StreamEvaluation
        As it was fitted, and learning each event once it was scored.
    """

    key: str
    name: str
    setting: str
    frozen: StreamEvaluation
    learning: StreamEvaluation

    def gain(self, metric: str) -> Row:
        """What learning gains, with the interval of the paired bootstrap."""
        return self.learning.compared_with(self.frozen, metric)


@dataclass(frozen=True)
class Online:
    """All models on the stream; popularity stays as it is."""

    rows: list[OnlineRow]
    popularity: StreamEvaluation

    def to_dict(self) -> dict[str, Any]:
        """Everything, made of what JSON knows."""
        return {
            "popularity": self.popularity.to_dict(),
            **{row.key: {"frozen": row.frozen.to_dict(), "learning": row.learning.to_dict()} for row in self.rows},
        }


def stream(clock: Clock, ratings: hs.Interactions) -> Online:
    """Fit to the first nine tenths by time, and walk through the last."""
    train, events = hs.split_by_time(ratings, TEST_FRACTION)

    def walk(model: Any, update: bool) -> StreamEvaluation:
        clock.tick(f"{clock.section}, {'learning' if update else 'as it was fitted'}")
        return hs.evaluate_stream(model, events, METRICS, PLACES, update=update, random_state=SEED, progress=False)

    def row(key: str, name: str, setting: str, make: Callable[[], hs.ALS]) -> OnlineRow:
        model = clock.fit(make(), train)
        return OnlineRow(key, name, setting, walk(model, False), walk(model, True))

    rows = [
        row(
            "eals",
            "eALS",
            f"rank {RANK}, c0 {EALS['w0']:g}, exponent {EALS['alpha']:g}, λ {EALS['reg']:g}",
            lambda: hs.presets.eals(
                RANK, int(EALS["maxIter"]), EALS["reg"], EALS["w0"], EALS["alpha"], random_state=SEED, progress=False
            ),
        ),
        row(
            "ials",
            "iALS",
            f"rank {RANK}, α0 {IALS['unobserved_weight']:g}, λ {IALS['regularization']:g}, ν 1",
            lambda: hs.presets.ials(
                RANK, IALS["regularization"], IALS["unobserved_weight"], IALS["regularization_exp"],
                int(IALS["epochs"]), random_state=SEED, progress=False,
            ),
        ),
    ]  # fmt: skip
    return Online(rows, walk(clock.fit(hs.Popularity(), train), False))
