"""``python -m benchmarks.record FOLDER``: measure the models on the split in a folder, and write its table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import halfstep as hs
from benchmarks.marks import ROOT
from benchmarks.record import page
from benchmarks.record.measure import rows
from benchmarks.record.splits import read_split

RANKS = (64, 128, 256, 512, 1024, 2048)
N_TRIALS = 40


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.record", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="files of a published split, which is detected")
    parser.add_argument("--ranks", type=int, nargs="+", default=RANKS, help="of iALS (default: 64 128 … 2048)")
    parser.add_argument("--trials", type=int, default=N_TRIALS, help=f"at the lowest rank (default: {N_TRIALS})")
    parser.add_argument("--backend", choices=("cpu", "cuda"), default="cpu", help="of iALS (default: cpu)")
    parser.add_argument(
        "--work", type=Path, default=Path("record"), help="results to continue from (default: record)"
    )
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "record.md", help="(default: docs/record.md)")
    options = parser.parse_args(arguments)
    split = read_split(options.folder)
    print(f"{split.name}: {split}", flush=True)
    found = hs.doctor.examine(measure=False)
    machine = f"{found.processor}, {found.cores} cores, halfstep {found.versions['halfstep']}"
    hs.ALS(hs.Implicit(), rank=8, iterations=1, backend=options.backend).fit(
        split.inner.train
    )  # compiles the kernels
    measured = []
    for row in rows(split, options.work, options.ranks, options.trials, options.backend, machine):
        measured.append(row)
        print(row.model, *row.metrics, row.parameters, sep="  ", flush=True)
        page.write(options.page, split, measured)


if __name__ == "__main__":
    main()
