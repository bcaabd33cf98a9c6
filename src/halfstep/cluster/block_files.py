"""Files of blocks: the problem of some rows of a side.

The working folder has two files for each block: ``cells/users-00003`` with the observed cells and, in fits of
tables, their ids and values; and ``problem/users-00003`` with targets, weights and λ. ``problem/users`` has what all
blocks of the side share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from halfstep._support.blocks import all_equal
from halfstep.cluster.folder import Folder
from halfstep.cluster.step import BlockSolver
from halfstep.errors import DataError
from halfstep.objective.problem import HalfProblem
from halfstep.solver.session import Side

LEAST_CELLS = 250_000  # of a block on average: a call of a cluster takes as long as some ten thousand cells


def name_of(kind: str, side: Side, number: int) -> str:
    """Return the name of the file of a block."""
    return f"{kind}/{side.name.lower()}-{number:05d}"


def _name_of_side(side: Side) -> str:
    return f"problem/{side.name.lower()}"


@dataclass(frozen=True, eq=False)
class Partition:
    """The division of the rows of a side into blocks of consecutive rows.

    Attributes
    ----------
    bounds : ndarray of shape (n_blocks + 1,), int64
        Block b has the rows ``bounds[b]:bounds[b + 1]``.
    """

    bounds: NDArray[np.int64]

    @classmethod
    def of_counts(cls, counts: NDArray[np.integer], n_blocks: int) -> Self:
        """Divide rows into blocks of about equal work, given their number of observed cells."""
        work = np.cumsum(counts + 10.0)  # a row takes as long as some cells
        ends = np.searchsorted(work, work[-1] * np.arange(1, n_blocks) / n_blocks) + 1
        return cls(np.unique(np.concatenate([[0], ends, [len(counts)]])).astype(np.int64))

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def n_rows(self) -> int:
        """The number of rows of the side."""
        return int(self.bounds[-1])

    def range(self, number: int) -> tuple[int, int]:
        """Return the first row of a block, and the first one after it."""
        return int(self.bounds[number]), int(self.bounds[number + 1])


def write_side(
    folder: Folder,
    side: Side,
    problem: HalfProblem,
    gram_weights: NDArray[np.floating],
    partition: Partition,
    n_columns: int,
) -> None:
    """Write the files of all blocks of a problem in memory.

    Parameters
    ----------
    gram_weights : ndarray of shape (n_rows,) or (0,)
        The weights of missing cells in the Gramian of these rows: `HalfProblem.column_missing` of the other side.
    """
    for number in range(len(partition)):
        first, last = partition.range(number)
        part = problem.of_range(first, last)
        folder.write(name_of("cells", side, number), {"indptr": part.indptr, "indices": part.indices})
        write_problem(folder, side, number, part, gram_weights[first:last], first)
    m = problem.column_missing
    write_shared(folder, side, m[:1] if all_equal(m) else m, n_columns)


def write_problem(
    folder: Folder, side: Side, number: int, part: HalfProblem, gram_weights: NDArray[np.floating], first: int
) -> None:
    """Write the targets, weights and λ of a block whose first row is at position `first`."""
    arrays = {
        "targets": part.targets,
        "weights": part.weights,
        "row_missing": part.row_missing,
        "regularization": part.regularization,
        "gram_weights": gram_weights,
    }
    folder.write(
        name_of("problem", side, number),
        arrays,
        first=first,
        bias_ratio=part.bias_ratio,
        rank=part.rank,
        biases=part.biases,
        nonnegative=part.nonnegative,
    )


def write_shared(folder: Folder, side: Side, column_missing: NDArray[np.floating], n_columns: int) -> None:
    """Write the weights of missing cells of the columns, a single one if all are equal, and the number of columns."""
    folder.write(_name_of_side(side), {"column_missing": column_missing}, columns=n_columns)


def read_block(folder: Folder, side: Side, number: int) -> BlockSolver:
    """Map the files of a block.

    Raises
    ------
    DataError
        If they are missing or invalid.
    """
    return BlockSolver(*read_problem(folder, side, number))


def read_problem(folder: Folder, side: Side, number: int) -> tuple[HalfProblem, NDArray[np.floating], int, int]:
    """Map the problem of a block; return also the other arguments of `BlockSolver`."""
    cells, _ = folder.read(name_of("cells", side, number))
    terms, about = folder.read(name_of("problem", side, number))
    shared, of_side = folder.read(_name_of_side(side))
    missing = shared["column_missing"]
    if len(missing) == 1:
        missing = np.full(of_side["columns"], missing[0], missing.dtype)
    problem = HalfProblem(
        indptr=cells["indptr"],
        indices=cells["indices"],
        targets=terms["targets"],
        weights=terms["weights"],
        row_missing=terms["row_missing"],
        column_missing=missing,
        regularization=terms["regularization"],
        bias_ratio=float(about["bias_ratio"]),
        rank=int(about["rank"]),
        biases=bool(about["biases"]),
        nonnegative=bool(about["nonnegative"]),
    )
    _check(problem, terms["gram_weights"], of_side["columns"], f"block {number} of {side.name.lower()}", folder)
    return problem, terms["gram_weights"], int(about["first"]), int(of_side["columns"])


def _check(problem: HalfProblem, gram_weights: NDArray[Any], n_columns: int, name: str, folder: Folder) -> None:
    """Check what kernels rely on."""
    indptr, indices, n_rows = problem.indptr, problem.indices, len(problem.regularization)
    fits = (
        indptr.shape == (n_rows + 1,)
        and indptr.dtype == np.dtype("int64")
        and indices.dtype == np.dtype("int32")
        and indptr[0] == 0
        and indptr[-1] == len(indices)
        and bool((np.diff(indptr) >= 0).all())
        and (len(indices) == 0 or 0 <= indices.min() <= indices.max() < n_columns)
        and all(len(each) in (1, len(indices)) for each in (problem.targets, problem.weights))
        and all(len(each) in (0, n_rows) for each in (problem.row_missing, gram_weights))
        and len(problem.column_missing) in (0, n_columns)
    )
    if not fits:
        raise DataError(f"{name} in the working folder {folder.url} is invalid: remove the folder, and fit again")
