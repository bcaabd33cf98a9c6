"""Checks of parameters."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from halfstep._support.printable import without_password
from halfstep.errors import ParameterError

LARGEST = 2**63 - 1  # of int64, the integers of compiled code
MOST_THREADS = 1 << 16

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # as of a URL, but not a drive of Windows


def check_integer(name: str, value: object, *, minimum: int) -> None:
    """Check that a value is an int64 integer of at least `minimum`."""
    if not _is_integer(value) or value < minimum:
        raise ParameterError(f"{name}={value!r}: give an integer of at least {minimum}")
    if value > LARGEST:
        raise ParameterError(f"{name}={value!r}: give an integer of at most {LARGEST}")


def check_threads(threads: object) -> None:
    """Check that `threads` is None or a possible number of threads."""
    if threads is not None and not (_is_integer(threads) and 1 <= threads <= MOST_THREADS):
        raise ParameterError(
            f"threads={threads!r}: give an integer from 1 to {MOST_THREADS:,}, or None for all cores"
        )


def check_flag(name: str, value: object, *, optional: bool = False) -> None:
    """Check that a value is True or False, or None if `optional`."""
    if not (isinstance(value, bool | np.bool_) or (optional and value is None)):
        choices = "True, False or None" if optional else "True or False"
        raise ParameterError(f"{name}={value!r}: give {choices}")


def as_path(name: str, value: Any) -> Path:
    """Return the path of a file or folder that is given as a string or a path-like object; not a URL."""
    if isinstance(value, str) or (isinstance(value, os.PathLike) and isinstance(os.fspath(value), str)):
        try:
            is_possible = b"\0" not in os.fsencode(value)
        except UnicodeEncodeError:  # a lone surrogate
            is_possible = False
        if not is_possible:
            raise ParameterError(f"{name}={value!r}: give a path without characters that no file name can contain")
        path = os.fspath(value)
        if not path:
            raise ParameterError(f"{name}='': give a path")
        if _ADDRESS.match(path):
            address = without_password(path)
            raise ParameterError(
                f"{name}={address!r} is an address: give the path of a file or folder on this machine"
            )
        return Path(value)
    raise ParameterError(f"{name}={value!r}: give a path, as a string or a pathlib.Path")


def check_number(name: str, value: object, *, positive: bool = False) -> None:
    """Check that a value is a finite number of at least 0, or above 0 if `positive`."""
    number = _as_float(value) if _is_integer(value) or isinstance(value, float | np.floating) else math.nan
    if not (math.isfinite(number) and (number > 0 if positive else number >= 0)):
        bound = "above 0" if positive else "of at least 0"
        raise ParameterError(f"{name}={value!r}: give a finite number {bound}")


def as_pair(name: str, value: Any) -> tuple[Any, Any]:
    """Return the values for users and for items from one number or a pair."""
    if not isinstance(value, tuple | list):
        return value, value
    if len(value) != 2:
        raise ParameterError(f"{name}={value!r}: give a number, or a pair for users and items")
    return value[0], value[1]


def check_finite(name: str, value: object) -> None:
    """Check that a value is a finite number."""
    if not (_is_integer(value) or isinstance(value, float | np.floating)) or not math.isfinite(_as_float(value)):
        raise ParameterError(f"{name}={value!r}: give a finite number")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Check that a value is one of some strings."""
    if not isinstance(value, str) or value not in choices:  # == of arrays has no truth value
        raise ParameterError(f"{name}={value!r}: give one of {', '.join(map(repr, choices))}")


def as_generator(random_state: object) -> np.random.Generator:
    """Return the generator of a `random_state`: None, a seed or a generator."""
    check_random_state(random_state)
    if isinstance(random_state, np.random.Generator):
        return random_state
    return np.random.default_rng(int(random_state) if _is_integer(random_state) else None)


def check_random_state(random_state: object) -> None:
    """Check that `as_generator` accepts a `random_state`."""
    is_generator = random_state is None or isinstance(random_state, np.random.Generator)
    if is_generator or (_is_integer(random_state) and random_state >= 0):
        return
    raise ParameterError(
        f"random_state={random_state!r}: give None, an integer of at least 0, or a numpy.random.Generator "
        "such as numpy.random.default_rng(0)"
    )


def _as_float(value: float | np.floating | np.integer) -> float:
    """Convert a number to float; integers that are too large become infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
