"""The tables of the event log, and their migrations."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Double, MetaData, Table, Text

from halfstep.errors import DataError

ERASURE = "$erasure"  # the type of a request to erase a user; clients cannot send types that begin with $
metadata = MetaData()
_BigInteger = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # in SQLite, an alias of the row id

settings = Table("halfstep_settings", metadata, Column("name", Text, primary_key=True), Column("value", Text))
# One row, whose lock serializes transactions, so that they commit in the order of their offsets.
head = Table("halfstep_head", metadata, Column("one", sa.Integer, primary_key=True), Column("last", _BigInteger))
events = Table(
    "halfstep_events",
    metadata,
    Column("offset", _BigInteger, primary_key=True, autoincrement=False),
    Column("first", _BigInteger, nullable=False),  # offset of the first event of the same transaction
    Column("event_id", Text, nullable=False, unique=True),
    Column("type", Text, nullable=False),
    Column("user", Text),  # NULL if it was erased
    Column("item", Text),
    Column("value", Double),
    Column("time", Double),
    Column("list_id", Text),
    Column("received", Double, nullable=False),
)
is_erasure = events.c.type == sa.literal_column(f"'{ERASURE}'")  # not a parameter, so that the index is used
sa.Index("halfstep_erasures", events.c.offset, sqlite_where=is_erasure, postgresql_where=is_erasure)
# Statistics, from which models do not learn.
minutes = Table(
    "halfstep_minutes",
    metadata,
    Column("minute", _BigInteger, primary_key=True, autoincrement=False),  # since 1970
    Column("events", _BigInteger, nullable=False, server_default="0"),
    Column("lists", _BigInteger, nullable=False, server_default="0"),
    Column("hits", _BigInteger, nullable=False, server_default="0"),  # lists that led to an event
)
hit_lists = Table("halfstep_hit_lists", metadata, Column("list_id", Text, primary_key=True))


def _create_log(connection: Connection) -> None:
    metadata.create_all(connection, [settings, head, events])
    connection.execute(head.insert().values(one=1, last=0))
    values = {"log": uuid.uuid4().hex, "salt": secrets.token_hex(32)}
    connection.execute(settings.insert(), [{"name": name, "value": value} for name, value in values.items()])


def _create_statistics(connection: Connection) -> None:
    metadata.create_all(connection, [minutes, hit_lists])


MIGRATIONS: list[Callable[[Connection], None]] = [_create_log, _create_statistics]


def migrate(connection: Connection) -> None:
    """Migrate the tables to the current version, within the transaction of the caller."""
    version = 0
    if sa.inspect(connection).has_table(settings.name):
        stored = connection.scalar(sa.select(settings.c.value).where(settings.c.name == "version"))
        version = int(stored or 0)
    if version > len(MIGRATIONS):
        raise DataError(
            f"the event log has format version {version}, but this halfstep supports at most {len(MIGRATIONS)}: "
            "upgrade halfstep"
        )
    for number, step in enumerate(MIGRATIONS[version:], start=version + 1):
        step(connection)
        connection.execute(settings.delete().where(settings.c.name == "version"))
        connection.execute(settings.insert().values(name="version", value=str(number)))
