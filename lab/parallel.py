"""Independent parts of the lab, run in several processes.

A fit on MovieLens 100K is too small for several threads, and online learning is mostly Python code.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from tqdm import tqdm

from lab.clock import Clock

Tick = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """A function of a `Clock` and other arguments, which can be pickled.

    Attributes
    ----------
    section : str
        The section of its fits.
    work : callable
    arguments : tuple
        The arguments after the clock.
    """

    section: str
    work: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


def run_parts(parts: Mapping[str, Part], clock: Clock, processes: int, tick: Tick) -> dict[str, Any]:
    """Run all parts, and return their results by name.

    Parameters
    ----------
    parts : mapping
        Parts by name, in descending order of duration.
    clock : Clock
        The clock to which those of the parts are added.
    processes : int
        With 1, everything runs in this process.
    tick : callable
        A function that is called with a line on the progress.

    Raises
    ------
    ChildProcessError
        If a process was killed. Exceptions of parts are raised as well.
    """
    found: dict[str, Any] = {}
    if processes == 1:
        for name, part in parts.items():
            tick(_progress(len(found), parts, part.section))
            found[name] = _finished(clock, *_run(part))
        return found
    waiting, running = list(parts)[::-1], dict[Connection, str]()
    with _workers(min(processes, len(parts))) as idle:
        while len(found) < len(parts):
            while idle and waiting:
                worker = idle.pop()
                running[worker] = waiting.pop()
                worker.send(parts[running[worker]])
            tick(_progress(len(found), parts))
            ready = wait(list(running))
            for worker in [each for each in running if each in ready]:
                name = running.pop(worker)
                found[name] = _finished(clock, *_received(worker))
                idle.append(worker)
    return {name: found[name] for name in parts}


@contextmanager
def _workers(count: int) -> Iterator[list[Connection]]:
    """Start processes that run the parts that they receive, and stop them at the end."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(count)]
    processes = [context.Process(target=_work, args=(end,), daemon=True) for _, end in pipes]
    started = []
    try:
        for process, (_, end) in zip(processes, pipes, strict=True):
            process.start()
            started.append(process)
            end.close()  # the process has a copy, so that the connection ends with the process
        yield [end for end, _ in pipes]
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.join()
        for pipe in pipes:
            for end in pipe:
                end.close()


def _work(parent: Connection) -> None:
    """Run the parts that the parent sends, until it ends or stops this process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches all processes, and the parent handles it
    tqdm.set_lock(threading.RLock())  # the default is a semaphore, which leaks if the process is stopped
    with suppress(EOFError, OSError):
        while True:
            part = parent.recv()
            try:
                outcome: Any = _run(part)
            except Exception as error:
                error.add_note(traceback.format_exc())
                outcome = error
            parent.send(outcome)


def _received(worker: Connection) -> tuple[Any, Clock]:
    try:
        outcome = worker.recv()
    except (EOFError, OSError):
        raise ChildProcessError(
            "a process of the lab was killed, perhaps because memory ran out: close other programs and try again"
        ) from None
    if isinstance(outcome, Exception):
        raise outcome
    result, spent = outcome
    return result, spent


def _run(part: Part) -> tuple[Any, Clock]:
    clock = Clock(section=part.section)
    return part.work(clock, *part.arguments), clock


def _finished(clock: Clock, result: Any, spent: Clock) -> Any:
    clock.add(spent)
    return result


def _progress(finished: int, parts: Mapping[str, Part], section: str = "") -> str:
    return f"{finished} of {len(parts)} parts are finished" + (f", now: {section}" if section else "")
