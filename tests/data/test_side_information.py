"""Side information of models that are fitted, folded in, saved and explained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.sparse import csr_array

import halfstep as hs
from halfstep.data.side_information import SideInformation, bags
from halfstep.errors import DataError

GENRES = {"tea": "drink|hot", "milk": "drink", "rice": "food|hot", "fish": "food", "bread": "food"}
FRAMES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}


@pytest.fixture(scope="module")
def ratings() -> hs.Interactions:
    """Return ratings of 60 users who like drinks or food, warm or not; the last item has none."""
    rng = np.random.default_rng(0)
    items = list(GENRES)
    likes_food, likes_hot = rng.normal(size=60), rng.normal(size=60)
    rows = [
        (
            f"u{u}",
            item,
            3
            + likes_food[u] * (1 if "food" in GENRES[item] else -1)
            + likes_hot[u] * ("hot" in GENRES[item])
            + 0.3 * rng.normal(),
        )
        for u in range(60)
        for item in items[:-1]
    ]
    return hs.Interactions.from_arrays(*zip(*rows, strict=True))


def genres(kind: str = "pandas"):
    return FRAMES[kind]({"item": list(GENRES), "kind": list(GENRES.values()), "price": [1.0, 2.0, 3.0, 4.0, None]})


def sampler(**options) -> hs.BayesianALS:
    return hs.BayesianALS(rank=3, iterations=40, burn_in=10, random_state=0, **options)


def test_implicit_features_have_unit_norm() -> None:
    data = hs.Interactions.from_arrays([0, 0, 0, 2], [5, 6, 7, 5])
    F = bags(data.by_user, data.n_items).toarray()
    np.testing.assert_allclose(F, [[3**-0.5] * 3, [1, 0, 0]])


@pytest.mark.parametrize("kind", FRAMES)
def test_numbers_are_standardized_and_categories_become_indicators(ratings: hs.Interactions, kind: str) -> None:
    data, given = SideInformation.read(ratings, genres(kind), "item")
    order = [data.items.position(name) for name in GENRES]
    F = given.matrix.toarray()[order]
    names = given.columns[0].names
    assert names == ("drink", "food", "hot")
    np.testing.assert_array_equal(F[:, :3], [[name in GENRES[item].split("|") for name in names] for item in GENRES])
    prices = np.array([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(F[:, 3], [*(prices - 2.5) / prices.std(), 0.0])
    assert len(data.items) == len(ratings.items) + 1  # an id with features is part of the model


def test_items_without_ratings_are_predicted_from_their_features() -> None:
    rng = np.random.default_rng(0)
    genre, likes = rng.integers(3, size=40), rng.normal(size=(50, 3))
    users, items = np.nonzero(rng.random((50, 40)) < 0.5)
    data = hs.Interactions.from_arrays(
        users, items, 3 + likes[users, genre[items]] + 0.3 * rng.normal(size=len(users))
    )
    is_cold = data.item_positions >= 32
    train, test = data.subset(~is_cold), data.subset(is_cold)
    movies = pd.DataFrame({"item": np.arange(42), "genre": np.array(["a", "b|c", "c"])[[*genre, 0, 1]]})
    model = sampler().fit(train, item_features=movies)
    assert 41 in model.items_.ids  # nobody has it in either part
    errors = [hs.metrics.rmse(test.values, each.predict(test)) for each in (model, hs.UserItemBias().fit(train))]
    assert errors[0] < 0.5 * errors[1]
    _, lower, upper = model.predict(test, interval=0.9)
    assert 0.85 < np.mean((lower <= test.values) & (test.values <= upper)) <= 1.0
    known = train.subset(train.item_positions < 8)
    assert np.mean(upper - lower) > np.mean(np.subtract(*model.predict(known, interval=0.9)[:0:-1]))


def test_bits_do_not_depend_on_threads(ratings: hs.Interactions) -> None:
    models = [
        sampler(implicit_features=True, threads=threads).fit(ratings, item_features=genres()) for threads in (1, 2, 3)
    ]
    for other in models[1:]:
        np.testing.assert_array_equal(models[0].samples_.users.factors, other.samples_.users.factors)
        np.testing.assert_array_equal(models[0].samples_.items.factors, other.samples_.items.factors)


@pytest.mark.parametrize("split", ["subset", "by time", "at random"])
def test_implicit_features_do_not_depend_on_test_set(split: str) -> None:
    """Other test sets do not change a bit, whatever is cached."""
    rng = np.random.default_rng(1)
    cells = rng.permutation(30 * 20)[:280]
    users, items = np.divmod(cells, 20)
    values, times = rng.normal(size=280), np.arange(280)
    is_test = times >= 210
    factors = []
    for moved in (False, True):
        u, i, v = users.copy(), items.copy(), values.copy()
        if moved:  # to cells that nobody had
            u[is_test], i[is_test] = np.divmod(np.setdiff1d(np.arange(600), cells)[: is_test.sum()], 20)
            v[is_test] = 9.0
        data = hs.Interactions.from_arrays(u, i, v, times).rebased(
            users=hs.Vocabulary(np.arange(30)), items=hs.Vocabulary(np.arange(20))
        )
        data.by_user, data.by_item, data.user_counts, data.item_counts  # noqa: B018 - built, and maybe handed on
        if split == "subset":
            train = data.subset(~is_test)
        elif split == "by time":
            train, _ = hs.split_by_time(data, test_fraction=0.25)
        else:
            train, test = hs.split_random(data, 0.25, random_state=0)
            is_test = np.isin(data.timestamps, test.timestamps)  # by place alone: the same in both
        model = sampler(implicit_features=True).fit(train)
        factors.append(model.samples_.items.factors)
    np.testing.assert_array_equal(*factors)


@pytest.mark.parametrize("seed", [0, 2])
def test_implicit_features_improve_predictions(seed: int) -> None:
    """Users rate what they like; ratings are few and noisy, and features are more than rows."""
    rng = np.random.default_rng(seed)
    taste, kind = rng.integers(2, size=400), rng.integers(2, size=60)
    match = taste[:, None] == kind
    users, items = np.nonzero(rng.random(match.shape) < np.where(match, 0.15, 0.05))
    values = np.where(match[users, items], 1.0, -1.0) + rng.normal(size=len(users))
    train, test = hs.split_random(hs.Interactions.from_arrays(users, items, values), 0.3, random_state=0)
    errors = [
        hs.metrics.rmse(
            test.values,
            hs.BayesianALS(rank=2, iterations=80, implicit_features=implicit, random_state=0)
            .fit(train)
            .predict(test),
        )
        for implicit in (False, True)
    ]
    assert errors[1] < 0.98 * errors[0]


def test_rows_of_matrix_belong_to_positions(ratings: hs.Interactions) -> None:
    F = csr_array(np.eye(len(ratings.items)))
    model = sampler().fit(ratings, item_features=F)
    assert np.isfinite(model.predict(ratings)).all()
    with pytest.raises(DataError, match="has 4 rows, but there are 60 users"):
        sampler().fit(ratings, user_features=F)


def test_users_are_folded_in_with_their_features(ratings: hs.Interactions) -> None:
    user_table = pd.DataFrame({"user": ratings.users.ids, "warm": np.arange(60) % 2})
    model = sampler(implicit_features=True).fit(ratings, user_features=user_table)
    new_users = pd.DataFrame({"user": ["new", "newer"], "warm": [0, 1]})
    history = {"new": {"tea": 5.0, "fish": 1.0}, "newer": {"tea": 5.0, "fish": 1.0}}
    folded = model.fold_in(history, user_features=new_users)
    assert np.isfinite(folded.predict(["new", "newer"], ["milk"])).all()
    alone = model.fold_in({"new": history["new"]}, user_features=new_users)
    np.testing.assert_array_equal(folded.predict(["new"], ["milk"]), alone.predict(["new"], ["milk"]))
    with pytest.raises(DataError, match="no column 'warm'"):
        model.fold_in(history, user_features=pd.DataFrame({"user": ["new"], "cold": [1]}))
    with pytest.raises(
        DataError, match="user id 7 in user_features is an integer, but the known user ids are strings such as 'new'"
    ):
        model.fold_in(history, user_features=new_users.assign(user=range(7, 7 + len(new_users))))
    with pytest.raises(DataError, match=r"user_features is a sparse matrix, but .* on a dataframe: give a dataframe"):
        model.fold_in(history, user_features=csr_array(np.eye(2)))
    with pytest.raises(DataError, match="was fitted without features"):
        sampler().fit(ratings).fold_in(history, user_features=new_users)


def test_explanations_sum_to_prediction(ratings: hs.Interactions) -> None:
    user_table = pd.DataFrame({"user": ratings.users.ids, "warm": np.arange(60) % 2})
    model = sampler(implicit_features=True).fit(ratings, user_features=user_table, item_features=genres())
    user, item = ratings.users.position("u3"), model.items_.position("milk")
    history = ratings.subset(ratings.user_positions == user)
    places, samples = model.items_.positions(history.item_ids), model.samples_
    f = np.zeros(len(model.items_) + 1)
    f[places], f[-1] = len(places) ** -0.5, [-1.0, 1.0][list(user_table["user"]).index("u3") % 2]  # standardized
    expected = []
    for s in range(len(samples)):
        y = np.column_stack([samples.items.factors[places, s], np.ones(len(places))]).astype(float)
        t = history.values - model.mean_ - samples.items.biases[places, s]
        precision = np.linalg.inv(samples.users.roots[s] @ samples.users.roots[s].T)
        mean = samples.users.means[s] + f @ samples.user_coefficients[s]
        x = np.linalg.solve(precision + samples.noise[s] * y.T @ y, precision @ mean + samples.noise[s] * y.T @ t)
        expected.append(x @ np.append(samples.items.factors[item, s], 1.0) + samples.items.biases[item, s])
    why = model.explain("u3", "milk")
    assert why.baseline + why.contributions.sum() == pytest.approx(model.mean_ + np.mean(expected), rel=1e-4)
    assert why.score == model.predict("u3", ["milk"])[0]


def test_file_contains_side_information(tmp_path: Path, ratings: hs.Interactions) -> None:
    user_table = pd.DataFrame({"user": ratings.users.ids, "warm": np.arange(60) % 2, "town": ["a|b", "b"] * 30})
    model = sampler(implicit_features=True).fit(ratings, user_features=user_table, item_features=genres())
    model.save(tmp_path / "m.halfstep")
    loaded = hs.load(tmp_path / "m.halfstep")
    history, of_new = {"new": {"tea": 5.0}}, pd.DataFrame({"user": ["new"], "warm": [1], "town": ["a"]})
    for one, other in (
        (model, loaded),
        (model.fold_in(history, user_features=of_new), loaded.fold_in(history, user_features=of_new)),
    ):
        pairs = one.users_.ids[:1], ["bread"]
        np.testing.assert_array_equal(one.predict(*pairs), other.predict(*pairs))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"item": ["tea"], "price": [np.inf]}, "feature 'price' has infinite values"),
        (
            {"item": [1], "price": [1.0]},
            "item id 1 in item_features is an integer, but the known item ids are strings",
        ),
        ({"item": ["tea", 1], "price": [1.0, 2.0]}, "item id 1 in item_features is an integer"),
        ({"item": ["salt"], "price": [1.0]}, "none of the items in item_features, such as 'salt', is in the data"),
        ({"thing": ["tea"], "price": [1.0]}, "no column 'item' of ids"),
        ({"item": ["tea", "tea"], "price": [1.0, 2.0]}, "tea"),
        ({"item": ["tea"], "price": [[1.0]]}, "give numbers, or strings"),
    ],
)
def test_error_for_invalid_features(ratings: hs.Interactions, given: dict, message: str) -> None:
    with pytest.raises(hs.errors.HalfstepError, match=message):
        sampler().fit(ratings, item_features=pd.DataFrame(given))


def test_error_for_other_types_of_features(ratings: hs.Interactions) -> None:
    with pytest.raises(DataError, match="item_features is of type dict"):
        sampler().fit(ratings, item_features={"item": ["tea"]})


def test_constant_feature_is_zero() -> None:
    """The mean of three times 0.1 is not 0.1, so that rounding errors may look like a standard deviation."""
    data = hs.Interactions.from_arrays(["a", "b", "c"], [1, 2, 3], [1.0, 2.0, 3.0])
    frame = pd.DataFrame({"user": ["a", "b", "c"], "age": [0.1, 0.1, 0.1]})
    _, given = SideInformation.read(data, frame, "user")
    np.testing.assert_array_equal(given.matrix.toarray(), np.zeros((3, 1)))
    others = given.encode_others(hs.Vocabulary(["d"]), pd.DataFrame({"user": ["d"], "age": [0.2]}))
    np.testing.assert_allclose(others.matrix.toarray(), [[0.1]])


@pytest.mark.parametrize("extreme", [1e300, 1e-300])
def test_error_for_numbers_without_standard_deviation(extreme: float) -> None:
    data = hs.Interactions.from_arrays(["a", "b"], [1, 2], [1.0, 2.0])
    frame = pd.DataFrame({"user": ["a", "b"], "age": [extreme, -extreme]})
    with pytest.raises(DataError, match=r"'age' has values such as .*: give it in other units"):
        SideInformation.read(data, frame, "user")


def test_error_for_repeated_id_of_features(ratings: hs.Interactions) -> None:
    twice = pd.concat([genres(), genres().iloc[:1]])
    with pytest.raises(DataError, match=r"the item id in item_features in row 5 .* is 'tea': a repeat; give each"):
        hs.ALS(rank=2).fit(ratings, item_features=twice)
    model = hs.ALS(rank=2, iterations=1).fit(ratings, user_features=pd.DataFrame({"user": ["u0"], "age": [1.0]}))
    with pytest.raises(DataError, match=r"the user id in user_features in row 1 .* is 'new': a repeat"):
        model.fold_in({"new": {"tea": 3.0}}, user_features=pd.DataFrame({"user": ["new", "new"], "age": [1.0, 2.0]}))
