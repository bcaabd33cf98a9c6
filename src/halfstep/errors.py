"""Errors and warnings of halfstep.

Errors derive from `HalfstepError` and from a built-in exception, such as ValueError.
"""

from __future__ import annotations

import sys
import warnings
from types import FrameType


class HalfstepError(Exception):
    """Base class of all errors."""


class DataError(HalfstepError, ValueError):
    """Data are invalid: NaN, missing ids or ids of another type, duplicates, an unknown column."""


class ParameterError(HalfstepError, ValueError):
    """A parameter is invalid."""


class UnknownIdError(HalfstepError, KeyError):
    """An id is unknown."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0]) if self.args else ""


class NotFittedError(HalfstepError, AttributeError):
    """A model is not fitted."""


class SkippedLinesWarning(UserWarning):
    """Lines of a file were skipped due to ``bad_lines="skip"``; the message contains their number."""


class FitInterruptedWarning(UserWarning):
    """A fit was interrupted by Ctrl-C; the model is that of the last iteration."""


class PoorFitWarning(UserWarning):
    """A fit succeeded, but its quality is probably poor; the message names the parameter to change."""


def warn_caller(message: str, category: type[Warning]) -> None:
    """Issue a warning with the line of the caller outside halfstep."""
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "halfstep":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


class NumericalError(HalfstepError, ArithmeticError):
    """A linear system is not positive definite, or a result is not finite.

    Parameters
    ----------
    message : str
        ``{row}`` in it is replaced by the position of the row, or in `named` by its name.
    row, regularization : optional
        See below.

    Attributes
    ----------
    row : int or None
        The position of the row, if the error is in one row.
    regularization : float or None
        A regularization with which the system can be solved, if known.
    """

    def __init__(self, message: str, *, row: int | None = None, regularization: float | None = None) -> None:
        super().__init__(message if row is None else message.replace("{row}", f"row {row}"))
        self.message, self.row, self.regularization = message, row, regularization

    def named(self, name: str) -> NumericalError:
        """Return the same error with the name of the row instead of its position."""
        return NumericalError(self.message.replace("{row}", name), regularization=self.regularization)


class DatasetError(HalfstepError, OSError):
    """A data set could not be found, downloaded or verified."""


class ModelFileError(HalfstepError, OSError):
    """A model file cannot be written, or is truncated, corrupted, or not a model file."""


class ClusterError(HalfstepError, RuntimeError):
    """Workers of a cluster cannot be started, or failed, or factors on them were lost."""


class DeviceError(HalfstepError, RuntimeError):
    """No GPU can be used, its memory is too small, or its driver or libraries are missing."""


class TuningError(HalfstepError, RuntimeError):
    """All trials of a search failed."""


class JournalError(HalfstepError, OSError):
    """A journal of trials belongs to another search, is used by another process, or cannot be read."""
