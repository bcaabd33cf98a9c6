"""``halfstep refit``: fit a served model again, to its data and the events of its log."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

import halfstep as hs
from halfstep._support.plurals import with_count
from halfstep._support.printable import printable
from halfstep.cli import options
from halfstep.cli.console import note_all, reached_by
from halfstep.cli.model_options import describe_fit
from halfstep.cli.outputs import Output, check_outputs, print_result
from halfstep.cli.serve import LearningOptions, check_installed


def refit(
    log: Annotated[
        str,
        typer.Argument(
            help="The event log of a service: a SQLite file, or postgresql://user@host/database.",
            envvar="HALFSTEP_LOG",
            show_default=False,
        ),
    ],
    *,
    output: options.ModelOutput,
    model: Annotated[
        Path | None,
        typer.Option(help="The model whose data and parameters are used. Default: the one last served with the log."),
    ] = None,
    learning: LearningOptions,
    tune: Annotated[bool, typer.Option("--tune", help="Tune the parameters again, as halfstep tune does.")] = False,
    trials: Annotated[
        int | None, typer.Option(help="Maximum number of trials of --tune. Default: as for halfstep tune.", min=1)
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Fit a served model again, to its training data and the events of the log.

    A running server of the written file switches to the new model, and continues with later events.
    """
    check_installed()
    from halfstep.serve.event_log import EventLog
    from halfstep.serve.learner import LearningSettings
    from halfstep.serve.refit import data_of, model_of, new_estimator, save_refitted

    check_outputs([Output("--output", output)], {})
    events = EventLog(log, must_exist=True)
    path = model_of(events) if model is None else model
    served = hs.load(path)
    known = data_of(served, events, LearningSettings.of_model(served, learning.duplicates, learning.learn or ()))
    erased = f", without {with_count(known.erased_users, 'erased user')}" if known.erased_users else ""
    ignored = f"; {with_count(known.ignored, 'event')} without a value ignored" if known.ignored else ""
    note_all([f"{path} and {with_count(known.events, 'event')}: {known.data}{erased}{ignored}"])
    began = time.perf_counter()
    estimator: Any = new_estimator(served)
    fitted = hs.tune(estimator, known.data, n_trials=trials).model if tune else estimator.fit(known.data)
    seconds = time.perf_counter() - began
    note_all(describe_fit(fitted))
    save_refitted(fitted, events, known.offset, output)
    reached = f", {reached_by(fitted)}" if getattr(fitted, "history_", None) else ""
    print_result(
        {
            "model": str(output),
            "users": known.data.n_users,
            "items": known.data.n_items,
            "interactions": len(known.data),
            "events": known.events,
            "offset": known.offset,
            "erased_users": known.erased_users,
            "seconds": seconds,
        },
        [f"fitted in {seconds:.1f} s{reached}; saved to {printable(str(output))}"],
        output,
        as_json=as_json,
    )
