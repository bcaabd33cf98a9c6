"""Models in MLflow: saved without pickle, and loaded as models of halfstep or as pyfunc models.

with mlflow.start_run():
    info = halfstep.integrations.mlflow.log_model(model, "recommender")
mlflow.pyfunc.load_model(info.model_uri).predict(pandas.DataFrame({"user": [7, 9]}), params={"n": 5})
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    import mlflow
    import pandas as pd
    from mlflow.models import Model, ModelSignature
    from mlflow.models.model import ModelInfo
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "halfstep.integrations.mlflow requires MLflow: run pip install mlflow", name=error.name
    ) from error

from halfstep import persistence
from halfstep._support.checks import as_path
from halfstep._support.version import __version__
from halfstep.data.recommendations import Recommendations
from halfstep.errors import DataError, ParameterError
from halfstep.integrations._models import check_model
from halfstep.models.factor_model import FactorModel

FILE = "model.halfstep"
LIST_LENGTH = 10  # unless the parameter `n` is given


def save_model(
    model: FactorModel, path: str | os.PathLike[str], *, pip_requirements: Sequence[str] | None = None
) -> None:
    """Save a model as a folder in the format of MLflow.

    Parameters
    ----------
    model : FactorModel
        A fitted model whose ids are integers or strings.
    path : path of a folder
        Must be empty, or not exist.
    pip_requirements : sequence of str, optional
        By default, this version of halfstep, and pandas.
    """
    folder = as_path("path", path)
    with _options(model, pip_requirements) as options:
        mlflow.pyfunc.save_model(path=str(folder), **options)


def log_model(
    model: FactorModel,
    name: str,
    *,
    registered_model_name: str | None = None,
    pip_requirements: Sequence[str] | None = None,
) -> ModelInfo:
    """Log a model to the current run of MLflow.

    Parameters
    ----------
    model : FactorModel
        A fitted model whose ids are integers or strings.
    name : str
        The name of the logged model.
    registered_model_name : str, optional
        Also register a version of this model.
    pip_requirements : sequence of str, optional
        By default, this version of halfstep, and pandas.

    Returns
    -------
    mlflow.models.model.ModelInfo
        With ``model_uri``, for `load_model` and ``mlflow.pyfunc.load_model``.
    """
    with _options(model, pip_requirements) as options:
        return mlflow.pyfunc.log_model(name=name, registered_model_name=registered_model_name, **options)


def load_model(model_uri: str) -> FactorModel:
    """Return the model that `save_model` or `log_model` stored at a URI or in a folder."""
    folder = Path(mlflow.artifacts.download_artifacts(model_uri))
    return persistence.load(folder / Model.load(str(folder)).flavors[mlflow.pyfunc.FLAVOR_NAME]["data"])


@contextmanager
def _options(model: FactorModel, pip_requirements: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    """Write the file of a model, and yield the parameters with which MLflow copies it."""
    if pip_requirements is None:
        pip_requirements = (f"halfstep=={__version__}", "pandas")
    elif isinstance(pip_requirements, str):
        raise ParameterError(f"pip_requirements={pip_requirements!r}: give a list of requirements")
    signature = _signature(check_model(model))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        model.save(path)
        yield {
            "loader_module": __name__,
            "data_path": str(path),
            "signature": signature,
            "input_example": pd.DataFrame({"user": model.users_.ids[:1]}),
            "pip_requirements": list(pip_requirements),
        }


def _signature(model: FactorModel) -> ModelSignature:
    user, item = _kind_of(model.users_.ids), _kind_of(model.items_.ids)
    parameters = [ParamSpec("n", "long", LIST_LENGTH), ParamSpec("exclude_seen", "boolean", True)]
    outputs = [ColSpec(user, "user"), ColSpec(item, "item"), ColSpec("long", "rank"), ColSpec("double", "score")]
    return ModelSignature(Schema([ColSpec(user, "user")]), Schema(outputs), ParamSchema(parameters))


def _kind_of(ids: NDArray[Any]) -> str:
    if ids.dtype.kind == "i":
        return "long"
    if all(isinstance(each, str) for each in ids.tolist()):
        return "string"
    raise DataError("models whose ids are neither integers nor strings cannot be stored in MLflow: convert the ids")


class _Function:
    """The pyfunc model, which returns recommendations for a dataframe of users."""

    def __init__(self, model: FactorModel) -> None:
        self._model = model

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        given = params or {}
        lists: Recommendations = self._model.recommend(
            model_input["user"], int(given.get("n", LIST_LENGTH)), exclude_seen=given.get("exclude_seen", True)
        )
        rows = [(user, item, rank, score) for user, found in lists for rank, (item, score) in enumerate(found, 1)]
        users, items, ranks, scores = zip(*rows, strict=True) if rows else ((), (), (), ())
        return pd.DataFrame({"user": users, "item": items, "rank": np.array(ranks, np.int64), "score": scores})


def _load_pyfunc(path: str) -> _Function:
    """Load the file of a model; MLflow calls this function by its name."""
    return _Function(persistence.load(path))
