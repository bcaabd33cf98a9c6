"""Default values of parameters, which depend on the objective, and on the data in two respects.

The total weight of missing cells is `MISSING_RATIO` times that of observed cells. λ is proportional to the mean
weight of observed cells and to the unit of the targets, so that multiplying all weights or all values by a constant
does not change the model.

The numbers were chosen on splits within the training sets of MovieLens 100K and 1M, complete and subsampled to a few
interactions per user, and of synthetic data.
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
    ladder : tuple of float
        Ascending values of λ, including `regularization`, that `fit` compares on held-out cells: factors fit only
        noise if the data have no structure, and λ only biases them if the data have no noise. Empty if none are
        compared.
    regularization_exponent : float
        ν.
    is_centered : bool
        Whether the unit of the targets is their standard deviation, instead of their root mean square.
    """

    rank: int
    regularization: float
    ladder: tuple[float, ...]
    regularization_exponent: float
    is_centered: bool


VALUES = Defaults(
    rank=16,
    regularization=1.1,
    ladder=(0.04, 0.08, 0.15, 0.3, 0.6, 1.1, 1.8, 4.0),
    regularization_exponent=0.5,
    is_centered=True,
)
EVENTS = Defaults(rank=64, regularization=2.7, ladder=(), regularization_exponent=0.3, is_centered=False)
MISSING_RATIO = 8.0
