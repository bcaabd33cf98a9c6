"""The command line: argument parsing and printing only."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from halfstep.cli.app import run  # takes long enough to be interrupted by Ctrl-C

        run()
    except KeyboardInterrupt:
        print("halfstep: interrupted", file=sys.stderr)
        sys.exit(130)
