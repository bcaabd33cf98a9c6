"""The lab: the experiments of a write-up on ALS with MovieLens 100K, reproduced and corrected.

The write-up is "Implementing Alternating Least Squares (ALS) from Scratch in Python" (ouatu.ro). `run_lab` runs its
experiments A to J with this library, compares all printed figures, tunes methods within the training set, samples
from the posterior, evaluates online learning, and writes a report.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile

import halfstep as hs
from halfstep._support.files import write_atomically
from halfstep.evaluation.tuning.tuner import need_optuna
from halfstep.solver.threads import available_cores
from lab import online, sampled, tuned
from lab.clock import Clock
from lab.corrected import Row, corrected_rows
from lab.data import Split, write_up_split
from lab.experiments import reproduce
from lab.parallel import Part, run_parts
from lab.results import Findings, Method, figures_of
from lab.scoring import Estimate, Metric, difference

__all__ = ["Findings", "find", "run_lab"]

Tick = Callable[[str], None]


def run_lab(
    output: Path | str,
    ratings: hs.Interactions | None = None,
    *,
    processes: int | None = None,
    tick: Tick = lambda _progress: None,
) -> Findings:
    """Run all experiments and write ``report.html``, eight plots and ``results.json`` into a folder.

    Parameters
    ----------
    output : path
        The folder, which is created if necessary; existing files of the same names are replaced.
    ratings : Interactions, optional
        MovieLens 100K, in the order of its file; by default, `halfstep.datasets.movielens_100k` loads it.
    processes : int, optional
        The number of processes, by default one for each core. A script that uses more than one must guard its code by
        ``if __name__ == "__main__"``, as for any use of `multiprocessing`.
    tick : callable, optional
        A function that is called with a line on the progress.

    Returns
    -------
    Findings

    Raises
    ------
    OSError
        If the folder cannot be written, which is checked first, or if a process was killed.
    DatasetError
        If the ratings are not given and cannot be loaded.
    ModuleNotFoundError
        If Matplotlib or Optuna is not installed, which is checked first.
    """
    from lab.figures import plot_all
    from lab.report import page

    need_optuna()
    output = Path(output)
    if ratings is None:
        ratings = hs.datasets.movielens_100k()
    _check_folder(output)
    findings = find(ratings, processes=processes, tick=tick)
    tick("plotting")
    plots = plot_all(findings)
    for name, png in plots.items():
        write_atomically(output / f"{name}.png", png)
    write_atomically(output / "report.html", page(findings, plots, plot_all(findings, narrow=True)).encode())
    write_atomically(output / "results.json", findings.to_json().encode())
    return findings


def _check_folder(folder: Path) -> None:
    """Create the folder if necessary, and check that it can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"the folder {folder} cannot be written ({error.strerror}): name another by --output") from None


def find(ratings: hs.Interactions, *, processes: int | None = None, tick: Tick = lambda _progress: None) -> Findings:
    """Run all experiments and write nothing.

    Parameters
    ----------
    ratings : Interactions
        MovieLens 100K, in the order of its file.
    processes, tick
        As in `run_lab`.
    """
    began = time.perf_counter()
    clock = Clock()
    if processes is None:
        processes = available_cores()
    split = write_up_split(ratings)
    signs = split.signed()
    parts = {
        **online.parts(ratings),
        "stars": Part("corrected, stars", corrected_rows, (split, "rmse")),
        "tuned": Part("tuned", tuned.tuned_als, (split, tuned.N_TRIALS)),
        **sampled.parts(split, signs, ratings),
        "write_up": Part("", reproduce, (split, signs)),
        "signs": Part("corrected, signs", corrected_rows, (signs, "sign_accuracy")),
    }
    found = run_parts(parts, clock, processes, tick)
    reproduced = found["write_up"]
    bayesian = sampled.collected(found)
    return Findings(
        figures=figures_of(reproduced.figures, reproduced.seeds),
        split=split,
        convergence=reproduced.convergence,
        corrected_grid=reproduced.corrected_grid,
        unmasked=reproduced.unmasked,
        stars=found["stars"],
        signs=found["signs"],
        als_minus_sgd={
            "rmse": _als_minus_sgd(found["stars"], split, "rmse"),
            "sign_accuracy": _als_minus_sgd(found["signs"], signs, "sign_accuracy"),
        },
        tuned=found["tuned"],
        sampled=bayesian,
        online=online.collected(found),
        methods=[
            *(Method(name, False, test, known) for name, test, known in reproduced.methods),
            *(Method(row.name, True, row.test, row.known) for row in found["stars"]),
            Method("biased ALS, hs.tune", True, found["tuned"].test, found["tuned"].known),
            *(Method(row.name, True, row.test, row.known) for row in bayesian.stars),
        ],
        fits=clock.fits,
        fitting_seconds=clock.seconds,
        section_seconds=clock.by_section,
        processes=processes,
        total_seconds=time.perf_counter() - began,
    )


def _als_minus_sgd(rows: list[Row], split: Split, metric: Metric) -> Estimate:
    models = {row.key: row.model for row in rows}
    return difference(models["biased_als"], models["sgd"], split.known, metric)
