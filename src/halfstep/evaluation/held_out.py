"""Evaluation on a test set: rankings of the whole catalog or of given candidates, and predictions."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep._support.checks import as_generator, check_finite, check_flag, check_threads
from halfstep._support.plurals import with_count
from halfstep.data import Interactions, as_interactions
from halfstep.data.frames import new_frame
from halfstep.errors import DataError, ParameterError
from halfstep.evaluation.bootstrap import RESAMPLES, Mean, check_bootstrap
from halfstep.evaluation.metric_names import PER_LIST, PER_PAIR, Metric, read_metrics
from halfstep.evaluation.protocols import check_task, read_protocol
from halfstep.evaluation.reference_models import Baseline, Compared, check_baseline, fitted_baselines
from halfstep.evaluation.report import Report, Row
from halfstep.evaluation.task import Candidates, Task, training_of
from halfstep.metrics.marks import mark, mean_over_list, measure
from halfstep.models.factor_model import FactorModel

DEFAULT_METRICS = ("ndcg", "recall", "hit_rate", "coverage", "novelty")
DEFAULT_CUTOFF = 10
POSITIONS_AT_ONCE = 1 << 20  # in ranked lists, which bounds memory for any number of users


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Evaluation(Report):
    """The result of `evaluate`: metrics of models and baselines, with the values for each user.

    ``evaluation["ALS", "ndcg@10"]`` is the value of a metric; iteration yields the rows.

    Attributes
    ----------
    rows : tuple of Row
        Model, metric, n, value, low and high; low and high are NaN for coverage, which is not a mean over users.
    users : ndarray of shape (n_users,)
        The ids of the users in the test set.
    n_scored : int
        The number of these users with relevant items, over which ranking metrics are averaged.
    n_left_out : int
        The number of other users of the model or the test set, which have no relevant items in the test set.
    n_unknown : int
        The number of cold-start users among the scored users.
    unknown_users, unknown_items : float
        The proportions of cold-start users and items in the test set, which have no training interactions.
    n_repeats : int
        The number of test interactions that are also in the training data. They are ignored: lists exclude seen
        items, and predictions of seen interactions are not a test.
    confidence : float
        The confidence level of the intervals.
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
        """Return the value of a metric for a model; the metric is a name such as "ndcg", or "ndcg@10"."""
        if not (isinstance(key, tuple) and len(key) == 2):
            raise ParameterError(f"evaluation[{key!r}]: give a model and a metric, as in evaluation['ALS', 'ndcg']")
        return self.find(*key).value

    def per_user(self, model: str, metric: str) -> NDArray[np.float64]:
        """Return a metric for each of `users`; NaN where it is not defined.

        Raises
        ------
        ParameterError
            If the metric was not computed, or has several cutoffs and none is given.
        DataError
            If the metric has no values for users.
        """
        row = self.find(model, metric)
        figure = self.figures[model, Metric(row.metric, row.n)]
        if not isinstance(figure, Mean):
            raise DataError(f"{row.label} is not a mean over users: use evaluation[{model!r}, {row.label!r}]")
        return figure.per_user

    def difference(self, a: str, b: str, metric: str) -> Row:
        """Compare two models by the paired bootstrap: the metric of `a` minus that of `b`, on the same users.

        The difference is significant at the level of the interval if the interval does not contain 0.

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
        """Return the rows as a dataframe.

        Parameters
        ----------
        kind : {"pandas", "polars", "pyarrow", "modin", "cudf"}, optional
            The library. By default, that of the dataframe that the model was fitted on, else the first of pandas,
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
        """Return everything except the values of users, in types that JSON supports."""
        counts = ("n_scored", "n_left_out", "n_unknown", "n_repeats", "unknown_users", "unknown_items", "confidence")
        about = {name: getattr(self, name) for name in counts} | {"baselines": list(self.baselines)}
        return about | {"rows": self._rows_as_dicts()}

    def _about(self) -> tuple[list[str], list[str]]:
        scored = with_count(self.n_scored, "user")
        parts = [f"Evaluation on {scored}, excluding {self.n_left_out:,} without test items"]
        if self.n_repeats:
            verb = "is" if self.n_repeats == 1 else "are"
            parts.append(f"{with_count(self.n_repeats, 'test interaction')} also in the training data {verb} ignored")
        unknown = (
            f"Without training data: {100 * self.unknown_users:.1f}% of the users and "
            f"{100 * self.unknown_items:.1f}% of the items of the test set"
        )
        about = f"In parentheses: {100 * self.confidence:g}% bootstrap intervals over users"
        return ["; ".join(parts), unknown], [about]


def evaluate(
    model: FactorModel | Mapping[str, FactorModel],
    test: Any,
    metrics: str | Sequence[str] | None = None,
    n: int | Sequence[int] | None = None,
    *,
    protocol: str | None = None,
    baseline: Baseline = "auto",
    exclude_seen: bool = True,
    candidates: Candidates | None = None,
    relevant_from: float | None = None,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    random_state: int | np.random.Generator | None = 0,
    threads: int | None = None,
) -> Evaluation:
    """Evaluate models and baselines on held-out interactions.

    Each model ranks the top n items for every user with relevant items in the test set. Cold-start items count as
    relevant, but cannot be recommended; cold-start users get the list that `recommend` returns for unknown ids. Users
    without relevant items are excluded and counted.

    "recall" and "ndcg" at n are those of LightGCN: recall is hits / |relevant items|, and the ideal list of NDCG has
    min(n, |relevant items|) items. "attainable_recall" is the recall of Mult-VAE: hits / min(n, |relevant items|);
    its NDCG is "ndcg". Means are over users.

    Parameters
    ----------
    model : fitted model, or mapping from name to fitted model
        All models must be fitted on the same interactions, or all be results of `fold_in` with the same histories, to
        evaluate users that are not in the training data (see `split_held_out_users`).
    test : Interactions, scipy.sparse matrix or dataframe
        Held-out interactions. Ids are matched by value, not by position.
    metrics : str or sequence of str, optional
        By default "ndcg", "recall", "hit_rate", "coverage" and "novelty". Ranking metrics: "ndcg", "recall",
        "attainable_recall" (divided by min(n, relevant)), "hit_rate", "precision", "average_precision",
        "attainable_average_precision", "reciprocal_rank", "coverage" (of the items that can be recommended) and
        "novelty" (by the training data); see `halfstep.metrics`. A name such as "recall@20" has its own cutoff.
        Rating metrics: "rmse" and "mae", over all test interactions, which must have values. They are "–" for models
        that do not predict values: `Popularity`, models whose targets are not the values (such as `Implicit` for
        ratings), and models that were fitted without values.
    n : int or sequence of int, optional
        Cutoffs: the lengths of the lists. By default 10.
    protocol : {"lightgcn", "vae", "ncf"}, optional
        The metrics, cutoffs and ranked items of published results, instead of `metrics`, `n`, `exclude_seen` and
        `relevant_from`. "lightgcn" (He et al. 2020): "recall" and "ndcg" at 20 of all items that are not in the
        user's training data. "vae" (Mult-VAE, Liang et al. 2018): "attainable_recall" at 20 and 50 and "ndcg" at 100,
        for folded-in users, none of which may be in the training data. "ncf" (He et al. 2017): "hit_rate" and "ndcg"
        at 10, for one relevant item of each user among its `candidates`.
    baseline : {"auto"}, mapping from name to estimator, or None
        Baselines to compare with. "auto" fits to the training data of the models: `Popularity` for ranking metrics,
        and `GlobalMean`, `ItemBias` and `UserItemBias` for rating metrics if the training data have values. Classes
        that are among the models are omitted, and each baseline is scored by its own metrics only. The estimators of
        a mapping are copied, fitted to the same data, and scored by all metrics. For folded-in models, baselines are
        fitted to the training data of the items, and the users are then folded in; for a folded-in model from a file,
        these data are unknown, and "auto" adds `Popularity` only. None adds no baselines.
    exclude_seen : bool
        Whether to exclude the items that a user has in the training data; test interactions with them are ignored.
    candidates : mapping from user id to item ids, optional
        Rank only these items for each user, seen or not, as in protocols with sampled negatives. They must include
        the relevant items of the user. Results are not comparable with those for whole catalogs (Krichene and Rendle
        2020).
    relevant_from : float, optional
        The smallest value of a relevant test interaction; by default all are relevant. Requires values.
    confidence : float
        The confidence level of the intervals, which are percentiles of the mean over users sampled with replacement.
    resamples : int
        The number of bootstrap resamples.
    random_state : int, Generator or None
        The seed of the bootstrap.
    threads : int, optional
        The number of threads; by default that of each model, or all cores. Does not affect the result.

    Returns
    -------
    Evaluation

    Raises
    ------
    DataError
        If there are no relevant items; if no user or no item of the test set is known to the models, or an id is of
        another type than those of the models; if the models were fitted on different interactions, or saved without
        them; if a relevant item is not among the candidates; if the test set has no values and a parameter requires
        them; or if the test set does not suit the protocol.
    ParameterError
        If a metric or protocol is unknown, another parameter is invalid, or the protocol does not allow it.

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
    if protocol is not None:
        others = {"metrics": metrics, "n": n, "relevant_from": relevant_from}
        sets = {name: value is not None for name, value in others.items()} | {"exclude_seen=False": not exclude_seen}
        metrics = read_protocol(protocol, has_candidates=candidates is not None, others=sets).metrics
    asked = _asked(metrics, n)
    check_bootstrap(confidence, resamples)
    check_flag("exclude_seen", exclude_seen)
    check_threads(threads)
    if relevant_from is not None:
        check_finite("relevant_from", relevant_from)
    seed = int(as_generator(random_state).integers(1 << 62))
    models = _named(model)
    check_baseline(baseline, models)
    first = next(iter(models.values()))
    held_out = as_interactions(test)
    _check_values(held_out, asked, relevant_from)
    task = Task.of(first, held_out, exclude_seen, candidates, relevant_from)
    if protocol is not None:
        check_task(protocol, models, task)
    ranks = _ranks_items(asked, task, relevant_from)
    baselines = fitted_baselines(baseline, models, asked)
    figures: dict[tuple[str, Metric], Mean | float] = {}
    for name, compared in ({name: Compared(each, asked) for name, each in models.items()} | baselines).items():
        measured = _measured(compared, task, threads)
        figures |= {(name, metric): measured.get(metric, np.nan) for metric in asked}
    n_scored = int(np.count_nonzero(task.relevant)) if ranks else len(task.users)
    return Evaluation(
        rows=Report.rows_of(figures, confidence, resamples, seed),
        confidence=confidence,
        figures=figures,
        resamples=resamples,
        seed=seed,
        users=task.users,
        n_scored=n_scored,
        n_left_out=len(first.users_) + task.n_foreign - n_scored,
        n_unknown=int(np.count_nonzero(task.is_cold & (task.relevant > 0) if ranks else task.is_cold)),
        n_repeats=task.n_repeats,
        unknown_users=float(task.is_cold.mean()),
        unknown_items=task.unknown_items,
        baselines=tuple(baselines),
        frame_kind=training_of(first).frame_kind,
    )


def check_metrics(metrics: str | Sequence[str], n: int | Sequence[int]) -> None:
    """Check the metrics and cutoffs of `evaluate`, for example before a fit.

    Raises
    ------
    ParameterError
        If a metric is unknown, or `n` is invalid.
    """
    read_metrics(metrics or "ndcg", n, (*PER_LIST, *PER_PAIR))


def _measured(compared: Compared, task: Task, threads: int | None) -> dict[Metric, Mean | float]:
    """Compute all metrics of one model."""
    of_lists = [metric for metric in compared.metrics if metric.name in PER_LIST]
    of_pairs = _of_pairs(compared.model, task, compared.metrics)
    return measure_lists(compared.model, task, of_lists, threads) | of_pairs


def measure_lists(
    model: FactorModel, task: Task, asked: Sequence[Metric], threads: int | None
) -> dict[Metric, Mean | float]:
    """Rank items for blocks of users, and compute the metrics of the lists."""
    if not asked:
        return {}
    longest = min(max(metric.n or 0 for metric in asked), len(model.items_))
    values = {metric: np.full(len(task.users), np.nan) for metric in asked if metric.name != "coverage"}
    covered = {metric: np.zeros(len(model.items_), bool) for metric in asked if metric.name == "coverage"}
    scored = np.flatnonzero(task.relevant)
    for block in np.array_split(scored, -(-len(scored) * longest // POSITIONS_AT_ONCE)):
        listed = model.recommend(
            task.users[block], longest, exclude_seen=task.exclude_seen, candidates=task.candidates, threads=threads
        ).positions
        part = slice(*np.searchsorted(task.rows, [block[0], block[-1] + 1]))
        marks = mark(listed, np.searchsorted(block, task.rows[part]), task.items[part], len(model.items_))
        for metric in asked:
            cutoff = metric.n or 0
            if metric.name == "coverage":
                shown = listed[:, :cutoff]
                covered[metric][shown[shown >= 0]] = True
            elif metric.name == "novelty":
                values[metric][block] = mean_over_list(listed[:, :cutoff], task.information)
            else:
                values[metric][block] = measure(metric.name, marks, task.relevant[block], cutoff)
    means: dict[Metric, Mean | float] = {metric: Mean.of_values(each) for metric, each in values.items()}
    n_catalog = max(int(np.count_nonzero(task.catalog)), 1)
    return means | {metric: int(np.count_nonzero(each)) / n_catalog for metric, each in covered.items()}


def _of_pairs(model: FactorModel, task: Task, asked: Sequence[Metric]) -> dict[Metric, Mean | float]:
    """Compute rating metrics over all test interactions; the bootstrap resamples users."""
    of_pairs = [metric for metric in asked if metric.name in PER_PAIR]
    if not of_pairs or not model._predicts_values(task.test):
        return dict.fromkeys(of_pairs, np.nan)
    errors = model.predict(task.test) - task.test.values
    return {
        metric: Mean.of_groups(
            errors**2 if metric.name == "rmse" else np.abs(errors),
            task.test_rows,
            len(task.users),
            root=metric.name == "rmse",
        )
        for metric in of_pairs
    }


def _asked(metrics: str | Sequence[str] | None, n: int | Sequence[int] | None) -> list[Metric]:
    """Return the metrics with their cutoffs."""
    metrics = DEFAULT_METRICS if metrics is None else metrics
    return read_metrics(metrics, DEFAULT_CUTOFF if n is None else n, (*PER_LIST, *PER_PAIR))


def _ranks_items(asked: Sequence[Metric], task: Task, relevant_from: float | None) -> bool:
    """Return whether there are ranking metrics; raise DataError if there are, and no item is relevant."""
    ranks = any(metric.name in PER_LIST for metric in asked)
    if ranks and not task.relevant.any():
        repeats = with_count(task.n_repeats, "interaction")
        seen = f" (without {repeats} in the training data)" if task.n_repeats else ""
        raise DataError(
            f"there is no data to score: no user has a relevant item in the test set{seen}; lower relevant_from, "
            f"which is {relevant_from}"
        )
    return ranks


def _check_values(held_out: Interactions, asked: Sequence[Metric], relevant_from: float | None) -> None:
    """Raise an error for parameters that require values, if the test set has none."""
    if held_out.has_values:
        return
    wanted = [metric.name for metric in asked if metric.name in PER_PAIR]
    what = f"metrics={wanted[0]!r}" if wanted else f"relevant_from={relevant_from!r}"
    if wanted or relevant_from is not None:
        raise DataError(f"{what} requires values, and the test set has none: add values, or omit {what}")


def _named(model: FactorModel | Mapping[str, FactorModel]) -> dict[str, FactorModel]:
    """Check that all models were fitted on the same data, and return copies that other threads cannot update."""
    models = dict(model) if isinstance(model, Mapping) else {type(model).__name__: model}
    if not models:
        raise ParameterError("model is an empty mapping: give at least one fitted model")
    for name, each in models.items():
        if not isinstance(each, FactorModel):
            raise ParameterError(
                f"the model {name!r} is {each!r}: give a fitted model, or a mapping from name to model"
            )
    models = {name: copy.copy(each) for name, each in models.items()}
    (first_name, first), *others = models.items()
    pattern = training_of(first).by_user
    for name, other in others:
        other_pattern = training_of(other).by_user
        same = other.users_ == first.users_ and other.items_ == first.items_
        same = same and np.array_equal(other_pattern.indptr, pattern.indptr)
        if not (same and np.array_equal(other_pattern.indices, pattern.indices)):
            raise DataError(
                f"the models {first_name!r} and {name!r} were fitted on different interactions: fit both on the "
                "same interactions, or evaluate them separately"
            )
    return models
