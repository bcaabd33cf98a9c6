"""Hyperparameter tuning.

``tuner`` has the function `tune`; ``space`` defines search spaces; ``folds`` has the folds and metrics; ``search``
proposes and prunes trials with Optuna, ``warm_starts`` fits their models, ``run`` runs them, ``journal`` records them
in a file, and ``result`` is the result.
"""

from halfstep.evaluation.tuning.result import Tuning
from halfstep.evaluation.tuning.space import Integers, LogUniform, Uniform, default_space
from halfstep.evaluation.tuning.trial import Trial
from halfstep.evaluation.tuning.tuner import tune

__all__ = ["Integers", "LogUniform", "Trial", "Tuning", "Uniform", "default_space", "tune"]
