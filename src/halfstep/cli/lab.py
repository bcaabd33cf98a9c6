"""``halfstep lab`` and ``halfstep data``: the experiments and the data that they need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

import halfstep as hs
from halfstep.cli.printing import new_console

if TYPE_CHECKING:
    from halfstep.lab.corrected import Row
    from halfstep.lab.results import Findings


def lab(
    output: Annotated[Path, typer.Option(help="Folder for report.html, the plots and results.json.")] = Path(
        "lab-report"
    ),
) -> None:
    """Reproduce a write-up on ALS figure by figure, and show what was wrong with it and what works."""
    from halfstep.lab import run_lab

    console = new_console()
    with Console(stderr=True).status("starting") as status:
        findings = run_lab(output, tick=status.update)
    print_figures(console, findings)
    print_corrected(console, findings)
    console.print("Tuned by one call, on folds inside the training ratings", style="italic")
    console.print(str(findings.tuned.tuning), soft_wrap=True)
    console.print(
        f"RMSE on the test's {len(findings.split.known):,} pairs: {findings.tuned.known.value:.4f}", soft_wrap=True
    )
    print_online(console, findings)
    print_story(console, findings)
    console.print(
        f"{findings.fits} fits took {findings.fitting_seconds:.1f} s of {findings.total_seconds:.1f} s. "
        f"Written: {output / 'report.html'}, the plots beside it, and {output / 'results.json'}.",
        soft_wrap=True,
    )


def data(
    name: Annotated[str, typer.Argument(help="Name of the data set: movielens-100k.")] = "movielens-100k",
) -> None:
    """Find or download a data set, verify it, and describe it."""
    loaders = hs.datasets.DATASETS
    if name not in loaders:
        raise hs.errors.DatasetError(f"there is no data set {name!r}; there is {', '.join(loaders)}")
    print(loaders[name]())


def print_figures(console: Console, findings: Findings) -> None:
    """Show every printed figure beside ours."""
    from halfstep.lab.printed import EXPERIMENTS, label

    table = Table("", "figure", title="The write-up's experiments", title_justify="left")
    for column in ("printed", "ours"):
        table.add_column(column, justify="right")
    table.add_column("agrees")
    letter = ""
    for figure in findings.figures:
        if figure.key[0] != letter:
            letter = figure.key[0]
            table.add_section()
            table.add_row(letter, f"[bold]{EXPERIMENTS[letter].title}[/] ({EXPERIMENTS[letter].setting})")
        verdict = "yes" if figure.agrees else "[red]no[/]"
        table.add_row("", label(figure.key), figure.printed, figure.shown_with_spread, verdict)
    console.print(table)


def print_corrected(console: Console, findings: Findings) -> None:
    """Show the corrected rows of both tasks."""
    from halfstep.lab.story import parameters_in_words

    n_test, n_known = len(findings.split.test), len(findings.split.known)

    def show(title: str, rows: list[Row]) -> None:
        table = Table("method", title=title, title_justify="left")
        for column in ("inner split", f"test, {n_test:,} pairs", f"test, {n_known:,} pairs"):
            table.add_column(column, justify="right")
        table.add_column("chosen on the inner split")
        for row in rows:
            scores = (
                f"{score.value:.4f} [dim]({score.low:.3f}–{score.high:.3f})[/]" for score in (row.test, row.known)
            )
            table.add_row(row.name, f"{row.validation:.4f}", *scores, parameters_in_words(row))
        console.print(table)

    show("The corrected rows: RMSE in stars (95 % bootstrap interval)", findings.stars)
    show("The corrected rows: sign accuracy on ±1 (95 % bootstrap interval)", findings.signs)


def print_online(console: Console, findings: Findings) -> None:
    """Show models on a stream, as they were fitted and learning on."""
    from halfstep.lab.online import METRICS, PLACES

    online = findings.online
    title = f"Learning on: {len(online.popularity.places):,} events, each ranked, scored, then learnt"
    table = Table("model", "", title=title, title_justify="left")
    for name in ("HR", "NDCG"):
        table.add_column(f"{name}@{PLACES}", justify="right")
    lines = [("popularity", "as fitted", online.popularity)]
    for row in online.rows:
        lines += [(row.name, "as fitted", row.frozen), ("", "learning on", row.learning)]
    for model, how, evaluation in lines:
        figures = (evaluation.find(evaluation.models[0], metric) for metric in METRICS)
        table.add_row(model, how, *(f"{each.value:.4f} [dim]({each.low:.3f}–{each.high:.3f})[/]" for each in figures))
    console.print(table)


def print_story(console: Console, findings: Findings) -> None:
    """Show what it concluded and what is true, and the five mistakes."""
    from halfstep.lab.story import conclusions, mistakes

    table = Table("it concluded", "what is true", title="Conclusions", title_justify="left", show_lines=True)
    for conclusion in conclusions(findings):
        table.add_row(conclusion.concluded, conclusion.truth)
    console.print(table)
    table = Table("mistake", "as it was", "done right", title="Five mistakes", title_justify="left", show_lines=True)
    for number, mistake in enumerate(mistakes(findings), start=1):
        as_it_was, done_right = (
            "\n".join(f"{score.what}: [bold]{score.value}[/]" for score in scores)
            for scores in (mistake.printed, mistake.corrected)
        )
        table.add_row(f"{number}. {mistake.title}", as_it_was, done_right)
    console.print(table)
