"""A scorer for LensKit pipelines.

scorer = halfstep.integrations.lenskit.HalfstepScorer(model=hs.ALS(hs.Implicit(), rank=32))
pipeline = lenskit.pipeline.topn_pipeline(scorer)
pipeline.train(dataset)
lenskit.recommend(pipeline, user, n=10)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from lenskit.data import Dataset, ItemList, QueryInput, RecQuery
    from lenskit.pipeline import Component
    from lenskit.training import Trainable, TrainingOptions
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "halfstep.integrations.lenskit requires LensKit: run pip install lenskit", name="lenskit"
    ) from error
from pydantic import BaseModel, Field

from halfstep.data import Interactions
from halfstep.integrations._parameters import Configured
from halfstep.models.als import ALS
from halfstep.models.factor_model import FactorModel
from halfstep.objective.objective import Implicit


class ScorerConfig(BaseModel):
    """Configuration of `HalfstepScorer`.

    Parameters
    ----------
    model : FactorModel, optional
        The model to fit, which is cloned first. By default, ``ALS(Implicit())``.
    """

    model: Configured = Field(default_factory=lambda: ALS(Implicit()))


class HalfstepScorer(Component[ItemList], Trainable):  # type: ignore[misc]
    """Score items with a model of halfstep.

    It is fitted on the field ``rating`` of the interactions, or on the number of interactions if there is no such
    field. The scores of unknown items are NaN. An unknown user is folded in if the query has a history and the model
    has a method `fold_in`; otherwise the scores are the mean plus the biases of items.

    Parameters
    ----------
    config : ScorerConfig, optional
        Or, as a keyword, its field ``model``.

    Attributes
    ----------
    model_ : FactorModel
        The fitted model.
    """

    config: ScorerConfig
    model_: FactorModel

    def train(self, data: Dataset, options: TrainingOptions = TrainingOptions()) -> None:  # noqa: B008
        """Fit the model; a seed in the options applies if the model has none."""
        if hasattr(self, "model_") and not options.retrain:
            return
        table = data.interaction_table(format="pandas", original_ids=True)
        values = table.get("rating")
        model: Any = self.config.model.__sklearn_clone__()
        if getattr(model, "random_state", 0) is None and options.rng is not None:
            model.random_state = options.random_generator()
        interactions = Interactions.from_arrays(table["user_id"], table["item_id"], values, duplicates=None)
        self.model_ = model.fit(interactions)

    def __call__(self, query: QueryInput, items: ItemList) -> ItemList:
        """Return the items with their scores."""
        query = RecQuery.create(query)
        ids = items.ids()
        known = self.model_.items_.positions(ids, "mark", name="item id") >= 0
        scores = np.full(len(ids), np.nan)
        scores[known] = self._scores(query, ids[known])
        return ItemList(items, scores=scores)

    def _scores(self, query: RecQuery, ids: NDArray[Any]) -> NDArray[np.float64]:
        """Return the scores of known items."""
        model: Any = self.model_
        user, history = query.user_id, query.history_items
        is_known = user is not None and model.users_.positions([user], "mark", name="user id")[0] >= 0
        if not is_known and history is not None and len(history) > 0 and hasattr(model, "fold_in"):
            rating = history.field("rating")
            users = np.zeros(len(history), np.int64)
            data = Interactions.from_arrays(users, history.ids(), rating, duplicates=None)
            model, user = model.fold_in(data), 0
        scores: NDArray[np.float64]
        if user is None:
            scores = model.mean_ + model.item_biases_[model.items_.positions(ids, name="item id")]
        else:
            scores = model.predict([user], ids)
        return scores
