"""The values of parameters that are not set. They depend on the objective, and on the data in two respects.

All missing cells together weigh `MISSING_RATIO` times as much as all observed cells. λ is in the units of the
objective: proportional to the mean weight of observed cells and to the unit of the targets, so that multiplying all
weights, or all values, by a constant does not change the model.

The numbers were chosen on splits inside the training parts of MovieLens 100K and 1M, whole and thinned to a few
interactions for each user, and of synthetic data.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Defaults:
    """Values of parameters of `halfstep.ALS` for one kind of objective.

    Attributes
    ----------
    rank : int
    regularization : float
        λ, for targets whose unit is 1 and weights whose mean is 1.
    stronger : tuple of float
        Other values of λ that a fit tries on held-out cells, ascending; without structure in the data, factors only
        fit noise.
    regularization_exponent : float
        ν.
    is_centered : bool
        Whether the unit of the targets is their standard deviation, rather than their root mean square.
    """

    rank: int
    regularization: float
    stronger: tuple[float, ...]
    regularization_exponent: float
    is_centered: bool


VALUES = Defaults(rank=16, regularization=1.1, stronger=(1.8, 4.0), regularization_exponent=0.5, is_centered=True)
EVENTS = Defaults(rank=64, regularization=2.7, stronger=(), regularization_exponent=0.3, is_centered=False)
MISSING_RATIO = 8.0
