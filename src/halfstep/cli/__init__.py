"""The command line: argument parsing and printing only."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from halfstep.cli.app import run  # slow enough for Ctrl-C to come during it

        run()
    except KeyboardInterrupt:
        print("halfstep: interrupted", file=sys.stderr)
        sys.exit(130)
