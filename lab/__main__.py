"""``python -m lab``: run the experiments, write the report, and print a summary."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import halfstep as hs
from lab import Findings, run_lab
from lab.online import CUTOFF
from lab.printed import ADDRESS, TITLE, label
from lab.story import compared_in_words


def lab(
    output: Annotated[Path, typer.Option(help="Folder for report.html, the plots and results.json.")] = Path(
        "lab-report"
    ),
) -> None:
    """Reproduce the experiments of a write-up on ALS, and explain and correct its results."""
    console = new_console()
    try:
        with Console(stderr=True).status("starting") as status:
            findings = run_lab(output, tick=status.update)
    except (hs.errors.HalfstepError, ModuleNotFoundError, OSError) as error:
        print(f"lab: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    print_summary(console, findings)
    console.print(
        f"{findings.fits} fits in {findings.total_seconds:.0f} s. Full results: {output / 'report.html'}, the "
        f"plots in the same folder, and {output / 'results.json'}",
        soft_wrap=True,
    )


def new_console() -> Console:
    """Return a console for standard output."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def print_summary(console: Console, findings: Findings) -> None:
    """Print the number of figures that agree, the best methods, and the gain of online learning."""
    agreeing = f"{findings.n_agreeing} of {len(findings.figures)} figures agree"
    console.print(f"{TITLE} ({ADDRESS}): {agreeing}", soft_wrap=True)
    for figure in findings.figures:
        if not figure.agrees:
            name = f"{figure.key[0]}, {label(figure.key)}"
            console.print(f"[red]differs[/]: {name}: {figure.printed} printed, {figure.shown_with_spread} ours")
    table = Table(
        f"on the same {len(findings.split.known):,} test ratings",
        box=None,
        pad_edge=False,
        header_style="",
        padding=(0, 3, 0, 0),
    )
    table.add_column("RMSE", justify="right")
    table.add_column("sign accuracy", justify="right")
    printed = (findings.figure(key).printed for key in ("I.rmse_test", "J.sign_accuracy_test"))
    table.add_row("the write-up's best, SGD", *printed)
    stars, signs = ({row.key: row for row in rows} for rows in (findings.stars, findings.signs))
    for key in ("user_item_bias", "biased_als", "sgd"):
        table.add_row(f"{stars[key].name}, tuned", *(f"{row.known.value:.4f}" for row in (stars[key], signs[key])))
    table.add_row(f"{findings.untuned[0].name}, not tuned", *(f"{row.known.value:.4f}" for row in findings.untuned))
    console.print(table)
    console.print(f"{compared_in_words(findings.als_minus_sgd['rmse'])} of RMSE", soft_wrap=True)
    gains = (
        f"{row.name} {row.frozen['hit_rate']:.3f} as fitted, {row.learning['hit_rate']:.3f} online"
        for row in findings.online.rows
    )
    console.print(f"Hit rate@{CUTOFF} on a stream: {'; '.join(gains)}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(lab)
