"""The durable log of events, in SQLite or PostgreSQL.

Events get consecutive offsets, and an event becomes visible only after all earlier ones: each transaction locks the
row with the last offset. What a model has learned up to an offset is a function of the events up to this offset, in
their order and grouped by transaction.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from halfstep.errors import DataError, ParameterError
from halfstep.serve.event import Appended, ConflictError, Event, LogUnavailableError
from halfstep.serve.schema import ERASURE, events, head, hit_lists, is_erasure, migrate, minutes, settings

ERASED = "$erased"  # the type of an event whose content was erased
CREATION = 7_243_105_119_771  # key of the PostgreSQL lock while tables are created; a random number
LOCK_SECONDS = 30.0  # maximum time to wait for a lock of another process
ERASED_AT_ONCE = 10_000  # events in a transaction, which blocks appends
_ASKED_AT_ONCE = 500
_COMPARED = ("user", "item", "value", "type", "time", "list_id")


class Entry(NamedTuple):
    """A row of the log; user and item are strings, or None in an erased event."""

    offset: int
    first: int
    event_id: str
    type: str
    user: str | None
    item: str | None
    value: float | None
    time: float | None
    received: float


@dataclass(frozen=True)
class Group:
    """The entries of one transaction, from which models learn in one update."""

    entries: Sequence[Entry]

    @property
    def last(self) -> int:
        """The offset of the last entry."""
        return self.entries[-1].offset


class Minute(NamedTuple):
    """Statistics of one minute, numbered from the beginning of 1970."""

    minute: int
    events: int
    lists: int
    hits: int


class EventLog:
    """A log of events.

    Parameters
    ----------
    url : str or Path
        The path of a SQLite file, which is created if it does not exist, or the URL of a PostgreSQL database, as
        in ``postgresql://user@host/database``.
    must_exist : bool
        Whether a missing file is an error.

    Attributes
    ----------
    id : str
        A unique identifier, which does not change if the log is moved.

    Raises
    ------
    ParameterError
        If the URL is invalid, or the database is neither SQLite nor PostgreSQL.
    LogUnavailableError
        If the database cannot be opened.
    DataError
        If the log was written by a newer version of halfstep, or its folder does not exist.
    """

    def __init__(self, url: str | Path, *, must_exist: bool = False) -> None:
        self._url = _as_url(url)
        self.is_file = self._url.get_backend_name() == "sqlite"
        if must_exist and self.is_file and not Path(self._url.database or "").exists():
            raise FileNotFoundError(
                f"there is no event log {self._url.database}: give a log that a service has written"
            )
        self._writer, self._reader = _engines(self._url)
        try:
            with self._errors(), self._writer.begin() as connection:
                if not self.is_file:  # two processes may create the tables at once
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(CREATION)))
                migrate(connection)
                stored = {row.name: row.value for row in connection.execute(sa.select(settings))}
        except BaseException:
            self.close()
            raise
        self._file = self._file_now()
        self.id: str = stored["log"]
        self._salt = bytes.fromhex(stored["salt"])

    def close(self) -> None:
        """Close all connections."""
        self._writer.dispose()
        self._reader.dispose()

    def setting(self, name: str, value: str) -> str:
        """Return a setting of the log; if it is not set, set it to this value."""
        with self._errors(), self._writer.begin() as connection:
            connection.execute(self._insert(settings).values(name=name, value=value).on_conflict_do_nothing())
            return str(connection.scalar(sa.select(settings.c.value).where(settings.c.name == name)))

    def set_setting(self, name: str, value: str) -> None:
        """Set a setting of the log."""
        insert = self._insert(settings).values(name=name, value=value)
        with self._errors(), self._writer.begin() as connection:
            connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_={"value": value}))

    def get_setting(self, name: str) -> str | None:
        """Return a setting of the log; None if it is not set."""
        with self._errors(), self._reader.connect() as connection:
            stored: str | None = connection.scalar(sa.select(settings.c.value).where(settings.c.name == name))
        return stored

    @property
    def last(self) -> int:
        """The offset of the last event; 0 if there is none."""
        self._check_file()
        with self._errors(), self._reader.connect() as connection:
            return int(connection.scalar(sa.select(head.c.last)) or 0)

    def append(self, requests: Sequence[Sequence[Event]]) -> list[Appended | ConflictError]:
        """Append the events of requests in one transaction, and return the result of each request.

        Events that are already in the log are not appended again. If an event has the id of a different event, no
        event of its request is appended. When this method returns, the events are on disk.

        Raises
        ------
        LogUnavailableError
            If the database reports an error; the events may or may not be in the log.
        """
        received = round(time.time(), 3)
        with self._errors(), self._writer.begin() as connection:
            last = self._lock(connection)
            ids = list({each.event_id for request in requests for each in request})
            known = self._find(connection, ids)
            rows: list[dict[str, Any]] = []
            answers = [_append_to(rows, known, request, last, received) for request in requests]
            if rows:
                connection.execute(events.insert(), rows)
                connection.execute(head.update().values(last=last + len(rows)))
                self._count(connection, received, rows)
        return answers

    def has(self, ids: list[str]) -> bool:
        """Return whether the log has events with all of these ids."""
        with self._errors(), self._reader.connect() as connection:
            return self._find(connection, ids).keys() >= {*ids}

    def request_erasure(self, user: str) -> int:
        """Append a request to erase a user, and return its offset.

        `erase` later removes the user's id from the request. A keyed digest of the id remains, with which the user is
        found in models that were fitted to earlier data.
        """
        received = round(time.time(), 3)
        with self._errors(), self._writer.begin() as connection:
            last = self._lock(connection) + 1
            row = {"offset": last, "first": last, "event_id": f"{ERASURE}-{last}", "type": ERASURE, "user": user}
            connection.execute(events.insert().values(**row, item=self.digest(user), received=received))
            connection.execute(head.update().values(last=last))
        return last

    def digest(self, user: str) -> str:
        """Return the keyed digest of a user's id."""
        return hmac.digest(self._salt, user.encode(), "sha256").hex()

    def erase(self, up_to: int) -> int:
        """Erase the events of users whose erasure was requested up to an offset; return the number of events.

        Call this only after the model has learned up to the offset and older snapshots have been replaced. If a call
        is interrupted, the next one continues where it stopped.
        """
        with self._errors(), self._reader.connect() as connection:
            pending = sa.select(events.c.offset, events.c.user).where(
                is_erasure, events.c.user.is_not(None), events.c.offset <= up_to
            )
            requests = [tuple(row) for row in connection.execute(pending.order_by(events.c.offset))]
        count = 0
        for offset, user in requests:
            for start in range(1, offset, ERASED_AT_ONCE):
                count += self._erase_part(user, start, min(start + ERASED_AT_ONCE, offset))
            with self._errors(), self._writer.begin() as connection:
                connection.execute(events.update().where(events.c.offset == offset).values(user=None))
        if requests and self.is_file:
            with self._errors(), self._reader.connect() as connection:  # the write-ahead log still has the old rows
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return count

    def _erase_part(self, user: str, start: int, end: int) -> int:
        nothing = dict.fromkeys(("user", "item", "value", "time", "list_id"))
        of_user = sa.and_(
            events.c.user == user, events.c.offset >= start, events.c.offset < end, events.c.type != ERASURE
        )
        with self._errors(), self._writer.begin() as connection:
            return connection.execute(events.update().where(of_user).values(type=ERASED, **nothing)).rowcount

    def read(self, after: int, limit: int = 5_000) -> list[Group]:
        """Return the next transactions after an offset, at least one if there are any.

        Parameters
        ----------
        limit : int
            The approximate number of entries.
        """
        columns = [events.c[name] for name in Entry._fields]
        query = sa.select(*columns).where(events.c.offset > after).order_by(events.c.offset)
        with self._errors(), self._reader.connect() as connection:
            entries = [Entry(*row) for row in connection.execute(query.limit(limit))]
            if len(entries) == limit:  # the last transaction may have more entries
                rest = query.where(events.c.offset > entries[-1].offset, events.c.first == entries[-1].first)
                entries += [Entry(*row) for row in connection.execute(rest)]
        groups: list[list[Entry]] = []
        for entry in entries:
            if groups and groups[-1][0].first == entry.first:
                groups[-1].append(entry)
            else:
                groups.append([entry])
        return [Group(each) for each in groups]

    def count_lists(self, counts: dict[int, int]) -> None:
        """Add numbers of served lists to the statistics, by minute."""
        rows = [{"minute": minute, "lists": count, "events": 0, "hits": 0} for minute, count in counts.items()]
        with self._errors(), self._writer.begin() as connection:
            self._lock(connection)
            self._add_to_minutes(connection, rows)

    def minutes(self, since: int) -> list[Minute]:
        """Return statistics from a minute on; minutes without events and lists are omitted."""
        query = sa.select(*(minutes.c[name] for name in Minute._fields)).where(minutes.c.minute >= since)
        with self._errors(), self._reader.connect() as connection:
            return [Minute(*row) for row in connection.execute(query.order_by(minutes.c.minute))]

    def _lock(self, connection: Connection) -> int:
        """Lock the log until the end of the transaction, and return its last offset."""
        self._check_file()
        return int(connection.scalar(head.update().values(last=head.c.last).returning(head.c.last)) or 0)

    def _check_file(self) -> None:
        """Raise an error if the SQLite file was deleted or replaced, because what is written to it would be lost."""
        if self._file_now() != self._file:
            raise LogUnavailableError(
                f"the event log {self._url.database} was deleted or replaced while it was open: restart the server"
            )

    def _file_now(self) -> tuple[int, int] | None:
        """Return what identifies the SQLite file; None if there is none."""
        try:
            status = Path(self._url.database or "").stat() if self.is_file else None
        except OSError:
            return None
        return None if status is None else (status.st_dev, status.st_ino)

    def _find(self, connection: Connection, ids: list[str]) -> dict[str, tuple[int, tuple[Any, ...] | None]]:
        """Return the offset and the compared columns (None if erased) of the stored events with these ids."""
        columns = [events.c[name] for name in ("event_id", "offset", *_COMPARED)]
        known: dict[str, tuple[int, tuple[Any, ...] | None]] = {}
        for start in range(0, len(ids), _ASKED_AT_ONCE):
            query = sa.select(*columns).where(events.c.event_id.in_(ids[start : start + _ASKED_AT_ONCE]))
            known |= {
                event_id: (offset, None if compared[_COMPARED.index("type")] == ERASED else tuple(compared))
                for event_id, offset, *compared in connection.execute(query)
            }
        return known

    def _count(self, connection: Connection, received: float, rows: list[dict[str, Any]]) -> None:
        """Add appended events to the statistics."""
        hits = 0
        lists = sorted({row["list_id"] for row in rows if row["list_id"] is not None})
        if lists:
            insert = self._insert(hit_lists).on_conflict_do_nothing().returning(hit_lists.c.list_id)
            hits = len(connection.execute(insert, [{"list_id": name} for name in lists]).all())
        row = {"minute": int(received // 60), "events": len(rows), "lists": 0, "hits": hits}
        self._add_to_minutes(connection, [row])

    def _add_to_minutes(self, connection: Connection, rows: list[dict[str, int]]) -> None:
        insert = self._insert(minutes)
        sums = {name: minutes.c[name] + insert.excluded[name] for name in ("events", "lists", "hits")}
        connection.execute(insert.on_conflict_do_update(index_elements=["minute"], set_=sums), rows)

    def _insert(self, table: sa.Table) -> Any:
        return sqlite.insert(table) if self.is_file else postgresql.insert(table)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Convert errors of the database to errors that do not contain the values of events."""
        try:
            yield
        except DBAPIError as error:
            cause = str(error.orig).splitlines()[0] if str(error.orig) else type(error.orig).__name__
            is_full = "disk is full" in cause or "No space left" in cause
            url = self._url.set(drivername=self._url.get_backend_name())
            shown = self._url.database if self.is_file else url.render_as_string(hide_password=True)
            raise LogUnavailableError(f"the event log {shown} is unavailable ({cause})", is_full=is_full) from None


def _append_to(
    rows: list[dict[str, Any]],
    known: dict[str, tuple[int, tuple[Any, ...] | None]],
    request: Sequence[Event],
    last: int,
    received: float,
) -> Appended | ConflictError:
    """Add rows for the events of a request that are not stored yet; none if there is a conflict."""
    new: dict[str, tuple[int, tuple[Any, ...] | None]] = {}
    added: list[dict[str, Any]] = []
    offsets, repeated = [], []
    for index, each in enumerate(request):
        compared = (str(each.user), str(each.item), each.value, each.type, each.time, each.list_id)
        found = known.get(each.event_id) or new.get(each.event_id)
        if found is not None:
            if found[1] is not None and found[1] != compared:
                differing = next(name for name, a, b in zip(_COMPARED, found[1], compared, strict=True) if a != b)
                return ConflictError(index, each.event_id, differing)
            offsets.append(found[0])
            repeated.append(True)
            continue
        offset = last + len(rows) + len(added) + 1
        new[each.event_id] = offset, compared
        columns = dict(zip(_COMPARED, compared, strict=True))
        added.append(
            {"offset": offset, "first": last + 1, "event_id": each.event_id, "received": received, **columns}
        )
        offsets.append(offset)
        repeated.append(False)
    rows += added
    known |= new
    return Appended(offsets, repeated)


def _as_url(url: str | Path) -> URL:
    if isinstance(url, Path) or "://" not in url:
        return URL.create("sqlite", database=str(url))
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, ValueError):
        raise ParameterError(
            "the URL of the event log is invalid: give a path, or postgresql://user@host/database"
        ) from None
    if backend in ("postgresql", "postgres"):  # both are names in libpq
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        return parsed
    raise ParameterError(
        f"the event log is a database of {backend}, which is not supported: use SQLite or PostgreSQL"
    )


def _engines(url: URL) -> tuple[Engine, Engine]:
    """Return the engines for writing and for reading."""
    if url.get_backend_name() != "sqlite":
        engine = sa.create_engine(url, pool_pre_ping=True, pool_size=8)
        return engine, engine
    if not url.database or url.database == ":memory:":
        raise ParameterError("the event log is in memory, so events would be lost: give the path of a file")
    folder = Path(url.database).resolve().parent
    if not folder.is_dir():
        raise DataError(f"the event log {url.database} cannot be created: there is no folder {folder}")
    writer = sa.create_engine(url, connect_args={"timeout": LOCK_SECONDS})
    reader = sa.create_engine(url, connect_args={"timeout": LOCK_SECONDS})
    for engine in (writer, reader):
        event.listen(engine, "connect", _prepare)
    event.listen(writer, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return writer, reader


def _prepare(connection: Any, _: Any) -> None:
    """Make commits durable, and let SQLAlchemy begin transactions."""
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")
