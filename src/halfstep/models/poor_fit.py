"""Warnings about fits of poor quality."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from halfstep._support.blocks import all_equal, blocks
from halfstep.errors import PoorFitWarning, warn_caller
from halfstep.models.factorization import Factorization
from halfstep.objective.cost import Cost

FEWEST = 100  # observed cells
MOST = 1 << 20  # observed cells that are examined
FEW = 0.1  # fraction of the cells that should not have more than half of the total weight
NEARLY_0 = 1e-3  # of the unit of the targets
FEW_SAMPLES = 10  # of a posterior


def warn_of_uneven_weights(weights: NDArray[np.float64]) -> None:
    """Warn if few observed cells have most of the weight."""
    if weights.strides == (0,):
        return
    weights = weights[:: 1 + len(weights) // MOST]
    weights = weights[weights > 0]  # cells of weight 0 are excluded on purpose
    if len(weights) < FEWEST:
        return
    few = int(FEW * len(weights))
    heaviest = np.partition(weights, -few)[-few:]
    share = heaviest.sum() / max(weights.sum(), np.finfo(float).tiny)
    if share > 0.5:
        warn_caller(
            f"{FEW:.0%} of the observed cells have {share:.0%} of the total weight (the largest weight is "
            f"{heaviest.max():.4g}, the median {np.median(weights):.4g}), and dominate the fit: use equal weights "
            "or halfstep.weights.log_confidence(alpha=1, epsilon=1)",
            PoorFitWarning,
        )


def warn_of_zero_factors(fitted: Factorization, cost: Cost, unit: float, regularization: float) -> None:
    """Warn if all products of factors are negligible compared with the targets, whose unit is `unit`."""
    P, Q = fitted.user_factors, fitted.item_factors
    largest = fitted.rank * float(np.abs(P).max(initial=0.0)) * float(np.abs(Q).max(initial=0.0))
    if largest >= NEARLY_0 * unit:
        return
    remedy = f"lower the regularization, which is {regularization:.4g}"
    low, high = _range_of_targets(fitted, cost)
    if low == high == 0:
        remedy = "all targets are 0: give other values, or an objective with other targets"
    elif cost.nonnegative and low < 0:
        cause = "nonnegative factors cannot fit targets below 0"
        cause += ", which are values minus the mean and biases" if cost.biases else ""
        if high < NEARLY_0 * unit:
            remedy = f"{cause}, and no target is above 0: set nonnegative=False, or give values above 0"
        else:
            remedy += f", or set nonnegative=False: {cause}"
    warn_caller(
        f"all factors are nearly 0 (no product of factors exceeds {largest:.2g}), so scores are hardly "
        f"personalized: {remedy}",
        PoorFitWarning,
    )


def _range_of_targets(fitted: Factorization, cost: Cost) -> tuple[float, float]:
    """Return the smallest and the largest t − μ − b_u − b_i of the observed cells with weight."""
    low, high, data = np.inf, -np.inf, fitted.interactions
    assert data is not None  # of a fit
    for block in blocks(len(cost.targets)):
        biases = fitted.user_biases[data.user_positions[block]] + fitted.item_biases[data.item_positions[block]]
        targets = (cost.targets[block] - biases)[cost.weights[block] > 0]
        low, high = min(low, targets.min(initial=np.inf)), max(high, targets.max(initial=-np.inf))
    return float(low), float(high)


def warn_of_equal_targets(targets: NDArray[np.float64]) -> None:
    """Warn if all targets of observed cells are equal, and missing cells have no weight."""
    if len(targets) > 1 and all_equal(targets):
        warn_caller(
            "all observed cells have the same target, and missing cells have no weight, so there is nothing to "
            "learn: give values that differ, or use ALS(Implicit()) for clicks, plays or purchases",
            PoorFitWarning,
        )


def warn_of_few_samples(kept: int, sampled: int, sample_memory: int) -> None:
    """Warn if few of the samples of a posterior are kept because of `sample_memory`."""
    enough = min(FEW_SAMPLES, sampled)
    if kept < enough:
        needed = -(-sample_memory * enough // kept)
        warn_caller(
            f"only {kept} of {sampled:,} samples fit into sample_memory={sample_memory}, so predictions and "
            f"intervals are imprecise: set sample_memory={needed} or more, or a lower rank",
            PoorFitWarning,
        )
