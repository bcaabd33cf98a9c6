"""A worker process of a server; `halfstep.serve.supervisor` starts it."""

from __future__ import annotations

import os
import socket
import sys

from halfstep.serve.config import CONFIG_VARIABLE, ServeConfig
from halfstep.serve.server import log_to_standard_error, serve


def main() -> None:
    """Serve on an inherited socket; write to an inherited pipe when ready."""
    number, listening, pipe = sys.argv[1:]
    log_to_standard_error()

    def report() -> None:
        os.write(int(pipe), b"r")
        os.close(int(pipe))

    serve(
        ServeConfig.from_json(os.environ.pop(CONFIG_VARIABLE)),
        socket.socket(fileno=int(listening)),
        is_writer=number == "0",
        drains=True,
        on_ready=report,
    )


if __name__ == "__main__":
    main()
