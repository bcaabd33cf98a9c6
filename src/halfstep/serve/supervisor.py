"""Several processes that accept connections from one socket.

Every process answers requests, appends events to the log, and learns from the log by itself: the database orders the
events, and learning is deterministic, so the processes agree without sharing memory, and none of them depends on
another. The first process also writes snapshots. A process that has died is replaced. SIGHUP replaces all processes
one after another, each after its successor is ready.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from halfstep.serve.config import CONFIG_VARIABLE, ServeConfig
from halfstep.serve.metrics import SHARED_FOLDER

LOG = logging.getLogger("halfstep.serve")
CHECK_SECONDS = 0.2
RESTART_SECONDS = 1.0  # between attempts to replace a process
STOP_SECONDS = 30.0


@dataclass
class _Process:
    number: int
    running: subprocess.Popen[bytes]
    pipe: int  # a byte arrives when the process is ready
    is_ready: bool = False

    def check(self) -> None:
        """Check whether the process is ready."""
        if not self.is_ready and select.select([self.pipe], [], [], 0)[0]:
            self.is_ready = bool(os.read(self.pipe, 1))

    def close(self) -> None:
        os.close(self.pipe)


class Supervisor:
    """Starts and watches the processes of a server.

    Parameters
    ----------
    on_ready : callable
        Called when all processes are ready for the first time.
    """

    def __init__(self, config: ServeConfig, listening: socket.socket, on_ready: Callable[[], None]) -> None:
        self._config, self._listening, self._on_ready = config, listening, on_ready
        self._is_stopping = self._is_restarting = False
        self._metrics = tempfile.TemporaryDirectory(prefix="halfstep-metrics-")

    def run(self) -> int:
        """Run until SIGINT or SIGTERM, and return the exit code."""
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGHUP, self._restart)
        processes = [self._start(number) for number in range(self._config.workers)]
        try:
            while not all(process.is_ready for process in processes):
                for process in processes:
                    process.check()
                    if process.running.poll() is not None and not self._is_stopping:
                        return process.running.returncode or 1
                if self._is_stopping:
                    return 0
                time.sleep(CHECK_SECONDS / 10)
            self._on_ready()
            while not self._is_stopping:
                for number, process in enumerate(processes):
                    if process.running.poll() is not None:
                        LOG.error("process %d stopped with exit code %d", number, process.running.returncode)
                        process.close()
                        time.sleep(RESTART_SECONDS)
                        processes[number] = self._start(number)
                if self._is_restarting:
                    self._is_restarting = False
                    self._replace_all(processes)
                time.sleep(CHECK_SECONDS)
            return 0
        finally:
            for process in processes:
                self._end(process)
            self._metrics.cleanup()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._is_stopping = True

    def _restart(self, number: int, frame: FrameType | None) -> None:
        self._is_restarting = True

    def _start(self, number: int) -> _Process:
        read, write = os.pipe()
        arguments = [str(number), str(self._listening.fileno()), str(write)]
        running = subprocess.Popen(
            [sys.executable, "-m", "halfstep.serve.worker", *arguments],
            pass_fds=[self._listening.fileno(), write],
            env={**os.environ, CONFIG_VARIABLE: self._config.to_json(), SHARED_FOLDER: self._metrics.name},
            start_new_session=True,  # Ctrl-C reaches this process, which stops the others
        )
        os.close(write)
        return _Process(number, running, read)

    def _replace_all(self, processes: list[_Process]) -> None:
        """Replace processes one after another, each after its successor is ready."""
        for number, old in enumerate(processes):
            new = self._start(number)
            while not new.is_ready and new.running.poll() is None and not self._is_stopping:
                new.check()
                time.sleep(CHECK_SECONDS / 10)
            if not new.is_ready:
                LOG.error("the successor of process %d did not start: the old process keeps running", number)
                self._end(new)
                return
            self._end(old)
            processes[number] = new

    def _end(self, process: _Process) -> None:
        if process.running.poll() is None:
            process.running.terminate()
            try:
                process.running.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.running.kill()
                process.running.wait()
        process.close()
        for stale in Path(self._metrics.name).glob(f"gauge_live*_{process.running.pid}.db"):
            stale.unlink(missing_ok=True)
