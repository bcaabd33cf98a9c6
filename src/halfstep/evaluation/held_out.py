"""Models on a test set: lists ranked from the whole catalogue or from given candidates, and predictions."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep.errors import DataError, ParameterError
from halfstep.evaluation.bootstrap import RESAMPLES, Mean, check_confidence
from halfstep.evaluation.metric_names import PER_LIST, PER_PAIR, Metric, read_metrics
from halfstep.evaluation.reference_models import Baseline, Compared, check_baseline, fitted_baselines
from halfstep.evaluation.report import Report, Row
from halfstep.evaluation.task import Candidates, Task, training_of
from halfstep.factor_model import FactorModel
from halfstep.interactions import as_interactions
from halfstep.interactions.frames import new_frame
from halfstep.metrics.marks import mark, mean_over_list, measure
from halfstep.parameters import as_generator, check_finite, check_flag, check_integer, check_threads

DEFAULT_METRICS = ("ndcg", "recall", "hit_rate", "coverage", "novelty")
PLACES_AT_ONCE = 1 << 20  # of ranked lists, so that memory stays bounded whatever the number of users


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Evaluation(Report):
    """What `evaluate` found: a table that prints, with the values of each user behind it.

    ``evaluation["ALS", "ndcg@10"]`` is a figure; iterating goes through the rows.

    Attributes
    ----------
    rows : tuple of Row
        Model, metric, n, value, low and high; the last two are NaN for coverage, which is no mean over users.
    users : ndarray of shape (n_users,)
        The ids of the users that have entries in the test set.
    n_scored : int
        How many of these have relevant items, and so count in the metrics of lists.
    n_left_out : int
        How many other users the model or the test set know: without relevant items in the test.
    n_unknown : int
        How many of the scored users have nothing in the training data; they get what `recommend` gives strangers.
    unknown_users, unknown_items : float
        The shares of the users and of the items of the test set that have nothing in the training data.
    n_repeats : int
        How many relevant pairs of the test set are in the training data, too. They are left out, since a list
        without seen items cannot hold them.
    confidence : float
        Of the intervals.
    baselines : tuple of str
        The names of the models that `baseline` added.
    """

    users: NDArray[Any]
    n_scored: int
    n_left_out: int
    n_unknown: int
    n_repeats: int
    unknown_users: float
    unknown_items: float
    baselines: tuple[str, ...] = ()
    frame_kind: str | None = None

    def __getitem__(self, key: tuple[str, str]) -> float:
        """Give the figure of a model and a metric, which is a name such as "ndcg" or a label such as "ndcg@10"."""
        return self.find(*key).value

    def per_user(self, model: str, metric: str) -> NDArray[np.float64]:
        """Give a metric for each of `users`; NaN where it has no meaning for the user.

        Raises
        ------
        ParameterError
            If it was not measured, or at several n and the label does not say which.
        DataError
            If it is not a metric of users.
        """
        row = self.find(model, metric)
        figure = self.figures[model, Metric(row.metric, row.n)]
        if not isinstance(figure, Mean):
            raise DataError(f"{row.label} is not a metric of users: it has no value for each")
        return figure.per_user

    def difference(self, a: str, b: str, metric: str) -> Row:
        """Compare two models by the paired bootstrap: the metric of `a` minus that of `b`, on the same users.

        An interval that does not hold 0 says that the difference is not due to who happened to be in the test.

        Parameters
        ----------
        a, b : str
            Names of models.
        metric : str
            As in `find`.

        Returns
        -------
        Row
            Its model is "a − b".
        """
        return self._difference(a, self.find(a, metric), self, b, self.find(b, metric))

    def to_frame(self, kind: str | None = None) -> Any:
        """Make a dataframe of the rows.

        Parameters
        ----------
        kind : {"pandas", "polars", "pyarrow", "modin", "cudf"}, optional
            Its library. By default that of the dataframe which the model was fitted on, else the first of pandas,
            Polars and PyArrow that is installed.
        """
        names = ("model", "metric", "n", "value", "low", "high")
        texts = dict.fromkeys(("model", "metric", "n"), object)
        columns = {
            name: np.array([getattr(row, name) for row in self.rows], dtype=texts.get(name, np.float64))
            for name in names
        }
        return new_frame(columns, self.frame_kind if kind is None else kind)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the values of users, made of what JSON knows."""
        counts = (
            "n_scored", "n_left_out", "n_unknown", "n_repeats", "unknown_users", "unknown_items", "confidence"
        )  # fmt: skip
        about = {name: getattr(self, name) for name in counts} | {"baselines": list(self.baselines)}
        return about | {"rows": self._rows_as_dicts()}

    def _about(self) -> tuple[list[str], list[str]]:
        parts = [f"Evaluation on {self.n_scored:,} users, excluding {self.n_left_out:,} without test items"]
        if self.n_repeats:
            parts.append(f"{self.n_repeats:,} test interactions also in the training data are ignored")
        unknown = (
            f"Without training data: {100 * self.unknown_users:.1f}% of the users and "
            f"{100 * self.unknown_items:.1f}% of the items of the test set"
        )
        about = f"In parentheses: {100 * self.confidence:g}% bootstrap intervals over users"
        return ["; ".join(parts), unknown], [about]


def evaluate(
    model: FactorModel | Mapping[str, FactorModel],
    test: Any,
    metrics: str | Sequence[str] = DEFAULT_METRICS,
    n: int | Sequence[int] = 10,
    *,
    baseline: Baseline = "auto",
    exclude_seen: bool = True,
    candidates: Candidates | None = None,
    relevant_from: float | None = None,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    random_state: int | np.random.Generator | None = 0,
    threads: int | None = None,
) -> Evaluation:
    """Score models on held-out interactions, side by side with baselines.

    Every user with relevant items in the test set gets a ranked list of n items from each model. A relevant item that
    nobody has in the training data counts as relevant and is never found; a user who has nothing there gets the list
    that `recommend` gives strangers. Users without relevant items are left out, and counted.

    "recall" and "ndcg" at n are those of LightGCN: recall is hits / |relevant items|, and the ideal list of NDCG has
    min(n, |relevant items|) items. "attainable_recall" is the recall of Mult-VAE: hits / min(n, |relevant items|);
    its NDCG is "ndcg". Means are over users.

    Parameters
    ----------
    model : fitted model, or mapping from name to fitted model
        All fitted on the same interactions; or all the result of `fold_in` of the same histories, to score users
        whom the items were not fitted on (see `split_held_out_users`).
    test : Interactions, scipy.sparse matrix or dataframe
        What was held out. Ids are matched by what they are, not by their positions.
    metrics : str or sequence of str
        Of lists: "ndcg", "recall", "attainable_recall" (divided by min(n, relevant)), "hit_rate", "precision",
        "average_precision", "attainable_average_precision", "reciprocal_rank", "coverage" (of the items that can be
        recommended) and "novelty" (by the training data); see `halfstep.metrics`. A name such as "recall@20" has its
        own cutoff. Of predictions: "rmse" and "mae", over all interactions of the test set, which needs values; they
        are "–" for models that do not predict values: `Popularity`, models whose objective has other targets than the
        values (such as `Implicit` for ratings), and models that were fitted without values.
    n : int or sequence of int
        Cutoffs: the lengths of the lists.
    baseline : {"auto"}, mapping from name to estimator, or None
        What to put beside the models. "auto" fits baselines to what the models were fitted on: `Popularity` for
        metrics of lists, and `GlobalMean`, `ItemBias` and `UserItemBias` for metrics of predictions, if the training
        data have values; none of a class that is among the models, and each is measured by its own metrics only.
        The estimators of a mapping are copied, fitted to the same interactions, and measured by all metrics. For
        folded-in models, baselines are fitted to what the items were fitted on, and then the users are folded in; a
        folded-in model that was read from a file does not know that, and "auto" adds `Popularity` alone. None adds
        no baseline.
    exclude_seen : bool
        Rank only what the user does not have in the training data; relevant pairs that are there are left out.
    candidates : mapping from user id to item ids, optional
        Rank only these for each user, seen or not: the protocol of sampled negatives. A user's relevant items must be
        among them. Figures are not comparable with those of whole catalogues (Krichene and Rendle 2020).
    relevant_from : float, optional
        Only test interactions of at least this value are relevant; by default all. Requires values.
    confidence : float
        Of the intervals: percentiles of the mean over users that are drawn with replacement.
    resamples : int
        How often users are drawn.
    random_state : int, Generator or None
        What draws them.
    threads : int, optional
        By default those of each model, or all cores if it has none. Does not change the result.

    Returns
    -------
    Evaluation

    Raises
    ------
    DataError
        If there is nothing to score; if no user, or no item, of the test set is known to the models, or an id is of a
        type that no id of the models has; if the models were fitted on different interactions, or were saved without
        them; if a relevant item is not among the candidates; or if the test set has no values and a parameter
        requires them.
    ParameterError
        If a metric is unknown, or another parameter is invalid.

    Examples
    --------
    >>> import halfstep as hs
    >>> train = hs.Interactions.from_arrays([1, 1, 2, 2, 3], ["tea", "milk", "tea", "jam", "tea"])
    >>> test = hs.Interactions.from_arrays([3, 1], ["jam", "salt"])
    >>> hs.evaluate(hs.Popularity().fit(train), test, ["recall", "coverage"], n=2, random_state=0)
    Evaluation on 2 users, excluding 1 without test items
    Without training data: 0.0% of the users and 50.0% of the items of the test set
                recall@2                   coverage@2
    Popularity  0.5000 (0.0000 to 1.0000)  0.6667
    In parentheses: 95% bootstrap intervals over users
    """
    asked = read_metrics(metrics, n, (*PER_LIST, *PER_PAIR))
    check_confidence(confidence)
    check_integer("resamples", resamples, minimum=1)
    check_flag("exclude_seen", exclude_seen)
    check_threads(threads)
    if relevant_from is not None:
        check_finite("relevant_from", relevant_from)
    seed = int(as_generator(random_state).integers(1 << 62))
    models = _named(model)
    check_baseline(baseline, models)
    first = next(iter(models.values()))
    entries = as_interactions(test)
    if not entries.has_values:
        _refuse_need_of_values(asked, relevant_from)
    task = Task.of(first, entries, exclude_seen, candidates, relevant_from)
    ranks = any(metric.name in PER_LIST for metric in asked)
    if ranks and not task.relevant.any():
        learnt = f" that is not in the training data: {task.n_repeats:,} are" if task.n_repeats else ""
        raise DataError(f"there is nothing to score: no user has a relevant item in the test set{learnt}")
    baselines = fitted_baselines(baseline, models, asked)
    figures: dict[tuple[str, Metric], Mean | float] = {}
    for name, compared in ({name: Compared(each, asked) for name, each in models.items()} | baselines).items():
        found = _measured(compared, task, threads)
        figures |= {(name, metric): found.get(metric, np.nan) for metric in asked}
    n_scored = int(np.count_nonzero(task.relevant)) if ranks else len(task.users)
    return Evaluation(
        rows=Report.rows_of(figures, confidence, resamples, seed),
        confidence=confidence, figures=figures, resamples=resamples, seed=seed, users=task.users, n_scored=n_scored,
        n_left_out=len(first.users_) + task.n_foreign - n_scored,
        n_unknown=int(np.count_nonzero(task.strangers & (task.relevant > 0) if ranks else task.strangers)),
        n_repeats=task.n_repeats, unknown_users=float(task.strangers.mean()), unknown_items=task.unknown_items,
        baselines=tuple(baselines), frame_kind=training_of(first).frame_kind,
    )  # fmt: skip


def check_metrics(metrics: str | Sequence[str], n: int | Sequence[int]) -> None:
    """Refuse what `evaluate` would refuse, before any time is spent on a fit.

    Raises
    ------
    ParameterError
        If a metric is unknown, or `n` makes no sense.
    """
    read_metrics(metrics or "ndcg", n, (*PER_LIST, *PER_PAIR))


def _measured(compared: Compared, task: Task, threads: int | None) -> dict[Metric, Mean | float]:
    """Measure all metrics of one model."""
    of_lists = [metric for metric in compared.metrics if metric.name in PER_LIST]
    of_pairs = _of_pairs(compared.model, task, compared.metrics)
    return measure_lists(compared.model, task, of_lists, threads) | of_pairs


def measure_lists(
    model: FactorModel, task: Task, asked: Sequence[Metric], threads: int | None
) -> dict[Metric, Mean | float]:
    """Rank for some users at a time, and measure their lists."""
    if not asked:
        return {}
    longest = min(max(metric.n or 0 for metric in asked), len(model.items_))
    values = {metric: np.full(len(task.users), np.nan) for metric in asked if metric.name != "coverage"}
    covered = {metric: np.zeros(len(model.items_), bool) for metric in asked if metric.name == "coverage"}
    scored = np.flatnonzero(task.relevant)
    for block in np.array_split(scored, -(-len(scored) * longest // PLACES_AT_ONCE)):
        listed = model.recommend(
            task.users[block], longest, exclude_seen=task.exclude_seen, candidates=task.candidates, threads=threads
        ).positions
        there = slice(*np.searchsorted(task.rows, [block[0], block[-1] + 1]))
        marks = mark(listed, np.searchsorted(block, task.rows[there]), task.items[there], len(model.items_))
        for metric in asked:
            places = metric.n or 0
            if metric.name == "coverage":
                shown = listed[:, :places]
                covered[metric][shown[shown >= 0]] = True
            elif metric.name == "novelty":
                values[metric][block] = mean_over_list(listed[:, :places], task.information)
            else:
                values[metric][block] = measure(metric.name, marks, task.relevant[block], places)
    means: dict[Metric, Mean | float] = {metric: Mean.of_values(each) for metric, each in values.items()}
    n_catalogue = max(int(np.count_nonzero(task.catalogue)), 1)
    return means | {metric: int(np.count_nonzero(each)) / n_catalogue for metric, each in covered.items()}


def _of_pairs(model: FactorModel, task: Task, asked: Sequence[Metric]) -> dict[Metric, Mean | float]:
    """Predict the values of all test entries; a user's errors are drawn together."""
    of_pairs = [metric for metric in asked if metric.name in PER_PAIR]
    if not of_pairs or not model._predicts_values(task.entries):
        return dict.fromkeys(of_pairs, np.nan)
    errors = model.predict(task.entries) - task.entries.values
    return {
        metric: Mean.of_groups(
            errors**2 if metric.name == "rmse" else np.abs(errors),
            task.entry_rows, len(task.users), root=metric.name == "rmse",
        )
        for metric in of_pairs
    }  # fmt: skip


def _refuse_need_of_values(asked: Sequence[Metric], relevant_from: float | None) -> None:
    """Raise an error for parameters that require values, if the test set has none."""
    wanted = [metric.name for metric in asked if metric.name in PER_PAIR]
    what = f"metrics={wanted[0]!r}" if wanted else f"relevant_from={relevant_from!r}"
    if wanted or relevant_from is not None:
        raise DataError(f"{what} compares values, and the test set has none: give it values, or leave {what} out")


def _named(model: FactorModel | Mapping[str, FactorModel]) -> dict[str, FactorModel]:
    """Check that all models were fitted on the same data, and return copies, which other threads do not update."""
    models = dict(model) if isinstance(model, Mapping) else {type(model).__name__: model}
    if not models:
        raise ParameterError("model is an empty mapping: give at least one fitted model")
    for name, each in models.items():
        if not isinstance(each, FactorModel):
            raise ParameterError(f"the model {name!r} is {each!r}: give fitted models, or a mapping of names to such")
    models = {name: copy.copy(each) for name, each in models.items()}
    (first_name, first), *others = models.items()
    pattern = training_of(first).by_user
    for name, other in others:
        theirs = training_of(other).by_user
        same = other.users_ == first.users_ and other.items_ == first.items_
        same = same and np.array_equal(theirs.indptr, pattern.indptr)
        if not (same and np.array_equal(theirs.indices, pattern.indices)):
            raise DataError(
                f"the models {first_name!r} and {name!r} were fitted on different interactions: fit both on the "
                "same, or evaluate them one by one"
            )
    return models
