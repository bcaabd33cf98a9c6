"""Models of every kind, and what it means that two are the same to the bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

import halfstep as hs
from halfstep import weights
from halfstep.data import Interactions, Vocabulary
from halfstep.models.factor_model import FactorModel

SOME = hs.Interactions.from_arrays(
    ["ann", "ann", "böb", "eve", "eve"],
    ["tea", "milk", "tea", "łatte", "milk"],
    [5.0, 1.0, 4.0, 0.1, -2.0],
    ["2020-01-01", "2020-01-01T12:30:01.000007", "1969-12-31", "2020-01-03", "2020-01-04"],
    [1.0, 0.0, 2.5, 1e-300, 3.0],
)
TITLES = {"tea": "Tea & cake", "łatte": "", "cocoa": "Of nobody \N{HOT BEVERAGE}"}
TITLED = dataclasses.replace(SOME, item_titles=TITLES, frame_kind="polars", source="drinks.csv")

MODELS = {
    "als": hs.ALS(hs.Explicit(biases=True), rank=3, random_state=0),
    "als-doubles": hs.ALS(
        hs.Implicit(), rank=2, dtype="float64", regularization=(0.5, 2), iterations=2, random_state=1
    ),
    "als-weights": hs.ALS(
        hs.Implicit(
            observed_weight=weights.log_confidence(2, 30.5), missing_weight=weights.missing_popularity(3.0, 0.1 + 0.2)
        ),
        rank=1,
        iterations=1,
        random_state=2,
        progress=False,
        threads=1,
    ),
    "als-arrays": hs.ALS(
        hs.Explicit(
            weight=weights.row_column(0.1, np.array([1, 2, 3]), np.arange(3, dtype=np.float32)[::-1]), biases=False
        ),
        rank=2,
        iterations=1,
        init=(np.ones((3, 2)), [[0.1, 0.2]] * 3),
    ),
    "als-numpy": hs.ALS(
        hs.Explicit(biases=np.bool_(True), weight=np.float32(0.1)),
        rank=np.int64(2),
        tol=np.float64(0.1),
        random_state=0,
    ),
    "als-features": hs.ALS(
        hs.Explicit(biases=True),
        rank=2,
        regularization=hs.Regularization(features=(1.0, 2)),
        iterations=2,
        implicit_features=True,
        random_state=0,
    ),
    "bayesian": hs.BayesianALS(rank=2, iterations=4, burn_in=1, random_state=0),
    "sgd": hs.SGD(rank=4, iterations=3, random_state=np.random.default_rng(7)),
    "global mean": hs.GlobalMean(),
    "item bias": hs.ItemBias(regularization=0.5),
    "biases": hs.UserItemBias(iterations=2),
    "popularity": hs.Popularity(),
}


def fitted(name: str, data: Interactions = TITLED) -> FactorModel:
    return MODELS[name].fit(data)


def saved(model: FactorModel, path: Path, **options: bool) -> FactorModel:
    model.save(path, **options)
    return hs.load(path)


def same_array(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def same_ids(a: Vocabulary, b: Vocabulary) -> bool:
    return list(a) == list(b) and list(map(type, a)) == list(map(type, b)) and a.ids.dtype == b.ids.dtype


def same_value(a: object, b: object) -> bool:
    """Equal, arrays in them too, which have no single answer to ==."""
    if isinstance(a, np.random.Generator):
        return isinstance(b, np.random.Generator) and a.bit_generator.state == b.bit_generator.state
    if isinstance(a, np.ndarray):
        return same_array(a, np.asarray(b))
    if dataclasses.is_dataclass(a) and not isinstance(a, type):
        fields = [field.name for field in dataclasses.fields(a)]
        return type(a) is type(b) and all(same_value(getattr(a, name), getattr(b, name)) for name in fields)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same_value, a, b))
    return a == b


def assert_same_interactions(a: Interactions, b: Interactions) -> None:
    assert same_ids(a.users, b.users)
    assert same_ids(a.items, b.items)
    for name in ("user_positions", "item_positions", "values", "timestamps", "weights"):
        before, after = getattr(a, name), getattr(b, name)
        assert (before is None and after is None) or same_array(before, after), name
    assert a.item_titles == b.item_titles
    assert a.frame_kind == b.frame_kind
    assert a.source == b.source


def assert_same(a: FactorModel, b: FactorModel) -> None:
    assert type(a) is type(b)
    parameters = {field.name for field in dataclasses.fields(a)} - {
        "backend",
        "threads",
    }  # which are not taken from a file
    assert all(same_value(getattr(a, name), getattr(b, name)) for name in parameters)
    assert same_ids(a.users_, b.users_)
    assert same_ids(a.items_, b.items_)
    for name in ("user_factors_", "item_factors_", "user_biases_", "item_biases_", "item_counts_"):
        assert same_array(getattr(a, name), getattr(b, name)), name
    assert a.mean_.hex() == b.mean_.hex()
    assert a._fitted.origin == b._fitted.origin
    assert a._fitted.history == b._fitted.history
    assert [type(line) for line in a._fitted.history or ()] == [type(line) for line in b._fitted.history or ()]
    assert (a.interactions_ is None) == (b.interactions_ is None)
    if a.interactions_ is not None:
        assert_same_interactions(a.interactions_, b.interactions_)
    # nothing fitted is forgotten, whatever will be added
    assert type(a._fitted) is type(b._fitted)
    given, stored = (
        {field.name for field in dataclasses.fields(model._fitted) if getattr(model._fitted, field.name) is not None}
        for model in (a, b)
    )
    assert given - {"data", "items_data"} == stored - {"data", "items_data"}
