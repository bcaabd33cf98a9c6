"""``halfstep serve``: the HTTP service."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

import halfstep as hs
from halfstep._support.printable import printable
from halfstep.cli import options
from halfstep.cli.console import note
from halfstep.serve.config import CHECKPOINT_EVERY, LOOPBACK, ServeConfig

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
INSTALL = "pip install 'halfstep[serve]'"

_service = partial(typer.Option, rich_help_panel="Service")
_learning = partial(typer.Option, rich_help_panel="Learning")
_security = partial(typer.Option, rich_help_panel="Security")


@dataclass(frozen=True)
class LearningOptions:
    """How a model learns from events."""

    duplicates: Annotated[
        Literal["last", "sum"] | None,
        _learning(
            help="Whether the value of a repeated interaction replaces the old one or is added to it. Default: sum "
            "for counts, last for ratings."
        ),
    ] = None
    learn: Annotated[
        list[str] | None, _learning(help="Event type to learn from. Can be repeated. Default: all types.")
    ] = None


@dataclass(frozen=True)
class ServiceOptions:
    """Where the service listens, and its files."""

    host: Annotated[str, _service(help="Address to listen on.")] = ServeConfig.host
    port: Annotated[int, _service(help="Port; 0 for any free port.", min=0, max=65535)] = ServeConfig.port
    workers: Annotated[int, _service(help="Number of server processes.", min=1)] = ServeConfig.workers
    log: Annotated[
        str | None,
        _service(
            help="Event log: a SQLite file, or postgresql://user@host/database. Default: a file beside the model.",
            envvar="HALFSTEP_LOG",
            show_default=False,
        ),
    ] = None
    snapshot: Annotated[
        Path | None,
        _service(help="File to which the model is saved with what it has learned. Default: beside the model."),
    ] = None
    snapshot_every: Annotated[int, _service(help="Number of events between snapshots.", min=1)] = CHECKPOINT_EVERY
    refit_every: Annotated[
        str | None, _service(help="Fit the model again at this interval, such as 24h or 30m. Default: never.")
    ] = None


@dataclass(frozen=True)
class SecurityOptions:
    """Who may use the service."""

    keys: Annotated[
        Path | None, _security(help="File of API keys, created by halfstep keys add. Default: no key is required.")
    ] = None
    origin: Annotated[
        list[str] | None,
        _security(
            help="Origin of web pages that may use the API, such as https://shop.example. Can be repeated. "
            "Default: none."
        ),
    ] = None
    host_name: Annotated[
        list[str] | None,
        _security(
            help="Another host name that requests may use if no key is required. Can be repeated. Default: none."
        ),
    ] = None


def serve(
    model: options.Model, *, service: ServiceOptions, learning: LearningOptions, security: SecurityOptions
) -> None:
    """Serve recommendations over HTTP, from a model that learns from events.

    Events are stored in a log before they are acknowledged. Learning does not change the model file; if it is
    replaced, the new model takes over.
    """
    check_installed()
    if service.host not in LOOPBACK and security.keys is None:
        raise hs.errors.ParameterError(
            f"--host {service.host} is reachable from other machines: give --keys (halfstep keys add), or listen on "
            "127.0.0.1"
        )
    if service.workers > 1 and os.name != "posix":
        raise hs.errors.ParameterError(
            f"--workers {service.workers}: several processes are not supported on Windows: omit the option"
        )
    config = replace(
        ServeConfig.beside(model, log=service.log, snapshot=service.snapshot),
        host=service.host,
        port=service.port,
        workers=service.workers,
        duplicates=learning.duplicates,
        types=tuple(learning.learn or ()),
        checkpoint_every=service.snapshot_every,
        refit_every=None if service.refit_every is None else seconds_of(service.refit_every),
        keys=None if security.keys is None else str(security.keys),
        origins=tuple(security.origin or ()),
        hosts=tuple(security.host_name or ()),
    )
    check_files(config)
    run(config)


def check_files(config: ServeConfig) -> None:
    """Raise an error if the service would overwrite one of its files by another.

    Raises
    ------
    hs.errors.ParameterError
        If the snapshot is the model or the log.
    """
    others = {"the served model": config.model} | ({} if "://" in config.log else {"the event log": config.log})
    for name, path in others.items():
        if Path(path).resolve() == Path(config.snapshot).resolve():
            raise hs.errors.ParameterError(
                f"--snapshot {config.snapshot} is {name}, which it would replace: name another file"
            )


def run(config: ServeConfig) -> None:
    """Serve until a signal stops the process."""
    from halfstep.serve.server import listen, log_to_standard_error
    from halfstep.serve.server import serve as serve_here

    log_to_standard_error()
    hs.load(config.model)  # report an invalid file before anything else
    with exclusive(Path(f"{config.snapshot}.lock")), listen(config.host, config.port) as listening:
        address, port = listening.getsockname()[:2]
        url = f"http://{f'[{address}]' if ':' in address else address}:{port}"

        def ready() -> None:
            note(f"serving {printable(config.model)} at {url} (API: {url}/docs.html)")

        if config.workers == 1:
            serve_here(config, listening, on_ready=ready)
            return
        from halfstep.serve.supervisor import Supervisor

        code = Supervisor(config, listening, ready).run()
    if code:
        raise typer.Exit(code)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two servers do not write the same snapshot.

    Raises
    ------
    hs.errors.ParameterError
        If another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # on Windows
        yield
        return
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise hs.errors.ParameterError(
                f"another server is using the snapshot {path.with_suffix('')}: stop it, or give another --snapshot "
                "and --log"
            ) from None
        yield  # the file stays, because a process that waits for it may have opened it


def seconds_of(text: str) -> float:
    """Return the seconds of a duration such as 24h.

    Raises
    ------
    hs.errors.ParameterError
        If the text is not a duration.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip())
    seconds = float(found[1]) * UNITS[found[2]] if found else 0.0
    if seconds <= 0:
        raise hs.errors.ParameterError(f"--refit-every {text}: give a duration such as 24h, 30m or 90s")
    return seconds


def check_installed() -> None:
    """Raise an error if the libraries of the service are not installed."""
    missing = [name for name in ("fastapi", "uvicorn", "sqlalchemy", "prometheus_client") if find_spec(name) is None]
    if missing:
        raise hs.errors.ParameterError(f"the service requires {', '.join(missing)}: run {INSTALL}")
