"""``halfstep serve``: the HTTP service."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import halfstep as hs
from halfstep._support.printable import printable
from halfstep.cli import options
from halfstep.cli.console import note

if TYPE_CHECKING:
    from halfstep.serve.config import ServeConfig

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
INSTALL = "pip install 'halfstep[serve]'"

_service = {"rich_help_panel": "Service"}
_learning = {"rich_help_panel": "Learning"}
_security = {"rich_help_panel": "Security"}


def serve(
    model: options.Model,
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.", **_service)] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for any free port.", min=0, max=65535, **_service)] = 8000,
    workers: Annotated[int, typer.Option(help="Number of server processes.", min=1, **_service)] = 1,
    log: Annotated[
        str | None,
        typer.Option(
            help="Event log: a SQLite file, or postgresql://user@host/database. Default: a file beside the model.",
            envvar="HALFSTEP_LOG",
            show_default=False,
            **_learning,
        ),
    ] = None,
    snapshot: Annotated[
        Path | None,
        typer.Option(help="File for the model with what it has learned. Default: beside the model.", **_learning),
    ] = None,
    duplicates: Annotated[
        Literal["last", "sum"] | None,
        typer.Option(
            help="Whether the value of a repeated interaction replaces the old one or is added to it. Default: sum "
            "for counts, last for ratings.",
            **_learning,
        ),
    ] = None,
    learn: Annotated[
        list[str] | None,
        typer.Option(help="An event type to learn from. Can be repeated. Default: all types.", **_learning),
    ] = None,
    snapshot_every: Annotated[
        int | None, typer.Option(help="Number of events between snapshots. Default: 10,000.", min=1, **_learning)
    ] = None,
    refit_every: Annotated[
        str | None,
        typer.Option(help="Fit the model again at this interval, such as 24h or 30m. Default: never.", **_learning),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(help="File of API keys, made by halfstep keys. Default: no key is needed.", **_security),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Origin of web pages that may use the API, such as https://shop.example. Can be repeated. "
            "Default: none.",
            **_security,
        ),
    ] = None,
    host_name: Annotated[
        list[str] | None,
        typer.Option(
            help="Another host name that requests may use if no key is needed. Can be repeated. Default: none.",
            **_security,
        ),
    ] = None,
) -> None:
    """Serve recommendations over HTTP, from a model that learns from events.

    Events are stored in a log before they are acknowledged. Learning does not change the model file; if it is
    replaced, the new model takes over.
    """
    check_installed()
    from halfstep.serve.config import LOOPBACK, ServeConfig

    if host not in LOOPBACK and keys is None:
        raise hs.errors.ParameterError(
            f"--host {host} is reachable from other machines: give --keys (halfstep keys add), or listen on 127.0.0.1"
        )
    if workers > 1 and os.name != "posix":
        raise hs.errors.ParameterError("--workers: several processes are not supported on Windows")
    config = replace(
        ServeConfig.beside(model, log=log, snapshot=snapshot),
        host=host,
        port=port,
        workers=workers,
        duplicates=duplicates,
        types=tuple(learn or ()),
        refit_every=None if refit_every is None else seconds_of(refit_every),
        keys=None if keys is None else str(keys),
        origins=tuple(origin or ()),
        hosts=tuple(host_name or ()),
    )
    if snapshot_every is not None:
        config = replace(config, checkpoint_every=snapshot_every)
    run(config)


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
                f"another server writes {path.with_suffix('')}: stop it, or give another --snapshot and --log"
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
        raise hs.errors.ParameterError(f"the service needs {', '.join(missing)}: install it with {INSTALL}")
