"""The settings of a server."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

CHECKPOINT_EVERY = 10_000  # events
CONFIG_VARIABLE = "HALFSTEP_SERVE"  # settings of workers; all users of the machine can read arguments
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class ServeConfig:
    """The settings of a server.

    Attributes
    ----------
    model : str
        The model file. If it is replaced, the server switches to the new model.
    log : str
        The event log: the path of a SQLite file, or the URL of a PostgreSQL database.
    snapshot : str
        The file to which the server saves the model with what it has learned.
    host : str
    port : int
        0 for any free port.
    keys : str or None
        The file of API keys; if None, no key is needed.
    origins : tuple of str
        Origins of web pages that may use the API in a browser.
    hosts : tuple of str
        Additional host names that requests may use if no keys are needed.
    workers : int
        Number of server processes.
    duplicates : {"last", "sum"} or None
        See `halfstep.serve.learner.LearningSettings`.
    types : tuple of str
        Event types to learn from; all types if empty.
    checkpoint_every : int
        Number of events between snapshots.
    refit_every : float or None
        Seconds between refits; None for no refits.
    max_waiting : int
        Maximum number of events that wait to be written.
    max_requests : int
        Maximum number of concurrent requests.
    max_lag : int
        Maximum lag of the model, in events, at which the server is ready.
    max_body : int
        Maximum size of a request body, in bytes.
    max_batch : int
        Maximum number of events or users in a request.
    max_n : int
        Maximum length of a list.
    max_candidates : int
        Maximum number of candidates, or of items in a history.
    """

    model: str
    log: str
    snapshot: str
    host: str = "127.0.0.1"
    port: int = 8000
    keys: str | None = None
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    workers: int = 1
    duplicates: Literal["last", "sum"] | None = None
    types: tuple[str, ...] = ()
    checkpoint_every: int = CHECKPOINT_EVERY
    refit_every: float | None = None
    max_waiting: int = 10_000
    max_requests: int = 1_000
    max_lag: int = 10_000
    max_body: int = 1 << 20
    max_batch: int = 1_000
    max_n: int = 1_000
    max_candidates: int = 10_000

    @classmethod
    def beside(cls, model: Path, *, log: str | None = None, snapshot: Path | None = None) -> Self:
        """Return settings with a log and a snapshot in the folder of the model by default."""
        stem = model.with_suffix("") if model.suffix == ".halfstep" else model
        return cls(
            model=str(model),
            log=f"{stem}.events.sqlite" if log is None else log,
            snapshot=str(Path(f"{stem}.snapshot.halfstep") if snapshot is None else snapshot),
        )

    def to_json(self) -> str:
        """Return the settings as JSON, for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the settings from the result of `to_json`."""
        stored: dict[str, Any] = json.loads(text)
        stored |= {name: tuple(value) for name, value in stored.items() if isinstance(value, list)}
        return cls(**stored)
