"""A fast path for the most frequent request, without FastAPI.

The routing, dependencies and middleware of FastAPI would take as long as the rest of a request for recommendations.
Invalid requests and those with other options are handled by the route in `halfstep.serve.app`, which also describes
this one in the OpenAPI document; a test checks that both give the same answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from halfstep.errors import DataError
from halfstep.serve.ids import Id, parse_id
from halfstep.serve.lookups import titles_of
from halfstep.serve.scoring import Query, RankedItems
from halfstep.serve.service import Service, new_list_id

ROUTE = "/v1/users/{user}/recommendations"
_BEGIN, _, _END = ROUTE.partition("{user}")
_OPTIONS = re.compile(r"(?:n=([1-9][0-9]{0,4})(?:&|$))?(?:exclude_seen=(true|false))?")
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class DirectLists:
    """Answers requests for the recommendations of one user.

    Attributes
    ----------
    path : str
        The pattern of the route, as a label of metrics.
    """

    path = ROUTE

    def __init__(self, service: Service) -> None:
        self._service = service

    def query_of(self, scope: MutableMapping[str, Any]) -> Query | None:
        """Return the query of a request; None if FastAPI has to handle the request."""
        path: str = scope["path"]
        if not (path.startswith(_BEGIN) and path.endswith(_END) and scope["method"] == "GET"):
            return None
        options = _options(scope["query_string"])
        if options is None or options[0] > self._service.config.max_n:
            return None
        n, exclude_seen = options
        if exclude_seen and self._service.served.model.interactions_ is None:
            return None
        segment = path[len(_BEGIN) : -len(_END)]
        if "/" in segment:
            return None
        try:
            user = parse_id(unquote(segment), self._service.id_types[0], "user")
        except DataError:
            return None
        return Query(user, n, exclude_seen)

    async def answer(self, query: Query, send: Send) -> None:
        """Compute and send the list."""
        found = await self._service.scorer.recommend(query)
        self._service.count_lists(1)
        body = json.dumps(list_of(query.user, found), ensure_ascii=False).encode("utf-8", "replace")
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@lru_cache(maxsize=1024)
def _options(query_string: bytes) -> tuple[int, bool] | None:
    """Return n and exclude_seen; None if there are other parameters, or these are written in another way."""
    found = _OPTIONS.fullmatch(query_string.decode("latin-1"))
    return None if found is None else (int(found[1] or 10), found[2] != "false")


def list_of(user: Id | None, answer: RankedItems) -> dict[str, Any]:
    """Return a list of recommendations as objects for JSON."""
    titles = titles_of(answer.model)
    items: list[dict[str, Any]] = [
        {"item": item, "score": score} for item, score in zip(answer.items, answer.scores, strict=True)
    ]
    if titles:
        for each in items:
            each["title"] = titles.get(each["item"])
    return {"list_id": new_list_id(), "user": user, "known": answer.is_known, "items": items}
