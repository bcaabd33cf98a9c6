"""Metrics of predictions (``rating``) and of ranked lists (``ranking``), with formulas in their docstrings."""

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
