"""Output of ids with control characters, markup, line breaks and formulas."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import halfstep as hs
from halfstep._support.printable import printable
from shell import Shell

ESCAPES = "\x1b[31mred\x07"
OVERRIDE = "\u202egnp.exe"
ODD_IDS = [
    ESCAPES,
    OVERRIDE,
    ":smile:",
    "a :heart: b",
    ":+1:",
    "[bold]loud[/bold]",
    "[/]",
    "東京タワー",
    "שלום",
    "a\nb",
    "c\rd",
    "e\r\nf",
    'g"h',
    "i,j",
    "k\tl",
    "m" * 300,
    "word " * 60 + "end",
    "東" * 150,
    "naïve café",
    "👩\u200d👧",
    "\u2028",
    "\x85",
    "x\u00ady",
    "=1+1",
    "-cmd",
    "+1",
    "@SUM(1)",
]


def save(path: Path, items: list[str], titles: dict[str, str] | None = None) -> Path:
    """Save a model in which the user "new" has no items, and the user "all" has all."""
    users = ["all"] * len(items) + ["new"]
    data = replace(hs.Interactions.from_arrays(users, [*items, items[0]]), item_titles=titles)
    hs.Popularity().fit(data).save(path)
    return path


def fitted(path: Path, item: str) -> Path:
    """Save a model with factors of the items "first" and `item`."""
    data = hs.Interactions.from_arrays(["a", "a", "b"], ["first", item, item])
    hs.ALS(hs.Implicit(), rank=1, iterations=1, random_state=0).fit(data).save(path)
    return path


@pytest.fixture
def odd_model(tmp_path: Path) -> Path:
    return save(tmp_path / "odd.halfstep", ODD_IDS)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (ESCAPES, r"\x1b[31mred\x07"),
        (OVERRIDE, r"\u202egnp.exe"),
        ("a\r\nb\u2028\x85", r"a\r\nb\u2028\x85"),
        ("\u2066\u200f\ufeff\u00ad", r"\u2066\u200f\ufeff\xad"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("naïve 東京 שלום 👩\u200d👧 می\u200cخواهم a\u00a0b", "naïve 東京 שלום 👩\u200d👧 می\u200cخواهم a\u00a0b"),
    ],
)
def test_printable_escapes_control_characters(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("item", ODD_IDS, ids=ascii)
def test_lists_show_complete_ids_on_one_line(shell: Shell, tmp_path: Path, item: str) -> None:
    model = save(tmp_path / "m", ["first", item])
    for out, _ in (shell("recommend", model, "new"), shell("similar", fitted(tmp_path / "als", item), "first")):
        cells = [line.split("│")[2].strip() for line in out.splitlines() if line.startswith("│")]
        assert cells == [printable(item)]


def test_queries_are_escaped(shell: Shell, odd_model: Path, tmp_path: Path) -> None:
    out, err = shell("recommend", odd_model, ESCAPES, "-n", 1)
    assert r"for user \x1b[31mred\x07" in out
    assert "\x1b" not in out + err
    hs.ALS(hs.Implicit(), rank=1).fit(hs.load(odd_model).interactions_).save(tmp_path / "m")
    _, err = shell("similar", tmp_path / "m", "nothing" + ESCAPES, fails=1)
    assert r"\x1b" in err
    assert "\x1b" not in err


def test_paths_in_errors_are_escaped(shell: Shell, tmp_path: Path) -> None:
    _, err = shell("fit", tmp_path / "no\x1b[2J\u202e.csv", fails=1)
    assert "\x1b" not in err
    assert "\u202e" not in err


@pytest.mark.slow
def test_a_narrow_terminal_wraps_ids(odd_model: Path) -> None:
    pty = pytest.importorskip("pty")
    if not hasattr(os, "openpty"):
        pytest.skip("there are no pseudo-terminals here")
    del pty
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from halfstep.cli import main; main()", "recommend", odd_model, "new", "-n", "100"],
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "60", "TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 1 << 16):
            shown += chunk
    except OSError:  # Linux raises an error if the other end is closed
        pass
    os.close(ours)
    process.communicate()
    text = shown.decode()
    assert text.count("m") >= 300
    assert "…" not in text
    assert ":smile:" in text
    assert "[bold]loud[/bold]" in text
    assert "\x1b[31m" not in text


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_file_of_lists_has_as_many_rows_as_were_written(
    shell: Shell, odd_model: Path, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"all.{suffix}"
    out, _ = shell("recommend", odd_model, "-o", path, "-n", 100, "--include-seen", "--json")
    written = json.loads(out)["rows"]
    separator = "\t" if suffix == "tsv" else ","
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=separator))
    assert len(rows) == written == 2 * len(ODD_IDS)
    assert {row["item"] for row in rows} == set(ODD_IDS)
    by_another = pl.read_csv(path, separator=separator, infer_schema=False)
    assert set(by_another["item"]) == set(ODD_IDS)


@pytest.mark.parametrize("user", ["c\rd", "\r", "e\r\nf", "a\nb", "g\r"], ids=ascii)
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_line_breaks_in_ids_are_quoted(shell: Shell, tmp_path: Path, suffix: str, user: str) -> None:
    hs.Popularity().fit(hs.Interactions.from_arrays([user, "x", "x"], ["i", "i", "j"])).save(tmp_path / "m")
    shell("recommend", tmp_path / "m", "-o", tmp_path / f"all.{suffix}", "-n", 1)
    with (tmp_path / f"all.{suffix}").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t" if suffix == "tsv" else ","))
    assert [(row["user"], row["item"]) for row in rows] == [(user, "j")]


def test_written_lists_can_be_read(shell: Shell, odd_model: Path, tmp_path: Path) -> None:
    shell("recommend", odd_model, "-o", tmp_path / "all.csv", "-n", 100, "--include-seen")
    data = hs.read_interactions(tmp_path / "all.csv", value="score", newlines_in_values=True)
    assert set(data.items.ids.tolist()) == set(ODD_IDS)
    assert len(data) == 2 * len(ODD_IDS)


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize("item", ["=1+1", "+1", "-cmd", "@SUM(1)", "\tx", "\ry", "plain", "a=b"])
def test_formulas_are_escaped_on_request(shell: Shell, tmp_path: Path, suffix: str, item: str) -> None:
    path, model = tmp_path / f"all.{suffix}", save(tmp_path / "m", [item])
    for options, expected in ((["--escape-formulas"], item if item in ("plain", "a=b") else f"'{item}"), ([], item)):
        shell("recommend", model, "-o", path, "--include-seen", *options)
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t" if suffix == "tsv" else ","))
        assert {row["item"] for row in rows} == {expected}


def test_negative_numbers_are_not_escaped(shell: Shell, tmp_path: Path) -> None:
    hs.Popularity().fit(hs.Interactions.from_arrays([-1, -1], [-7, 8])).save(tmp_path / "m")
    shell("recommend", tmp_path / "m", "-o", tmp_path / "all.csv", "--include-seen", "--escape-formulas")
    assert {row.split(",")[1] for row in (tmp_path / "all.csv").read_text().splitlines()[1:]} == {"-7", "8"}


@pytest.mark.parametrize("name", ["all.csv", "all.parquet"])
def test_ids_that_are_not_unicode_are_an_error_of_one_line(shell: Shell, tmp_path: Path, name: str) -> None:
    model = save(tmp_path / "m", ["a", "\ud800"])
    _, err = shell("recommend", model, "-o", tmp_path / name, "--include-seen", fails=1)
    assert "is not valid Unicode" in err
    assert not (tmp_path / name).exists()


def test_titles_are_shown_beside_ids(shell: Shell, tmp_path: Path) -> None:
    model = save(tmp_path / "m", ["i1", "i2"], {"i2": "Quiet\x1b[8m [red]Night[/red]"})
    out, _ = shell("recommend", model, "new")
    assert r"Quiet\x1b[8m [red]Night[/red]" in out
    parsed = json.loads(shell("recommend", model, "all", "--include-seen", "--json")[0])
    assert [(row["item"], row["title"]) for row in parsed] == [("i1", None), ("i2", "Quiet\x1b[8m [red]Night[/red]")]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_titles_are_written_beside_ids(shell: Shell, tmp_path: Path, suffix: str) -> None:
    model, path = save(tmp_path / "m", ["i1", "i2"], {"i2": "=Night\r\nand day"}), tmp_path / f"all.{suffix}"
    shell("recommend", model, "-o", path, "--include-seen")
    if suffix == "parquet":
        titles = dict(pl.read_parquet(path).select("item", "title").rows())
    else:
        with path.open(newline="") as file:
            rows = csv.DictReader(file, delimiter="\t" if suffix == "tsv" else ",")
            titles = {row["item"]: row["title"] or None for row in rows}
    assert titles == {"i1": None, "i2": "=Night\r\nand day"}
    if suffix != "parquet":
        shell("recommend", model, "-o", path, "--include-seen", "--escape-formulas")
        assert "'=Night" in path.read_text()


def test_titles_in_tables_are_escaped() -> None:
    titles = {"tea": f"{ESCAPES}\n{OVERRIDE}"}
    data = hs.Interactions.from_arrays(["a", "a", "b"], ["tea", "rum", "rum"], [5.0, 3.0, 4.0])
    data = replace(data, item_titles=titles)
    model = hs.ALS(hs.Explicit(biases=False), rank=1, random_state=0).fit(data)
    shown = repr(model.recommend("b")), repr(model.explain("a", "tea")), repr(model.similar_items("rum"))
    for text in shown:
        assert r"\x1b[31mred\x07\n\u202egnp.exe" in text
        assert "\x1b" not in text
    assert len(shown[0].splitlines()) == 2


def test_ids_of_any_class_in_tables_are_escaped() -> None:
    class Id:
        def __repr__(self) -> str:
            return f"<{ESCAPES}>"

    data = hs.Interactions.from_arrays([Id(), Id()], ["x", "y"])
    assert r"<\x1b[31mred\x07>" in repr(hs.Popularity().fit(data).recommend())


@pytest.mark.slow
def test_characters_that_a_stream_cannot_encode_are_escaped(odd_model: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from halfstep.cli import main; main()", "recommend", odd_model, "東", "-n", "1"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=True,
    )
    assert io.BytesIO(done.stdout).readline() == b"for user \\u6771\n"
