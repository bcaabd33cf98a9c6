"""Single files of a table, whose format is detected."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from halfstep.data.files.duckdb_engine import Engine
from halfstep.data.files.json_table import open_json
from halfstep.data.files.parquet_table import open_parquet
from halfstep.data.files.sources import JSON_LINES, PARQUET, Source, TemporaryFolder, open_plain
from halfstep.data.files.table_format import Options, Table
from halfstep.data.files.text_table import open_text

_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")


def open_table(
    source: Source, options: Options, needed: Sequence[str | int], engine: Engine, workspace: TemporaryFolder
) -> Table:
    """Detect the format of a file, and open it; the required columns `needed` help to detect the separator.

    Raises
    ------
    DataError
        If the file is not a table, or is corrupted.
    """
    path = workspace.seekable(source)
    suffix = suffix_of(source.path)
    with open_plain(path, source.name) as file:
        head = file.read(4096)
    if head[:4] in (b"PAR1", b"PARE") or (suffix in PARQUET and options.separator is None):
        return open_parquet(source, path, engine, workspace)
    start = head.decode("utf-8-sig", errors="replace").lstrip()
    if options.separator is None and (suffix in JSON_LINES or re.match(r'\{\s*("|\})', start)):
        return open_json(source, options, False, engine, workspace)
    if options.separator is None and (re.match(r"\[\s*(\{|\])", start) or suffix == ".json"):
        return open_json(source, options, True, engine, workspace)
    return open_text(source, suffix, options, needed, workspace)


def suffix_of(path: Path) -> str:
    """Return the suffix of a file name without that of the compression."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in _COMPRESSED else suffix
