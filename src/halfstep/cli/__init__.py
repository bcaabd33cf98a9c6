"""The command line: argument parsing and printing only.

``app`` puts the commands together. ``models`` holds those that fit models and use them, ``tune`` the search over
parameters, ``lab`` the experiments, ``doctor`` a look at the machine. ``options`` says what several commands ask for,
``combinations`` which options have no effect beside others, ``outputs`` what may be written to, ``choices`` what is
chosen from the data where nothing is said. ``printing`` and ``tables`` show and write results, ``exits`` turns errors
and signals into exit codes, ``wording`` speaks of options where the library speaks of keyword arguments.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        from halfstep.cli.app import run  # takes long enough for somebody to press Ctrl-C

        run()
    except KeyboardInterrupt:
        print("halfstep: interrupted", file=sys.stderr)
        sys.exit(130)
