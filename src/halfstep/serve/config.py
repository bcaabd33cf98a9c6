"""The settings of a server."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from halfstep.serve.learner import CHECKPOINT_EVERY

CONFIG_VARIABLE = "HALFSTEP_SERVE"  # the settings in the environment, since everybody can read arguments
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class ServeConfig:
    """The settings of a server.

    Attributes
    ----------
    model : str
        The file of the model. If it is replaced, the new model takes over.
    log : str
        The file of SQLite, or the URL of the PostgreSQL database, of the event log.
    snapshot : str
        The file to which the server writes what the model has learned.
    host : str
    port : int
        0 for a free one.
    keys : str or None
        The file of API keys; if None, no key is needed.
    origins : tuple of str
        Origins of web pages that may use the API in a browser.
    hosts : tuple of str
        Further names under which the server is reached without keys.
    workers : int
        Number of processes.
    duplicates : {"last", "sum"} or None
        See `halfstep.serve.learner.LearningSettings`.
    types : tuple of str
        Types of events to learn from; all if empty.
    checkpoint_every : int
        Number of events between snapshots.
    refit_every : float or None
        Seconds between fits to all data.
    max_waiting : int
        Number of events that may wait to be written.
    max_requests : int
        Number of requests that may be handled at the same time.
    max_lag : int
        Number of events that the model may lag behind before the server is not ready.
    max_body : int
        Bytes of the body of a request.
    max_batch : int
        Number of events or users of a request.
    max_n : int
        Length of a list.
    max_candidates : int
        Number of candidates, or of items of a history.
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
        """Return settings with the default files, which are beside the model."""
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
