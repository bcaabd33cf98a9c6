"""Recommendations for concurrent requests, computed together.

The scores of several users are one matrix product, which reads the item factors only once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from halfstep.models.factor_model import FactorModel
from halfstep.serve.ids import Id
from halfstep.serve.replica import Replica

USERS_AT_ONCE = 64


class Query(NamedTuple):
    """What a request asks for."""

    user: Id
    n: int
    exclude_seen: bool


@dataclass(frozen=True)
class RankedItems:
    """The answer to a query.

    Attributes
    ----------
    items : list of id
    scores : list of float
    is_known : bool
        Whether the user, or an item of the history, is in the model; if not, the most popular items are listed.
    model : FactorModel
    """

    items: list[Id]
    scores: list[float]
    is_known: bool
    model: FactorModel


class BatchScorer:
    """Computes lists in batches: requests that arrive during a batch share the next one."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._waiting: list[tuple[Query, asyncio.Future[RankedItems]]] = []
        self._is_running = False
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="halfstep-score")

    async def recommend(self, query: Query) -> RankedItems:
        """Return the list for a user."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[RankedItems] = loop.create_future()
        self._waiting.append((query, future))
        if not self._is_running:
            self._is_running = True
            loop.call_soon(self._start, loop)  # after other requests that have already arrived
        return await future

    def close(self) -> None:
        """Stop the thread."""
        self._executor.shutdown(cancel_futures=True)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._waiting = self._waiting[:USERS_AT_ONCE], self._waiting[USERS_AT_ONCE:]
        running = loop.run_in_executor(self._executor, self._answers, [query for query, _ in batch])
        running.add_done_callback(lambda done: self._finish(loop, batch, done))

    def _finish(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: Sequence[tuple[Query, asyncio.Future[RankedItems]]],
        done: asyncio.Future[list[RankedItems]],
    ) -> None:
        self._is_running = bool(self._waiting)
        if self._waiting:
            self._start(loop)
        error = done.exception()
        for number, (_, future) in enumerate(batch):
            if future.done():  # the client has disconnected
                continue
            if error is None:
                future.set_result(done.result()[number])
            else:
                future.set_exception(error)

    def _answers(self, queries: Sequence[Query]) -> list[RankedItems]:
        with self._replica.turn:
            return ranked(self._replica.served.model, queries)


def ranked(model: FactorModel, queries: Sequence[Query], candidates: Sequence[Id] | None = None) -> list[RankedItems]:
    """Return the lists for several users."""
    answers: dict[int, RankedItems] = {}
    for exclude_seen in {query.exclude_seen for query in queries}:
        numbers = [number for number, query in enumerate(queries) if query.exclude_seen is exclude_seen]
        asked = [queries[number] for number in numbers]
        lists = model.recommend(
            [query.user for query in asked],
            max(query.n for query in asked),
            exclude_seen=exclude_seen,
            candidates=candidates,
            threads=1,
        )
        is_known = (model.users_.positions([query.user for query in asked], "mark", name="user") >= 0).tolist()
        for row, (number, query) in enumerate(zip(numbers, asked, strict=True)):
            positions = lists.positions[row, : query.n]
            positions = positions[positions >= 0]
            items, scores = lists.catalog.ids[positions].tolist(), lists.scores[row, : len(positions)].tolist()
            answers[number] = RankedItems(items, scores, is_known[row], model)
    return [answers[number] for number in range(len(queries))]
