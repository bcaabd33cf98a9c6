"""``halfstep fit``."""

from __future__ import annotations

import time
from pathlib import Path

from halfstep._support.printable import printable
from halfstep.cli import options
from halfstep.cli.console import note_all, reached_by
from halfstep.cli.exits import interruptions
from halfstep.cli.model_options import ModelOptions, describe_fit
from halfstep.cli.outputs import Output, check_outputs, print_result
from halfstep.cli.table_options import TitledTableOptions


def fit(
    file: options.File,
    *,
    output: options.ModelOutput = Path("model.halfstep"),
    table: TitledTableOptions,
    model_options: ModelOptions,
    keep_interrupted: options.KeepInterrupted = False,
    as_json: options.Json = False,
) -> None:
    """Fit a model to a table of interactions and save it.

    Parameters without an option are chosen from the data and printed.
    """
    check_outputs([Output("--output", output)], {"input file": file, "table of titles": table.item_titles})
    model_options.need_device()
    data = table.read(file)
    model, lines = model_options.choose(data)
    note_all([f"{file}: {data}", *lines])
    began = time.perf_counter()
    with interruptions(keep=keep_interrupted) as cut_short:
        model.fit(data)
    seconds = time.perf_counter() - began
    note_all(describe_fit(model))
    model.save(output)
    history = [line._asdict() for line in getattr(model, "history_", [])]
    result = {
        "model": str(output),
        "users": data.n_users,
        "items": data.n_items,
        "interactions": len(data),
        "rank": model.item_factors_.shape[1],
        "seconds": seconds,
        "history": history,
    }
    reached = f", {reached_by(model)}" if history else ""
    line = f"fitted in {seconds:.1f} s{reached}; saved to {printable(str(output))}"
    print_result(result, [line], output, as_json=as_json)
    if cut_short:
        raise KeyboardInterrupt
