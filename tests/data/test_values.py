"""Values are used if given, and required by models that need them."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.sparse import csr_array

import halfstep as hs
from halfstep import weights
from halfstep.data import Interactions
from halfstep.errors import DataError, ParameterError

pytestmark = pytest.mark.filterwarnings("ignore::halfstep.errors.PoorFitWarning")  # of arithmetic on small data

USERS, ITEMS = list("aabbccdd"), list("xyxzyzxw")
STARS = [5.0, 1.0, 4.0, 2.0, 5.0, 1.0, 3.0, 4.0]
RATED = Interactions.from_arrays(USERS, ITEMS, STARS)
BARE = Interactions.from_arrays(USERS, ITEMS)
LIST, VALUED = {"new": ["x", "y"]}, {"new": {"x": 1.0, "y": 1.0}}
EVENT = Interactions.from_arrays(["a"], ["z"])

NO_VALUES = "have no values, but the objective of the model, .* uses them, and the model was fitted on values"


def fitted(objective: Any, data: Any = RATED) -> hs.ALS:
    return hs.ALS(objective, rank=2, iterations=2, random_state=0).fit(data)


class TestModelOfRatings:
    @pytest.mark.parametrize(
        "objective",
        [hs.Explicit(biases=False), hs.Explicit(biases=True), hs.Explicit(missing_weight=1.0, biases=False)],
    )
    def test_error_for_histories_without_values(self, objective: hs.Explicit) -> None:
        model = fitted(objective)
        frame = pd.DataFrame({"user": ["new"], "item": ["x"]})
        for bare in (LIST, {"old": {"x": 5.0}, "new": ["y"]}, frame, EVENT):
            with pytest.raises(DataError, match=f"the histories {NO_VALUES}.*give each item's value"):
                model.fold_in(bare)

    def test_fold_in_with_values_and_users_without_items(self) -> None:
        model = fitted(hs.Explicit(biases=False))
        assert model.fold_in(VALUED).user_factors_.any()
        assert not model.fold_in({"nobody": []}).user_factors_.any()

    def test_error_for_updates_without_values(self) -> None:
        model = fitted(hs.Explicit(biases=False))
        before = model.predict(RATED)
        for how in ("last", "sum", "error"):
            with pytest.raises(DataError, match=f"the new interactions {NO_VALUES}.*give a value for each"):
                model.partial_fit(EVENT, duplicates=how)
        with pytest.raises(DataError, match=NO_VALUES):
            model.partial_fit(pd.DataFrame({"user": ["a"], "item": ["z"]}))
        np.testing.assert_array_equal(model.predict(RATED), before)
        assert len(model.partial_fit(EVENT.with_values([3.0])).interactions_) == 9

    def test_error_of_gibbs_sampler_for_histories_without_values(self) -> None:
        model = hs.BayesianALS(rank=2, iterations=4, burn_in=1, random_state=0).fit(RATED)
        with pytest.raises(DataError, match=NO_VALUES):
            model.fold_in(LIST)
        ordinal = hs.BayesianALS(rank=2, iterations=4, burn_in=1, random_state=0, ordinal=True).fit(RATED)
        with pytest.raises(DataError, match=NO_VALUES):
            ordinal.fold_in(LIST)

    def test_error_for_stream_without_values(self) -> None:
        with pytest.raises(DataError, match=NO_VALUES):
            hs.evaluate_stream(fitted(hs.Explicit(biases=False)), EVENT)

    @pytest.mark.parametrize("interactions", [True, False])
    def test_error_after_saving(self, tmp_path: Path, interactions: bool) -> None:
        fitted(hs.Explicit(biases=False)).save(tmp_path / "model", interactions=interactions)
        with pytest.raises(DataError, match=NO_VALUES):
            hs.load(tmp_path / "model").fold_in(LIST)

    def test_error_after_copying_folding_in_or_updating(self, tmp_path: Path) -> None:
        model = fitted(hs.Explicit(biases=False))
        model.partial_fit(EVENT.with_values([3.0]))
        for other in (model, copy.copy(model), pickle.loads(pickle.dumps(model)), model.fold_in(VALUED)):
            with pytest.raises(DataError, match=NO_VALUES):
                other.fold_in(LIST)


class TestModelWithoutValues:
    @pytest.mark.parametrize("ones", [BARE, BARE.with_values([1.0] * 8), csr_array(np.eye(4))])
    def test_fold_in_lists_of_items(self, ones: Any) -> None:
        model = fitted(hs.Explicit(missing_weight=0.1, biases=False), ones)
        items = model.items_.ids[:2].tolist()
        given = model.fold_in({"new": dict.fromkeys(items, 1.0)})
        np.testing.assert_array_equal(model.fold_in({"new": items}).user_factors_, given.user_factors_)

    def test_fold_in_lists_of_items_after_saving(self, tmp_path: Path) -> None:
        model = fitted(hs.Explicit(missing_weight=0.1, biases=False), BARE)
        for interactions in (True, False):
            model.save(tmp_path / "model", interactions=interactions)
            loaded = hs.load(tmp_path / "model")
            assert loaded.fold_in(LIST).user_factors_.any()
        assert len(model.partial_fit(EVENT).interactions_) == 9

    def test_counts_repeats(self) -> None:
        counted = Interactions.from_arrays([1, 1, 2], ["x", "x", "y"], duplicates="sum")
        assert (counted.values.tolist(), counted.has_values) == ([2.0, 1.0], False)
        model = fitted(hs.Implicit(observed_weight=weights.confidence(2.0)), counted)
        event = Interactions.from_arrays([1], ["x"])
        with pytest.raises(DataError, match=r"was fitted on counts: .* duplicates='sum'"):
            model.partial_fit(event)  # 1 would take the place of 2
        model.partial_fit(event, duplicates="sum")
        assert model.interactions_.to_sparse().toarray().tolist() == [[3.0, 0.0], [0.0, 1.0]]
        assert model.fold_in({"new": ["x"]}).user_factors_.any()


class TestImplicit:
    def test_fold_in_lists_if_values_do_not_matter(self) -> None:
        class by_popularity:  # noqa: N801
            uses_values = False

            def __call__(self, cells: weights.Cells) -> Any:
                return np.ones(len(cells.values))

        for objective in (
            hs.Implicit(),
            hs.Implicit(observed_weight=weights.linear_popularity(1.0, 2.0)),
            hs.Implicit(observed_weight=2.0, target=by_popularity()),
        ):
            model = fitted(objective)
            assert model.fold_in(LIST).user_factors_.any()
            assert len(model.partial_fit(EVENT).interactions_) == 9

    @pytest.mark.parametrize(
        "objective",
        [
            hs.Implicit(observed_weight=weights.confidence(2.0)),
            hs.Implicit(observed_weight=weights.log_confidence(2.0, 1.0), target=weights.preference()),
            hs.Implicit(observed_weight=weights.confidence(2.0), missing_weight=0.1, all_cells=True),
            hs.presets.implicit(factors=2).objective,
            hs.presets.spark(implicitPrefs=True).objective,
        ],
        ids=repr,
    )
    def test_items_of_lists_count_once(self, objective: hs.Implicit) -> None:
        model = fitted(objective)
        folded, given = model.fold_in(LIST), model.fold_in(VALUED)
        np.testing.assert_array_equal(folded.user_factors_, given.user_factors_)
        with pytest.raises(DataError, match=f"{NO_VALUES}.*or set duplicates='sum'"):
            model.partial_fit(Interactions.from_arrays(["a"], ["x"]))  # it would take the place of a 5
        model.partial_fit(Interactions.from_arrays(["a"], ["x"]), duplicates="sum")
        after = model.interactions_
        assert after.values[(after.user_ids == "a") & (after.item_ids == "x")] == 6.0

    @pytest.mark.parametrize("target", [weights.preference(3.5), lambda cells: cells.values / 5.0])
    def test_error_for_lists_if_targets_are_values(self, target: Any) -> None:
        with pytest.raises(DataError, match=NO_VALUES):
            fitted(hs.Implicit(target=target)).fold_in(LIST)


class TestHasValues:
    def test_is_kept_by_methods(self, tmp_path: Path) -> None:
        for data in (RATED, BARE):
            dated = Interactions.from_arrays(
                USERS, ITEMS, data.values if data.has_values else None, timestamps=range(8)
            )
            made = [
                *hs.split_random(dated, 0.3, random_state=0),
                *hs.split_by_time(dated, 0.3),
                *hs.split_leave_last_out(dated),
                *next(iter(hs.k_folds(dated, 2, random_state=0))),
                dated.subset([1, 0]),
                dated.rebased(items=RATED.items),
                dated.with_weights(np.ones(8)),
                dated.merged("last"),
                copy.copy(dated),
                pickle.loads(pickle.dumps(dated)),
                hs.Popularity().fit(dated).interactions_,
            ]
            hs.Popularity().fit(dated).save(tmp_path / "model")
            made.append(hs.load(tmp_path / "model").interactions_)
            made.append(
                hs.persistence.from_arrays(
                    np.ones((4, 1)), np.ones((4, 1)), users=dated.users, items=dated.items, interactions=dated
                ).interactions_
            )
            assert [each.has_values for each in made] == [data.has_values] * len(made)

    def test_depends_on_the_input(self, tmp_path: Path) -> None:
        (tmp_path / "bare.csv").write_text("user,item\n1,2\n")
        (tmp_path / "valued.csv").write_text("user,item,value\n1,2,1.0\n")
        assert not hs.read_interactions(tmp_path / "bare.csv").has_values
        assert hs.read_interactions(tmp_path / "valued.csv").has_values
        assert not Interactions.from_frame(pd.DataFrame({"user": [1], "item": [2]})).has_values
        assert Interactions.from_sparse(csr_array([[2.0]])).has_values
        assert BARE.with_values(np.ones(8)).has_values

    def test_is_part_of_repr(self) -> None:
        assert "no values" in repr(BARE)
        assert "all values 1" in repr(BARE.with_values(np.ones(8)))
        assert "no values, counts 1 to 2" in repr(Interactions.from_arrays([1, 1, 2], [1, 1, 2], duplicates="sum"))

    def test_determines_default_of_duplicates(self) -> None:
        pairs = [1, 1, 2], [1, 1, 2]
        assert Interactions.from_arrays(*pairs, duplicates=None).values.tolist() == [2.0, 1.0]
        assert Interactions.from_arrays(*pairs, [5.0, 3.0, 1.0], duplicates=None).values.tolist() == [3.0, 1.0]


class TestHistoryAsSeries:
    @pytest.mark.parametrize(
        "estimator",
        [
            hs.ALS(hs.Explicit(biases=False), rank=2, iterations=2, random_state=0),
            hs.ALS(hs.Implicit(observed_weight=weights.confidence(2.0)), rank=2, iterations=2, random_state=0),
            hs.BayesianALS(rank=2, iterations=4, burn_in=1, random_state=0),
        ],
        ids=["ratings", "counts", "BayesianALS"],
    )
    @pytest.mark.parametrize("data", [RATED, RATED.to_sparse()], ids=["strings", "positions"])
    def test_of_pandas_maps_items_to_values(self, estimator: hs.ALS | hs.BayesianALS, data: Any) -> None:
        model = copy.copy(estimator).fit(data)
        x, y = model.items_.ids[1:3].tolist()
        series = pd.Series([4.0, 2.0], index=[y, x])
        expected = model.fold_in({"new": {y: 4.0, x: 2.0}})
        np.testing.assert_array_equal(model.fold_in({"new": series}).user_factors_, expected.user_factors_)

    @pytest.mark.parametrize(
        "items", [["x", "y"], np.array(["x", "y"]), pl.Series(["x", "y"]), pa.array(["x", "y"]), pd.Index(["x", "y"])]
    )
    def test_without_index_is_a_list_of_items(self, items: Any) -> None:
        model = fitted(hs.Implicit(), BARE)
        np.testing.assert_array_equal(model.fold_in({"new": items}).user_factors_, model.fold_in(LIST).user_factors_)

    def test_error_names_user_and_item(self) -> None:
        model = fitted(hs.Explicit(biases=False))
        for history, fault in (
            (pd.Series([4.0, np.nan], index=["x", "y"]), "user 'new', item 'y': the value is nan"),
            ({"x": None}, "user 'new', item 'x': the value is None"),
            (pd.Series([4.0, 3.0], index=["x", "x"]), "user 'new': item 'x' occurs more than once"),
            (pd.Series(["x", "y"]), "user 'new': the value of item 0 is 'x': give numbers, or series.tolist()"),
            (pd.Series([4.0, "y"], index=["x", "z"]), "user 'new': the value of item 'z' is 'y': give numbers"),
        ):
            with pytest.raises(DataError, match=fault):
                model.fold_in({"old": {"x": 1.0}, "new": history})


class TestRatingMetrics:
    """RMSE and MAE require predictions in units of the values."""

    STARRED = RATED.subset(range(6)), RATED.subset([6])

    @pytest.mark.parametrize(
        "objective",
        [hs.Implicit(), hs.Implicit(target=weights.preference(3.5, otherwise=-1.0)), hs.Implicit(target=0.5)],
    )
    def test_are_undefined_for_preferences(self, objective: hs.Implicit) -> None:
        model = fitted(objective)
        report = hs.evaluate(model, RATED, ["rmse", "mae", "ndcg"], exclude_seen=False, resamples=10)
        assert np.isnan([report["ALS", "rmse"], report["ALS", "mae"]]).all()
        assert report["ALS", "ndcg"] > 0
        line = next(line for line in repr(report).splitlines() if line.startswith("ALS"))
        assert line.split()[1:3] == ["–", "–"]

    def test_are_defined_if_targets_are_values(self) -> None:
        signed = RATED.with_values(np.where(np.array(STARS) > 3, 1.0, -1.0))
        for objective in (
            hs.Explicit(biases=False),
            hs.Implicit(target=weights.preference(otherwise=-1.0)),
            hs.Implicit(target=lambda cells: cells.values),
        ):
            report = hs.evaluate(fitted(objective, signed), signed, "rmse", exclude_seen=False, resamples=10)
            errors = fitted(objective, signed).predict(signed) - signed.values
            assert report["ALS", "rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)))

    def test_are_undefined_for_model_without_values(self) -> None:
        for model in (fitted(hs.Explicit(biases=False), BARE), hs.ItemBias().fit(BARE)):
            report = hs.evaluate(model, RATED, "rmse", exclude_seen=False, resamples=10)
            assert np.isnan(report[type(model).__name__, "rmse"])

    def test_require_values_in_test_set(self) -> None:
        model = fitted(hs.Explicit(biases=False))
        for metric in ("rmse", ["ndcg", "mae"]):
            with pytest.raises(DataError, match="the test set has none: add values, or omit metrics='"):
                hs.evaluate(model, BARE, metric, exclude_seen=False)
        with pytest.raises(DataError, match=r"relevant_from=0\.5 requires values, and the test set has none"):
            hs.evaluate(model, BARE, "ndcg", exclude_seen=False, relevant_from=0.5)

    def test_error_of_tune(self) -> None:
        space = {"rank": [1, 2]}
        for objective, metric in (
            (hs.Implicit(), "rmse"),
            (hs.Implicit(), "sign_accuracy"),
            (hs.Implicit(target=weights.preference(3.5)), "mae"),
        ):
            signed = RATED.with_values(np.where(np.array(STARS) > 3, 1.0, -1.0))
            with pytest.raises(ParameterError, match=f"metric='{metric}' compares predictions with values, and ALS"):
                hs.tune(hs.ALS(objective), signed if metric == "sign_accuracy" else RATED, space, metric=metric)
        with pytest.raises(DataError, match=r"metric='rmse' compares .* and the data have none: .*ndcg@10"):
            hs.tune(hs.ALS(), BARE, space)

    def test_error_of_each_trial_of_a_search_for_the_objective(self) -> None:
        space = {"objective": [hs.Explicit(biases=False), hs.Implicit()]}
        found = hs.tune(hs.ALS(rank=1, iterations=1), RATED, space, split=2, metric="rmse")
        assert [trial.state for trial in found.trials] == ["finished", "failed"]
