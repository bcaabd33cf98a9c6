"""Refits at regular intervals, in another process."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading

from halfstep.serve.config import ServeConfig

LOG = logging.getLogger("halfstep.serve")
LOG_VARIABLE = "HALFSTEP_LOG"  # may contain a password; all users of the machine can read arguments
LOWER_PRIORITY = 10


class Refitter:
    """Refits the served model at regular intervals; the server then switches to the new file.

    Parameters
    ----------
    config : ServeConfig
        With `refit_every`.
    """

    def __init__(self, config: ServeConfig) -> None:
        self._config = config
        self._stop = threading.Event()
        self._running: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="halfstep-refit", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and terminate a running refit, which then leaves the served file unchanged."""
        self._stop.set()
        running = self._running
        if running is not None and running.poll() is None:
            running.terminate()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._config.refit_every):
            LOG.info("a refit has started")
            code = self._refit()
            if not self._stop.is_set():
                LOG.log(logging.ERROR if code else logging.INFO, "the refit ended with exit code %d", code)

    def _refit(self) -> int:
        config = self._config
        arguments = ["refit", "--model", config.model, "--output", config.model]
        if config.duplicates is not None:
            arguments += ["--duplicates", config.duplicates]
        for each in config.types:
            arguments += ["--learn", each]
        with subprocess.Popen(
            [sys.executable, "-c", "from halfstep.cli import main; main()", *arguments],
            env={**os.environ, LOG_VARIABLE: config.log},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        ) as running:
            self._running = running
            if hasattr(os, "setpriority"):
                os.setpriority(os.PRIO_PROCESS, running.pid, LOWER_PRIORITY)
            return running.wait()
