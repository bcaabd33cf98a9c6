"""Protocols of `evaluate` against naive implementations of the published definitions."""

from __future__ import annotations

from collections.abc import Iterable
from math import log2

import numpy as np
import pytest

import halfstep as hs
from halfstep.errors import DataError, ParameterError

N_ITEMS = 150
Lists = dict[int, list[int]]


def lists_of(data: hs.Interactions) -> Lists:
    found: Lists = {}
    for user, item in zip(data.user_ids.tolist(), data.item_ids.tolist(), strict=True):
        found.setdefault(user, []).append(item)
    return found


def ranked(model: hs.ALS, user: int, items: Iterable[int]) -> list[int]:
    scores = {item: model.predict([user], [item])[0] for item in items}
    return sorted(scores, key=lambda item: -scores[item])


def dcg(top: list[int], relevant: list[int]) -> float:
    return sum(1 / log2(position + 2) for position, item in enumerate(top) if item in relevant)


def interactions(n_users: int, seed: int) -> hs.Interactions:
    """Return interactions of users with 40 items on average."""
    users, items = np.nonzero(np.random.default_rng(seed).random((n_users, N_ITEMS)) < 0.27)
    return hs.Interactions.from_arrays(users, items)


def fitted(train: hs.Interactions) -> hs.ALS:
    return hs.ALS(hs.Implicit(), rank=5, iterations=3, random_state=0).fit(train)


@pytest.fixture(scope="module")
def parts() -> tuple[hs.Interactions, hs.Interactions]:
    """A split in which users have from 1 test item to more than 20."""
    data = interactions(25, seed=0)
    share = np.linspace(0.02, 0.8, 25)[data.user_positions]
    is_test = np.random.default_rng(1).random(len(data)) < share
    return data.subset(~is_test), data.subset(is_test)


def test_lightgcn_ranks_all_items_without_training_interactions(
    parts: tuple[hs.Interactions, hs.Interactions],
) -> None:
    train, test = parts
    model, had, relevant = fitted(train), lists_of(train), lists_of(test)
    assert min(map(len, relevant.values())) < 5
    assert max(map(len, relevant.values())) > 20
    catalog = {item for items in had.values() for item in items}
    recalls, gains = [], []
    for user, items in relevant.items():
        top = ranked(model, user, catalog - set(had[user]))[:20]
        recalls.append(len(set(top) & set(items)) / len(items))
        gains.append(dcg(top, items) / sum(1 / log2(p + 2) for p in range(min(20, len(items)))))
    found = hs.evaluate(model, test, protocol="lightgcn", baseline=None, resamples=2)
    assert [row.label for row in found] == ["recall@20", "ndcg@20"]
    assert [row.value for row in found] == pytest.approx([np.mean(recalls), np.mean(gains)], rel=1e-12)


def test_vae_scores_folded_in_users() -> None:
    train, histories, test = hs.split_held_out_users(interactions(60, seed=2), 0.4, 0.9, random_state=0)
    model = fitted(train)
    folded, had, relevant = model.fold_in(histories), lists_of(histories), lists_of(test)
    assert max(map(len, relevant.values())) > 20
    recalls: dict[int, list[float]] = {20: [], 50: []}
    gains = []
    for user, items in relevant.items():
        top = ranked(folded, user, set(train.items) - set(had[user]))[:100]
        for k, values in recalls.items():
            values.append(len(set(top[:k]) & set(items)) / min(k, len(items)))
        gains.append(dcg(top, items) / sum(1 / log2(p + 2) for p in range(min(100, len(items)))))
    found = hs.evaluate(folded, test, protocol="vae", resamples=2)
    assert [row.label for row in found][:3] == ["attainable_recall@20", "attainable_recall@50", "ndcg@100"]
    expected = [np.mean(recalls[20]), np.mean(recalls[50]), np.mean(gains)]
    assert [row.value for row in found if row.model == "ALS"] == pytest.approx(expected, rel=1e-12)
    assert found.baselines == ("Popularity",)


def test_vae_refuses_users_of_the_training_data() -> None:
    train, histories, test = hs.split_held_out_users(interactions(60, seed=2), 0.4, 0.9, random_state=0)
    trained = train.subset(np.isin(train.user_ids, np.unique(train.user_ids)[:3]))
    cells = [
        np.concatenate(columns) for columns in zip(*((d.user_ids, d.item_ids) for d in (test, trained)), strict=True)
    ]
    every = hs.Interactions.from_arrays(*cells)
    for estimator in (hs.ALS(hs.Implicit(), rank=2, random_state=0), hs.EASE()):
        folded = estimator.fit(train).fold_in(
            hs.Interactions.from_arrays(
                np.append(histories.user_ids, np.unique(trained.user_ids)), np.append(histories.item_ids, [0, 0, 0])
            )
        )
        n_users = len(np.unique(every.user_ids))
        with pytest.raises(DataError, match=rf"but 3 of the {n_users} users of the test set are, such as \d+: split"):
            hs.evaluate(folded, every, protocol="vae")
        assert hs.evaluate(folded, test, protocol="vae", resamples=2).n_scored == n_users - 3


def test_ncf_ranks_the_only_test_item_among_candidates(parts: tuple[hs.Interactions, hs.Interactions]) -> None:
    train, test = parts
    rng = np.random.default_rng(3)
    hidden = {user: items[0] for user, items in lists_of(test).items()}
    one_each = hs.Interactions.from_arrays(list(hidden), list(hidden.values()))
    candidates = {user: [*rng.permutation(N_ITEMS)[:40].tolist(), item] for user, item in hidden.items()}
    model = fitted(train)
    assert any(item in candidates[user][:-1] for user, item in hidden.items())  # counted once
    positions = {user: ranked(model, user, candidates[user]).index(item) for user, item in hidden.items()}
    hits = [position < 10 for position in positions.values()]
    gains = [1 / log2(position + 2) if position < 10 else 0.0 for position in positions.values()]
    found = hs.evaluate(model, one_each, protocol="ncf", candidates=candidates, baseline=None, resamples=2)
    assert [row.label for row in found] == ["hit_rate@10", "ndcg@10"]
    assert [row.value for row in found] == pytest.approx([np.mean(hits), np.mean(gains)], rel=1e-12)
    read_once = {user: iter(items) for user, items in candidates.items()}
    also = hs.evaluate(  # candidates are ranked in any case
        model, one_each, protocol="ncf", candidates=read_once, baseline=None, resamples=2, exclude_seen=False
    )
    assert also.rows == found.rows
    several = {user: [*candidates[user], *items] for user, items in lists_of(test).items()}
    with pytest.raises(DataError, match=r"one relevant item for each user, and user \d+ has \d+: hold out one"):
        hs.evaluate(model, test, protocol="ncf", candidates=several)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "ngcf"}, "protocol='ngcf': give one of 'lightgcn', 'vae', 'ncf', or None"),
        ({"protocol": ["ncf"]}, "protocol=.'ncf'.: give one of"),
        ({"protocol": "lightgcn", "metrics": "ndcg"}, "protocol='lightgcn' cannot be combined with metrics: omit"),
        ({"protocol": "lightgcn", "n": 20}, "protocol='lightgcn' cannot be combined with n: omit"),
        (
            {"protocol": "lightgcn", "exclude_seen": False},
            "protocol='lightgcn' cannot be combined with exclude_seen=False",
        ),
        ({"protocol": "vae"}, r"protocol='vae' scores users .*: give the result of model.fold_in\(histories\)"),
        ({"protocol": "vae", "relevant_from": 1.0}, "protocol='vae' cannot be combined with relevant_from"),
        ({"protocol": "vae", "candidates": {}}, "protocol='vae' ranks all items .*: omit candidates"),
        ({"protocol": "ncf"}, "protocol='ncf' ranks candidates: give the candidates of each user"),
    ],
)
def test_errors_name_the_parameter(
    options: dict[str, object], message: str, parts: tuple[hs.Interactions, hs.Interactions]
) -> None:
    with pytest.raises(ParameterError, match=message):
        hs.evaluate(hs.Popularity().fit(parts[0]), parts[1], **options)  # type: ignore[arg-type]
