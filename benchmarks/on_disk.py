"""Interactions on disk: how long a folder is built and a model is fitted, and the memory of both.

    python benchmarks/on_disk.py 20_000_000 --folder /large/disk

A parquet file of random interactions is generated, read into a folder in one process, and a model is fitted to it in
another, with ``--compare`` also in memory; equal digests of the factors mean equal bits. The memory is the peak of
``RssAnon``, which the system cannot take back, and of all resident pages (``VmHWM``), many of which are pages of
files that it drops when memory is short.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

STATUS = Path("/proc/self/status")
BATCH = 5_000_000  # interactions that are generated at once


def generate(path: Path, n: int, n_users: int, n_items: int, *, values: bool) -> None:
    """Write a parquet file of distinct interactions: popular items, in random order within batches of users."""
    import duckdb
    import numpy as np

    from halfstep._support.integer_sets import distinct

    rng = np.random.default_rng(0)
    per_user = max(1, n // n_users)
    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET threads = 2")
    path.mkdir()
    users_at_once = max(1, BATCH // per_user)
    order = rng.permutation(n_users)
    for number, start in enumerate(range(0, n_users, users_at_once)):
        users = np.repeat(order[start : start + users_at_once], 2 * per_user)
        items = (n_items * rng.random(len(users)) ** 3).astype(np.int64)
        cells = distinct(users * n_items + items)
        cells = rng.permutation(cells)[: per_user * min(users_at_once, n_users - start)]
        block = {"user": cells // n_items, "item": cells % n_items}
        if values:
            block["value"] = rng.integers(1, 6, len(cells)).astype(np.float64)
        connection.register("block", block)
        connection.execute(f"COPY block TO '{path}/part-{number:05}.parquet' (FORMAT parquet)")
        connection.unregister("block")
    connection.close()


def _kilobytes(name: str) -> int:
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return int(lines[name].split()[0])


@contextmanager
def peak_anonymous() -> Iterator[list[float]]:
    """Measure the largest increase of anonymous memory inside the block, in GB."""
    before, peak, done = _kilobytes("RssAnon"), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], (_kilobytes("RssAnon") - before) * 1024 / 1e9)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def build(parquet: Path, folder: Path) -> dict[str, Any]:
    """Build the folder in this process."""
    import halfstep as hs

    began = time.perf_counter()
    with peak_anonymous() as peak:
        data = hs.read_interactions(parquet, on_disk=folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    seconds = time.perf_counter() - began
    return {
        "data": repr(data),
        "seconds": seconds,
        "disk GB": size / 1e9,
        "anonymous GB": peak[0],
        "resident GB": _kilobytes("VmHWM") * 1024 / 1e9,
    }


def fit(parquet: Path, folder: Path | None, rank: int, iterations: int) -> dict[str, Any]:
    """Fit in this process, to interactions in a folder or in memory."""
    import halfstep as hs

    data = hs.read_interactions(parquet, on_disk=folder)
    objective = hs.Explicit() if data.has_values else hs.Implicit()
    model = hs.ALS(objective, rank=rank, iterations=iterations, random_state=0, progress=False)
    stated = model.memory_of_fit(data) / 1e9
    began = time.perf_counter()
    with peak_anonymous() as peak:
        model.fit(data)
    digest = hashlib.sha256(model.user_factors_.tobytes() + model.item_factors_.tobytes())
    first, last = model.history_[0].seconds, model.history_[-1].seconds
    return {
        "seconds": time.perf_counter() - began,
        "seconds an iteration": (last - first) / max(iterations - 1, 1),
        "anonymous GB": peak[0],
        "stated GB": stated,
        "resident GB": _kilobytes("VmHWM") * 1024 / 1e9,
        "factors": digest.hexdigest()[:16],
    }


def _in_a_process(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, __file__, *map(str, arguments)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(output))


def main() -> None:
    """Run the benchmark, or one step of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("interactions", type=int)
    parser.add_argument("--users", type=int, help="default: one for 100 interactions")
    parser.add_argument("--items", type=int, help="default: one for 1,000 interactions")
    parser.add_argument("--values", action="store_true", help="ratings, for explicit feedback")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="a folder on a large disk; default: that of temporary files")
    parser.add_argument("--compare", action="store_true", help="fit in memory as well")
    parser.add_argument("--step", choices=["build", "fit", "memory"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step is not None:
        parquet, folder = given.folder / "parquet", given.folder / "interactions"
        if given.step == "build":
            print(json.dumps(build(parquet, folder)))
        else:
            place = folder if given.step == "fit" else None
            print(json.dumps(fit(parquet, place, given.rank, given.iterations)))
        return
    n = given.interactions
    n_users, n_items = given.users or max(n // 100, 10), given.items or max(n // 1000, 10)
    with TemporaryDirectory(dir=given.folder, prefix="halfstep-on-disk-") as temporary:
        generate(Path(temporary) / "parquet", n, n_users, n_items, values=given.values)
        fixed = "--folder", temporary, "--rank", given.rank, "--iterations", given.iterations
        for step in ("build", "fit", *(["memory"] if given.compare else [])):
            result = _in_a_process(n, *fixed, "--step", step)
            shown = {name: f"{each:.3f}" if isinstance(each, float) else each for name, each in result.items()}
            print(step, *(f"{name}: {each}" for name, each in shown.items()), sep="\n  ")


if __name__ == "__main__":
    main()
