"""The time of fits; all models of the lab are fitted here."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import halfstep as hs


class Fittable(Protocol):
    """A model of the library."""

    def fit(self, data: hs.Interactions) -> object:
        """Fit the model."""
        ...


Model = TypeVar("Model", bound=Fittable)
Result = TypeVar("Result")


@dataclass
class Clock:
    """Fit models, and count the fits and their time.

    Attributes
    ----------
    section : str
        The section of the next fits.
    fits : int
    seconds : float
        Wall-clock time of the fits, including compilation.
    by_section : dict
        The time by section.
    """

    section: str = ""
    fits: int = 0
    seconds: float = 0.0
    by_section: dict[str, float] = field(default_factory=dict)

    def fit(self, model: Model, data: hs.Interactions) -> Model:
        """Fit a model and return it."""
        self._timed(lambda: model.fit(data))
        self.fits += 1
        return model

    def tune(self, search: Callable[[], hs.Tuning]) -> hs.Tuning:
        """Run a search and return its result."""
        tuning = self._timed(search)
        self.fits += sum(trial.n_fits for trial in tuning) + 1
        return tuning

    def add(self, other: Clock) -> None:
        """Add the fits and the time of another clock."""
        self.fits += other.fits
        self.seconds += other.seconds
        for section, seconds in other.by_section.items():
            self.by_section[section] = self.by_section.get(section, 0.0) + seconds

    def _timed(self, work: Callable[[], Result]) -> Result:
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", hs.errors.PoorFitWarning)  # the report shows the quality of each fit
            warnings.simplefilter("error", hs.errors.FitInterruptedWarning)
            try:
                result = work()
            except hs.errors.FitInterruptedWarning:
                raise KeyboardInterrupt from None  # no report on incomplete fits
        took = time.perf_counter() - began
        self.seconds += took
        self.by_section[self.section] = self.by_section.get(self.section, 0.0) + took
        return result
