"""Common mistakes of recommender libraries, with one test each."""

from __future__ import annotations

import copy
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from threadpoolctl import threadpool_limits

import halfstep as hs
from blas import blas_threads
from halfstep.errors import DataError, ParameterError


@pytest.fixture(scope="module")
def ratings() -> hs.Interactions:
    return hs.datasets.movielens_100k()


@pytest.fixture(scope="module")
def model(ratings: hs.Interactions) -> hs.ALS:
    return hs.ALS(hs.Implicit(), rank=8, iterations=3, random_state=0).fit(ratings)


def test_precision_decreases_with_the_cutoff_after_the_last_hit() -> None:
    values = [hs.metrics.precision([[1, 2, 3, 4, 5, 6]], [[1, 2]], n) for n in range(2, 7)]
    assert values == sorted(values, reverse=True)
    assert values[0] == 1.0


@pytest.mark.parametrize(
    "metric", ["precision", "recall", "hit_rate", "ndcg", "average_precision", "reciprocal_rank"]
)
def test_metrics_do_not_exceed_one_for_cutoffs_above_the_catalog(metric: str) -> None:
    assert 0 < getattr(hs.metrics, metric)([["a", "b"]], [["a", "b"]], 1000) <= 1


def test_a_duplicate_in_a_list_does_not_count_twice() -> None:
    with pytest.raises(DataError, match="'a'"):
        hs.metrics.precision([["a", "a"]], [["a"]], 2)


def test_short_lists_are_not_padded_with_seen_items(model: hs.ALS, ratings: hs.Interactions) -> None:
    lists = model.recommend(n=ratings.n_items)
    seen = ratings.to_sparse().toarray() > 0
    for u in range(0, 943, 50):
        found = lists.positions[u][lists.positions[u] >= 0]
        assert not seen[u, found].any()
    assert np.nanmin(lists.scores) > -100


def test_a_split_depends_on_its_seed(ratings: hs.Interactions) -> None:
    def test_side(seed: int) -> np.ndarray:
        return hs.split_random(ratings, random_state=seed)[1].timestamps

    assert np.array_equal(test_side(1), test_side(1))
    assert not np.array_equal(test_side(1), test_side(2))


def test_a_refit_does_not_depend_on_the_last_fit(ratings: hs.Interactions) -> None:
    again = hs.ALS(hs.Implicit(), rank=4, iterations=2, random_state=3).fit(ratings.subset(np.arange(5000)))
    again.fit(ratings)
    fresh = hs.ALS(hs.Implicit(), rank=4, iterations=2, random_state=3).fit(ratings)
    np.testing.assert_array_equal(again.user_factors_, fresh.user_factors_)
    assert again.recommend(1).item_ids.tolist() == fresh.recommend(1).item_ids.tolist()
    folded = again.fold_in({"eve": [50, 1]}).user_factors_
    np.testing.assert_array_equal(folded, fresh.fold_in({"eve": [50, 1]}).user_factors_)


@pytest.mark.parametrize("seed", [7, np.int64(7), np.random.default_rng(7)], ids=["int", "numpy", "generator"])
def test_seeds_of_any_kind_fit_and_are_saved(seed: object, ratings: hs.Interactions, tmp_path: Path) -> None:
    model = hs.ALS(hs.Implicit(), rank=2, iterations=1, random_state=seed).fit(ratings)
    model.save(tmp_path / "m")
    np.testing.assert_array_equal(hs.load(tmp_path / "m").user_factors_, model.user_factors_)
    with pytest.raises(ParameterError, match="give None, an integer"):
        hs.ALS(random_state=np.random.RandomState(7))


def test_a_transposed_matrix_is_detected_after_the_fit(model: hs.ALS, ratings: hs.Interactions) -> None:
    """`fit` cannot detect it; later calls see shapes that do not match, or ids of another type."""
    rows = hs.ALS(hs.Implicit(), rank=2, iterations=1, random_state=0).fit(ratings.to_sparse())
    history = ratings.to_sparse()[:3]
    assert len(rows.fold_in(history).users_) == 3
    with pytest.raises(DataError, match="3 columns, and the model has 1,682 items: rows are users"):
        rows.fold_in(sparse.csr_array(history.T))
    with pytest.raises(DataError, match="item id '172' is a string, but the known item ids are integers such as 1"):
        model.fold_in({"eve": ["50", "172"]})  # the ids of the model are integers


def test_empty_rows_have_no_nan() -> None:
    matrix = sparse.csr_array(([1.0, 2.0], ([0, 2], [1, 1])), shape=(4, 3))
    for objective in (hs.Implicit(), hs.Explicit(biases=True), hs.Explicit(missing_weight=0.5, biases=False)):
        model = hs.ALS(objective, rank=2, random_state=0).fit(matrix)
        for name in ("user_factors_", "item_factors_", "user_biases_", "item_biases_"):
            assert np.isfinite(getattr(model, name)).all()
        assert not model.user_factors_[[1, 3]].any()


def test_fold_in_scales_the_regularization(ratings: hs.Interactions) -> None:
    """See also ``test_half_step_model.py``, for every setting of the objective."""
    model = hs.presets.ials(8, 0.02, epochs=3, random_state=0).fit(ratings)
    history = ratings.subset(ratings.user_positions == 0)
    np.testing.assert_allclose(model.fold_in(history).user_factors_[0], model.user_factors_[0], rtol=1e-5)


@pytest.mark.parametrize(
    "weight", [hs.weights.linear_popularity(w0=0.1, wk=1), hs.weights.power_popularity(w0=1, e=0.1)], ids=str
)
def test_cold_start_items_have_no_weight(weight: hs.weights.linear_popularity) -> None:
    assert weight.of_items(np.array([0, 3]))[0] == 0


def test_scoring_does_not_allocate_users_times_items() -> None:
    """30,000 × 30,000 scores would be 3.6 GB."""
    n, k = 30_000, 2
    rng = np.random.default_rng(0)
    model = hs.persistence.from_arrays(
        rng.normal(size=(n, k)).astype(np.float32), rng.normal(size=(n, k)).astype(np.float32)
    )
    model.recommend([1], exclude_seen=False)  # compiles
    tracemalloc.start()
    model.recommend(np.arange(3000), n=3, exclude_seen=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_threads_of_blas_are_restored(ratings: hs.Interactions) -> None:
    """See ``test_cpu.py`` for one thread during half-steps."""
    with threadpool_limits(3, user_api="blas"):
        model = hs.ALS(hs.Implicit(), rank=4, iterations=1, threads=2).fit(ratings)
        model.recommend(threads=2)
        assert blas_threads() == {3}


def test_users_without_test_items_do_not_count(model: hs.ALS, ratings: hs.Interactions) -> None:
    test = hs.Interactions.from_arrays([1, 2], [model.recommend(1, 1).item_ids[0, 0], 999_999])
    report = hs.evaluate(model, test, "hit_rate", n=1)
    assert report["ALS", "hit_rate"] == 0.5  # of two users, not of 943
    assert (report.n_scored, report.n_left_out) == (2, 941)
    assert hs.metrics.hit_rate([[1], [2]], [[1], []], 1) == 1.0


def test_events_are_scored_before_updates(ratings: hs.Interactions, model: hs.ALS) -> None:
    """In a stream, the model has not been updated with the event or later ones."""
    asked = []

    class Watched(hs.ALS):
        def recommend(self, users, *args, **options):
            asked.append(len(self.interactions_))
            return super().recommend(users, *args, **options)

    watched = Watched(hs.Implicit(), rank=2, iterations=1, random_state=0)
    train, events = hs.split_by_time(ratings, 0.0005)
    hs.evaluate_stream(watched.fit(train), events, n=5)
    assert asked[:3] == [len(train), len(train) + 1, len(train) + 2][: len(asked[:3])]
    assert len(copy.copy(watched).interactions_) == len(train)
