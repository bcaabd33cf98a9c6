"""Fits and recommendations on Spark, with dataframes of a classic session or of Spark Connect.

`ALS` and `ALSModel` have the interface of ``pyspark.ml.recommendation``: a program that imports them from this module
instead needs no other changes. `fit` takes any `halfstep.ALS`.

All machines exchange data through files in a folder that they share.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_MODULE_OF = {  # imported when it is needed, since workers need none of these
    "ALS": "mllib",
    "ALSModel": "mllib",
    "ColumnNames": "columns",
    "SparkEngine": "engine",
    "SparkModel": "model",
    "fit": "fits",
}

if TYPE_CHECKING:
    from halfstep.spark.columns import ColumnNames as ColumnNames
    from halfstep.spark.engine import SparkEngine as SparkEngine
    from halfstep.spark.fits import fit as fit
    from halfstep.spark.mllib import ALS as ALS
    from halfstep.spark.mllib import ALSModel as ALSModel
    from halfstep.spark.model import SparkModel as SparkModel

__all__ = ["ALS", "ALSModel", "ColumnNames", "SparkEngine", "SparkModel", "fit"]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"halfstep.spark.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'halfstep.spark' has no attribute {name!r}")
