"""Prequential evaluation: for each event of a stream, items are ranked before the model is updated."""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from halfstep._support.checks import as_generator, check_flag, check_threads
from halfstep._support.plurals import with_count
from halfstep._support.progress import progress_bar
from halfstep.data import Interactions, Vocabulary, as_interactions
from halfstep.data.frames import new_frame
from halfstep.errors import DataError, ParameterError
from halfstep.evaluation.bootstrap import RESAMPLES, Mean, check_bootstrap
from halfstep.evaluation.metric_names import Metric, read_metrics
from halfstep.evaluation.report import Report, Row
from halfstep.evaluation.task import known_positions, seen, training_of
from halfstep.metrics.marks import MEASURES, measure
from halfstep.models.factor_model import FactorModel

EVENTS_AT_ONCE = 4096
POSITIONS_AT_ONCE = 1 << 20  # in ranked lists


@runtime_checkable
class _Learner(Protocol):
    def partial_fit(self, data: Any, /) -> Any: ...


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class StreamEvaluation(Report):
    """The result of `evaluate_stream`: metrics, with the rank of each event in time order.

    ``evaluation["hit_rate@100"]`` is the value of a metric.

    Attributes
    ----------
    rows : tuple of Row
        Model, metric, n, value, low and high.
    users, items : ndarray of shape (n_events,)
        Ids of the scored events.
    timestamps : ndarray of shape (n_events,) or None
    ranks : ndarray of shape (n_events,)
        The position of the item in the list of the user before the event, from 1; 0 if it was not listed.
    n_repeats : int
        Number of events that were skipped because the user had the item in the training data.
    n_unknown_users, n_unknown_items : int
        Number of scored events whose user or item was unknown to the model at the time.
    confidence : float
        The confidence level of the intervals, which resample users with all their events.
    """

    users: NDArray[Any]
    items: NDArray[Any]
    timestamps: NDArray[Any] | None
    ranks: NDArray[np.int64]
    n_repeats: int
    n_unknown_users: int
    n_unknown_items: int
    frame_kind: str | None = None

    def __getitem__(self, metric: str) -> float:
        """Return the value of a metric: a name such as "ndcg", or "ndcg@100"."""
        return self.find(self.models[0], metric).value

    def per_event(self, metric: str) -> NDArray[np.float64]:
        """Return a metric for each event, of shape (n_events,)."""
        row = self.find(self.models[0], metric)
        return _measured(self.ranks, Metric(row.metric, row.n))

    def compared_with(self, other: StreamEvaluation, metric: str) -> Row:
        """Compare with another evaluation of the same stream by the paired bootstrap: this one minus the other.

        Raises
        ------
        DataError
            If the events are not the same.
        """
        if not isinstance(other, StreamEvaluation):
            raise ParameterError(f"other is of type {type(other).__name__}: give the result of evaluate_stream")
        same = np.array_equal(self.users, other.users) and np.array_equal(self.items, other.items)
        if not same:
            raise DataError("the two evaluations are of different events: score the same stream with both models")
        a, b = self.models[0], other.models[0]
        return self._difference(a, self.find(a, metric), other, b, other.find(b, metric))

    def to_frame(self, kind: str | None = None) -> Any:
        """Return a dataframe with a row for each event: its user, item, timestamp, rank and metrics.

        Parameters
        ----------
        kind : {"pandas", "polars", "pyarrow", "modin", "cudf"}, optional
            The library. By default, that of the dataframe that the model was fitted on, else the first of pandas,
            Polars and PyArrow that is installed.
        """
        times = {} if self.timestamps is None else {"timestamp": self.timestamps}
        columns = {"user": self.users, "item": self.items, **times, "rank": self.ranks}
        return new_frame(
            columns | {row.label: self.per_event(row.label) for row in self.rows},
            self.frame_kind if kind is None else kind,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything except the events, in types that JSON supports."""
        counts = ("n_repeats", "n_unknown_users", "n_unknown_items", "confidence")
        return (
            {"n_events": len(self.ranks)}
            | {name: getattr(self, name) for name in counts}
            | {"rows": self._rows_as_dicts()}
        )

    def _about(self) -> tuple[list[str], list[str]]:
        parts = [f"StreamEvaluation on {with_count(len(self.ranks), 'event')}"]
        for count, shown in (
            (self.n_unknown_users, f"{self.n_unknown_users:,} of unknown users"),
            (self.n_unknown_items, f"{self.n_unknown_items:,} of unknown items"),
            (self.n_repeats, f"{with_count(self.n_repeats, 'repeat')} skipped"),
        ):
            parts += [shown] * (count > 0)
        about = f"In parentheses: {100 * self.confidence:g}% bootstrap intervals over users"
        return ["; ".join(parts)], [about]


def evaluate_stream(
    model: FactorModel,
    stream: Any,
    metrics: str | Sequence[str] = ("hit_rate", "ndcg"),
    n: int | Sequence[int] = 100,
    *,
    update: bool = True,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    random_state: int | np.random.Generator | None = 0,
    threads: int | None = None,
    progress: bool | None = None,
) -> StreamEvaluation:
    """Evaluate online learning on events in time order: rank, score, then update the model.

    The online protocol of He et al. (2016), "Fast matrix factorization for online recommendation with implicit
    feedback": for each event, all items that the user does not have yet are ranked, the position of the item is
    recorded, and the model is updated with the event. With ``update=False`` the model is not updated, but the items
    of earlier events of the user are excluded as well, so that results are comparable. The given model is not
    changed.

    Parameters
    ----------
    model : fitted model
        It must have `partial_fit` unless ``update=False``.
    stream : Interactions, scipy.sparse matrix or dataframe
        Events are sorted by timestamp, stably, if they have timestamps. An event whose item the user has in the
        training data is skipped. An unknown item is a miss; an unknown user gets the list that `recommend` returns
        for unknown ids.
    metrics : str or sequence of str
        Ranking metrics with a single relevant item, such as "hit_rate", "ndcg" and "reciprocal_rank".
    n : int or sequence of int
        Cutoffs.
    update : bool
        Whether to update the model with each event after scoring it.
    confidence, resamples, random_state, threads
        As in `evaluate`.
    progress : bool, optional
        Whether to show a progress bar. By default, it is shown in terminals and notebooks after two seconds.

    Returns
    -------
    StreamEvaluation

    Raises
    ------
    DataError
        If there are no events to score; if no user or no item of the stream is known to the model, or an id has a
        type that no id of the model has; or if the model was saved without its interactions.
    ParameterError
        If the model has no incremental updates and ``update=True``, a metric is unknown, or another parameter is
        invalid.
    """
    asked = read_metrics(metrics, n, MEASURES)
    check_bootstrap(confidence, resamples)
    check_flag("update", update)
    check_flag("progress", progress, optional=True)
    check_threads(threads)
    seed = int(as_generator(random_state).integers(1 << 62))
    if update and not isinstance(model, _Learner):
        raise ParameterError(f"{type(model).__name__} does not support incremental updates: set update=False")
    training = training_of(model)
    events = as_interactions(stream)
    if events.timestamps is not None:
        events = events.subset(np.argsort(events.timestamps, kind="stable"))
    known_positions(model, events)
    fresh = ~seen(training, events)
    events, n_repeats = events.subset(fresh), int(np.count_nonzero(~fresh))
    if len(events) == 0:
        raise DataError("there is no data to score: all events of the stream are in the training data; give others")
    longest = max(metric.n or 0 for metric in asked)
    copied = copy.copy(model)
    if update and isinstance(copied, _Learner):
        ranks, unknown_users, unknown_items = _learn(copied, events, longest, threads, progress)
    else:
        ranks, unknown_users, unknown_items = _rank(copied, events, longest, threads, progress)
    # numbered by first appearance, which is the same for every model and vocabulary
    users, first, rows = np.unique(events.user_positions, return_index=True, return_inverse=True)
    rows = np.argsort(np.argsort(first))[rows]
    name = type(model).__name__
    figures = {(name, metric): Mean.of_groups(_measured(ranks, metric), rows, len(users)) for metric in asked}
    return StreamEvaluation(
        rows=Report.rows_of(figures, confidence, resamples, seed),
        confidence=confidence,
        figures=figures,
        resamples=resamples,
        seed=seed,
        users=events.user_ids,
        items=events.item_ids,
        timestamps=events.timestamps,
        ranks=ranks,
        n_repeats=n_repeats,
        n_unknown_users=unknown_users,
        n_unknown_items=unknown_items,
        frame_kind=training.frame_kind,
    )


def _learn(
    model: _Learner, events: Interactions, longest: int, threads: int | None, progress: bool | None
) -> tuple[NDArray[np.int64], int, int]:
    """Rank, score and update for each event; return the positions, and the numbers of unknown users and items."""
    assert isinstance(model, FactorModel)
    ranks = np.zeros(len(events), dtype=np.int64)
    training = training_of(model)
    known_users = set(training.users.ids[training.user_counts > 0].tolist())
    known_items = set(model.items_.ids[model.item_counts_ > 0].tolist())
    unknown_users = unknown_items = 0
    with progress_bar(progress, len(events), "stream") as bar:
        for k, (user, item) in enumerate(zip(events.user_ids.tolist(), events.item_ids.tolist(), strict=True)):
            unknown_users += user not in known_users
            if item in known_items:
                listed = model.recommend([user], longest, threads=threads).positions[0]
                found = np.flatnonzero(listed == model.items_.positions([item])[0])
                ranks[k] = found[0] + 1 if len(found) else 0
            else:
                unknown_items += 1
            model.partial_fit(_single(events, k))
            known_users.add(user)
            known_items.add(item)
            bar.update()
    return ranks, unknown_users, unknown_items


def _rank(
    model: FactorModel, events: Interactions, longest: int, threads: int | None, progress: bool | None
) -> tuple[NDArray[np.int64], int, int]:
    """Score events without updates; return the same as `_learn`.

    A list without the items of earlier events is a part of a longer list with them, so one list for each user has the
    positions of all its events.
    """
    ranks = np.zeros(len(events), dtype=np.int64)
    training = training_of(model)
    u = training.users.shared(events.users)[events.user_positions]
    i = model.items_.shared(events.items)[events.item_positions]
    is_known = (i >= 0) & (model.item_counts_[i] > 0)
    of_user = np.argsort(events.user_positions, kind="stable")
    counts = events.user_counts
    ends = np.cumsum(counts)
    users = np.argsort(counts, kind="stable")
    users = users[counts[users] > 0]
    rank_of = np.zeros(len(model.items_), dtype=np.int64)
    with progress_bar(progress, len(events), "stream") as bar:
        for block in _blocks(users, counts[users] + longest):
            width = longest + int(counts[block[-1]])
            lists = model.recommend(events.users.ids[block], width, threads=threads).positions
            for user, listed in zip(block.tolist(), lists, strict=True):
                listed = listed[listed >= 0]
                rank_of[listed] = np.arange(1, len(listed) + 1)
                own = of_user[ends[user] - counts[user] : ends[user]]
                ranks[own] = _without_earlier(np.where(is_known[own], rank_of[i[own]], 0), longest)
                rank_of[listed] = 0
            bar.update(int(counts[block].sum()))
    is_new = (u < 0) | (training.user_counts[u] == 0)
    return ranks, int(np.count_nonzero(is_new)), int(np.count_nonzero(~is_known))


def _blocks(users: NDArray[np.int64], widths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Split users, with lists of ascending length, into blocks whose lists fit into memory."""
    start = 0
    while start < len(users):
        rows = np.arange(1, len(users) - start + 1)
        fit = int(np.count_nonzero(rows * widths[start:] <= POSITIONS_AT_ONCE))  # widths ascend
        end = start + max(fit, 1)
        yield users[start:end]
        start = end


def _without_earlier(ranks: NDArray[np.int64], longest: int) -> NDArray[np.int64]:
    """Return the positions of the items of a user, in time order, in lists without earlier items.

    Parameters
    ----------
    ranks : ndarray of shape (n_events,)
        Positions in the list with all items, from 1; 0 if an item is not listed.
    longest : int
        Positions beyond this become 0.
    """
    remaining = np.empty_like(ranks)
    earlier: list[int] = []  # ascending
    for k, rank in enumerate(ranks.tolist()):
        before = bisect_left(earlier, rank)
        remaining[k] = rank - before if rank else 0
        if rank:
            earlier.insert(before, rank)
    remaining[remaining > longest] = 0
    return remaining


def _single(events: Interactions, k: int) -> Interactions:
    """Return one event with vocabularies of its own ids, so that later ids are not added to the model."""
    at = slice(k, k + 1)
    user, item = events.user_positions[k], events.item_positions[k]
    return Interactions(
        users=Vocabulary.of_distinct(events.users.ids[user : user + 1]),
        items=Vocabulary.of_distinct(events.items.ids[item : item + 1]),
        user_positions=np.zeros(1, np.int32),
        item_positions=np.zeros(1, np.int32),
        values=events.values[at] if events.has_values else np.ones(1),
        timestamps=None if events.timestamps is None else events.timestamps[at],
        weights=None if events.weights is None else events.weights[at],
        has_values=events.has_values,
    )


def _measured(ranks: NDArray[np.int64], metric: Metric) -> NDArray[np.float64]:
    """Compute a metric of lists with one relevant item from its position."""
    values, n = np.empty(len(ranks)), metric.n or 0
    for start in range(0, len(ranks), EVENTS_AT_ONCE):
        part = ranks[start : start + EVENTS_AT_ONCE]
        marks = np.arange(1, part.max(initial=0) + 1) == part[:, None]
        values[start : start + EVENTS_AT_ONCE] = measure(metric.name, marks, np.ones(len(part), np.int64), n)
    return values
