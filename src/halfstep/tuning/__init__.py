"""Search over parameters: which to try, on which folds, and what came of it.

``tuner`` runs a search; ``space`` and ``defaults`` say what is searched, ``searching`` and ``optuna_search`` in which
order, ``folds`` what trials are scored on, ``fitting`` how models are fitted; ``running`` tries one after the other,
``journal`` keeps them in a file, and ``result`` is what comes of it.
"""

from halfstep.tuning.defaults import default_space
from halfstep.tuning.result import Tuning
from halfstep.tuning.space import Integers, LogUniform, Uniform
from halfstep.tuning.trial import Trial
from halfstep.tuning.tuner import tune

__all__ = ["Integers", "LogUniform", "Trial", "Tuning", "Uniform", "default_space", "tune"]
