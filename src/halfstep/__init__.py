"""Alternating least squares for recommender systems: weighted, biased, implicit; fast and readable.

>>> import halfstep as hs
>>> data = hs.Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "milk", "tea"], [5.0, 1.0, 4.0])
>>> model = hs.ALS(hs.Explicit(biases=True), rank=2, random_state=0).fit(data)
>>> model.predict(["bob"], ["milk"]).shape
(1,)

Names are loaded when they are first used, so that ``import halfstep`` is quick: compiling kernels waits for a fit.
"""

from importlib import import_module
from typing import Any

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
    "evaluation.tuning": ["Integers", "LogUniform", "Tuning", "Uniform", "default_space", "tune"],
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}
_MODULES = ["datasets", "doctor", "errors", "metrics", "persistence", "presets", "solvers", "vectors", "weights"]

__all__ = [*_MODULE_OF, *_MODULES, "__version__"]  # the table above, not written twice


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
