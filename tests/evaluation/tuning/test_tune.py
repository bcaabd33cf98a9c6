"""`tune`, compared with a simple loop, and its errors."""

from __future__ import annotations

import itertools
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

import halfstep as hs
from halfstep.errors import DataError, FitInterruptedWarning, ParameterError, TuningError
from halfstep.evaluation.tuning.folds import make_folds
from halfstep.evaluation.tuning.search import BestTrialsPruner, new_study
from halfstep.evaluation.tuning.space import Space, Uniform
from halfstep.evaluation.tuning.trial import Trial
from halfstep.evaluation.tuning.warm_starts import Fitter
from halfstep.solver.cuda.cupy_device import default_device

pytestmark = pytest.mark.filterwarnings("ignore::halfstep.errors.PoorFitWarning")

ALS = hs.ALS(hs.Explicit(biases=True), rank=4, iterations=12)
GRID = {"regularization": [30.0, 3.0, 0.3], "rank": [2, 4]}


@pytest.fixture(scope="module")
def ratings() -> hs.Interactions:
    """The first 20,000 ratings of MovieLens 100K by time."""
    data = hs.datasets.movielens_100k()
    return data.subset(np.argsort(data.timestamps, kind="stable")[:20_000])


def by_hand(estimator: Any, folds: list[Any]) -> list[float]:
    """Return the RMSE on each fold, for known users and items, by a simple loop."""
    values = []
    for train, test in folds:
        model = estimator.fit(train)
        users, items = set(train.user_ids.tolist()), set(train.item_ids.tolist())
        squares = [
            (value - float(model.predict([user], [item])[0])) ** 2
            for user, item, value in zip(test.user_ids.tolist(), test.item_ids.tolist(), test.values, strict=True)
            if user in users and item in items
        ]
        values.append(float(np.sqrt(np.mean(squares))))
    return values


def test_a_grid_search_equals_a_loop(ratings: hs.Interactions) -> None:
    data = ratings.subset(np.arange(6000))
    found = hs.tune(ALS, data, GRID, warm_starts=False, prune=False, split=2)
    folds = list(hs.time_folds(data, 2))
    twin = {
        (regularization, rank): by_hand(
            hs.ALS(ALS.objective, rank=rank, regularization=regularization, iterations=12, random_state=0), folds
        )
        for regularization, rank in itertools.product(*GRID.values())
    }
    assert len(found) == 6
    for trial in found:
        np.testing.assert_allclose(trial.values, twin[tuple(trial.parameters.values())], rtol=1e-9)
    best = min(twin, key=lambda key: np.mean(twin[key]))
    assert tuple(found.best_parameters.values()) == best
    assert found.best_value == pytest.approx(np.mean(twin[best]))
    model = hs.ALS(ALS.objective, regularization=best[0], rank=int(best[1]), iterations=12, random_state=0).fit(data)
    np.testing.assert_array_equal(found.model.item_factors_, model.item_factors_)
    assert found.n_cold == tuple(
        int(np.sum((train.user_counts[test.user_positions] == 0) | (train.item_counts[test.item_positions] == 0)))
        for train, test in folds
    )
    assert min(found.n_cold) > 0


def test_cold_start_interactions_are_excluded(ratings: hs.Interactions) -> None:
    """Extreme values of cold-start interactions have no effect."""
    ((train, test),) = hs.time_folds(ratings, 1)
    cold = train.item_counts[test.item_positions] == 0
    wild = test.with_values(np.where(cold, 1e6, test.values))
    assert cold.any()
    plain, hijacked = (hs.tune(ALS, train, GRID, split=[(train, side)], refit=False) for side in (test, wild))
    assert [trial.value for trial in plain] == [trial.value for trial in hijacked]


@pytest.mark.slow
def test_results_depend_on_the_seed_but_not_on_threads(ratings: hs.Interactions) -> None:
    space = {"regularization": hs.LogUniform(0.1, 30.0), "rank": [2, 8, 40]}

    def run(threads: int, seed: int) -> hs.Tuning:
        model = hs.ALS(hs.Explicit(biases=True), iterations=6, threads=threads)
        return hs.tune(model, ratings, space, search="tpe", n_trials=12, random_state=seed)

    one, two, other = run(1, 0), run(2, 0), run(2, 1)
    assert [(t.point, t.values, t.state) for t in one] == [(t.point, t.values, t.state) for t in two]
    np.testing.assert_array_equal(one.model.user_factors_, two.model.user_factors_)
    assert [t.point for t in one] != [t.point for t in other]


@pytest.mark.parametrize("search", ["random", "tpe"])
def test_other_estimators_are_tuned(ratings: hs.Interactions, search: Any) -> None:
    biases = hs.tune(hs.UserItemBias(), ratings, search=search, n_trials=8)
    assert isinstance(biases.model, hs.UserItemBias)
    assert biases.model.user_regularization == biases.best_parameters["user_regularization"]
    assert len(biases) == 8
    sgd = hs.tune(hs.SGD(rank=2), ratings, {"iterations": [1, 2]}, search=search, n_trials=2, split=1)
    assert sgd.best.values == min(trial.values for trial in sgd)


def test_implicit_objectives_are_tuned_by_ndcg(ratings: hs.Interactions) -> None:
    data = ratings.with_values(np.ones(len(ratings)))
    model = hs.ALS(hs.Implicit(missing_weight=0.1), rank=4, iterations=4, regularization=1.0, random_state=0)
    found = hs.tune(model, data, {"objective.missing_weight": [0.001, 0.1]}, split=1, refit=False)
    assert (found.metric, found.maximize) == ("ndcg@10", True)
    ((train, test),) = hs.time_folds(data, 1)
    known = hs.keep_known(test, train, min_train_ratings=1, drop_unseen_items=True)
    assert found.trials[1].value == hs.evaluate(model.fit(train), known, "ndcg")["ALS", "ndcg@10"]
    assert found.best_value == max(trial.value for trial in found)


def test_a_gpu_that_cannot_be_used_is_an_error_before_the_first_trial(
    ratings: hs.Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    default_device.cache_clear()
    with pytest.raises(ModuleNotFoundError, match="or set backend='cpu'"):
        hs.tune(hs.ALS(backend="cuda"), ratings)


def test_a_function_can_be_the_metric(ratings: hs.Interactions) -> None:
    def spread(model: Any, test: hs.Interactions) -> float:
        return float(np.ptp(model.predict(test)))

    found = hs.tune(ALS, ratings, GRID, metric=spread, direction="maximize", refit=False)
    assert found.metric == "spread"
    assert found.best_parameters["regularization"] == 0.3
    assert found.model is None
    with pytest.raises(ParameterError, match="metric is a function: set direction="):
        hs.tune(ALS, ratings, GRID, metric=spread)


def test_warm_starts_are_from_larger_regularization_or_lower_rank(ratings: hs.Interactions) -> None:
    found = hs.tune(ALS, ratings, {"regularization": [30.0, 3.0, 0.3], "rank": [2, 4]}, refit=False, prune=False)
    assert [trial.started_from for trial in found] == [None, 0, 1, 0, 3, 4]


@pytest.mark.slow
def test_warm_and_cold_starts_have_similar_scores(ratings: hs.Interactions) -> None:
    model = hs.ALS(hs.Explicit(biases=True), iterations=80)
    space = {"regularization": [1e5, 2.0], "rank": [2, 4]}
    warm, cold = (hs.tune(model, ratings, space, warm_starts=on, prune=False, refit=False) for on in (True, False))
    assert {trial.started_from for trial in warm} == {None, 0, 2}
    np.testing.assert_allclose([t.value for t in warm], [t.value for t in cold], atol=0.004)
    assert warm.trials[1].value < warm.trials[0].value - 0.005  # although the factors at 1e5 are 0


def test_a_warm_start_adds_noise_to_the_factors_of_a_neighbor(ratings: hs.Interactions) -> None:
    folds, _ = make_folds(ratings, 1, 0)
    fitter = Fitter(ALS, folds, 0, warm_starts=True)
    model = fitter.fit(0, {"rank": 2}, 0, None)
    source = Trial(0, {"rank": 0}, {"rank": 2}, "finished", (1.0,), 0.0)
    fitter.remember(source)
    estimator = fitter.estimator({"rank": 4})
    P, Q = fitter._start(estimator, 0, source)
    scale = 0.1 / np.sqrt(4)
    seen = folds[0].train.item_counts > 0
    assert Q.shape == (ratings.n_items, 4)
    assert np.std(Q[seen][:, 2:]) == pytest.approx(scale, rel=0.1)
    assert np.std((Q[:, :2] - model.item_factors_)[seen]) == pytest.approx(scale, rel=0.1)
    assert np.std(P[:, :2] - model.user_factors_) <= 1.1 * scale
    assert not Q[~seen].any()


def test_a_trial_is_pruned_if_it_is_worse_than_each_of_the_best() -> None:
    def is_pruned(value: float, finished: list[tuple[float, float]], *, step: int = 5, warm: bool = False) -> bool:
        """Return whether a trial with a value at a step is pruned after other trials."""
        study = new_study(maximize=False, pruner=BestTrialsPruner())
        for final, early in finished:
            attributes = {"started_from": None}
            study.add_trial(
                optuna.create_trial(value=final, intermediate_values={1: 0.0, 5: early}, user_attrs=attributes)
            )
        asked = study.ask()
        asked.set_user_attr("started_from", 0 if warm else None)
        asked.report(value, step)
        return asked.should_prune()

    best = [(0.9 + k / 100, 1.0 + k / 100) for k in range(5)]
    worse = (2.0, 3.0)
    assert is_pruned(1.05, [*best, worse])
    assert not is_pruned(1.04, [*best, worse])  # as good as the fifth
    assert not is_pruned(9.0, best[:4])  # too few to compare with
    assert not is_pruned(9.0, best, step=10)  # none has a score there
    assert not is_pruned(9.0, best, warm=True)  # all others are cold


def test_trials_are_pruned_during_a_fit(ratings: hs.Interactions) -> None:
    counts: list[int] = []
    model = hs.ALS(
        hs.Explicit(biases=True), rank=2, iterations=12, callbacks=[lambda m: counts.append(len(m.history_))]
    )
    space = {"regularization": [2.0, 2.1, 2.2, 2.3, 2.4, 1e-3]}
    found = hs.tune(model, ratings, space, search="grid", warm_starts=False, refit=False)
    assert [trial.state for trial in found] == ["finished"] * 5 + ["pruned"]
    assert found.trials[5].n_fits == 1
    assert counts == [*range(1, 13)] * 15 + [1, 2, 3, 4, 5]
    assert np.isnan(found.trials[5].value)
    assert "6 trials, 1 pruned" in repr(found)


def test_a_single_trial_is_in_the_singular(ratings: hs.Interactions) -> None:
    found = hs.tune(hs.ItemBias(), ratings, {"regularization": [5.0]}, refit=False)
    assert ": 1 trial, " in repr(found)


def test_failed_trials_are_recorded(ratings: hs.Interactions) -> None:
    found = hs.tune(ALS, ratings, {"rank": [-1, 2]})
    assert [trial.state for trial in found] == ["failed", "finished"]
    assert found.trials[0].error == "ParameterError: rank=-1: give an integer of at least 0"
    assert found.best_parameters == {"rank": 2}
    assert "1 failed" in repr(found)
    assert "first failure: ParameterError: rank=-1: give an integer of at least 0" in repr(found)
    assert "point" not in found.to_dict()["best"]


def test_an_error_is_raised_if_all_trials_fail(ratings: hs.Interactions) -> None:
    with pytest.raises(
        TuningError, match=r"all 2 trials failed; the first error, with rank=-2: ParameterError: rank="
    ):
        hs.tune(ALS, ratings, {"rank": [-1, -2]})

    def undefined(model: Any, test: Any) -> float:
        return float("nan")

    with pytest.raises(TuningError, match=r"the metric undefined returned nan: return a finite number"):
        hs.tune(ALS, ratings, {"rank": [2]}, metric=undefined, direction="minimize")


def interrupting(at: int) -> hs.ALS:
    """Return a model that is interrupted once, in an iteration that is counted over all fits."""
    calls = itertools.count(1)

    def callback(model: Any) -> None:
        if next(calls) == at:
            raise KeyboardInterrupt

    return hs.ALS(hs.Explicit(biases=True), rank=2, iterations=4, callbacks=[callback])


def test_an_interrupted_search_returns_the_best_so_far(ratings: hs.Interactions) -> None:
    space = {"regularization": [30.0, 3.0, 0.3]}
    with pytest.warns(FitInterruptedWarning, match="the search was interrupted: this is the best of 2 of 3 trials"):
        found = hs.tune(interrupting(at=4 + 4 + 2), ratings, space, split=1, warm_starts=False)
    assert len(found) == 2
    assert found.model.regularization == found.best_parameters["regularization"]
    with warnings.catch_warnings(), pytest.raises(KeyboardInterrupt):
        hs.tune(interrupting(at=3), ratings, space, split=1)


def test_without_timestamps_folds_are_random(ratings: hs.Interactions) -> None:
    data = hs.Interactions.from_arrays(ratings.user_ids, ratings.item_ids, ratings.values)
    found = hs.tune(hs.ItemBias(), data, {"regularization": [0.0, 5.0]}, split=4)
    assert found.folds == "4 random folds, because there are no timestamps"
    assert sum(found.n_scored) + sum(found.n_cold) == 0.4 * len(data)  # a tenth each
    found = hs.tune(hs.ItemBias(), data, {"regularization": [0.0, 5.0]}, split=20)
    assert sum(found.n_scored) + sum(found.n_cold) == len(data)


def test_folds_without_test_interactions_are_an_error(ratings: hs.Interactions) -> None:
    data = hs.Interactions.from_arrays([1, 2, 3, 4], [1, 2, 3, 4], [1.0] * 4, [1, 2, 3, 4])
    with pytest.raises(DataError, match="fold 1 is too small: none of its 1 test interactions has both a user and"):
        hs.tune(hs.ItemBias(), data, split=lambda d: hs.time_folds(d, 1, test_fraction=0.25))
    with pytest.raises(DataError, match=r"n_folds=3 of test_fraction=0.1 of 4 interactions leave a set empty"):
        hs.tune(hs.ItemBias(), data)
    with pytest.raises(DataError, match="split has no folds"):
        hs.tune(hs.ItemBias(), ratings, split=[])
    with pytest.raises(ParameterError, match="split is of type str: give a number of folds"):
        hs.tune(hs.ItemBias(), ratings, split="time")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "ndgc@10"}, r"unknown metric 'ndgc@10' \(did you mean 'ndcg@10'"),
        ({"metric": "rmse", "direction": "maximize"}, "rmse is always minimized; omit direction"),
        ({"search": "bayes"}, "search='bayes': give one of 'grid', 'random', 'tpe'"),
        ({"n_trials": 0}, "n_trials=0: give an integer of at least 1"),
        ({"random_state": -1}, "random_state=-1"),
    ],
)
def test_invalid_options_are_errors(ratings: hs.Interactions, options: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        hs.tune(ALS, ratings, GRID, **options)


def test_a_class_is_an_error(ratings: hs.Interactions) -> None:
    with pytest.raises(ParameterError, match=r"estimator=<class .*ALS'>: give an unfitted model such as ALS\(\)"):
        hs.tune(hs.ALS, ratings)


def test_missing_optuna_error_names_the_extra(monkeypatch: pytest.MonkeyPatch, ratings: hs.Interactions) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"hs.tune requires Optuna: run pip install 'halfstep\[tune\]'"):
        hs.tune(ALS, ratings, GRID)


def test_optuna_prints_nothing(ratings: hs.Interactions, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    hs.tune(hs.ItemBias(), ratings, search="tpe", n_trials=3, split=1, journal=tmp_path / "j", progress=False)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_to_frame_returns_a_dataframe(ratings: hs.Interactions, kind: str) -> None:
    objectives = [hs.Explicit(biases=False), hs.Explicit(biases=True)]
    found = hs.tune(hs.ALS(rank=2, iterations=2), ratings, {"objective": objectives, "rank": [-1, 2]}, refit=False)
    frame = found.to_frame(kind)
    columns = {
        name: list(frame[name].to_pylist() if kind == "pyarrow" else frame[name])
        for name in ("trial", "objective", "rank", "rmse", "fold_1", "fold_3", "state", "error")
    }
    assert columns["trial"] == [0, 1, 2, 3]
    assert columns["rank"] == [-1, -1, 2, 2]
    assert columns["objective"] == [repr(objective) for objective in objectives] * 2
    assert columns["rmse"][2:] == [trial.value for trial in found.trials[2:]]
    assert np.isnan(columns["rmse"][:2]).all()
    assert columns["fold_3"][2:] == [trial.values[2] for trial in found.trials[2:]]
    assert columns["state"] == ["failed", "failed", "finished", "finished"]
    assert columns["error"][0].startswith("ParameterError")


def finished_trials(values: list[float], names: str) -> tuple[Trial, ...]:
    return tuple(
        Trial(number, {name: float(number) for name in names}, {}, "finished", (value,), 0.0)
        for number, value in enumerate(values)
    )


def tuning_of(trials: tuple[Trial, ...], names: str, maximize: bool = False) -> hs.Tuning:
    space = Space({name: Uniform(0.0, 9.0) for name in names})
    return hs.Tuning(
        estimator="ALS",
        metric="rmse",
        maximize=maximize,
        search="random",
        folds="",
        trials=trials,
        space=space,
        n_scored=(1,),
        n_cold=(0,),
        model=None,
    )


def test_plot_has_a_panel_for_each_parameter(ratings: hs.Interactions) -> None:
    space = {
        "regularization": hs.LogUniform(0.3, 30.0),
        "rank": [2, 4],
        "regularization.bias_ratio": hs.Uniform(0.5, 2.0),
    }
    found = hs.tune(hs.ALS(hs.Explicit(biases=True), iterations=4), ratings, space, n_trials=8, search="random")
    panels = found.plot().axes
    assert [axes.get_xlabel() for axes in panels] == list(space)
    finished = [trial for trial in found if trial.state == "finished"]
    for axes, name in zip(panels, space, strict=True):
        points, best = axes.lines[:2]
        clipped = axes.lines[2].get_xdata().tolist() if len(axes.lines) > 2 else []
        assert sorted([*points.get_xdata(), *clipped]) == sorted(trial.point[name] for trial in finished)
        assert set(points.get_ydata()) <= {trial.value for trial in finished}
        assert best.get_ydata() == [found.best_value]
    assert found.png().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("values", "maximize", "clipped", "legend"),
    [
        ([1.0, 1.1, 1.2, 1.3], False, [], None),
        ([1.0, 1.1, 1.2, 1.3, 1.1, 1.2, 9.0, 7.0], False, [6.0, 7.0], "2 trials above the axis"),
        ([0.9, 0.8, 0.7, 0.1, 0.9], True, [3.0], "1 trial below the axis"),
        ([1.0, 1.0, 1.0], False, [], None),
        ([1.0], False, [], None),
    ],
)
def test_plot_marks_trials_that_are_clipped(
    values: list[float], maximize: bool, clipped: list[float], legend: str | None
) -> None:
    figure = tuning_of(finished_trials(values, "ab"), "ab", maximize).plot()
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [
        "trial",
        f"best, trial {values.index(max(values) if maximize else min(values))}",
        *filter(None, [legend]),
    ]
    for axes in figure.axes:
        assert [x for line in axes.lines[2:] for x in line.get_xdata()] == clipped
        low, high = sorted(axes.get_ylim())
        assert [x for x, value in enumerate(values) if not low <= value <= high] == clipped


@pytest.mark.slow
@pytest.mark.parametrize(("count", "rows"), [(1, [1]), (2, [2]), (3, [3]), (4, [2, 2]), (5, [3, 2]), (7, [3, 2, 2])])
def test_panels_fill_every_row_of_a_plot(count: int, rows: list[int]) -> None:
    names = "abcdefg"[:count]
    figure = tuning_of(finished_trials([1.0, 2.0], names), names).plot()
    figure.draw_without_rendering()
    by_row: dict[float, list[Any]] = {}
    for axes in figure.axes:
        by_row.setdefault(axes.get_subplotspec().rowspan.start, []).append(axes.get_position())
    assert [len(boxes) for boxes in by_row.values()] == rows
    assert all(boxes[-1].x1 == pytest.approx(by_row[0][-1].x1, abs=0.01) for boxes in by_row.values())


def test_title_of_a_plot_counts_trials() -> None:
    lost = Trial(2, {"a": 2.0}, {}, "pruned", (), 0.0)
    figure = tuning_of((*finished_trials([1.0, 2.0], "a"), lost), "a").plot()
    assert figure.get_suptitle() == "rmse by parameter: 1.0000 is the best of 3 trials, 1 pruned"


def test_trials_are_printed_in_order_of_score(ratings: hs.Interactions) -> None:
    found = hs.tune(hs.ItemBias(), ratings, {"regularization": [0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]}, split=2)
    lines = repr(found).splitlines()
    assert lines[0].startswith("Tuning of ItemBias by rmse, grid: 7 trials")
    assert lines[1].startswith("2 folds in time order: ")
    assert lines[3].split()[:2] == [str(found.best.number), f"{found.best_value:.4f}"]
    assert len(lines) == 3 + 5 + 1


def clicks() -> hs.Interactions:
    u, i = np.divmod(np.random.default_rng(0).choice(300 * 300, 3000, replace=False), 300)
    return hs.Interactions.from_arrays(u, i)


class TestDoubling:
    """A search at the lowest rank, whose best parameters are tried at higher ranks while the score improves."""

    @staticmethod
    def searched(values: dict[int, float], n_trials: int | None = None) -> hs.Tuning:
        """Search with a metric that depends only on the rank."""
        return hs.tune(
            hs.ALS(hs.Implicit(), iterations=1, random_state=0),
            clicks(),
            {"regularization": hs.LogUniform(1.0, 4.0), "rank": list(values)},
            metric=lambda model, test: values[model.rank] - 1e-6 * abs(model.regularization - 2.0),
            direction="maximize",
            split=1,
            n_trials=n_trials,
            prune=False,
            refit=False,
        )

    def test_stops_when_a_higher_rank_does_not_improve_the_score(self) -> None:
        found = self.searched({2: 0.1, 4: 0.2, 8: 0.15, 16: 0.9}, n_trials=14)
        assert found.search == "doubling"
        ranks = [trial.parameters["rank"] for trial in found]
        assert ranks == [2] * 5 + [4] * 3 + [8] * 3
        low = max(found.trials[:5], key=lambda trial: trial.value).parameters["regularization"]
        tried = [trial.parameters["regularization"] for trial in found.trials[5:8]]
        np.testing.assert_allclose(tried, np.clip([low, 1.3 * low, low / 1.3], 1.0, 4.0))
        assert found.best_parameters["rank"] == 4

    def test_has_thirty_trials_at_the_lowest_rank_by_default(self) -> None:
        ranks = [trial.parameters["rank"] for trial in self.searched({2: 0.1, 4: 0.2})]
        assert ranks == [2] * 30 + [4] * 3

    def test_ranks_may_be_listed_in_any_order(self) -> None:
        found = self.searched({8: 0.3, 2: 0.1, 4: 0.2}, n_trials=8)
        assert [trial.parameters["rank"] for trial in found] == [2] * 2 + [4] * 3 + [8] * 3

    def test_no_point_is_tried_twice_at_a_rank(self) -> None:
        found = hs.tune(
            hs.ALS(hs.Implicit(), iterations=1),
            clicks(),
            {"rank": [4, 2], "objective.missing_weight": [0.1, 0.2]},
            search="doubling",
            n_trials=4,
            split=1,
            refit=False,
            prune=False,
            metric=lambda model, test: model.rank,
            direction="maximize",
        )
        assert [trial.parameters["rank"] for trial in found] == [2, 4]

    @pytest.mark.parametrize(
        "space",
        [
            {"objective.missing_weight": [0.1, hs.weights.missing_popularity(5, 0.4)]},
            {"objective.missing_weight": [None, 1.0]},
            {"regularization.counts": ["cells", "positive"], "regularization": hs.LogUniform(1.0, 3.0)},
            {"rank": hs.Integers(4, 12), "regularization": hs.LogUniform(0.1, 3.0)},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("search", ["tpe", "doubling"])
    def test_spaces_without_ranks_or_ranges_are_supported(self, space: Any, search: Any) -> None:
        estimator = hs.ALS(hs.Implicit(), rank=3, iterations=1)
        found = hs.tune(estimator, clicks(), space, search=search, n_trials=3, split=1)
        assert {trial.state for trial in found} == {"finished"}

    def test_few_trials_are_all_at_the_lowest_rank(self) -> None:
        assert [trial.parameters["rank"] for trial in self.searched({2: 0.1, 4: 0.2, 8: 0.3}, n_trials=1)] == [2]

    def test_ranks_beyond_the_data_are_not_searched(self, ratings: hs.Interactions) -> None:
        few = ratings.subset(np.arange(3000))
        assert hs.default_space(hs.ALS(hs.Implicit()), few)["rank"] == [64]  # of 30 users
        assert hs.default_space(hs.ALS(hs.Implicit()), ratings)["rank"] == [64, 128]


def test_score_compares_with_the_untuned_model_and_baselines(ratings: hs.Interactions) -> None:
    train, test = hs.split_by_time(ratings, 0.2)
    found = hs.tune(ALS, train, {"regularization": [30.0, 3.0]}, split=1)
    report = found.score(test)
    assert report.models == ["tuned", "untuned", "GlobalMean", "ItemBias", "UserItemBias"]
    assert report["tuned", "rmse"] == hs.evaluate(found.model, test, "rmse")["ALS", "rmse"]
    untuned = hs.ALS(ALS.objective, rank=4, iterations=12, random_state=0).fit(train)
    assert report["untuned", "rmse"] == hs.evaluate(untuned, test, "rmse")["ALS", "rmse"]
    assert found.score(test, "recall", 5).models == ["tuned", "untuned", "Popularity"]
    np.testing.assert_array_equal(found.best_estimator.fit(train).item_factors_, found.model.item_factors_)
    assert not found.untuned.__sklearn_is_fitted__()


def test_score_requires_a_model_and_a_named_metric(ratings: hs.Interactions) -> None:
    options = {"split": 1, "direction": "minimize"}
    by_function = hs.tune(ALS, ratings, {"regularization": [3.0]}, metric=lambda model, test: 1.0, **options)
    with pytest.raises(ParameterError, match="is unknown to evaluate: set metrics"):
        by_function.score(ratings)
    with pytest.raises(TuningError, match="call tune with refit=True"):
        hs.tune(ALS, ratings, {"regularization": [3.0]}, split=1, refit=False).score(ratings)


@pytest.mark.slow
def test_progress_bar_shows_the_fold_and_iteration(
    ratings: hs.Interactions, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halfstep.evaluation.tuning.run.SHOWN_EVERY", 0.0)
    hs.tune(hs.ALS(rank=64, iterations=30), ratings, {"regularization": [3.0, 1.0]}, split=2, progress=True)
    assert re.search(r"tune: .*0/2 .*fold 2 of 2, iteration \d+", capfd.readouterr().err)
