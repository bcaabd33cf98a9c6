"""Validation of SciPy sparse matrices before compiled code, including that of SciPy, reads them.

SciPy does not always check indices: arrays can be modified after construction, and files are loaded unchecked. Its
compiled conversions and products read out of bounds if an index is out of range.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep.data.columns import RowError, as_numbers
from halfstep.errors import DataError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LARGEST = np.iinfo(np.int32).max  # rows or columns

Indices = NDArray[np.integer]


class Stored(NamedTuple):
    """The stored values of a sparse matrix, in their original order.

    Attributes
    ----------
    rows, columns : ndarray of shape (n_stored,), int32
    values : ndarray of shape (n_stored,), float64
    shape : tuple of int
    """

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    values: NDArray[np.float64]
    shape: tuple[int, int]

    def to_csr(self) -> csr_array[Any, tuple[int, int]]:
        """Return compressed rows with ascending indices and repeated cells summed."""
        from scipy.sparse import csr_array

        matrix = csr_array((self.values, (self.rows, self.columns)), shape=self.shape)
        matrix.sum_duplicates()
        return matrix


def is_sparse(given: Any) -> bool:
    """Whether an object is a SciPy sparse matrix or sparse array."""
    from scipy.sparse import issparse

    return bool(issparse(given))


def stored_values(matrix: Any, name: str, cell: Callable[[int, int], str] | None = None) -> Stored:
    """Check a sparse matrix of any format, and return its stored values.

    Explicit zeros are stored values, except those of a BSR or DIA matrix, which may be padding.

    Parameters
    ----------
    matrix : sparse matrix or sparse array
        A one-dimensional array is a single row.
    name : str
        Its name in error messages.
    cell : callable, optional
        Takes a row and a column and returns the name of the cell in errors.
    """
    shape = _checked_shape(matrix, name)
    fault = f"{name} is a {type(matrix).__name__} of shape {matrix.shape} that is not valid:"
    try:
        rows, columns, values = _READERS[matrix.format](matrix, shape, fault)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{fault} it cannot be read ({error}); construct it again from valid arrays") from error
    _check_range(rows, shape[0], "row", fault)
    _check_range(columns, shape[1], "column", fault)
    try:
        numbers = as_numbers(values, "stored value")
    except RowError as error:
        r, c = int(rows[error.row]), int(columns[error.row])
        where = f"row {r}, column {c}" if cell is None else cell(r, c)
        _, _, value, what = error.args
        what = what.partition(";")[0]
        raise DataError(f"{name}: the value at {where} is {value!r}, {what}; repair or remove it first") from error
    return Stored(rows.astype(np.int32), columns.astype(np.int32), numbers, shape)  # copies


def _checked_shape(matrix: Any, name: str) -> tuple[int, int]:
    shape = tuple(matrix.shape)
    if len(shape) == 1:
        shape = (1, *shape)
    if len(shape) != 2:
        raise DataError(f"{name} is a sparse array of shape {shape}: give two dimensions")
    if not all(isinstance(length, int | np.integer) and 0 <= length <= LARGEST for length in shape):
        raise DataError(f"{name} has the shape {shape}: at most {LARGEST:,} rows and columns are supported")
    return int(shape[0]), int(shape[1])


def _check_range(indices: NDArray[np.integer], length: int, what: str, fault: str) -> None:
    outside = (indices < 0) | (indices >= length)
    if outside.any():
        n = int(np.argmax(outside))
        raise DataError(f"{fault} stored value {n} has the {what} index {indices[n]}, outside of 0 to {length - 1}")


def _as_indices(given: Any, name: str, fault: str) -> NDArray[np.integer]:
    indices = np.asarray(given)
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise DataError(
            f"{fault} its {name} is an array of {indices.dtype} of shape {indices.shape}, not of integers in one "
            "dimension"
        )
    if indices.dtype == np.uint64 and len(indices) and indices.max() > np.iinfo(np.int64).max:
        raise DataError(f"{fault} its {name} has the value {indices.max()}, which is too large")
    return indices


def _compressed(matrix: Any, n_lines: int, n_values: int, what: str, fault: str) -> tuple[Indices, Indices]:
    """Return the row (or column) and the index of each value (or block) of compressed rows (or columns)."""
    indices = _as_indices(matrix.indices, "indices", fault)
    indptr = _as_indices(matrix.indptr, "indptr", fault).astype(np.int64)  # for signed differences
    if len(indptr) != n_lines + 1 or indptr[0] != 0:
        raise DataError(
            f"{fault} its indptr has {len(indptr):,} values starting with {indptr[:1].tolist()}, but must have "
            f"{n_lines + 1:,} starting with 0"
        )
    decreasing = np.flatnonzero(np.diff(indptr) < 0)
    if len(decreasing):
        raise DataError(f"{fault} its indptr decreases after {what} {decreasing[0]}, from {indptr[decreasing[0]]}")
    if len(indices) != n_values or indptr[-1] > n_values:
        raise DataError(
            f"{fault} its indptr ends with {indptr[-1]:,}, for {len(indices):,} indices and {n_values:,} values"
        )
    return np.repeat(np.arange(n_lines, dtype=np.int32), np.diff(indptr)), indices[: indptr[-1]]


def _read_csr(matrix: Any, shape: tuple[int, int], fault: str) -> tuple[Indices, Indices, Any]:
    rows, columns = _compressed(matrix, shape[0], len(matrix.data), "row", fault)
    return rows, columns, matrix.data[: len(columns)]


def _read_csc(matrix: Any, shape: tuple[int, int], fault: str) -> tuple[Indices, Indices, Any]:
    columns, rows = _compressed(matrix, shape[1], len(matrix.data), "column", fault)
    return rows, columns, matrix.data[: len(rows)]


def _read_bsr(matrix: Any, shape: tuple[int, int], fault: str) -> tuple[Indices, Indices, Any]:
    data = np.asarray(matrix.data)
    if data.ndim != 3 or 0 in data.shape[1:] or shape[0] % data.shape[1] or shape[1] % data.shape[2]:
        raise DataError(f"{fault} its shape is not a multiple of that of its blocks, {data.shape[1:]}")
    _, tall, wide = data.shape
    block_rows, block_columns = _compressed(matrix, shape[0] // tall, len(data), "block row", fault)
    _check_range(block_columns, shape[1] // wide, "block column", fault)
    block, r, c = np.nonzero(data[: len(block_rows)])
    return block_rows[block] * tall + r, block_columns[block] * wide + c, data[block, r, c]


def _read_coo(matrix: Any, shape: tuple[int, int], fault: str) -> tuple[Indices, Indices, Any]:
    rows, columns = _as_indices(matrix.row, "row", fault), _as_indices(matrix.col, "col", fault)
    if not len(rows) == len(columns) == len(matrix.data):
        raise DataError(
            f"{fault} it has {len(rows):,} row indices, {len(columns):,} column indices and {len(matrix.data):,} "
            "values"
        )
    return rows, columns, matrix.data


def _read_dia(matrix: Any, shape: tuple[int, int], fault: str) -> tuple[Indices, Indices, Any]:
    data, offsets = np.asarray(matrix.data), _as_indices(matrix.offsets, "offsets", fault).astype(np.int64)
    if data.ndim != 2 or len(data) != len(offsets) or len(np.unique(offsets)) != len(offsets):
        raise DataError(f"{fault} it has diagonals of shape {data.shape} at the offsets {offsets.tolist()[:10]}")
    diagonal, columns = np.nonzero(data[:, : shape[1]])
    rows = columns - offsets[diagonal]
    within = (rows >= 0) & (rows < shape[0])
    diagonal, columns, rows = diagonal[within], columns[within], rows[within]
    return rows, columns, data[diagonal, columns]


def _read_lil(matrix: Any, shape: tuple[int, int], fault: str) -> tuple[Indices, Indices, Any]:
    lengths = [len(row) for row in matrix.rows]
    if len(lengths) != shape[0] or lengths != [len(row) for row in matrix.data]:
        raise DataError(f"{fault} its lists of columns and of values differ in length")
    columns = [column for row in matrix.rows for column in row]
    values = np.array([value for row in matrix.data for value in row], dtype=object)
    return np.repeat(np.arange(shape[0]), lengths), _integers(columns, fault), _of_dtype(values, matrix.dtype)


def _read_dok(matrix: Any, shape: tuple[int, int], fault: str) -> tuple[Indices, Indices, Any]:
    keys = [key if isinstance(key, tuple) else (0, key) for key in list(matrix.keys())]
    rows, columns = (_integers([key[axis] for key in keys], fault) for axis in (0, 1))
    return rows, columns, _of_dtype(np.array(list(matrix.values()), dtype=object), matrix.dtype)


def _integers(numbers: list[Any], fault: str) -> Indices:
    if not all(isinstance(number, int | np.integer) for number in numbers):
        raise DataError(f"{fault} it has indices that are not integers")
    return np.array(numbers, dtype=np.int64)


def _of_dtype(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Convert an object array of values to the dtype of the matrix."""
    return values.astype(dtype) if dtype.kind in "biuf" else values


_READERS: dict[str, Callable[[Any, tuple[int, int], str], tuple[Indices, Indices, Any]]] = {
    "csr": _read_csr,
    "csc": _read_csc,
    "bsr": _read_bsr,
    "coo": _read_coo,
    "dia": _read_dia,
    "lil": _read_lil,
    "dok": _read_dok,
}
