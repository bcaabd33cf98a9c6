"""Parts of the lab that do not depend on each other, run in several processes.

A fit on MovieLens 100K is too small to be shared by threads, and learning event by event is mostly Python.
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

from halfstep.lab.clock import Clock

Tick = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """A function of a `Clock` and arguments, all of which can be pickled.

    Attributes
    ----------
    section : str
        What its fits belong to.
    work : callable
    arguments : tuple
        What it is called with, after the clock.
    """

    section: str
    work: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


def run_parts(parts: Mapping[str, Part], clock: Clock, processes: int, tick: Tick) -> dict[str, Any]:
    """Run all parts, and return what they return, by name.

    Parameters
    ----------
    parts : mapping
        By name, the longest ones first.
    clock : Clock
        What the parts' clocks add up to.
    processes : int
        With 1, everything runs in this process.
    tick : callable
        Called with a line on the progress as it is made.

    Raises
    ------
    ChildProcessError
        If a process was killed. What a part raises is raised here.
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
    """Start processes that run the parts which they are sent; in the end they are stopped, whatever they do."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(count)]
    processes = [context.Process(target=_work, args=(end,), daemon=True) for _, end in pipes]
    started = []
    try:
        for process, (_, end) in zip(processes, pipes, strict=True):
            process.start()
            started.append(process)
            end.close()  # the process has its own: once that is closed, nothing more can be received
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
    """Run what the parent sends until it stops this process, or ends itself."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches all processes: the parent says what happened
    tqdm.set_lock(threading.RLock())  # its own is a semaphore, which a process that is stopped leaves behind
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
