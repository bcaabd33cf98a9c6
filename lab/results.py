"""The results of the lab."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

import numpy as np

from lab.corrected import Row
from lab.data import Split
from lab.online import Online
from lab.printed import PRINTED
from lab.sampled import Sampled, SampledRow
from lab.scoring import Estimate, Metric
from lab.tuned import Tuned

SPREAD = 3.0
"""The number of standard deviations of five seeds around their mean within which figures agree.

Another run of the same method is within 3.04 of them with a probability of 95% (Student's t with 4 degrees of
freedom, times √(1 + 1/5)).
"""


@dataclass(frozen=True)
class Figure:
    """A printed figure and ours.

    Attributes
    ----------
    key : str
    printed : str
        The figure of the write-up, with all its digits.
    ours : float
        Ours; the mean over seeds if the method is random.
    seeds : tuple of float
        Ours for each seed if the method is random; else empty.
    """

    key: str
    printed: str
    ours: float
    seeds: tuple[float, ...] = ()

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds."""
        return float(np.std(self.seeds, ddof=1)) if self.seeds else None

    @property
    def decimals(self) -> int:
        """The number of printed decimals."""
        return len(self.printed.partition(".")[2])

    @property
    def shown(self) -> str:
        """Our figure, with the number of printed decimals."""
        return rounded(self.ours, self.decimals)

    @property
    def shown_with_spread(self) -> str:
        """Our figure, with the standard deviation over the seeds if the method is random."""
        return self.shown if self.spread is None else f"{self.shown} ± {rounded(self.spread, self.decimals)}"

    @property
    def agrees(self) -> bool:
        """Whether our figure rounds to the printed one; for random methods, whether this is within `SPREAD`."""
        if self.spread is not None:
            return abs(float(self.printed) - self.ours) <= SPREAD * self.spread
        return self.shown == self.printed


def rounded(value: float, decimals: int) -> str:
    """Round half up in decimal notation: 0.6771625 to 0.677163, not 0.677162."""
    exact = Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP)
    return str(exact)


def figures_of(ours: Mapping[str, float], seeds: Mapping[str, Sequence[float]]) -> list[Figure]:
    """Return printed figures with ours, in the order of the write-up."""
    return [
        Figure(key, printed, float(np.mean(seeds[key])), tuple(seeds[key]))
        if key in seeds
        else Figure(key, printed, ours[key])
        for key, printed in PRINTED.items()
    ]


class Method(NamedTuple):
    """A method in the comparison by RMSE.

    Attributes
    ----------
    name : str
    ours : bool
        Whether it is a corrected method, not one of the write-up.
    test, known : Estimate
        RMSE on all test ratings, and on those of known items.
    """

    name: str
    ours: bool
    test: Estimate
    known: Estimate


@dataclass(frozen=True)
class Findings:
    """The results of all experiments.

    Attributes
    ----------
    figures : list of Figure
        Experiments A to J.
    split : Split
        The split of the ratings.
    convergence : list of float
        The Frobenius error of A, from the initial factors on.
    corrected_grid : dict
        The weighted test RMSE of G without cold-start items.
    unmasked : dict
        The test sign accuracy of WALS in H if −1 is observed.
    stars, signs : list of Row
        The corrected methods.
    als_minus_sgd : dict
        By metric, the difference of corrected ALS and SGD on test ratings of known items.
    tuned : Tuned
        Biased ALS by `halfstep.tune`.
    sampled : Sampled
        `BayesianALS` with its defaults.
    online : Online
        Models on a stream.
    methods : list of Method
        The test RMSE of all methods.
    fits : int
    fitting_seconds, total_seconds : float
    section_seconds : dict
        Time spent in fitting, by experiment.
    processes : int
        The number of processes; `fitting_seconds` is their total.
    """

    figures: list[Figure]
    split: Split
    convergence: list[float]
    corrected_grid: dict[str, float]
    unmasked: dict[str, float]
    stars: list[Row]
    signs: list[Row]
    als_minus_sgd: dict[Metric, Estimate]
    tuned: Tuned
    sampled: Sampled
    online: Online
    methods: list[Method]
    fits: int
    fitting_seconds: float
    section_seconds: dict[str, float]
    processes: int
    total_seconds: float

    def figure(self, key: str) -> Figure:
        """Return the figure with a key."""
        return next(figure for figure in self.figures if figure.key == key)

    @property
    def n_agreeing(self) -> int:
        """The number of printed figures that agree with ours."""
        return sum(figure.agrees for figure in self.figures)

    @property
    def untuned(self) -> tuple[SampledRow, SampledRow]:
        """The best model without tuning by RMSE on ratings, and the same kind of model on ±1."""
        stars = min(self.sampled.stars, key=lambda row: row.known.value)
        return stars, next(row for row in self.sampled.signs if row.key == stars.key)

    def to_json(self) -> str:
        """Return all results except the models."""
        figures: dict[str, Any] = {}
        for figure in self.figures:
            entry: dict[str, Any] = {
                "printed": float(figure.printed),
                "ours": figure.ours,
                "agrees": figure.agrees,
                "decimals": figure.decimals,
            }
            if figure.spread is not None:
                entry |= {"standard_deviation": figure.spread, "seeds": list(figure.seeds)}
            figures[figure.key] = entry
        everything = {
            **figures,
            "rule_of_spread": f"agrees where |printed - mean of seeds| <= {SPREAD:g} standard deviations",
            "pairs": {"train": len(self.split.train), "test": len(self.split.test), "known": len(self.split.known)},
            "corrected": {
                "rmse": {row.key: _row(row) for row in self.stars},
                "sign_accuracy": {row.key: _row(row) for row in self.signs},
            },
            "als_minus_sgd": {metric: asdict(each) for metric, each in self.als_minus_sgd.items()},
            "tuned": self.tuned.to_dict(),
            "sampled": self.sampled.to_dict(),
            "online": self.online.to_dict(),
            "methods_rmse": {
                method.name: {"test": asdict(method.test), "known": asdict(method.known)} for method in self.methods
            },
            "mistakes": {
                "weighted_rmse_test_without_unseen_items": self.corrected_grid,
                "sign_accuracy_test_with_minus_ones_observed": self.unmasked,
            },
            "convergence": self.convergence,
            "seconds": {
                "fitting": self.fitting_seconds,
                "fits": self.fits,
                "fitting_by_section": self.section_seconds,
                "total": self.total_seconds,
                "processes": self.processes,
            },
        }
        return json.dumps(everything, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _row(row: Row) -> dict[str, Any]:
    return {
        "parameters": dict(row.parameters),
        "candidates": row.candidates,
        "validation": row.validation,
        "test": asdict(row.test),
        "known": asdict(row.known),
        "known_by_seed": list(row.seeds),
    }
