"""The operations of the server, without their HTTP routes."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from halfstep.errors import HalfstepError
from halfstep.serve.config import ServeConfig
from halfstep.serve.event import Appended, BusyError, ConflictError, Event, LogUnavailableError
from halfstep.serve.event_log import EventLog
from halfstep.serve.group_commit import GroupCommit
from halfstep.serve.ids import Id, IdType
from halfstep.serve.learner import LearningSettings, needs_values
from halfstep.serve.lookups import shortened
from halfstep.serve.messages import HistoryItem, ModelDescription
from halfstep.serve.metrics import Metrics
from halfstep.serve.problem import FieldError, ProblemError, of_field
from halfstep.serve.progress import Progress
from halfstep.serve.refit import check_id_types
from halfstep.serve.replica import Replica, Served
from halfstep.serve.scoring import BatchScorer, Query, RankedItems, ranked

LOG = logging.getLogger("halfstep.serve")
STATISTICS_SECONDS = 5.0  # between writes of the statistics
REPORT_SECONDS = 10.0  # between messages about an unavailable event log
WAIT_SECONDS = 5.0  # to wait until the model has learned from an event


class Service:
    """A served model with its event log.

    Parameters
    ----------
    is_writer : bool
        Whether this process writes snapshots.
    """

    def __init__(self, config: ServeConfig, *, is_writer: bool = True) -> None:
        self.config = config
        self.log = EventLog(config.log)
        try:
            settings_of = partial(
                LearningSettings.of_model,
                duplicates=config.duplicates,
                types=config.types,
                checkpoint_every=config.checkpoint_every,
            )
            self.replica = Replica(
                Path(config.model), self.log, settings_of, Path(config.snapshot), is_writer=is_writer
            )
            self._check_log()
        except BaseException:
            self.log.close()
            raise
        self.metrics = Metrics()  # not before the model is loaded: other processes report its zeros as well
        self.metrics.model_loaded.set(self.served.loaded)
        self.commits = GroupCommit(self.log, limit=config.max_waiting, on_commit=self.replica.notify)
        self.scorer = BatchScorer(self.replica)
        self._eraser = ThreadPoolExecutor(1, thread_name_prefix="halfstep-erase")  # waits for the lock of the log
        self.progress: Progress | None = None
        self.is_stopping = False
        self._lists: Counter[int] = Counter()
        self._reported = -REPORT_SECONDS

    def _check_log(self) -> None:
        """Raise an error if the ids in the log and in the model are of different types."""
        for name, kind in zip(("user_ids", "item_ids"), self.replica.id_types, strict=True):
            self.log.setting(name, kind)
        check_id_types(self.log, self.replica.id_types)
        self.log.set_setting("model", str(Path(self.config.model).resolve()))  # for refits

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Learn from all events in the log, then continue in the background."""
        self.progress = Progress(loop)
        self.replica.on_progress = self.progress.reach
        self.replica.start()

    def close(self) -> None:
        """Write waiting events and statistics, then stop."""
        self.commits.close()
        self._eraser.shutdown()
        self.replica.close()
        self.scorer.close()
        self.write_statistics()
        self.log.close()

    @property
    def served(self) -> Served:
        """The model that answers requests."""
        return self.replica.served

    @property
    def id_types(self) -> tuple[IdType, IdType]:
        """The types of user ids and of item ids."""
        return self.replica.id_types

    async def wait_for(self, offset: int | None) -> None:
        """Wait until the model has learned up to an offset."""
        if offset is None:
            return
        assert self.progress is not None
        if offset > self.progress.offset:
            last = await asyncio.to_thread(lambda: self.log.last)
            if offset > last:
                raise of_field("after", str(offset), f"the event log ends at offset {last}: send at most this one")
        if not await self.progress.wait(offset, WAIT_SECONDS):
            raise ProblemError(
                503,
                f"after: the model has not yet learned up to offset {offset}: try again later",
                headers={"Retry-After": "1"},
            )

    async def recommend(
        self, user: Id, n: int, *, exclude_seen: bool, candidates: Sequence[Id] | None
    ) -> RankedItems:
        """Return the list for a user."""
        query = Query(user, n, exclude_seen)
        self._check_seen(exclude_seen=exclude_seen)
        if candidates is None:
            return await self.scorer.recommend(query)
        return (await asyncio.to_thread(ranked, self.served.model, [query], candidates))[0]

    async def recommend_many(
        self, users: Sequence[Id], n: int, *, exclude_seen: bool, candidates: Sequence[Id] | None
    ) -> list[RankedItems]:
        """Return the lists for several users."""
        self._check_seen(exclude_seen=exclude_seen)
        queries = [Query(user, n, exclude_seen) for user in users]
        return await asyncio.to_thread(ranked, self.served.model, queries, candidates)

    async def recommend_for_history(
        self,
        history: Sequence[HistoryItem],
        items: Sequence[Id],
        n: int,
        *,
        exclude_seen: bool,
        candidates: Sequence[Id] | None,
    ) -> RankedItems:
        """Return the list for an anonymous visitor with this history."""
        model: Any = self.served.model
        if not hasattr(model, "fold_in"):
            raise ProblemError(409, f"history: {type(model).__name__} does not support histories: send users instead")
        if needs_values(model, self.replica.settings.duplicates):
            for number, each in enumerate(history):
                if each.value is None:
                    raise of_field(f"history[{number}].value", "null", _VALUE_NEEDED)
        adds = self.replica.settings.duplicates == "sum"
        values: dict[Id, float] = {}
        for item, each in zip(items, history, strict=True):
            value = 1.0 if each.value is None else each.value
            values[item] = value + values.get(item, 0.0) if adds else value
        has_values = adds or any(each.value is not None for each in history)
        given: Any = values if has_values else list(values)

        def folded() -> RankedItems:
            try:
                of_visitor = model.fold_in({0: given})
            except HalfstepError as error:
                raise of_field("history", f"{len(history)} items", shortened(error)) from None
            is_known = any(item in model.items_ for item in values)
            return replace(ranked(of_visitor, [Query(0, n, exclude_seen)], candidates)[0], is_known=is_known)

        return await asyncio.to_thread(folded)

    def _check_seen(self, *, exclude_seen: bool) -> None:
        if exclude_seen and self.served.model.interactions_ is None:
            raise of_field(
                "exclude_seen",
                "true",
                "the model was saved without its interactions, so seen items are unknown: send exclude_seen=false",
                409,
            )

    def count_lists(self, count: int) -> None:
        """Count lists that are served now, for metrics and statistics."""
        self.metrics.lists.inc(count)
        self._lists[int(time.time() // 60)] += count

    def write_statistics(self) -> None:
        """Write the numbers of lists to the log, from which all processes report them."""
        counts, self._lists = self._lists, Counter()
        if counts:
            try:
                self.log.count_lists(counts)
            except LogUnavailableError:
                self._lists += counts

    async def append(self, events: Sequence[Event]) -> Appended:
        """Append events to the log, and return when they are on disk."""
        fault = self._fault_of_values(events)
        try:
            # the model may have changed since these events were appended
            if fault is not None and not await asyncio.to_thread(self.log.has, [each.event_id for each in events]):
                raise fault
            return await asyncio.wrap_future(self.commits.submit(events))
        except BusyError as error:
            self.metrics.events.labels("busy").inc(len(events))
            raise ProblemError(429, str(error), headers={"Retry-After": "1"}) from None
        except ConflictError as error:
            self.metrics.events.labels("conflict").inc()
            prefix = f"events[{error.index}]." if len(events) > 1 else ""
            raise ProblemError(
                409, str(error), [FieldError(f"{prefix}event_id", repr(error.event_id), str(error))]
            ) from None
        except LogUnavailableError as error:
            self.metrics.events.labels("failed").inc(len(events))
            self._report(error)
            raise unavailable(error, "send the same events again later, with the same event_ids") from None

    async def erase(self, user: Id) -> int:
        """Append the request to erase a user to the log, and return its offset."""
        loop = asyncio.get_running_loop()
        offset = await loop.run_in_executor(self._eraser, self.log.request_erasure, str(user))
        self.replica.notify()
        return offset

    def _report(self, error: LogUnavailableError) -> None:
        """Log that events were not written, at most once in a while."""
        now = time.monotonic()
        if now - self._reported > REPORT_SECONDS:
            self._reported = now
            LOG.error("events were not written: %s", error)

    def _fault_of_values(self, events: Sequence[Event]) -> ProblemError | None:
        """Return the error if the model cannot learn from the values."""
        settings, model = self.replica.settings, self.served.model
        learned = [
            (number, each)
            for number, each in enumerate(events)
            if settings.types is None or each.type in settings.types
        ]
        if needs_values(model, settings.duplicates):
            for number, each in learned:
                if each.value is None:
                    return of_field(_value_of(number, events), "null", _VALUE_NEEDED)
        largest = self.replica.largest_value
        for number, each in learned:
            if each.value is not None and abs(each.value) > largest:
                return of_field(
                    _value_of(number, events),
                    str(each.value),
                    "the value is on a different scale from the values of the model: send a value from "
                    f"{-largest:g} to {largest:g}",
                )
        return None

    async def lag(self) -> int:
        """Return the number of events in the log that the model has not learned from."""
        last = await asyncio.to_thread(lambda: self.log.last)
        return max(0, last - self.replica.offset)

    async def describe(self) -> ModelDescription:
        """Return a description of the served model."""
        served, lag = self.served, await self.lag()
        fitted = served.model._snapshot()._fitted
        needs = needs_values(served.model, self.replica.settings.duplicates)
        return ModelDescription(
            description=repr(served.model),
            users=len(fitted.users),
            items=len(fitted.items),
            rank=fitted.rank,
            user_ids=self.id_types[0],
            item_ids=self.id_types[1],
            values="needed" if needs else "optional",
            digest=served.digest,
            fitted=fitted.origin.fitted,
            loaded=served.loaded,  # type: ignore[arg-type]  # converted
            offset=self.replica.offset,
            lag=lag,
            learns=served.reason is None,
            reason=served.reason,
            refused_events=self.replica.refused,
            last_error=self.replica.last_error,
        )

    async def set_gauges(self) -> None:
        """Set the metrics that are gauges."""
        self.metrics.model_loaded.set(self.served.loaded)
        self.metrics.offset.set(self.replica.offset)
        self.metrics.refused.set(self.replica.refused)
        self.metrics.waiting.set(self.commits.waiting)
        self.metrics.lag.set(await self.lag())


def unavailable(error: LogUnavailableError, remedy: str) -> ProblemError:
    """Return the response to a request for which the log was not available."""
    reason = " (its disk is full)" if error.is_full else ""
    return ProblemError(
        507 if error.is_full else 503,
        f"the event log is unavailable{reason}: {remedy}",
        headers={"Retry-After": "5"},
    )


def new_list_id() -> str:
    """Return a random identifier of a list."""
    return secrets.token_urlsafe(12)


def _value_of(number: int, events: Sequence[Event]) -> str:
    """Return the name of the field that contains the value of an event."""
    return f"events[{number}].value" if len(events) > 1 else "value"


_VALUE_NEEDED = "the model learns from values such as ratings: send a number"
