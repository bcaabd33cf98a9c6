"""Biased ALS tuned by `halfstep.tune` on folds of the training set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import halfstep as hs
from lab.clock import Clock
from lab.data import Split
from lab.scoring import Estimate, estimate

N_TRIALS = 30
SEED = 0
SPACE = {
    "regularization.users": hs.LogUniform(0.03, 30.0),
    "regularization.items": hs.LogUniform(0.03, 30.0),
    "regularization.exponent": [0.0, 0.5, 0.75, 1.0],
    "rank": [8, 16, 32],
    "regularization.bias_ratio": hs.LogUniform(0.3, 3.0),
}


@dataclass(frozen=True)
class Tuned:
    """A search, and the scores of its model on both test sets.

    Attributes
    ----------
    tuning : Tuning
    test, known : Estimate
        RMSE on all test ratings, and on those of known items.
    """

    tuning: hs.Tuning
    test: Estimate
    known: Estimate

    @property
    def parameters_in_words(self) -> str:
        """The best parameters in one line."""
        symbols = {
            "regularization.users": "λ users",
            "regularization.items": "λ items",
            "regularization.exponent": "ν",
            "regularization.bias_ratio": "ρ",
        }
        return ", ".join(
            f"{symbols.get(name, name)}\u00a0{value:.3g}" for name, value in self.tuning.best_parameters.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the results for JSON, without the model."""
        return {**self.tuning.to_dict(), "test": vars(self.test), "known": vars(self.known)}


def tuned_als(clock: Clock, split: Split, n_trials: int) -> Tuned:
    """Tune biased ALS on the training set, and score it on both test sets."""
    objective = hs.Explicit(missing_weight=0.0, biases=True)
    model = hs.ALS(objective, rank=16, regularization=1.0, iterations=20)
    tuning = clock.tune(
        lambda: hs.tune(
            model,
            split.train,
            SPACE,
            metric="rmse",
            split=3,
            search="tpe",
            n_trials=n_trials,
            random_state=SEED,
            progress=False,
        )
    )
    return Tuned(tuning, estimate(tuning.model, split.test, "rmse"), estimate(tuning.model, split.known, "rmse"))
