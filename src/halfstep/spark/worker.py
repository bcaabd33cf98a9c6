"""What workers of Spark run: calls of a function, given by number."""

from __future__ import annotations

import gc
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from halfstep.errors import HalfstepError


def calls(function: Callable[[Any], Any], arguments: Sequence[Any]) -> Callable[[Iterable[Any]], Iterator[Any]]:
    """Return a function for ``mapInArrow``, which turns the numbers of arguments into the results of calls."""
    content = pickle.dumps((function, list(arguments)))

    def run(batches: Iterable[Any]) -> Iterator[Any]:
        return run_calls(content, batches)  # this function is pickled by name

    return run


def run_calls(content: bytes, batches: Iterable[Any]) -> Iterator[Any]:
    """Yield the results of calls in the order of the numbers in batches."""
    function, arguments = pickle.loads(content)
    for batch in batches:
        for number in batch.column(0).to_pylist():
            try:
                result = function(arguments[number])
            except HalfstepError as error:  # has the same message on the driver, and is not retried
                result = Failed(error)
            yield pa.RecordBatch.from_arrays(
                [pa.array([number], pa.int64()), pa.array([pickle.dumps(result)], pa.binary())], ["number", "result"]
            )
    # Workers collect garbage after each task, which takes 0.1 s with the objects of all modules.
    gc.collect()
    gc.freeze()


class Failed:
    """The result of a call that raised an error.

    Parameters
    ----------
    error : HalfstepError
    """

    def __init__(self, error: HalfstepError) -> None:
        self.error = error


def results(numbers: Sequence[int], contents: Sequence[bytes]) -> list[Any]:
    """Return the results in the order of arguments, or raise the error of the first call that failed."""
    values = [pickle.loads(content) for _, content in sorted(zip(numbers, contents, strict=True))]
    for value in values:
        if isinstance(value, Failed):
            raise value.error
    return values
