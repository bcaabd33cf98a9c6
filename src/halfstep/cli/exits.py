"""One-line errors and exit codes of commands."""

from __future__ import annotations

import functools
import inspect
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

import typer

import halfstep as hs
from halfstep._support.printable import message_of
from halfstep.cli.combinations import UsageError, check_combination
from halfstep.cli.console import note
from halfstep.cli.grouped import with_signature
from halfstep.cli.wording import in_terms_of_options

ERROR = 1
WRONG_USAGE = 2
BY_SIGNAL = 128  # plus the number of the signal, as in shells
INTERRUPTED = BY_SIGNAL + signal.SIGINT
PIPE_CLOSED = BY_SIGNAL + getattr(signal, "SIGPIPE", 13)

EPILOG = (
    "Exit codes: 0 success; 1 error, described in one line; 2 usage error; 130 interrupted by Ctrl-C, in which case "
    "no file is written unless --keep-interrupted is given; 128 + n stopped by signal n."
)


def prepare_streams() -> None:
    """Replace missing standard streams, and escape characters that a stream cannot encode."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115  # print would use standard output
    if sys.stdout is None:  # the next file to be opened would get its descriptor
        note("halfstep: standard output is closed: redirect it to a file or to /dev/null")
        sys.exit(ERROR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout = cast(TextIO, _Output(sys.stdout))


class _Output:
    """Standard output with errors that name it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with _naming_output():
            return self._stream.write(text)

    def flush(self) -> None:
        with _naming_output():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _naming_output() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        _forget_output()
        raise OSError(f"standard output cannot be written ({error.strerror})") from error


def stop_on_signals() -> None:
    """Exit by an exception on SIGTERM and SIGHUP, so that temporary files are removed."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)


def _stop(number: int, _: object) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
    sys.exit(BY_SIGNAL + number)


@contextmanager
def flushed() -> Iterator[None]:
    """Flush standard output at the end, with a one-line error if it cannot be written."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
        sys.exit(PIPE_CLOSED)
    except OSError as error:
        note(f"halfstep: {error}")
        sys.exit(ERROR)


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command to convert errors to one line on standard error and an exit code."""

    @functools.wraps(command)
    def run(context: typer.Context, **arguments: Any) -> None:
        try:
            check_combination(context)
            command(**arguments)
            sys.stdout.flush()
        except KeyboardInterrupt:
            note("halfstep: interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # the reader closed the pipe, as head does
            _forget_output()
            raise typer.Exit(PIPE_CLOSED) from None
        except MemoryError as error:
            note(f"halfstep: out of memory{f': {error}' if str(error) else ''}")
            raise typer.Exit(ERROR) from None
        except (hs.errors.HalfstepError, ModuleNotFoundError, OSError) as error:
            note(f"halfstep: {in_terms_of_options(' '.join(message_of(error).split()), context)}")
            raise typer.Exit(WRONG_USAGE if isinstance(error, UsageError) else ERROR) from None

    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    return with_signature(run, [context, *inspect.signature(command, eval_str=True).parameters.values()])


def _forget_output() -> None:
    """Discard the buffer of standard output, which Python would otherwise try to write again at exit."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # not backed by a file descriptor
        return


@contextmanager
def interruptions(*, keep: bool) -> Iterator[list[str]]:
    """Raise `KeyboardInterrupt` for an interrupted fit, or keep its model.

    Yields
    ------
    list of str
        The messages of interrupted fits whose models are kept.

    Raises
    ------
    KeyboardInterrupt
        If a fit is interrupted and `keep` is False.
    """
    cut_short: list[str] = []
    show = warnings.showwarning

    def show_and_remember(message: Warning | str, category: type[Warning], *args: Any, **kwargs: Any) -> None:
        if issubclass(category, hs.errors.FitInterruptedWarning):
            cut_short.append(str(message))
        show(message, category, *args, **kwargs)

    with warnings.catch_warnings():
        warnings.simplefilter("always" if keep else "error", hs.errors.FitInterruptedWarning)
        warnings.showwarning = show_and_remember
        try:
            yield cut_short
        except hs.errors.FitInterruptedWarning:
            raise KeyboardInterrupt from None
