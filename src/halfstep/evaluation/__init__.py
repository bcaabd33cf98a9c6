"""Models against what was held back: on a test set, or on a stream that they learn from as it is scored.

``held_out`` and ``stream`` do the two, ``report`` is the table that both give, ``bootstrap`` its intervals, and
``metric_names`` reads what is asked for, ``reference_models`` makes the baselines, and ``history`` keeps the metrics
of daily checks.
"""

from halfstep.evaluation.held_out import DEFAULT_METRICS, Evaluation, check_metrics, evaluate
from halfstep.evaluation.history import append_to_history, check_history, metrics_of
from halfstep.evaluation.metric_names import Metric, read_metrics
from halfstep.evaluation.report import Row
from halfstep.evaluation.stream import StreamEvaluation, evaluate_stream

__all__ = [
    "DEFAULT_METRICS", "Evaluation", "Metric", "Row", "StreamEvaluation", "append_to_history", "check_history",
    "check_metrics", "evaluate", "evaluate_stream", "metrics_of", "read_metrics",
]  # fmt: skip
