"""Alternating least squares for recommender systems: weighted, biased, implicit; fast and readable.

>>> import halfstep as hs
>>> data = hs.Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "milk", "tea"], [5.0, 1.0, 4.0])
>>> model = hs.ALS(hs.Explicit(biases=True), rank=2, random_state=0).fit(data)
>>> model.predict(["bob"], ["milk"]).shape
(1,)

Names are loaded when they are first used, so that ``import halfstep`` is quick: compiling kernels waits for a fit.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from halfstep._support.version import __version__ as __version__

_NAMES = {
    "models.als": ["ALS"],
    "models.baselines": ["GlobalMean", "ItemBias", "Popularity", "UserItemBias"],
    "models.ease": ["EASE"],
    "models.item_knn": ["ItemKNN"],
    "models.bayesian.bayesian_als": ["BayesianALS"],
    "models.factor_model": ["FactorModel"],
    "evaluation": ["Evaluation", "StreamEvaluation", "evaluate", "evaluate_stream"],
    "data": ["Interactions", "Vocabulary", "read_adjacency_lists", "read_interactions"],
    "objective.objective": ["Explicit", "Implicit", "Objective"],
    "persistence": ["load"],
    "models.pretrained": ["PretrainedFactors"],
    "data.recommendations": ["Explanation", "Ranking", "Recommendations", "SimilarItems", "SimilarUsers"],
    "models.sgd": ["SGD"],
    "objective.regularization": ["Regularization"],
    "data.splits": [
        "k_folds",
        "keep_known",
        "split_by_time",
        "split_fraction_per_user",
        "split_held_out_users",
        "split_leave_last_out",
        "split_random",
        "time_folds",
    ],
    "tuning": ["Integers", "LogUniform", "Tuning", "Uniform", "default_space", "tune"],
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}
_MODULES = ["datasets", "doctor", "errors", "metrics", "persistence", "presets", "solvers", "vectors", "weights"]

__all__ = [*_MODULE_OF, *_MODULES, "__version__"]  # the table above, not written twice

if TYPE_CHECKING:  # the same for type checkers and editors; a test compares the two
    from halfstep import datasets as datasets
    from halfstep import doctor as doctor
    from halfstep import errors as errors
    from halfstep import metrics as metrics
    from halfstep import persistence as persistence
    from halfstep import presets as presets
    from halfstep import solvers as solvers
    from halfstep import vectors as vectors
    from halfstep import weights as weights
    from halfstep.data import Interactions as Interactions
    from halfstep.data import Vocabulary as Vocabulary
    from halfstep.data import read_adjacency_lists as read_adjacency_lists
    from halfstep.data import read_interactions as read_interactions
    from halfstep.data.recommendations import Explanation as Explanation
    from halfstep.data.recommendations import Ranking as Ranking
    from halfstep.data.recommendations import Recommendations as Recommendations
    from halfstep.data.recommendations import SimilarItems as SimilarItems
    from halfstep.data.recommendations import SimilarUsers as SimilarUsers
    from halfstep.data.splits import k_folds as k_folds
    from halfstep.data.splits import keep_known as keep_known
    from halfstep.data.splits import split_by_time as split_by_time
    from halfstep.data.splits import split_fraction_per_user as split_fraction_per_user
    from halfstep.data.splits import split_held_out_users as split_held_out_users
    from halfstep.data.splits import split_leave_last_out as split_leave_last_out
    from halfstep.data.splits import split_random as split_random
    from halfstep.data.splits import time_folds as time_folds
    from halfstep.evaluation import Evaluation as Evaluation
    from halfstep.evaluation import StreamEvaluation as StreamEvaluation
    from halfstep.evaluation import evaluate as evaluate
    from halfstep.evaluation import evaluate_stream as evaluate_stream
    from halfstep.models.als import ALS as ALS
    from halfstep.models.baselines import GlobalMean as GlobalMean
    from halfstep.models.baselines import ItemBias as ItemBias
    from halfstep.models.baselines import Popularity as Popularity
    from halfstep.models.baselines import UserItemBias as UserItemBias
    from halfstep.models.bayesian.bayesian_als import BayesianALS as BayesianALS
    from halfstep.models.ease import EASE as EASE
    from halfstep.models.factor_model import FactorModel as FactorModel
    from halfstep.models.item_knn import ItemKNN as ItemKNN
    from halfstep.models.pretrained import PretrainedFactors as PretrainedFactors
    from halfstep.models.sgd import SGD as SGD
    from halfstep.objective.objective import Explicit as Explicit
    from halfstep.objective.objective import Implicit as Implicit
    from halfstep.objective.objective import Objective as Objective
    from halfstep.objective.regularization import Regularization as Regularization
    from halfstep.persistence import load as load
    from halfstep.tuning import Integers as Integers
    from halfstep.tuning import LogUniform as LogUniform
    from halfstep.tuning import Tuning as Tuning
    from halfstep.tuning import Uniform as Uniform
    from halfstep.tuning import default_space as default_space
    from halfstep.tuning import tune as tune


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"halfstep.{name}")
    if name in _MODULE_OF:
        value = getattr(import_module(f"halfstep.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'halfstep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
