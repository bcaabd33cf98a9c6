"""The lab: a write-up's experiments with ALS on MovieLens 100K, reproduced, and then done right.

The write-up is "Implementing Alternating Least Squares (ALS) from Scratch in Python" (ouatu.ro). `run_lab` runs its
experiments A to J with this library, compares every figure that it printed, tunes methods without a look at the test
side, samples from the posterior, lets two models learn from a stream, and writes a report.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile

import halfstep as hs
from halfstep.atomic import write_atomically
from halfstep.lab import experiments
from halfstep.lab.clock import Clock
from halfstep.lab.corrected import corrected_rows
from halfstep.lab.data import Split, legacy_synthetic, synthetic, write_up_split
from halfstep.lab.online import stream
from halfstep.lab.results import Findings, Method, figures_of
from halfstep.lab.sampled import sample
from halfstep.lab.scoring import estimate
from halfstep.lab.tuned import tuned_als

__all__ = ["Findings", "find", "run_lab"]

Tick = Callable[[str], None]


def run_lab(
    output: Path | str, ratings: hs.Interactions | None = None, *, tick: Tick = lambda _section: None
) -> Findings:
    """Run all experiments and write ``report.html``, eight plots and ``results.json`` into a folder.

    Parameters
    ----------
    output : path
        The folder; it is made if need be, and older files of the same names are replaced.
    ratings : Interactions, optional
        MovieLens 100K, in the order of its file; found or fetched if left out.
    tick : callable, optional
        Called with the name of the experiment before each fit.

    Returns
    -------
    Findings

    Raises
    ------
    OSError
        If the folder cannot be written; nothing has been run then.
    DatasetError
        If the ratings are neither given nor to be had.
    ModuleNotFoundError
        If Matplotlib, which draws the plots, or Optuna is not installed; nothing has been run then.
    """
    from halfstep.lab.figures import draw_all
    from halfstep.lab.report import page
    from halfstep.tuning import optuna_search as _needed  # noqa: F401

    output = Path(output)
    if ratings is None:
        ratings = hs.datasets.movielens_100k()
    _make_sure_of(output)
    findings = find(ratings, tick=tick)
    plots = draw_all(findings)
    for name, png in plots.items():
        write_atomically(output / f"{name}.png", png)
    write_atomically(output / "report.html", page(findings, plots).encode())
    write_atomically(output / "results.json", findings.to_json().encode())
    return findings


def _make_sure_of(folder: Path) -> None:
    """Make the folder and write to it, before any time is spent on what will go there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"the folder {folder} cannot be written ({error.strerror}): name another by --output") from None


def find(ratings: hs.Interactions, *, tick: Tick = lambda _section: None) -> Findings:
    """Run all experiments and write nothing.

    Parameters
    ----------
    ratings : Interactions
        MovieLens 100K, in the order of its file.
    tick : callable, optional
        Called with the name of the experiment before each fit.
    """
    began = time.perf_counter()
    clock = Clock(tick)
    split = write_up_split(ratings)
    signs = split.signed()

    clock.section = "A"
    figures, convergence = experiments.plain_als(clock, legacy_synthetic())
    clock.section = "B, C"
    figures |= experiments.regularised_synthetic(clock, synthetic())
    found, models = experiments.ratings_als(clock, split)
    figures |= found
    clock.section = "F"
    found, baselines = experiments.baselines(clock, split)
    figures |= found
    clock.section = "G"
    found, mended_grid, models["G"] = experiments.weight_grid(clock, split)
    figures |= found
    clock.section = "H"
    found, unmasked = experiments.signed_preferences(clock, signs)
    figures |= found
    clock.section = "I"
    seeds, models["I"] = experiments.gradient_descent(clock, split)
    clock.section = "J"
    seeds |= experiments.signed_gradient_descent(clock, signs)

    clock.section = "corrected, stars"
    corrected_stars = corrected_rows(clock, split, "rmse")
    clock.section = "corrected, signs"
    corrected_signs = corrected_rows(clock, signs, "sign_accuracy")
    clock.section = "tuned"
    tuned = tuned_als(clock, split)
    clock.section = "sampled"
    sampled = sample(clock, split, ratings)
    clock.section = "online"
    online = stream(clock, ratings)
    return Findings(
        figures=figures_of(figures, seeds),
        split=split,
        convergence=convergence,
        mended_grid=mended_grid,
        unmasked=unmasked,
        stars=corrected_stars,
        signs=corrected_signs,
        tuned=tuned,
        sampled=sampled,
        online=online,
        methods=[
            *_write_ups_methods(models | baselines, split),
            *(Method(row.name, True, row.test, row.known) for row in corrected_stars),
            Method("biased ALS, hs.tune", True, tuned.test, tuned.known),
            *(Method(row.name, True, row.test, row.known) for row in sampled.stars),
        ],
        fits=clock.fits,
        fitting_seconds=clock.seconds,
        section_seconds=clock.by_section,
        total_seconds=time.perf_counter() - began,
    )


def _write_ups_methods(models: experiments.Models, split: Split) -> list[Method]:
    """Score the write-up's own models on both test sides, with intervals."""
    names = {
        "D": "D: ALS, zeros observed",
        "E": "E: WALS, linear",
        "F.global_mean": "F: global mean",
        "F.item_bias": "F: item bias",
        "G": "G: WALS, its winner",
        "I": "I: SGD, its defaults (one seed)",
    }
    return [
        Method(name, False, *(estimate(models[key], side, "rmse") for side in (split.test, split.known)))
        for key, name in names.items()
    ]
