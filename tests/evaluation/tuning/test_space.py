"""Search spaces, and the order of points."""

from __future__ import annotations

import itertools
import math
from dataclasses import make_dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import halfstep as hs
from halfstep.errors import ParameterError
from halfstep.evaluation.tuning.search import Search
from halfstep.evaluation.tuning.space import Point, Space, with_parameters
from halfstep.evaluation.tuning.trial import Trial

ALS = hs.ALS(rank=16, regularization=1.0)
DATA = hs.Interactions.from_arrays([1, 1, 2, 3], [1, 2, 1, 3], [3.0, 4.0, 1.0, 2.0])


def test_parameters_are_set_by_path() -> None:
    weighted = hs.ALS(hs.Explicit(weight=hs.weights.linear_popularity(w0=1.0, wk=1.0), biases=False), rank=3)
    changed = with_parameters(weighted, {"objective.weight.wk": 5.0, "rank": 4, "objective.biases": True})
    assert changed.objective == hs.Explicit(weight=hs.weights.linear_popularity(w0=1.0, wk=5.0), biases=True)
    assert changed.rank == 4
    assert (weighted.rank, weighted.objective.biases) == (3, False)


def test_shorter_paths_are_set_first() -> None:
    parameters = {"objective.missing_weight": 0.5, "objective": hs.Implicit()}
    assert with_parameters(ALS, parameters).objective == hs.Implicit(missing_weight=0.5)


def test_paths_set_parts_of_the_regularization() -> None:
    changed = with_parameters(ALS, {"regularization.users": 3.0})
    assert changed.regularization.pair == (3.0, ALS.regularization)
    assert with_parameters(changed, {"regularization.items": 0.5}).regularization.pair == (3.0, 0.5)
    unset = with_parameters(hs.ALS(), {"regularization.users": 3.0, "regularization.items": 0.5})
    assert unset.regularization == hs.Regularization(3.0, 0.5)
    both = with_parameters(hs.ALS(), {"regularization.exponent": 1.0, "regularization": 2.0})
    assert (both.regularization.pair, both.regularization.exponent) == ((2.0, 2.0), 1.0)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "space is empty: name at least one"),
        ([1], "space is of type list: give a mapping"),
        ({"rnak": [1]}, r"ALS has no parameter 'rnak' \(did you mean 'rank'\?\); it has objective, rank,"),
        ({"objective.bias": [True]}, r"Explicit has no parameter 'bias' of 'objective.bias' \(did you mean 'biases'"),
        ({"rank.users.more": [1]}, "there is no parameter 'users' of 'rank.users.more': 16 has none"),
        ({"rank": []}, r"space\['rank'\] is empty: give at least one value"),
        ({"rank": 8}, r"space\['rank'\] is 8: give a list of values, or a distribution"),
        ({"solver": "cg"}, r"space\['solver'\] is 'cg': give a list"),
        ({"threads": [1, 2]}, "threads cannot be tuned"),
    ],
)
def test_invalid_spaces_are_errors(space: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        hs.tune(ALS, hs.Interactions.from_arrays([1, 2], [1, 1], [3.0, 4.0]), space)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hs.Uniform(2.0, 1.0), "low must be below high"),
        (lambda: hs.LogUniform(0.0, 1.0), "low=0.0: give a number above 0"),
        (lambda: hs.LogUniform(0.1, math.inf), "high=inf: give a finite number"),
        (lambda: hs.Integers(0, 3, log=True), "low=0: give an integer of at least 1"),
        (lambda: hs.Integers(1, 2.5), "high=2.5: give an integer"),
    ],
)
def test_invalid_ranges_are_errors(make: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make()


def points(space: Space, name: Any, n_trials: int | None = None, seed: int = 0) -> list[Point]:
    """Return the points of a search with equal scores."""
    search = Search(name, space, None, seed, n_trials, maximize=False, prune=False)
    trials: list[Trial] = []
    for number, point in zip(range(search.n_planned), search.points(trials), strict=False):
        asked = search.ask(point, trials)
        if asked is None:
            break
        trials.append(Trial(number, asked.params, {}, "finished", (1.0,), 0.0))
        search.study.tell(asked, 1.0)
    return [trial.point for trial in trials]


@given(st.integers(0, 1 << 32), st.floats(1e-6, 10.0), st.floats(1.001, 1e6))
def test_samples_are_within_the_range(seed: int, low: float, ratio: float) -> None:
    high, integer = low * ratio, math.ceil(low)
    space = Space(
        {
            "a": hs.Uniform(low, high),
            "b": hs.LogUniform(low, high),
            "c": hs.Integers(integer, integer + math.ceil(high)),
            "d": hs.Integers(integer, integer + math.ceil(high), log=True),
        }
    )
    (point,) = points(space, "random", 1, seed)
    for name, dimension in space.dimensions.items():
        assert isinstance(point[name], int) == (name in "cd")
        assert dimension.low <= point[name] <= dimension.high


@pytest.mark.slow
def test_log_uniform_samples_have_a_uniform_logarithm() -> None:
    space = Space({"a": hs.LogUniform(0.001, 1000.0)})
    logs = np.log10([point["a"] for point in points(space, "random", 600)])
    np.testing.assert_allclose(np.histogram(logs, 6, (-3, 3))[0], 100, atol=35)


@pytest.mark.parametrize(
    "estimator",
    [
        hs.ALS(),
        ALS,
        hs.ALS(hs.Implicit()),
        hs.ALS(hs.Implicit(missing_weight=0.0)),
        hs.SGD(),
        hs.UserItemBias(),
        hs.ItemBias(),
        hs.presets.ials(),
        hs.BayesianALS(),
        hs.ALS(hs.Implicit(), implicit_features=True),
    ],
)
def test_default_spaces_have_existing_parameters(estimator: Any) -> None:
    space = Space.of(hs.default_space(estimator, DATA), estimator)
    (point,) = points(space, "random", 1)
    assert with_parameters(estimator, space.values(point)) is not estimator


def test_estimators_without_parameters_have_no_default_space() -> None:
    with pytest.raises(ParameterError, match="GlobalMean has no parameters to tune: call its fit instead"):
        hs.default_space(hs.GlobalMean(), DATA)
    for unknown in make_dataclass("Spy", ["rank"])(3), hs.GlobalMean, None:
        with pytest.raises(ParameterError, match=f"no default space for {type(unknown).__name__}: set space="):
            hs.default_space(unknown, DATA)


def test_a_grid_has_every_point_once_in_descending_order_of_regularization() -> None:
    given_ = {"regularization": [1.0, 4.0, 2.0], "rank": [8, 4], "tol": [0.0, 0.1]}
    space = Space.of(given_, ALS)
    values = [tuple(space.values(point)[name] for name in given_) for point in points(space, "grid")]
    assert set(values) == set(itertools.product(*given_.values()))
    assert len(values) == space.size == 12
    assert [rank for _, rank, _ in values] == [4] * 6 + [8] * 6
    assert [regularization for regularization, _, _ in values] == [4.0, 2.0, 1.0] * 4


def test_a_grid_requires_lists() -> None:
    with pytest.raises(
        ParameterError, match=r"search=.grid. requires a list of values for each parameter, and tol is Uni"
    ):
        hs.tune(ALS, DATA, {"tol": hs.Uniform(0, 1)}, search="grid")


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_no_point_is_tried_twice(name: str) -> None:
    space = Space.of({"rank": [1, 2, 3], "solver": ["cg", "cholesky"]}, ALS)
    found = points(space, name, 9, seed=3)
    assert len(found) == len({tuple(point.items()) for point in found}) == 6
    assert points(space, name, 9, seed=3) == found
    assert points(space, name, 4, seed=3) == found[:4]
    assert points(space, name, 9, seed=4) != found


def test_values_are_mapped_to_the_nearest_point() -> None:
    space = Space.of({"rank": [8, 64], "regularization": hs.LogUniform(0.1, 2.0), "solver": ["cg", "auto"]}, ALS)
    assert space.point({"rank": 50, "regularization": 5.0, "solver": "auto"}) == {
        "rank": 1,
        "regularization": 2.0,
        "solver": 1,
    }
    assert space.point({"rank": 50, "regularization": 5.0, "solver": "cholesky"}) is None
    functions = Space.of(
        {"objective.missing_weight": [0.1, hs.weights.missing_popularity(5, 0.5)]}, hs.ALS(hs.Implicit())
    )
    assert functions.point({"objective.missing_weight": 0.3}) is None
    assert functions.point({"objective.missing_weight": 0.1}) == {"objective.missing_weight": 0}
