"""A model for RecTools.

model = halfstep.integrations.rectools.HalfstepModel(hs.ALS(hs.Implicit(), rank=32))
model.fit(dataset)
model.recommend(users, dataset, k=10, filter_viewed=True)
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

try:
    from rectools.dataset import Dataset
    from rectools.models.base import ModelConfig
    from rectools.models.rank import Distance
    from rectools.models.vector import Factors, VectorModel
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "halfstep.integrations.rectools requires RecTools: run pip install rectools", name="rectools"
    ) from error
from pydantic import Field

from halfstep.errors import DataError
from halfstep.integrations._models import check_model
from halfstep.integrations._parameters import Configured
from halfstep.models.als import ALS
from halfstep.models.factor_model import FactorModel
from halfstep.objective.objective import Implicit


class HalfstepModelConfig(ModelConfig):  # type: ignore[misc]
    """Configuration of `HalfstepModel`, with the same parameters."""

    model: Configured = Field(default_factory=lambda: ALS(Implicit()))
    recommend_n_threads: int = 0


class HalfstepModel(VectorModel[HalfstepModelConfig]):  # type: ignore[misc]
    """Recommend with a model of halfstep that has factors.

    It is fitted on the weights of the dataset. RecTools ranks the items: for users by the scores of ``predict``, and
    for items by the cosine of factors. Cold and warm users and items are not supported.

    Parameters
    ----------
    model : FactorModel, optional
        The model to fit, which is cloned first. By default, ``ALS(Implicit())``.
    verbose : int, default=0
    recommend_n_threads : int, default=0
        Threads that rank items; 0 for all cores.

    Attributes
    ----------
    model_ : FactorModel
        The fitted model, whose ids are the internal ones of the dataset.
    """

    recommends_for_warm = False
    recommends_for_cold = False
    u2i_dist = Distance.DOT
    i2i_dist = Distance.COSINE
    config_class = HalfstepModelConfig

    def __init__(self, model: FactorModel | None = None, verbose: int = 0, recommend_n_threads: int = 0) -> None:
        super().__init__(verbose=verbose)
        self.model = ALS(Implicit()) if model is None else model
        self.recommend_n_threads = recommend_n_threads
        self.recommend_use_gpu_ranking = False

    def _get_config(self) -> HalfstepModelConfig:
        return HalfstepModelConfig(
            cls=type(self), verbose=self.verbose, model=self.model, recommend_n_threads=self.recommend_n_threads
        )

    @classmethod
    def _from_config(cls, config: HalfstepModelConfig) -> Self:
        return cls(config.model, config.verbose, config.recommend_n_threads)

    def _fit(self, dataset: Dataset) -> None:
        model: Any = check_model(self.model).__sklearn_clone__()
        model.fit(dataset.get_user_item_matrix(include_weights=True))
        if model.item_factors_.shape[1] == 0 and not model.item_biases_.any():
            raise DataError(f"this {type(model).__name__} has no factors: use a model with factors, such as ALS")
        self.model_ = model

    def _get_users_factors(self, dataset: Dataset) -> Factors:
        return Factors(self.model_.user_factors_, self.model_.user_biases_ + self.model_.mean_)

    def _get_items_factors(self, dataset: Dataset) -> Factors:
        return Factors(self.model_.item_factors_, self.model_.item_biases_)

    def _get_i2i_vectors(self, dataset: Dataset) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        return self.model_.item_factors_, self.model_.item_factors_
