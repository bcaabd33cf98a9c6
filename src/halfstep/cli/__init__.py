"""The command line: argument parsing and printing only.

``app`` registers the commands: ``fit``, ``update`` (incremental updates), ``info`` (the description of a model),
``lists`` (recommendations and similar items), ``evaluate``, ``tune``, ``lab`` (the experiments and the data sets) and
``doctor`` (the report on the environment). ``options`` defines the options that several commands share, and
``combinations`` which of them have no effect with others. ``outputs`` checks the files to be written, and ``choices``
sets parameters from the data by default. ``printing``, ``tables`` and ``parquet`` show and write results, ``exits``
converts errors and signals to exit codes, and ``wording`` rewrites keyword arguments in errors as options.
"""

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
