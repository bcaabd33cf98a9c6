"""Valid and forged sparse matrices, and their cells, read by loops that check every index."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

FORMATS = ("csr", "csc", "coo", "bsr", "dia", "lil", "dok")


def made(fmt: str, dense: np.ndarray, *, as_matrix: bool = False) -> Any:
    """Return a dense matrix in a sparse format; BSR has blocks of 2 × 2 if possible."""
    if fmt == "bsr":
        blocks = (2 if dense.shape[0] % 2 == 0 else 1, 2 if dense.shape[1] % 2 == 0 else 1)
        return (sp.bsr_matrix if as_matrix else sp.bsr_array)(dense, blocksize=blocks)
    return getattr(sp, f"{fmt}_{'matrix' if as_matrix else 'array'}")(dense)


def random_dense(rng: np.random.Generator, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Return a matrix with a stored cell in at least one row; stored values are never 0."""
    if shape is None:
        shape = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    dense = np.where(rng.random(shape) < rng.uniform(0.2, 0.9), rng.integers(1, 6, shape), 0).astype(float)
    dense[rng.integers(shape[0]), rng.integers(shape[1])] = 2.0
    return dense


def forge(matrix: Any, rng: np.random.Generator) -> Any:
    """Change one array of a sparse matrix, which may remain valid."""
    if matrix.format == "lil":
        row = int(rng.integers(len(matrix.rows)))
        matrix.rows[row] = [int(rng.integers(-3, 12)) for _ in matrix.rows[row]] + [0] * int(rng.integers(2))
        return matrix
    if matrix.format == "dok":
        matrix._dict[(int(rng.integers(-3, 12)), int(rng.integers(-3, 12)))] = 1.0
        return matrix
    names = {"coo": ("row", "col", "data"), "dia": ("offsets", "data")}.get(
        matrix.format, ("indptr", "indices", "data")
    )
    name = str(rng.choice(names))
    array = np.array(getattr(matrix, name))
    match int(rng.integers(7)):
        case 0 if array.size:
            array.reshape(-1)[rng.integers(array.size)] = rng.choice([-1, -7, 3, 8, 9, 1000, 2**31 - 1])
        case 1:
            array = array[: int(rng.integers(len(array) + 1))]
        case 2:
            array = np.concatenate([array, array])
        case 3:
            array = np.sort(array, axis=None).reshape(array.shape)[::-1]
        case 4:
            array = array.astype(rng.choice(["f8", "i8", "u8", "i2", "c16", "O", "U5"]))
        case 5:
            array = np.array([array])
        case _:
            array = array.astype(float)
            array.reshape(-1)[: int(rng.integers(2))] = np.nan
    if name in ("row", "col") and hasattr(matrix, "coords"):  # from SciPy 1.13 on, whose setters convert the type
        matrix.coords = (array, matrix.coords[1]) if name == "row" else (matrix.coords[0], array)
    else:
        setattr(matrix, name, array)
    return matrix


def cells_of(matrix: Any, *, summed: bool = False) -> dict[tuple[int, int], float] | None:
    """Return the stored values of a matrix by cell, or None if it is not valid, or stores a cell twice.

    If `summed`, values of the same cell are added up.
    """
    cells: dict[tuple[int, int], float] = {}
    try:
        for row, column, value in _entries(matrix):
            cell = int(row), int(column)
            if cell in cells and not summed:
                return None
            cells[cell] = cells.get(cell, 0.0) + float(value)
    except (TypeError, ValueError, IndexError, AttributeError):
        return None
    is_within = all(0 <= row < matrix.shape[0] and 0 <= column < matrix.shape[1] for row, column in cells)
    return cells if is_within and np.isfinite(list(cells.values())).all() else None


def _entries(matrix: Any) -> Any:
    """Yield (row, column, value) of each stored value; raise an error if arrays are inconsistent."""
    match matrix.format:
        case "csr" | "csc":
            is_csr = matrix.format == "csr"
            for line, place in _places(matrix, matrix.shape[0 if is_csr else 1]):
                index, value = _integer(matrix.indices[place]), _number(matrix.data[place])
                yield (line, index, value) if is_csr else (index, line, value)
        case "bsr":
            _, tall, wide = np.shape(matrix.data)
            if matrix.shape[0] % tall or matrix.shape[1] % wide:
                raise ValueError(tall, wide)
            for line, place in _places(matrix, matrix.shape[0] // tall):
                column = _integer(matrix.indices[place])
                if not 0 <= column < matrix.shape[1] // wide:
                    raise IndexError(column)
                for r in range(tall):
                    for c in range(wide):
                        if matrix.data[place][r][c] != 0:
                            yield line * tall + r, column * wide + c, _number(matrix.data[place][r][c])
        case "coo":
            axes = matrix.row, matrix.col
            if not len(axes[0]) == len(axes[1]) == len(matrix.data):
                raise ValueError(axes)
            if not all(np.asarray(axis).dtype.kind in "iu" for axis in axes):
                raise TypeError(axes)
            for row, column, value in zip(*axes, matrix.data, strict=True):
                yield _integer(row), _integer(column), _number(value)
        case "dia":
            offsets = [_integer(offset) for offset in matrix.offsets]
            if (
                matrix.offsets.dtype.kind not in "iu"
                or len(offsets) != len(matrix.data)
                or len(set(offsets)) < len(offsets)
                or max(offsets) >= 2**63
            ):
                raise ValueError(offsets)
            for offset, diagonal in zip(matrix.offsets, matrix.data, strict=True):
                for column, value in list(enumerate(diagonal))[: matrix.shape[1]]:
                    row = column - _integer(offset)
                    if 0 <= row < matrix.shape[0] and value != 0:
                        yield row, column, _number(value)
        case "lil":
            for row, (columns, values) in enumerate(zip(matrix.rows, matrix.data, strict=True)):
                for column, value in zip(columns, values, strict=True):
                    yield row, column, value
        case "dok":
            for (row, column), value in matrix.items():
                yield row, column, value


def _places(matrix: Any, lines: int) -> Any:
    """Yield the row or column, and the index, of each stored value of a compressed matrix."""
    if not all(np.asarray(array).dtype.kind in "iu" for array in (matrix.indptr, matrix.indices)):
        raise TypeError(matrix.indptr)
    indptr = [_integer(place) for place in matrix.indptr]
    if len(indptr) != lines + 1 or indptr[0] != 0 or len(matrix.indices) != len(matrix.data):
        raise ValueError(indptr)
    if np.ndim(matrix.indices) != 1 or np.ndim(matrix.indptr) != 1:
        raise TypeError(matrix.indices)
    for line in range(lines):
        if not indptr[line] <= indptr[line + 1] <= len(matrix.data):
            raise ValueError(indptr)
        for place in range(indptr[line], indptr[line + 1]):
            yield line, place


def _integer(number: Any) -> int:
    if not isinstance(number, int | np.integer):
        raise TypeError(number)
    return int(number)


def _number(number: Any) -> float:
    if isinstance(number, complex | str) or np.ndim(number):
        raise TypeError(number)
    return float(number)
