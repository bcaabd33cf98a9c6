"""Sets of integers in arrays, by sorting.

Since NumPy 2.3, `np.unique` and functions that call it, such as `np.isin`, fill a hash table. For ten million
integers, most of them distinct, this takes 15 times as long as sorting them.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Integer = TypeVar("_Integer", bound=np.integer[Any])


def distinct(values: NDArray[_Integer]) -> NDArray[_Integer]:
    """Return the distinct values, ascending, as `np.unique` does."""
    ordered = np.sort(values)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


def is_in(values: NDArray[_Integer], others: NDArray[_Integer]) -> NDArray[np.bool_]:
    """Return a mask of the values that are among the others, as `np.isin` does."""
    if len(others) == 0:
        return np.zeros(len(values), np.bool_)
    ordered = np.sort(others)
    found = np.searchsorted(ordered, values)
    is_found: NDArray[np.bool_] = ordered[np.minimum(found, len(ordered) - 1)] == values
    return is_found
