"""Reading of randomly damaged files: ``python -m benchmarks.stress.readers``.

Five typical files (a csv of plays; ratings separated by tabs, by ``::``, and by semicolons with decimal commas and
quotes; and JSON lines with gzip) are changed at random: bytes, quotes, separators, line ends and lines are inserted,
deleted or moved, and files are truncated. Each must be read with the number of rows of an independent count, or be an
error that names the file. The count uses the csv module of Python on each line, or its json module.

Each mutation is also read with ``bad_lines="skip"``: rows and skipped lines must add up to the non-empty lines.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import halfstep as hs

MUTATIONS = 500
ROWS = 60
PIECES = [
    b'"',
    b'""',
    b'"\n"',
    b",",
    b"\t",
    b"::",
    b";",
    b"\n",
    b"\r\n",
    b"\r",
    b"\n\n",
    b"#",
    b" ",
    b"\\",
    b"'",
    b"\xe9",
    b"\0",
    b"{",
    b"}",
    b"[",
    b"null",
    b"1e999",
    b"nan",
    b"-",
    b"\xef\xbb\xbf",
    b"7",
]


@dataclass(frozen=True)
class Original:
    """A file with its format, and an independent count of its records."""

    name: str
    content: bytes
    options: dict[str, Any] = field(default_factory=dict)
    separator: str = ","
    header: bool = True
    is_json: bool = False
    compressed: bool = False

    def records(self, content: bytes) -> list[str]:
        """The lines that are neither empty nor the header."""
        text = content.decode("utf-8-sig", errors="replace")
        lines = [line for line in re.split(r"\r\n|\r|\n", text) if line]
        return lines[self.header :]

    def is_record(self, line: str, width: int) -> bool:
        """Whether Python finds as many fields in a line as in the first, or a JSON object."""
        if self.is_json:
            try:
                return isinstance(json.loads(line), dict)
            except ValueError:
                return False
        if len(self.separator) > 1:
            found = len(line.split(self.separator))
        else:
            try:
                found = len(next(csv.reader([line], delimiter=self.separator, strict=True, skipinitialspace=True)))
            except csv.Error:
                return False
        return width <= found <= width + line.endswith(self.separator)  # there may be a separator at the end


def originals() -> list[Original]:
    rng = random.Random(0)
    users = [rng.choice(["eve", "adam", "Zoë", "o'neil", "x y"]) + str(k) for k in range(ROWS)]
    rows = [(users[k], rng.randint(1, 99), rng.randint(1, 9), 1_500_000_000 + k) for k in range(ROWS)]
    plays = "listener,artist,plays,time\n" + "".join(f"{u},{i},{v},{t}\n" for u, i, v, t in rows)
    ratings = "".join(f"{k}\t{i}\t{v}\t{t}\n" for k, (_, i, v, t) in enumerate(rows))
    colons = "".join(f"{k}::{i}::{v / 2}::{t}\n" for k, (_, i, v, t) in enumerate(rows))
    comma = "user;item;value;name\n" + "".join(f'"{u}";{i};{v},5;"A ""B"" {i}; C"\n' for u, i, v, _ in rows)
    lines = "".join(json.dumps({"user": u, "item": str(i), "value": v, "timestamp": t}) + "\n" for u, i, v, t in rows)
    by_position = {"user": 0, "item": 1, "value": 2, "timestamp": 3, "header": False}
    named = {"user": "listener", "item": "artist", "value": "plays", "timestamp": "time"}
    return [
        Original("plays.csv", plays.encode(), named),
        Original("u.data", ratings.encode(), {**by_position, "separator": "\t"}, "\t", False),
        Original("ratings.dat", colons.encode(), {**by_position, "separator": "::"}, "::", False),
        Original("notes.csv", comma.encode(), {"decimal": ",", "separator": ";"}, ";"),
        Original("plays.jsonl", lines.encode(), {}, "", False, True, True),
    ]


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Apply one to three changes."""
    for _ in range(rng.randint(1, 3)):
        content = changed(content, rng)
    return content


def changed(content: bytes, rng: random.Random) -> bytes:
    """Change bytes at a random position, or lines."""
    place, other = sorted((rng.randrange(len(content) + 1), rng.randrange(len(content) + 1)))
    lines = content.splitlines(keepends=True)
    piece, another = rng.choice(PIECES), rng.choice(PIECES)
    changes = [
        content[:place] + piece + content[place:],
        content[:place] + piece + content[place + 1 :],
        content[:place] + content[place + rng.randint(1, 8) :],
        content[:place] + piece + content[place:other] + another + content[other:],
        content[:other],
        content.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\n"]), rng.choice([-1, 5])),
        b"".join(rng.sample(lines, len(lines))),
        b"".join(line for line in lines if rng.random() < 0.9),
    ]
    return rng.choice(changes)


def outcome(original: Original, content: bytes, folder: Path) -> str:
    """Read a file with both options, compare with the count, and return the outcome.

    Raises
    ------
    AssertionError
        If rows are missing or extra without an error.
    """
    path = folder / original.name
    path.write_bytes(gzip.compress(content, 1) if original.compressed else content)
    lines = original.records(content)
    skipping = _read(path, original.options, "skip")
    if isinstance(skipping, tuple):
        rows, skipped = skipping
        assert rows + skipped == len(lines), f"{rows} read and {skipped} skipped of {len(lines)} lines"
    found = _read(path, original.options, "error")
    if isinstance(found, str):
        assert original.name in found, found
        return "refused"
    rows, skipped = found
    width = _width(original, content)
    counted = sum(original.is_record(line, width) for line in lines)
    assert skipped == 0
    assert rows == counted == len(lines), f"{rows} read, and {counted} counted in {len(lines)} lines"
    assert skipping == found, "lines of a valid file were skipped"
    return "read"


def _width(original: Original, content: bytes) -> int:
    if original.is_json:
        return 0
    first = next(line for line in re.split(r"\r\n|\r|\n", content.decode("utf-8-sig")) if line)
    if len(original.separator) > 1:
        return len(first.split(original.separator))
    return len(next(csv.reader([first], delimiter=original.separator, skipinitialspace=True)))


def _read(path: Path, options: dict[str, Any], bad_lines: Literal["error", "skip"]) -> tuple[int, int] | str:
    """Count the rows that are read and the lines that are skipped, or return the error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            rows = len(hs.read_interactions(path, **options, bad_lines=bad_lines))
        except hs.errors.DataError as error:
            return str(error)
    skipped = [str(each.message) for each in caught if each.category is hs.errors.SkippedLinesWarning]
    return rows, sum(int(message.split(": ")[-1].split()[0].replace(",", "")) for message in skipped)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mutations", type=int, default=MUTATIONS)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    run(asked.mutations, asked.seed)


def run(mutations: int, seed: int) -> Counter[tuple[str, str]]:
    """Read a number of mutations, and print the outcomes."""
    rng, files, outcomes = random.Random(seed), originals(), Counter[tuple[str, str]]()
    with tempfile.TemporaryDirectory() as folder:
        for original in files:
            assert outcome(original, original.content, Path(folder)) == "read"
        for number in range(mutations):
            original = files[number % len(files)]
            content = mutated(original.content, rng)
            try:
                outcomes[original.name, outcome(original, content, Path(folder))] += 1
            except Exception as error:
                error.add_note(f"mutation {number} of {original.name}: {content!r}")
                raise
    for (name, what), count in sorted(outcomes.items()):
        print(f"{name:<12} {what:<8} {count:5}")
    return outcomes


if __name__ == "__main__":
    main()
