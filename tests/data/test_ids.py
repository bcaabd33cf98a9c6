"""Everywhere, an id of another type than the model's is an error, and an unknown id is a cold start."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

import halfstep as hs
from halfstep.errors import DataError, UnknownIdError
from halfstep.metrics import coverage, novelty, precision

pytestmark = pytest.mark.filterwarnings("ignore::halfstep.errors.PoorFitWarning")  # of arithmetic on small data

Table = tuple[list, list, list]

USERS, ITEMS = [1, 1, 2, 2, 3, 3], [10, 20, 20, 30, 10, 30]
VALUES = [5.0, 3.0, 4.0, 1.0, 2.0, 5.0]
NEW_USER, NEW_ITEM = 9, 90


def table(as_strings: bool) -> Table:
    convert = str if as_strings else int
    return list(map(convert, USERS)), list(map(convert, ITEMS)), VALUES


def fitted(as_strings: bool, **options: Any) -> hs.ALS:
    data = hs.Interactions.from_arrays(*table(as_strings))
    return hs.ALS(hs.Explicit(biases=False), rank=2, iterations=2, random_state=0, **options).fit(data)


@pytest.fixture(params=[False, True], ids=["integers", "strings"])
def as_strings(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture
def model(as_strings: bool) -> hs.ALS:
    return fitted(as_strings)


def pairs(users: Any, items: Any) -> hs.Interactions:
    return hs.Interactions.from_arrays(users, items, np.ones(len(users)))


def features(side: str, ids: list) -> pd.DataFrame:
    return pd.DataFrame({side: pd.Series(ids, dtype=object), "age": np.arange(len(ids), dtype=float)})


# Each is called with a model, two of its users, two of its items, and an id that takes the place of one more.
USER_DOORS: dict[str, Callable[[hs.ALS, list, list, Any], Any]] = {
    "recommend one": lambda m, u, i, x: m.recommend(x),
    "recommend several": lambda m, u, i, x: m.recommend([*u, x]),
    "recommend, exclude key": lambda m, u, i, x: m.recommend(u, exclude={u[0]: i, x: i}),
    "recommend, candidates key": lambda m, u, i, x: m.recommend(u, candidates={u[0]: i, x: i}),
    "recommend interactions": lambda m, u, i, x: m.recommend(pairs([x], i[:1])),
    "recommend frame": lambda m, u, i, x: m.recommend(pd.DataFrame({"user": [x]})),
    "predict one": lambda m, u, i, x: m.predict(x, i[0]),
    "predict several": lambda m, u, i, x: m.predict([*u, x], i[0]),
    "predict interactions": lambda m, u, i, x: m.predict(pairs([u[0], x], i)),
    "partial_fit": lambda m, u, i, x: m.partial_fit(pairs([u[0], x], i)),
    "partial_fit many": lambda m, u, i, x: m.partial_fit(pairs([x] * 300, [i[0], *new_items(i[0], 299)])),
    "evaluate": lambda m, u, i, x: hs.evaluate(m, pairs([u[0], x], [i[1], i[0]]), exclude_seen=False),
    "evaluate, candidates key": lambda m, u, i, x: hs.evaluate(m, pairs(u, i), candidates={u[0]: i, u[1]: i, x: i}),
    "evaluate_stream": lambda m, u, i, x: hs.evaluate_stream(m, pairs([u[0], x], i)),
    "evaluate_stream, frozen": lambda m, u, i, x: hs.evaluate_stream(m, pairs([u[0], x], i), update=False),
}
ITEM_DOORS: dict[str, Callable[[hs.ALS, list, list, Any], Any]] = {
    "recommend, exclude": lambda m, u, i, x: m.recommend(u, exclude=[*i, x]),
    "recommend, exclude one": lambda m, u, i, x: m.recommend(u, exclude=x),
    "recommend, exclude value": lambda m, u, i, x: m.recommend(u, exclude={u[0]: [x]}),
    "recommend, candidates": lambda m, u, i, x: m.recommend(u, candidates=[*i, x]),
    "recommend, candidates value": lambda m, u, i, x: m.recommend(u, candidates={u[0]: [*i, x]}),
    "predict one": lambda m, u, i, x: m.predict(u[0], x),
    "predict several": lambda m, u, i, x: m.predict(u[0], [*i, x]),
    "predict interactions": lambda m, u, i, x: m.predict(pairs(u, [i[0], x])),
    "partial_fit": lambda m, u, i, x: m.partial_fit(pairs(u, [i[0], x])),
    "fold_in mapping": lambda m, u, i, x: m.fold_in({u[0]: {i[0]: 1.0, x: 1.0}}),
    "fold_in interactions": lambda m, u, i, x: m.fold_in(pairs(u, [i[0], x])),
    "fold_in frame": lambda m, u, i, x: m.fold_in(
        pd.DataFrame({"user": u, "item": pd.Series([i[0], x], dtype=object), "value": [1.0, 2.0]})
    ),
    "evaluate": lambda m, u, i, x: hs.evaluate(m, pairs(u, [i[0], x]), exclude_seen=False),
    "evaluate, candidates value": lambda m, u, i, x: hs.evaluate(
        m, pairs(u, i), candidates={u[0]: [*i, x], u[1]: i}, exclude_seen=False
    ),
    "evaluate_stream": lambda m, u, i, x: hs.evaluate_stream(m, pairs(u, [i[0], x])),
}
WHERE_UNKNOWN_RAISES: dict[str, tuple[str, Callable[[hs.ALS, list, list, Any], Any]]] = {
    "similar_items": ("item", lambda m, u, i, x: m.similar_items(x)),
    "similar_items several": ("item", lambda m, u, i, x: m.similar_items([*i, x])),
    "similar_users": ("user", lambda m, u, i, x: m.similar_users(x)),
    "explain user": ("user", lambda m, u, i, x: m.explain(x, i[0])),
    "explain item": ("item", lambda m, u, i, x: m.explain(u[0], x)),
    "fold_in, raise": ("item", lambda m, u, i, x: m.fold_in({u[0]: {x: 1.0}}, unknown_items="raise")),
    "recommend, raise": ("user", lambda m, u, i, x: m.recommend([*u, x], unknown="raise")),
    "predict, raise": ("item", lambda m, u, i, x: m.predict(u[0], x, unknown="raise")),
}
DOORS = [pytest.param("user", door, id=f"user: {name}") for name, door in USER_DOORS.items()] + [
    pytest.param("item", door, id=f"item: {name}") for name, door in ITEM_DOORS.items()
]


def new_items(like: Any, count: int) -> list:
    return [type(like)(n) for n in range(1000, 1000 + count)]


def known(as_strings: bool) -> tuple[list, list]:
    users, items, _ = table(as_strings)
    return [users[1], users[3]], [items[1], items[3]]  # who has which


def of_another_type(as_strings: bool, what: str) -> Any:
    known_one = {"user": USERS[0], "item": ITEMS[0]}[what]
    return known_one if as_strings else str(known_one)  # 1 for "1", and "1" for 1


def message(as_strings: bool, what: str) -> str:
    one = of_another_type(as_strings, what)
    kinds = ("an integer", "strings") if as_strings else ("a string", "integers")
    return (
        rf"{what} id {one!r}.* is {kinds[0]}, but the known {what} ids are {kinds[1]} such as .*: convert the ids to"
    )


@pytest.mark.parametrize(("what", "door"), DOORS)
def test_an_id_of_another_type_is_an_error(model: hs.ALS, as_strings: bool, what: str, door: Callable) -> None:
    with pytest.raises(DataError, match=message(as_strings, what)):
        door(model, *known(as_strings), of_another_type(as_strings, what))
    assert (model.users_.ids.tolist(), model.items_.ids.tolist()) == tuple(
        map(sorted, map(set, table(as_strings)[:2]))
    )
    assert len(model.interactions_) == len(VALUES)


@pytest.mark.parametrize(("what", "door"), DOORS)
def test_unknown_id_of_right_type_is_cold_start(model: hs.ALS, as_strings: bool, what: str, door: Callable) -> None:
    new = {"user": NEW_USER, "item": NEW_ITEM}[what]
    door(model, *known(as_strings), str(new) if as_strings else new)


@pytest.mark.parametrize(("what", "door"), DOORS)
def test_a_missing_id_is_an_error(model: hs.ALS, as_strings: bool, what: str, door: Callable) -> None:
    with pytest.raises(DataError, match="a missing id"):
        door(model, *known(as_strings), float("nan"))


@pytest.mark.parametrize(("what", "door"), WHERE_UNKNOWN_RAISES.values(), ids=WHERE_UNKNOWN_RAISES)
def test_unknown_id_and_id_of_another_type_are_different_errors(
    model: hs.ALS, as_strings: bool, what: str, door: Callable
) -> None:
    with pytest.raises(DataError, match=message(as_strings, what)):
        door(model, *known(as_strings), of_another_type(as_strings, what))
    with pytest.raises(UnknownIdError, match=f"unknown {what} id '?90'?: the vocabulary holds 3 ids"):
        door(model, *known(as_strings), "90" if as_strings else 90)


class Code(StrEnum):
    one = "1"


@pytest.mark.parametrize(
    ("as_strings", "form"),
    [
        *((False, form) for form in (1, 1.0, np.int8(1), np.uint64(1), np.float32(1.0))),
        *((True, form) for form in ("1", b"1", np.str_("1"), np.bytes_(b"1"), Code.one)),
    ],
    ids=repr,
)
def test_equal_ids_of_other_types_are_found(as_strings: bool, form: Any) -> None:
    model, (users, items) = fitted(as_strings), known(as_strings)
    one = users[0]
    np.testing.assert_array_equal(model.predict(form, items), model.predict([one], items))
    for asked in (form, np.array(form), [form], [form, users[1]], pd.Series([form], dtype=object)):
        lists = model.recommend(asked)
        assert lists.user_ids[0] == one
        assert type(lists.user_ids.tolist()[0]) is type(one)
        assert lists[one] == model.recommend([one])[one]
    assert model.recommend([one], exclude={np.array(form).item(): items}, exclude_seen=False).item_ids.tolist() == [
        [each, None, None] for each in model.items_ if each not in items
    ]
    assert model.similar_users(form).queries.tolist() == [one]
    assert model.explain(form, items[0]).user == model.explain(np.array(form), items[0]).user == one


@pytest.mark.parametrize("column", [np.array, pd.Series, pl.Series, pa.array, list], ids=lambda make: make.__module__)
def test_integral_floats_equal_integers(column: Callable) -> None:
    as_floats = hs.Interactions.from_arrays(np.array(USERS, float), column(np.array(ITEMS, float)), VALUES)
    model = hs.ALS(hs.Explicit(biases=False), rank=2, iterations=2, random_state=0).fit(as_floats)
    assert model.users_ == fitted(False).users_
    assert model.items_.ids.dtype == np.int64
    np.testing.assert_array_equal(model.predict(column([1.0, 2.0]), [10.0]), fitted(False).predict([1, 2], [10]))
    with pytest.raises(DataError, match=r"user id 1.5 is a float, but the known user ids are integers such as 1"):
        model.predict(column([1.0, 1.5]), [10])


@pytest.mark.parametrize("kind", [pl.Int128, pl.UInt128])
@pytest.mark.parametrize(
    "door",
    [
        lambda model, users, items: model.recommend(users).scores,
        lambda model, users, items: model.recommend(1, exclude=items).positions,
        lambda model, users, items: model.recommend(1, candidates=items, exclude_seen=False).scores,
        lambda model, users, items: model.predict(users, items),
        lambda model, users, items: model.similar_users(users).positions,
        lambda model, users, items: model.fold_in({9: items}).user_factors_,
        lambda model, users, items: model.users_.positions(users),
    ],
    ids=["users", "exclude", "candidates", "predict", "similar_users", "fold_in", "positions"],
)
def test_128_bit_integers_are_found(door: Callable, kind: Any) -> None:
    model = hs.ALS(hs.Implicit(), rank=2, iterations=2, random_state=0).fit(pairs(USERS, ITEMS))
    wide = pl.Series([1, 2], dtype=kind), pl.Series([10, 30], dtype=kind)
    np.testing.assert_array_equal(door(model, *wide), door(model, [1, 2], [10, 30]))


@pytest.mark.parametrize("true", [True, np.True_, np.array([True, False]), pd.Series([True])], ids=repr)
def test_a_bool_is_not_an_integer(true: Any) -> None:
    with pytest.raises(DataError, match="user id True is a bool, but the known user ids are integers such as 1"):
        fitted(False).recommend(true)


def test_error_for_one_id_of_another_type_among_many() -> None:
    model = fitted(False)
    with pytest.raises(DataError, match=r"user id 'x' is a string"):
        model.recommend([*range(1000), "x"])
    with pytest.raises(DataError, match=r"item id 'x' in exclude is a string"):
        model.recommend(1, exclude=pd.Series([*range(1000), "x"]))


def test_model_with_ids_of_several_types() -> None:
    model = hs.Popularity().fit(hs.Interactions.from_arrays([1, "1", "b"], ["x", "y", "x"]))
    assert model.recommend([1, "1", 2, "c"], n=2).counts.tolist() == [1, 1, 2, 2]
    with pytest.raises(
        DataError, match=r"2.5 is a float, but the known user ids are integers such as 1 and strings such"
    ):
        model.recommend([1, 2.5])


# Users of interactions


def test_recommend_for_distinct_users_of_interactions(model: hs.ALS, as_strings: bool) -> None:
    three, one, new = ("3", "1", "9") if as_strings else (3, 1, 9)
    users, items = [three, new, three, one], table(as_strings)[1][:4]
    frame = pd.DataFrame({"user": users, "item": items})
    expected = model.recommend([three, new, one])
    for asked in (
        hs.Interactions.from_arrays(users, items),
        frame,
        frame[["user"]],
        pl.DataFrame({"user": users}),
        pl.LazyFrame({"user": users}),
        {"user": users, "item": items},
        frame.to_records(index=False),
        pa.table({"user": users}),
        frame.astype({"user": "category"}),
    ):
        found = model.recommend(asked)
        assert found.user_ids.tolist() == [three, new, one]
        np.testing.assert_array_equal(found.positions, expected.positions)
        np.testing.assert_array_equal(found.scores, expected.scores)


def test_recommend_skips_users_without_interactions(model: hs.ALS, as_strings: bool) -> None:
    data = hs.Interactions.from_arrays(*table(as_strings)).subset([4, 0])
    assert model.recommend(data).user_ids.tolist() == (["3", "1"] if as_strings else [3, 1])


def test_recommend_keeps_repeated_users() -> None:
    for ids in (
        [2, 1, 2],
        pd.Series([2, 1, 2], index=[7, 8, 9]),
        pl.Series([2, 1, 2]),
        pa.array([2, 1, 2]),
        (2, 1, 2),
    ):
        assert fitted(False).recommend(ids).user_ids.tolist() == [2, 1, 2]
    assert fitted(False).recommend([]).positions.shape == (0, 3)


def test_recommend_for_keys_of_mapping() -> None:
    assert fitted(False).recommend({2: [10], 9: []}).user_ids.tolist() == [2, 9]


def test_recommend_error_for_invalid_users() -> None:
    with pytest.raises(DataError, match=r"users is a sparse matrix: .* fold_in\(matrix\).recommend\(\)"):
        fitted(False).recommend(sparse.csr_array(np.eye(3)))
    with pytest.raises(DataError, match=r"the item ids in exclude have the shape \(1, 2\): give a one-dim"):
        fitted(False).recommend(1, exclude=pd.DataFrame({"item": [10], "price": [1.0]}))


def test_recommend_error_for_dataframe_without_users() -> None:
    with pytest.raises(DataError, match="the table has no column 'user', but 'who', 'item': give the column"):
        fitted(False).recommend(pd.DataFrame({"who": [1], "item": [10]}))


# Candidates


@pytest.mark.parametrize("candidates", [[], (), np.array([]), np.array([], dtype=np.int64), [90], [90, 91]], ids=repr)
@pytest.mark.parametrize("users", [[1], [1, 2, 9], []], ids=repr)
@pytest.mark.parametrize("exclude_seen", [False, True])
def test_empty_candidates_give_empty_lists(candidates: Any, users: list, exclude_seen: bool) -> None:
    for each in (fitted(False), hs.Popularity().fit(pairs(USERS, ITEMS))):
        lists = each.recommend(users, candidates=candidates, exclude_seen=exclude_seen)
        assert lists.user_ids.tolist() == users
        assert lists.positions.shape == lists.scores.shape == (len(users), 0)
        assert list(lists) == [(user, []) for user in users]
        assert lists.counts.tolist() == [0] * len(users)
        assert lists.to_frame("pandas").empty
        assert "up to 0 each" in repr(lists)
        assert lists.item_ids.shape == (len(users), 0)


@pytest.mark.parametrize("candidates", [{}, {1: []}, {1: [90], 9: []}, {2: np.array([])}], ids=repr)
def test_empty_candidates_per_user_give_empty_lists(candidates: dict) -> None:
    lists = fitted(False).recommend([1, 2, 9], candidates=candidates)
    assert lists.counts.tolist() == [0, 0, 0]
    assert list(lists) == [(1, []), (2, []), (9, [])]


def test_excluding_all_items_gives_empty_lists() -> None:
    assert fitted(False).recommend([1, 9], exclude=[10, 20, 30]).counts.tolist() == [0, 0]


# Test sets


def of_unknown_ids(what: str) -> hs.Interactions:
    return pairs([7, 8], [10, 20]) if what == "user" else pairs([1, 2], [77, 78])


@pytest.mark.parametrize("what", ["user", "item"])
@pytest.mark.parametrize("metric", ["ndcg", "rmse"])
def test_evaluate_error_without_known_users_or_items(what: str, metric: str) -> None:
    expected = rf"no {what} of the test set is known to the model: .* {what} ids such as 77?, .* such as 10?;"
    with pytest.raises(DataError, match=expected):
        hs.evaluate(fitted(False), of_unknown_ids(what), metric)
    with pytest.raises(DataError, match=expected):
        hs.evaluate(fitted(False), of_unknown_ids(what), "ndcg", candidates={1: [77], 2: [78], 7: [10], 8: [20]})
    with pytest.raises(DataError, match=expected):
        hs.evaluate(hs.Popularity().fit(pairs(USERS, ITEMS)), of_unknown_ids(what))


@pytest.mark.parametrize("what", ["user", "item"])
@pytest.mark.parametrize("update", [False, True])
def test_evaluate_stream_error_without_known_users_or_items(what: str, update: bool) -> None:
    with pytest.raises(DataError, match=f"no {what} of the test set is known to the model"):
        hs.evaluate_stream(fitted(False), of_unknown_ids(what), update=update)


def test_evaluate_ignores_ids_without_interactions() -> None:
    whole = pairs([1, 2, 7, 8], [30, 10, 77, 78])
    with pytest.raises(DataError, match="no user of the test set is known"):
        hs.evaluate(fitted(False), whole.subset([2, 3]))  # whose vocabularies hold known ids
    assert hs.evaluate(fitted(False), whole).n_scored == 4


def test_evaluate_candidates_of_equal_ids() -> None:
    model, test = fitted(True), pairs(["1", "2"], ["30", "10"])
    expected = hs.evaluate(model, test, candidates={"1": ["30", "10"], "2": ["10", "99"]})
    found = hs.evaluate(model, test, candidates={b"1": [b"30", np.str_("10")], "2": np.array([b"10", b"99"])})
    np.testing.assert_array_equal(found.per_user("ALS", "ndcg"), expected.per_user("ALS", "ndcg"))


# Features, starts and histories


@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("others", [0, 2])
def test_fit_error_for_feature_ids_of_another_type(as_strings: bool, side: str, others: int) -> None:
    ids = known(as_strings)[side == "item"][:others]
    given = {f"{side}_features": features(side, [*ids, of_another_type(as_strings, side)])}
    data = hs.Interactions.from_arrays(*table(as_strings))
    for estimator in (hs.ALS(rank=2, iterations=1), hs.BayesianALS(rank=2, iterations=3, burn_in=1)):
        with pytest.raises(DataError, match=message(as_strings, side)):
            estimator.fit(data, **given)


def test_fold_in_error_for_feature_ids_of_another_type(as_strings: bool) -> None:
    data = hs.Interactions.from_arrays(*table(as_strings))
    item, new = known(as_strings)[1][0], "9" if as_strings else 9
    for estimator in (hs.ALS(rank=2, iterations=1), hs.BayesianALS(rank=2, iterations=3, burn_in=1)):
        model = estimator.fit(data, user_features=features("user", list(data.users)))
        model.fold_in({new: {item: 1.0}}, user_features=features("user", [new, "8" if as_strings else 8]))
        with pytest.raises(DataError, match="but the known user ids are"):
            model.fold_in({new: {item: 1.0}}, user_features=features("user", [new, 9 if as_strings else "9"]))


def test_fold_in_users_with_ids_of_any_type(model: hs.ALS, as_strings: bool) -> None:
    item = known(as_strings)[1][0]
    expected = model.fold_in({"9" if as_strings else 9: {item: 4.0}}).user_factors_
    for user in ("session", 7, ("a", 1), 2.5):
        np.testing.assert_array_equal(model.fold_in({user: {item: 4.0}}).user_factors_, expected)


def test_error_for_warm_start_with_other_id_types(model: hs.ALS, as_strings: bool) -> None:
    data = hs.Interactions.from_arrays(*table(not as_strings))
    with pytest.raises(DataError, match="but the known user ids are"):
        hs.BayesianALS(rank=2, iterations=3, burn_in=1, init=model).fit(data)


def test_error_for_factors_and_interactions_with_other_id_types(as_strings: bool) -> None:
    users, items = (sorted(set(ids)) for ids in table(not as_strings)[:2])
    factors = np.ones((3, 2)), np.ones((3, 2))
    with pytest.raises(DataError, match="but the known user ids are"):
        hs.persistence.from_arrays(
            *factors, users=users, items=items, interactions=hs.Interactions.from_arrays(*table(as_strings))
        )


def test_rebased_error_for_ids_of_another_type(as_strings: bool) -> None:
    data, others = (hs.Interactions.from_arrays(*table(strings)) for strings in (as_strings, not as_strings))
    with pytest.raises(DataError, match=r"user id '?1'? is .* but the known user ids are"):
        data.rebased(users=others.users)
    with pytest.raises(DataError, match=r"item id '?10'? is .* but the known item ids are"):
        data.rebased(items=others.items)
    assert len(data.rebased(users=hs.Vocabulary(["1"] if as_strings else [1]))) == 2


# Metrics of lists


@pytest.mark.parametrize("metric", [precision, hs.metrics.recall, hs.metrics.ndcg, hs.metrics.hit_rate])
def test_metrics_error_for_ids_of_another_type(metric: Callable) -> None:
    assert metric([[1, 2]], [[3]]) == 0
    with pytest.raises(
        DataError, match=r"id '1' in recommended is a string, but the known ids are integers such as 1"
    ):
        metric([["1", "2"]], [[1]])
    with pytest.raises(
        DataError, match=r"id 2 in recommended is an integer, but the known ids are strings such as '1'"
    ):
        metric([["1", 2]], [["1"]])
    assert metric([[1.0, 2.0]], [[1]], 1) == metric([[1, 2]], [[1]], 1) == 1


def test_catalog_metrics_error_for_ids_of_another_type() -> None:
    data = pairs(USERS, ITEMS)
    for measure in (lambda: coverage([["10"]], data.items), lambda: novelty([["10"]], data)):
        with pytest.raises(
            DataError, match=r"id '10' in recommended is a string, but the known (item )?ids are integers"
        ):
            measure()


# Files, and incremental updates


def test_loaded_model_checks_id_types(model: hs.ALS, as_strings: bool, tmp_path: Path) -> None:
    model.save(tmp_path / "m.halfstep")
    loaded = hs.load(tmp_path / "m.halfstep")
    with pytest.raises(DataError, match=message(as_strings, "user")):
        loaded.recommend(of_another_type(as_strings, "user"))
    assert loaded.recommend(np.bytes_(b"1") if as_strings else 1.0).user_ids.tolist() == ["1" if as_strings else 1]


def test_updated_model_checks_id_types(model: hs.ALS, as_strings: bool) -> None:
    new_user, new_item = ("9", "90") if as_strings else (9, 90)
    model.partial_fit(pairs([new_user], [new_item]))
    assert model.recommend(new_user, exclude_seen=False).user_ids.tolist() == [new_user]
    with pytest.raises(DataError, match=message(as_strings, "user")):
        model.recommend(of_another_type(as_strings, "user"))
    with pytest.raises(DataError, match=message(as_strings, "item")):
        model.partial_fit(pairs([new_user], [of_another_type(as_strings, "item")]))
    assert len(model.interactions_) == len(VALUES) + 1


def test_ids_of_sparse_matrix_are_integers() -> None:
    model = hs.ALS(hs.Explicit(biases=False), rank=2, iterations=1, random_state=0).fit(sparse.csr_array(np.eye(3)))
    with pytest.raises(DataError, match="user id '0' is a string, but the known user ids are integers such as 0"):
        model.recommend("0")
