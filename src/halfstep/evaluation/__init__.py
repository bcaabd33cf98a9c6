"""Evaluation on a test set, or on a stream of events with online learning.

``held_out`` and ``stream`` implement the two, ``report`` is the table of both, and ``bootstrap`` computes its
intervals. ``metric_names`` parses metrics, ``reference_models`` fits baselines, and ``history`` records the metrics
of daily checks.
"""

from halfstep.evaluation.held_out import DEFAULT_METRICS, Evaluation, check_metrics, evaluate
from halfstep.evaluation.history import append_to_history, check_history, metrics_of
from halfstep.evaluation.metric_names import Metric, read_metrics
from halfstep.evaluation.report import Row
from halfstep.evaluation.stream import StreamEvaluation, evaluate_stream

__all__ = [
    "DEFAULT_METRICS",
    "Evaluation",
    "Metric",
    "Row",
    "StreamEvaluation",
    "append_to_history",
    "check_history",
    "check_metrics",
    "evaluate",
    "evaluate_stream",
    "metrics_of",
    "read_metrics",
]
