"""Models against what was held back: on a test set, or on a stream that they learn from as it is scored.

``held_out`` and ``stream`` do the two, ``report`` is the table that both give, ``bootstrap`` its intervals, and
``metric_names`` reads what is asked for.
"""

from halfstep.evaluation.held_out import DEFAULT_METRICS, Evaluation, check_metrics, evaluate
from halfstep.evaluation.report import Row
from halfstep.evaluation.stream import StreamEvaluation, evaluate_stream

__all__ = [
    "DEFAULT_METRICS", "Evaluation", "Row", "StreamEvaluation", "check_metrics", "evaluate", "evaluate_stream",
]  # fmt: skip
