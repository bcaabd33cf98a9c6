"""Duration and memory of reading files: ``python -m benchmarks.reading``.

Ten million rows with string ids, a value and a timestamp, as csv of about 300 MB and as parquet. Each measurement is
the fastest of three, each in a new process. ``halfstep`` is `hs.read_interactions`, which encodes ids, checks values
and finds duplicates. It is compared with DuckDB, which only reads the file with its default settings:

table      ``CREATE TABLE t AS SELECT * FROM read_csv('…')``: all columns, with detected types, into memory
numpy      the same columns as NumPy arrays, by ``fetchnumpy``

Seconds are wall-clock and CPU time. Memory is the increase to the peak of the process, also relative to the size of
the `Interactions`, which are arrays and Python objects for ids.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.marks import table

ROWS, USERS, ITEMS = 10_000_000, 500_000, 400_000
STRIDE = 104_729  # a prime, so that pairs do not repeat
TURNS = 3

MEASURE = """
import json, re, sys, time
from pathlib import Path
def mebibytes(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
kind, small, path = sys.argv[1:]
import duckdb
import halfstep as hs
def size_of(data):
    arrays = (data.user_positions, data.item_positions, data.values, data.timestamps)
    ids = [each for side in (data.users, data.items) for each in (side.ids, *side)]
    return (sum(each.nbytes for each in arrays) + sum(map(sys.getsizeof, ids))) / (1 << 20)
def run(path):
    if kind == "halfstep":
        return hs.read_interactions(path)
    connection = duckdb.connect(":memory:")
    reader = "read_parquet" if path.endswith("parquet") else "read_csv"
    if kind == "table":
        connection.execute(f"CREATE TABLE t AS SELECT * FROM {reader}('{path}')").fetchall()
        return connection
    return connection.execute(f"SELECT * FROM {reader}('{path}')").fetchnumpy()
run(small)
Path("/proc/self/clear_refs").write_text("5")
held = mebibytes("VmRSS")
wall, processor = time.perf_counter(), time.process_time()
read = run(path)
wall, processor = time.perf_counter() - wall, time.process_time() - processor
peak = mebibytes("VmHWM") - held
print(json.dumps([wall, processor, peak, size_of(read) if kind == "halfstep" else 0.0]))
"""


def chunks(rows: int, at_once: int = 500_000) -> Iterator[Sequence[Sequence[object]]]:
    """Yield columns in chunks; no pair of a user and an item occurs twice."""
    rng = np.random.default_rng(0)
    for start in range(0, rows, at_once):
        k = np.arange(start, min(start + at_once, rows))
        cell = k * STRIDE % (USERS * ITEMS)
        values = rng.integers(1, 11, len(k)) / 2
        yield [
            [f"u{user:07d}" for user in (cell // ITEMS).tolist()],
            [f"i{item:06d}" for item in (cell % ITEMS).tolist()],
            values.tolist(),
            (1_500_000_000 + k).tolist(),
        ]


def write(folder: Path, rows: int, name: str) -> dict[str, Path]:
    """Write the same rows as csv and as parquet."""
    import duckdb

    paths = {suffix: folder / f"{name}.{suffix}" for suffix in ("csv", "parquet")}
    with paths["csv"].open("w") as file:
        file.write("user,item,value,timestamp\n")
        for columns in chunks(rows):
            file.writelines(f"{u},{i},{v},{t}\n" for u, i, v, t in zip(*columns, strict=True))
    duckdb.execute(f"COPY (FROM read_csv('{paths['csv']}')) TO '{paths['parquet']}' (FORMAT parquet)").fetchall()
    return paths


def measure(kind: str, small: Path, path: Path) -> tuple[float, float, float, float]:
    """Return wall-clock and CPU seconds, peak MiB, and MiB of the interactions, of the fastest run."""
    turns = []
    for _ in range(TURNS):
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, kind, str(small), str(path)], capture_output=True, text=True, check=True
        )
        turns.append(tuple(json.loads(done.stdout.splitlines()[-1])))
    return min(turns)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    rows = parser.parse_args(arguments).rows
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        small, large = write(Path(folder), 1000, "small"), write(Path(folder), rows, "large")
        for suffix in ("csv", "parquet"):
            print(f"{suffix}: {large[suffix].stat().st_size / 1e6:.0f} MB", flush=True)
            found = {kind: measure(kind, small[suffix], large[suffix]) for kind in ("table", "numpy", "halfstep")}
            size = found["halfstep"][3]
            for kind, (wall, processor, peak, _) in found.items():
                shares = [f"{wall / found['table'][0]:.2f}", f"{processor / found['table'][1]:.2f}"]
                lines.append(
                    [suffix, kind, f"{wall:.2f}", f"{processor:.2f}", *shares, f"{peak:.0f}", f"{peak / size:.2f}"]
                )
                print(*lines[-1], flush=True)
    head = ["file", "read by", " s", " CPU s", " of table", " of table, CPU", " peak MiB", " of Interactions"]
    print("\n" + table(head, lines))


if __name__ == "__main__":
    main()
