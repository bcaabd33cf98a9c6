"""A worker process of a server; `halfstep.serve.supervisor` starts it."""

from __future__ import annotations

import logging
import os
import socket
import sys

from halfstep._support.printable import message_of
from halfstep.errors import HalfstepError
from halfstep.serve.config import CONFIG_VARIABLE, ServeConfig
from halfstep.serve.server import log_to_standard_error, serve

LOG = logging.getLogger("halfstep.serve")


def main() -> None:
    """Serve on an inherited socket; write to an inherited pipe when ready."""
    number, listening, pipe = sys.argv[1:]
    log_to_standard_error()

    def report() -> None:
        os.write(int(pipe), b"r")
        os.close(int(pipe))

    try:
        serve(
            ServeConfig.from_json(os.environ.pop(CONFIG_VARIABLE)),
            socket.socket(fileno=int(listening)),
            is_writer=number == "0",
            drains=True,
            on_ready=report,
        )
    except (HalfstepError, ModuleNotFoundError, OSError) as error:
        LOG.error("process %s stopped: %s", number, message_of(error))
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
