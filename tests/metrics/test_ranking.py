from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import halfstep as hs
import reference
from halfstep.errors import DataError, ParameterError
from halfstep.metrics import average_precision, coverage, hit_rate, ndcg, novelty, precision, recall, reciprocal_rank

PLAIN = {
    "precision": precision,
    "recall": recall,
    "hit_rate": hit_rate,
    "ndcg": ndcg,
    "average_precision": average_precision,
    "reciprocal_rank": reciprocal_rank,
}


def attainable_recall(*args, **options):
    return recall(*args, denominator="attainable", **options)


def attainable_average_precision(*args, **options):
    return average_precision(*args, denominator="attainable", **options)


ALL = PLAIN | {
    "attainable_recall": attainable_recall,
    "attainable_average_precision": attainable_average_precision,
}
CATALOGUE = list(range(12))
IDS = st.sampled_from([lambda i: i, lambda i: f"item {i:02}", lambda i: (i, "x"), lambda i: i * 10**15])


@st.composite
def rankings(draw):
    """Return ranked lists, some short or empty, and relevant items, some empty or never listed."""
    named = draw(IDS)
    users = draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lists = [[named(i) for i in rng.permutation(CATALOGUE)[: rng.integers(0, 13)].tolist()] for _ in range(users)]
    relevant = [{named(i) for i in rng.integers(0, 15, rng.integers(0, 8)).tolist()} for _ in range(users)]
    return lists, relevant


@pytest.mark.parametrize("name", ALL)
@given(problem=rankings(), n=st.integers(1, 20))
def test_metrics_equal_reference(name, problem, n):
    lists, relevant = problem
    twin = getattr(reference, name)
    expected = np.array([twin(*user, n) if user[1] else np.nan for user in zip(lists, relevant, strict=True)])
    values = ALL[name](lists, relevant, n, per_user=True)
    np.testing.assert_allclose(values, expected, rtol=1e-13)
    assert not (values > 1).any()
    assert not (values < 0).any()
    if np.isnan(expected).all():
        with pytest.raises(DataError, match="there is no data to score: no user has a relevant item"):
            ALL[name](lists, relevant, n)
    else:
        assert ALL[name](lists, relevant, n) == pytest.approx(np.nanmean(expected))


def test_values_by_hand():
    lists, relevant = [["a", "b", "c", "d"]], [{"b", "d", "z"}]
    assert precision(lists, relevant, 4) == 2 / 4
    assert recall(lists, relevant, 4) == 2 / 3
    assert recall(lists, relevant, 2, denominator="attainable") == 1 / 2
    assert hit_rate(lists, relevant, 1) == 0
    assert hit_rate(lists, relevant, 2) == 1
    assert average_precision(lists, relevant, 4) == pytest.approx((1 / 2 + 2 / 4) / 3)
    assert average_precision(lists, relevant, 2, denominator="attainable") == pytest.approx((1 / 2) / 2)
    assert reciprocal_rank(lists, relevant) == 1 / 2
    gained, ideal = 1 / np.log2(3) + 1 / np.log2(5), 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert ndcg(lists, relevant) == pytest.approx(gained / ideal)


def test_ndcg_of_one_relevant_item():
    for place in range(10):
        ranked = [[f"negative {k}" for k in range(place)] + ["hidden"]]
        assert ndcg(ranked, [["hidden"]], 10) == pytest.approx(np.log(2) / np.log(place + 2))


@pytest.mark.parametrize("name", ALL)
def test_ideal_list_has_ndcg_one(name):
    relevant = [set(range(60)), set(range(60, 61)), set(range(30, 50))]
    ideal = [[*sorted(items), *range(200, 300)] for items in relevant]
    reachable = relevant if name != "precision" else relevant[:1]
    for n in (1, 7, 60) if name not in ("recall", "average_precision") else (60, 100):
        if name == "precision" and n > 60:
            continue
        assert ALL[name](ideal[: len(reachable)], reachable, n) == 1  # to the bit: rounding does not lift or lower it


def test_precision_decreases_with_n_without_more_hits():
    # a list that ends in a hit, and then nothing: the divisor grows all the same
    values = [precision([["a", "b"]], [{"a", "b"}], n) for n in range(1, 8)]
    assert values == [min(n, 2) / n for n in range(1, 8)]


def test_precision_divides_by_n_for_short_lists():
    assert precision([[0, 1]], [{0, 1}], 4) == 0.5
    assert recall([[0, 1]], [{0, 1}], 10**12) == 1
    assert ndcg([[0, 1]], [{0, 1}], 10**12) == 1  # no array of n numbers is made
    assert average_precision([[0, 1]], [{0, 1}], 10**12, denominator="attainable") == 1


def test_users_without_relevant_items_are_ignored():
    lists, relevant = [[1, 2], [3, 4], [5]], [{1}, set(), {9}]
    for metric in ALL.values():
        values = metric(lists, relevant, 2, per_user=True)
        assert np.isnan(values).tolist() == [False, True, False]
        assert metric(lists, relevant, 2) == np.nanmean(values)


def test_empty_list_is_a_miss():
    for metric in ALL.values():
        assert metric([[], []], [{1}, {2}]) == 0


@given(problem=rankings(), n=st.integers(1, 14))
def test_padded_arrays_equal_lists(problem, n):
    lists, relevant = problem
    if not all(isinstance(each, int) for row in lists for each in row):
        lists = [[i % 1000 for i in range(len(row))] for row in lists]
        relevant = [set(range(0, 9, 2)) for _ in relevant]
    width = max(map(len, lists))

    def padded(pad, dtype):
        return np.array([row + [pad] * (width - len(row)) for row in lists], dtype=dtype).reshape(len(lists), width)

    expected = ndcg(lists, relevant, n, per_user=True)
    forms = [padded(-1, np.int64), padded(None, object), padded(np.nan, object)]
    if max((each for row in lists for each in row), default=0) < 2**53:
        forms.append(padded(np.nan, float))
    for form in forms:
        np.testing.assert_array_equal(ndcg(form, relevant, n, per_user=True), expected)


def test_types_of_lists():
    expected = recall([[1, 2], [3, 4]], [{2, 7}, {3}], per_user=True)
    forms = [
        (np.array([[1, 2], [3, 4]], dtype=np.uint8), [np.array([2, 7]), np.array([3])]),
        (pd.DataFrame([[1, 2], [3, 4]]), pd.Series([[2, 7], [3]])),
        (pl.Series([[1, 2], [3, 4]]), [pl.Series([2, 7]), (3,)]),
        ([(1, 2), iter([3, 4])], ({7: "a", 2: "b"}, [3, 3, 3])),
        ([[1.0, 2.0], [3, np.int8(4)]], np.array([[2, 7], [3, -1]])),
    ]
    for lists, relevant in forms:
        np.testing.assert_array_equal(recall(lists, relevant, per_user=True), expected)


@pytest.mark.parametrize(
    ("lists", "relevant", "message"),
    [
        ([["a", "b", "a"]], [{"a"}], r"recommended\[0\] lists 'a' at positions 1 and 3: list every item once"),
        (np.array([[5, 6], [7, 7]]), [{1}, {2}], r"recommended\[1\] lists 7 at positions 1 and 2"),
        ([[1], [2]], [{1}], "recommended has 2 lists and relevant has 1: give one of each"),
        ([1, 2], [{1}], r"recommended\[0\] is 1: give a list of ids for each user"),
        (["ab"], [{"a"}], r"recommended\[0\] is 'ab': give a list of ids"),
        ([["a"]], ["ab"], r"relevant\[0\] is 'ab': give a list of ids for each user, even for a single id"),
        ([["a"]], "ab", "relevant is 'ab'"),
        ([{"a", "b"}], [{"a"}], r"recommended\[0\] is of type set, which has no order"),
        ([[1]], [[]], "there is no data to score: no user has a relevant item"),
        ([], [], "there is no data to score: no user has a relevant item"),
    ],
)
def test_error_for_invalid_data(lists, relevant, message):
    for metric in ALL.values():
        with pytest.raises(DataError, match=message):
            metric(lists, relevant)


def test_error_for_invalid_parameters():
    with pytest.raises(ParameterError, match="n=0: give an integer of at least 1"):
        ndcg([[1]], [[1]], 0)
    with pytest.raises(ParameterError, match="denominator='n': give one of 'relevant', 'attainable'"):
        recall([[1]], [[1]], denominator="n")


def test_coverage():
    lists = [["a", "b"], ["a"], []]
    assert coverage(lists, ["a", "b", "c", "d"]) == 2 / 4
    assert coverage(lists, {"a", "b", "c", "d"}, 1) == 1 / 4
    assert coverage(np.array([[0, 1], [2, -1]]), hs.Vocabulary([0, 1, 2])) == 1
    assert coverage([[]], ["a"]) == 0
    with pytest.raises(DataError, match=r"recommended\[0\] lists 'b', which is not in the catalog of 1 ids"):
        coverage(lists, ["a"])
    with pytest.raises(DataError, match="the catalog is empty"):
        coverage(lists, [])


@given(problem=rankings(), n=st.integers(1, 14), seed=st.integers(0, 2**32 - 1))
def test_novelty_equals_reference(problem, n, seed):
    lists, _ = problem
    rng = np.random.default_rng(seed)
    items = sorted({item for row in lists for item in row}) or [0]
    pairs = [(user, items[k]) for user in range(5) for k in rng.permutation(len(items))[: rng.integers(1, 4)]]
    data = hs.Interactions.from_arrays(*zip(*pairs, strict=True))
    users_of = {item: {u for u, i in pairs if i == item} for item in items}
    expected = [reference.novelty(row, users_of, 5, n) if row else np.nan for row in lists]
    values = novelty(lists, data, n, per_user=True)
    np.testing.assert_allclose(values, expected, rtol=1e-13, atol=1e-15)
    if any(lists):
        assert novelty(lists, data, n) == pytest.approx(np.nanmean(expected))
    else:
        with pytest.raises(DataError, match="all lists are empty"):
            novelty(lists, data, n)


def trec_eval_metrics(scores, relevant, measures):
    """Return the metrics of each user with relevant items, by trec_eval."""
    import ir_measures

    qrels = [ir_measures.Qrel(str(u), f"{i:03}", 1) for u, items in enumerate(relevant) for i in sorted(items)]
    run = [
        ir_measures.ScoredDoc(str(u), f"{i:03}", score) for u, row in enumerate(scores) for i, score in row.items()
    ]
    found = {name: np.full(len(relevant), np.nan) for name in measures}
    for metric in ir_measures.iter_calc([ir_measures.parse_measure(text) for text in measures.values()], qrels, run):
        name = next(name for name, text in measures.items() if text == str(metric.measure))
        found[name][int(metric.query_id)] = metric.value
    return found


@pytest.mark.parametrize("n", [1, 3, 10, 100])
def test_metrics_equal_trec_eval(n):
    """Random scores with ties, short lists, relevant items that are never listed, and cutoffs above 40 items."""
    rng = np.random.default_rng(n)
    users, items = 60, 40
    lengths = rng.integers(1, items + 1, users)
    scores = [
        {int(i): float(rng.integers(0, 6)) for i in rng.permutation(items)[:length]} for length in lengths
    ]  # six different scores for up to forty items
    relevant = [set(rng.integers(0, items + 5, rng.integers(1, 15)).tolist()) for _ in range(users)]
    lists = [sorted(row, key=lambda i, row=row: (-row[i], -i)) for row in scores]  # trec_eval's way with ties

    measures = {
        "precision": f"P@{n}",
        "recall": f"R@{n}",
        "hit_rate": f"Success@{n}",
        "ndcg": f"nDCG@{n}",
        "average_precision": f"AP@{n}",
        "reciprocal_rank": "RR",  # with a cut-off, another program breaks the ties, and in another way
    }
    for name, expected in trec_eval_metrics(scores, relevant, measures).items():
        if name == "reciprocal_rank":
            expected[expected < 1 / n - 1e-9] = 0
        values = PLAIN[name](lists, relevant, n, per_user=True)
        assert not np.isnan(expected).any()
        np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-9, err_msg=name)
