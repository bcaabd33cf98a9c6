"""How functions of this package run on workers of Spark: as arguments of ``mapInArrow``."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from halfstep.errors import HalfstepError

Batches = Iterable[pa.RecordBatch]
Function = Callable[[Batches], Iterator[pa.RecordBatch]]


def on_batches(function: Callable[..., Iterator[pa.RecordBatch]], *arguments: Any) -> Function:
    """Return a function for ``mapInArrow``, which calls an importable one with these arguments and the batches.

    Arguments may contain functions of the user's program, such as weights, which are sent by value.
    """
    from pyspark import cloudpickle

    content = cloudpickle.dumps((function, arguments))

    def run(batches: Batches) -> Iterator[pa.RecordBatch]:
        return run_on(content, batches)  # Spark pickles this function, but the other one by name

    return run


def run_on(content: bytes, batches: Batches) -> Iterator[pa.RecordBatch]:
    """Call a function of batches."""
    function, arguments = pickle.loads(content)
    yield from function(*arguments, batches)
    keep_modules()


def keep_modules() -> None:
    """Exempt all objects from later collections of garbage, which otherwise take 0.1 s after each task."""
    gc.collect()
    gc.freeze()


def call(function: Callable[[Any], Any], arguments: Sequence[Any], batches: Batches) -> Iterator[pa.RecordBatch]:
    """Call a function for the arguments whose numbers are in batches."""
    for batch in batches:
        for number in batch.column(0).to_pylist():
            yield result(number, partial(function, arguments[number]))


def result(number: int, compute: Callable[[], Any]) -> pa.RecordBatch:
    """Return what a function returns, or the error that it raises, as a row for the driver.

    Errors of halfstep have the same type and message on the driver; after other errors, Spark runs the task again.
    """
    try:
        value = compute()
    except HalfstepError as error:
        value = Failed(error)
    columns = [pa.array([number], pa.int64()), pa.array([pickle.dumps(value)], pa.binary())]
    return pa.RecordBatch.from_arrays(columns, ["number", "result"])


class Failed:
    """The result of a call that raised an error.

    Parameters
    ----------
    error : HalfstepError
    """

    def __init__(self, error: HalfstepError) -> None:
        self.error = error


def results(table: pa.Table) -> dict[int, Any]:
    """Return the results by number in ascending order, or raise the error of the first call that failed."""
    contents = sorted(zip(table["number"].to_pylist(), table["result"].to_pylist(), strict=True))
    values = {number: pickle.loads(content) for number, content in contents}
    for value in values.values():
        if isinstance(value, Failed):
            raise value.error
    return values
