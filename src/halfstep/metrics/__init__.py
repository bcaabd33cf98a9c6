"""How good a model is: one function per metric, the formula in its docstring.

``rating`` measures how far predictions are from what was observed, ``ranking`` how good ranked lists are.
"""

from halfstep.metrics.ranking import (
    average_precision,
    coverage,
    hit_rate,
    ndcg,
    novelty,
    precision,
    recall,
    reciprocal_rank,
)
from halfstep.metrics.rating import frobenius, mae, rmse, sign_accuracy, weighted_rmse

__all__ = [
    "average_precision",
    "coverage",
    "frobenius",
    "hit_rate",
    "mae",
    "ndcg",
    "novelty",
    "precision",
    "recall",
    "reciprocal_rank",
    "rmse",
    "sign_accuracy",
    "weighted_rmse",
]
