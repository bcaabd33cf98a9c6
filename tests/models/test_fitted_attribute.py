"""Fitted attributes are views of the factorization that a model holds."""

from __future__ import annotations

import pytest

import halfstep as hs
from halfstep.errors import NotFittedError

DATA = hs.Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "milk", "tea"], [5.0, 1.0, 4.0])
OF_ALL = (
    "users_",
    "items_",
    "user_factors_",
    "item_factors_",
    "user_biases_",
    "item_biases_",
    "mean_",
    "item_counts_",
)
OWN = {
    hs.ALS: ("history_", "regularization_"),
    hs.SGD: ("history_",),
    hs.BayesianALS: ("history_", "samples_", "categories_"),
    hs.Popularity: (),
}
CASES = [(kind, name) for kind, own in OWN.items() for name in (*OF_ALL, *own)]


@pytest.fixture(scope="module")
def models() -> dict[type, hs.FactorModel]:
    return {
        hs.ALS: hs.ALS(rank=1, regularization=1.0, iterations=1, random_state=0).fit(DATA),
        hs.SGD: hs.SGD(rank=1, iterations=1, random_state=0).fit(DATA),
        hs.BayesianALS: hs.BayesianALS(rank=1, iterations=2, burn_in=1, random_state=0).fit(DATA),
        hs.Popularity: hs.Popularity().fit(DATA),
    }


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_attributes_are_those_of_the_factorization(
    models: dict[type, hs.FactorModel], kind: type[hs.FactorModel], name: str
) -> None:
    model = models[kind]
    assert getattr(model, name) is getattr(model._fitted, name.removesuffix("_"))
    with pytest.raises(AttributeError, match=f"{name} of {kind.__name__} is set by fit and cannot be assigned"):
        setattr(model, name, None)


@pytest.mark.parametrize(("kind", "name"), [*CASES, (hs.ALS, "objective_"), (hs.Popularity, "interactions_")])
def test_a_model_that_is_not_fitted_has_none(kind: type[hs.FactorModel], name: str) -> None:
    model = kind()
    assert not hasattr(model, name)
    with pytest.raises(NotFittedError, match=rf"has no '{name}' yet: call {kind.__name__}\.fit\(data\) first"):
        getattr(model, name)


def test_attributes_of_other_models_do_not_exist(models: dict[type, hs.FactorModel]) -> None:
    for model in (models[hs.Popularity], hs.Popularity()):
        with pytest.raises(AttributeError, match="'Popularity' object has no attribute 'history_'") as caught:
            _ = model.history_
        assert not isinstance(caught.value, NotFittedError)
