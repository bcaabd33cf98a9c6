"""Hyperparameter tuning.

``tuner`` has the function `tune`; ``space`` and ``defaults`` define search spaces; ``searching``, ``optuna_search``
and ``doubling`` propose parameters; ``folds`` has the folds and metrics; ``fitting`` fits models, ``running`` runs
trials, ``journal`` records them in a file, and ``result`` is the result.
"""

from halfstep.tuning.defaults import default_space
from halfstep.tuning.result import Tuning
from halfstep.tuning.space import Integers, LogUniform, Uniform
from halfstep.tuning.trial import Trial
from halfstep.tuning.tuner import tune

__all__ = ["Integers", "LogUniform", "Trial", "Tuning", "Uniform", "default_space", "tune"]
