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

__version__ = "0.1.0"

if TYPE_CHECKING:
    from halfstep import datasets, metrics, splitting, weights
    from halfstep.als import ALS
    from halfstep.baselines import GlobalMean, ItemBias, Popularity, UserItemBias
    from halfstep.interactions import Interactions, Vocabulary
    from halfstep.objective import Explicit, Implicit
    from halfstep.reading import read_interactions
    from halfstep.sgd import SGD
    from halfstep.splitting import k_folds, keep_known, split_by_time, split_leave_last_out, split_random

_ROOMS = {
    "ALS": "als",
    "SGD": "sgd",
    "Explicit": "objective",
    "GlobalMean": "baselines",
    "Implicit": "objective",
    "Interactions": "interactions",
    "ItemBias": "baselines",
    "Popularity": "baselines",
    "UserItemBias": "baselines",
    "Vocabulary": "interactions",
    "k_folds": "splitting",
    "keep_known": "splitting",
    "read_interactions": "reading",
    "split_by_time": "splitting",
    "split_leave_last_out": "splitting",
    "split_random": "splitting",
}
_MODULES = ("datasets", "errors", "metrics", "weights")

__all__ = [
    *_ROOMS,
    *_MODULES,
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"halfstep.{name}")
    if name in _ROOMS:
        value = getattr(import_module(f"halfstep.{_ROOMS[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'halfstep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
