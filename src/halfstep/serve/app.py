"""The HTTP API."""

from __future__ import annotations

import asyncio
import json
import mimetypes
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from halfstep._support.printable import message_of
from halfstep._support.version import __version__
from halfstep.errors import HalfstepError
from halfstep.serve import lookups, messages
from halfstep.serve.config import ServeConfig
from halfstep.serve.direct import DirectLists, list_of
from halfstep.serve.event import LogUnavailableError
from halfstep.serve.gate import FAILED, Gate
from halfstep.serve.ids import LONGEST, Id, short
from halfstep.serve.keys import KeyRing
from halfstep.serve.problem import MEDIA_TYPE, ProblemError, of_field
from halfstep.serve.refitter import Refitter
from halfstep.serve.requests import as_event, body_id, parse_events, path_id, query_errors, query_id, read_body, text
from halfstep.serve.service import STATISTICS_SECONDS, Service, unavailable

CLIENT_GONE = 499  # as in nginx
PAGE = files("halfstep.serve") / "page"
mimetypes.add_type("text/javascript", ".js")  # the Windows registry may map it to text/plain
N = Annotated[int, Query(ge=1, description="Maximum length of the list.")]
After = Annotated[int | None, Query(ge=0, description="Wait until the model has learned up to this offset.")]
Search = Annotated[str, Query(max_length=200, description="Part of an id or of a title.")]


def create_app(config: ServeConfig, *, is_writer: bool = True) -> Gate:
    """Return the ASGI application of a server.

    Parameters
    ----------
    is_writer : bool
        Whether this process writes snapshots.
    """
    service = Service(config, is_writer=is_writer)
    refits = config.refit_every is not None and is_writer
    app = FastAPI(
        title="halfstep",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(_known_parameters)],
        lifespan=_lifespan(service, refits=refits),
        description="Recommendations from a model that learns from events.",
        responses={"default": {"model": messages.Problem, "content": {MEDIA_TYPE: {}}, "description": "An error."}},
    )
    app.state.service = service
    app.add_exception_handler(RequestValidationError, _invalid_parameters)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(LogUnavailableError, _log_unavailable)
    app.add_exception_handler(ClientDisconnect, _client_gone)
    app.add_exception_handler(Exception, _failed)
    _add_recommendations(app, service)
    _add_many_recommendations(app, service)
    _add_events(app, service)
    _add_lookups(app, service)
    _add_model(app, service)
    _add_health(app, service)
    page = StaticFiles(directory=str(PAGE), html=True)
    app.router.routes += [Route(path, page, methods=["GET"]) for path in ("/", "/{file}")]  # not below other paths
    keys = None if config.keys is None else KeyRing(Path(config.keys))
    return Gate(app, DirectLists(service), config, keys, service.metrics)


def _lifespan(service: Service, *, refits: bool) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(service.start, asyncio.get_running_loop())
        refitter = Refitter(service.config) if refits else None
        writing = asyncio.create_task(_write_statistics(service))
        try:
            yield
        finally:
            service.is_stopping = True
            if refitter is not None:
                await asyncio.to_thread(refitter.close)
            writing.cancel()
            with suppress(asyncio.CancelledError):
                await writing
            await asyncio.to_thread(service.close)

    return lifespan


async def _write_statistics(service: Service) -> None:
    while True:
        with suppress(LogUnavailableError):
            await service.set_gauges()
        await asyncio.sleep(STATISTICS_SECONDS)
        await asyncio.to_thread(service.write_statistics)


def _add_recommendations(app: FastAPI, service: Service) -> None:
    config = service.config

    @app.get("/v1/users/{user}/recommendations", response_model=messages.RecommendedList)
    async def recommendations(
        user: str,
        n: N = 10,
        exclude_seen: bool = True,
        candidates: Annotated[list[str] | None, Query(description="Restrict the list to these items.")] = None,
        after: After = None,
    ) -> Response:
        """Return the top-n items for a user; the most popular items for an unknown user."""
        _check_n(n, config.max_n)
        asked = path_id(user, service.id_types[0], "user")
        given = (
            None
            if candidates is None
            else _candidates(
                [query_id(each, service.id_types[1], "item", "candidates") for each in candidates],
                config.max_candidates,
            )
        )
        await service.wait_for(after)
        answer = await service.recommend(asked, n, exclude_seen=exclude_seen, candidates=given)
        service.count_lists(1)
        return _json(list_of(asked, answer))


def _add_many_recommendations(app: FastAPI, service: Service) -> None:
    config = service.config

    @app.post(
        "/v1/recommendations",
        response_model=messages.RecommendedLists,
        openapi_extra=_body(messages.RecommendationsMessage),
    )
    async def many_recommendations(request: Request) -> Response:
        """Return the top-n items for many users, or for the history of an anonymous visitor."""
        message = await read_body(request, messages.RECOMMENDATIONS)
        _check_n(message.n, config.max_n)
        if (message.users is None) == (message.history is None):
            raise of_field("users", "null" if message.users is None else "both", "send either users or a history")
        user_ids, item_ids = service.id_types
        candidates = None
        if message.candidates is not None:
            ids = [body_id(each, item_ids, "item", f"candidates[{k}]") for k, each in enumerate(message.candidates)]
            candidates = _candidates(ids, config.max_candidates)
        if message.history is not None:
            if len(message.history) > config.max_candidates:
                raise _too_many("history", len(message.history), config.max_candidates)
            items = [
                body_id(each.item, item_ids, "item", f"history[{k}].item") for k, each in enumerate(message.history)
            ]
            answer = await service.recommend_for_history(
                message.history, items, message.n, exclude_seen=message.exclude_seen, candidates=candidates
            )
            service.count_lists(1)
            return _json({"lists": [list_of(None, answer)]})
        assert message.users is not None
        if len(message.users) > config.max_batch:
            raise _too_many("users", len(message.users), config.max_batch)
        users = [body_id(each, user_ids, "user", f"users[{k}]") for k, each in enumerate(message.users)]
        answers = await service.recommend_many(
            users, message.n, exclude_seen=message.exclude_seen, candidates=candidates
        )
        service.count_lists(len(answers))
        return _json({"lists": [list_of(user, answer) for user, answer in zip(users, answers, strict=True)]})


def _add_events(app: FastAPI, service: Service) -> None:
    schema = {
        "oneOf": [
            messages.EventMessage.model_json_schema(),
            {"type": "array", "items": messages.EventMessage.model_json_schema(), "minItems": 1},
        ]
    }

    @app.post(
        "/v1/events",
        response_model=messages.StoredEvents,
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}},
    )
    async def events(request: Request) -> Response:
        """Store one or more events, and respond when they are on disk. The model learns from them right after."""
        received = parse_events(await request.body(), service.config.max_batch)
        many = len(received) > 1
        given = [as_event(each, service.id_types, f"events[{k}]." if many else "") for k, each in enumerate(received)]
        stored = await service.append(given)
        repeated = sum(stored.repeated)
        service.metrics.events.labels("stored").inc(len(given) - repeated)
        service.metrics.events.labels("repeated").inc(repeated)
        service.metrics.hits.inc(sum(each.list_id is not None for each in given))
        answers = [
            {"event_id": each.event_id, "offset": offset, "status": "repeated" if repeat else "stored"}
            for each, offset, repeat in zip(given, stored.offsets, stored.repeated, strict=True)
        ]
        return _json({"offset": max(stored.offsets), "events": answers})

    @app.delete("/v1/users/{user}", status_code=202, response_model=messages.ErasureMessage)
    async def erase(user: str) -> Response:
        """Erase a user from the log and the model, including what the model has learned from the user's events."""
        asked = path_id(user, service.id_types[0], "user")
        return _json({"offset": await service.erase(asked)}, 202)


def _add_lookups(app: FastAPI, service: Service) -> None:
    @app.get("/v1/users/{user}/explanations/{item}", response_model=messages.ExplanationMessage)
    async def explanations(user: str, item: str, n: N = 5, after: After = None) -> Response:
        """Explain a score: return the contributions of the user's interactions to the score of an item."""
        _check_n(n, service.config.max_n)
        await service.wait_for(after)
        user_ids, item_ids = service.id_types
        asked = path_id(user, user_ids, "user"), path_id(item, item_ids, "item")
        return _json(await asyncio.to_thread(lookups.explain, service.served.model, *asked, n))

    @app.get("/v1/users/{user}/history", response_model=messages.HistoryMessage)
    async def history(user: str, n: N = 50, after: After = None) -> Response:
        """Return the interactions of a user, most recent first."""
        _check_n(n, service.config.max_n)
        await service.wait_for(after)
        served = service.served
        return _json(
            await asyncio.to_thread(
                lookups.history, served.model, served.unit, path_id(user, service.id_types[0], "user"), n
            )
        )

    @app.get("/v1/items/{item}/similar", response_model=messages.SimilarItemsMessage)
    async def similar(item: str, n: N = 10) -> Response:
        """Return the items with the most similar factors."""
        _check_n(n, service.config.max_n)
        return _json(
            await asyncio.to_thread(
                lookups.similar, service.served.model, path_id(item, service.id_types[1], "item"), n
            )
        )

    @app.get("/v1/items", response_model=messages.FoundItems)
    async def find_items(query: Search = "", n: N = 20) -> Response:
        """Find items by title or id."""
        _check_n(n, service.config.max_n)
        found = await asyncio.to_thread(lookups.find_items, service.served.model, query, n)
        return _json({"items": [item.model_dump() for item in found]})

    @app.get("/v1/users", response_model=messages.FoundUsers)
    async def find_users(query: Search = "", n: N = 20) -> Response:
        """Find users by id."""
        _check_n(n, service.config.max_n)
        return _json({"users": await asyncio.to_thread(lookups.find_users, service.served.model, query, n)})


def _add_model(app: FastAPI, service: Service) -> None:
    @app.get("/v1/model", response_model=messages.ModelDescription)
    async def model() -> Response:
        """Describe the served model."""
        return _json(await service.describe())

    @app.post(
        "/v1/model",
        response_model=messages.ModelDescription,
        openapi_extra=_body(messages.ModelMessage, required=False),
    )
    async def swap(request: Request) -> Response:
        """Serve a new model file without interrupting requests. Other processes follow within a second."""
        body = await request.body()
        path = (await read_body(request, messages.MODEL)).path if body else None
        try:
            await asyncio.to_thread(_swap, service, path)
        except LogUnavailableError:
            raise
        except (HalfstepError, OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
            raise of_field("path", short(path), f"the model was not replaced: {message_of(error)}", 409) from None
        return _json(await service.describe())

    @app.get("/v1/model/file", response_class=FileResponse)
    async def file() -> Response:
        """Download the current model, including what it has learned from events."""
        folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="halfstep-")
        path = Path(folder) / "model.halfstep"
        try:
            offset = await asyncio.to_thread(service.replica.export, path)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return TemporaryFile(
            path, filename=path.name, media_type="application/octet-stream", headers={"X-Offset": str(offset)}
        )

    @app.get("/v1/statistics", response_model=messages.StatisticsMessage)
    async def statistics(minutes: Annotated[int, Query(ge=1, le=1440)] = 60) -> Response:
        """Return the numbers of events, of lists, and of lists that led to an event, for each minute."""
        since = int(time.time() // 60) - minutes + 1
        found = await asyncio.to_thread(service.log.minutes, since)
        shown = [{"time": 60 * m.minute, "events": m.events, "lists": m.lists, "hits": m.hits} for m in found]
        return _json({"minutes": shown})


def _swap(service: Service, path: str | None) -> None:
    served = Path(service.config.model).resolve()
    new = served if path is None else (served.parent / text(path, "path")).resolve()
    if new.parent != served.parent:
        raise HalfstepError(f"the file is not in the folder of the served model: move it to {served.parent}")
    if new == served:
        service.replica.swap()
    else:
        service.replica.replace(new)


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/health/live", response_model=messages.Health)
    async def live() -> Response:
        """Return 200 while the process is running."""
        return _json({"status": "ok"})

    @app.get("/health/ready", response_model=messages.Health)
    async def ready() -> Response:
        """Return 200 if the model is nearly up to date with the log, else 503."""
        lag = await service.lag()
        status = "stopping" if service.is_stopping else "behind" if lag > service.config.max_lag else "ok"
        return _json({"status": status, "lag": lag}, 200 if status == "ok" else 503)

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        await service.set_gauges()
        return Response(service.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


class TemporaryFile(FileResponse):
    """A response with a file whose folder is deleted afterwards, even if the client disconnects."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            shutil.rmtree(Path(self.path).parent, ignore_errors=True)


def _known_parameters(request: Request) -> None:
    """Raise an error if a parameter of the URL is unknown, such as a misspelled one."""
    names = [each.alias for each in request.scope["route"].dependant.query_params]
    for name, value in request.query_params.items():
        if name not in names:
            remedy = f"choose from {', '.join(names)}" if names else "this request has none"
            raise of_field(name[:LONGEST], short(value), f"this parameter is unknown: {remedy}")


def _check_n(n: int, limit: int) -> None:
    if n > limit:
        raise of_field("n", str(n), f"a list of {n:,} items is too long: ask for at most {limit:,}")


def _candidates(items: Sequence[Id], limit: int) -> Sequence[Id]:
    if len(items) > limit:
        raise _too_many("candidates", len(items), limit)
    return items


def _too_many(field: str, count: int, limit: int) -> ProblemError:
    return of_field(field, f"array of {count}", f"{count:,} are too many: send at most {limit:,}")


def _json(content: Any, status: int = 200) -> Response:
    body = content.model_dump_json() if isinstance(content, BaseModel) else json.dumps(content, ensure_ascii=False)
    return Response(body.encode("utf-8", "replace"), status, media_type="application/json")


def _body(kind: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    schema = kind.model_json_schema()
    schema = _inlined(schema, schema.pop("$defs", {}))
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """Replace references by their definitions, because the OpenAPI document cannot resolve them."""
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    return {name: _inlined(each, definitions) for name, each in schema.items()}


async def _invalid_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return query_errors(error.errors()).response()


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return error.response()


async def _log_unavailable(request: Request, error: Exception) -> Response:
    assert isinstance(error, LogUnavailableError)
    return unavailable(error, "send the request again later").response()


async def _client_gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)  # for the metrics


async def _failed(request: Request, error: Exception) -> Response:
    return FAILED.response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    details = {
        404: "this path does not exist: correct it, and encode / in ids as %2F",
        405: "this method is not supported at this path",
    }
    headers = dict(error.headers) if error.headers else None
    return ProblemError(
        error.status_code, details.get(error.status_code, str(error.detail)), headers=headers
    ).response()
