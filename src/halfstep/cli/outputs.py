"""Checks of output files before any work is done, so that no result is lost and no input is overwritten."""

from __future__ import annotations

import glob
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import halfstep as hs
from halfstep.cli.console import note, print_json

STANDARD_INPUT = "-"  # as the path of an input


@dataclass(frozen=True)
class Output:
    """A file to be written.

    Attributes
    ----------
    option : str
        The option that names the file.
    path : Path or None
        None if the option is not given.
    suffixes : tuple of str
        The allowed suffixes; any if empty.
    grows : bool
        Whether the file is appended to instead of replaced.
    """

    option: str
    path: Path | None
    suffixes: tuple[str, ...] = ()
    grows: bool = False


def check_outputs(outputs: Sequence[Output], inputs: Mapping[str, str | Path | None]) -> None:
    """Check that files can be written, are not inputs as well, and differ from one another.

    Parameters
    ----------
    outputs : sequence of Output
    inputs : mapping of str to str, Path or None
        The files that are read, by their names in errors; a folder or a pattern means all its files.

    Raises
    ------
    OSError
        If the folder of a file does not exist, or there is no permission to write.
    hs.errors.ParameterError
        If a suffix is not supported, or two files are the same.
    """
    given = {output.option: output.path for output in outputs if output.path is not None}
    for output in outputs:
        if output.path is not None:
            _check_suffix(output.option, output.path, output.suffixes)
            _check_place(output.option, output.path, grows=output.grows)
    for name, read in inputs.items():
        for option, written in given.items():
            if read is not None and _is_read(written, Path(read)):
                raise hs.errors.ParameterError(
                    f"{option} {written} is also the {name}, or a part of it: name another file"
                )
    for (one, first), (other, second) in combinations(given.items(), 2):
        if _are_same(first, second):
            raise hs.errors.ParameterError(f"{other} {second} is also the file of {one}: name another file")


def print_result(result: dict[str, Any], lines: Iterable[str], output: Path, *, as_json: bool) -> None:
    """Print JSON or lines; on standard error if `output` may be standard output, as ``/dev/stdout`` is."""
    write = note if _may_be_standard_output(output) else print
    if as_json:
        print_json(result, write)
        return
    for line in lines:
        write(line)


def _may_be_standard_output(path: Path) -> bool:
    try:
        return not path.is_file() or os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):  # standard output has no file descriptor
        return False


@contextmanager
def naming_the_option(option: str, path: Path) -> Iterator[None]:
    """Add the option and the path to errors of writing a file."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{option} {path} cannot be written ({error.strerror or error}): name another file") from error


def _check_suffix(option: str, path: Path, suffixes: tuple[str, ...]) -> None:
    if suffixes and path.suffix.lower() not in suffixes:
        raise hs.errors.ParameterError(
            f"{option} {path}: the suffix {path.suffix!r} is not supported: use one of {', '.join(suffixes)}"
        )


def _check_place(option: str, path: Path, *, grows: bool) -> None:
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{option} {path} is a folder: name a file")
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"{option} {path}: there is no folder {target.parent}: create it, or name another file"
        )
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"{option} {path} cannot be written, because of its permissions: name another file")
    is_replaced = path.is_file() and not grows
    if (is_replaced or not path.exists()) and not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{option} {path}: the folder {target.parent} cannot be written: name another file")


def _is_read(written: Path, read: Path) -> bool:
    """Whether an output is one of the files of an input, which may be a folder or a pattern."""
    if str(read) == STANDARD_INPUT:
        return _are_same(Path("/dev/stdin"), written)
    if read.is_dir():
        return Path(os.path.realpath(written)).is_relative_to(os.path.realpath(read))
    if read.exists():
        return _are_same(read, written)
    matches = glob.iglob(str(read), recursive=True)  # noqa: PTH207 - Path.glob accepts no absolute patterns
    return any(_is_read(written, Path(each)) for each in matches)


def _are_same(one: Path, other: Path) -> bool:
    """Whether two paths are the same file after resolving links; False for devices, which are not overwritten."""
    try:
        found = one.stat(), other.stat()
    except OSError:  # not both exist
        return os.path.realpath(one) == os.path.realpath(other)
    return os.path.samestat(*found) and not stat.S_ISCHR(found[0].st_mode)
