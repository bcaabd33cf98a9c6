"""The best columns of many rows on a device."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep.data import IndexLists
from halfstep.solver import top_n
from halfstep.solver.cuda.device import Device
from halfstep.solver.top_n import Floats, Ranked, checked, scales_and_errors

THREADS = 512  # of a block
GROUP = 4  # threads of a group
LONGEST = 256  # of the lists; longer ones are ranked on the CPU
ROOM = 1024  # candidates of a row; rows with more are ranked on the CPU
TILE_BYTES = 1 << 27  # of scores in float32, enough for the full speed of a matrix product
SHARE = 4  # of the free memory that a tile may take


def best_columns(device: Device, P: Floats, Q: Floats, c: NDArray[np.float64], n: int, *, skip: IndexLists) -> Ranked:
    """Rank all columns for each row by P Qᵀ + c, as `halfstep.solver.top_n.best_columns` does.

    Scores may differ from those of the CPU in the last bit, because the order of float64 sums differs. Rows with very
    many nearly equal scores, and lists of more than `LONGEST` columns, are ranked on the CPU.
    """
    skip = checked(P, Q, c, skip)
    if not 0 < n <= LONGEST or len(P) == 0 or Q.shape[1] == 0:
        return top_n.best_columns(P, Q, c, n, skip=skip)
    lists = device.asarray(skip.indptr), device.asarray(skip.indices)
    found = rank_on_device(device, device.asarray(P), device.asarray(Q), c, n, *lists)
    best, scores, is_unranked = (device.asnumpy(array) for array in found)
    best, rows = best.astype(np.int64), np.flatnonzero(is_unranked)
    if len(rows) > 0:
        best[rows], scores[rows] = top_n.best_columns(P[rows], Q, c, n, skip=skip.rows(rows))
    return best, scores


def rank_on_device(
    device: Device, P: Any, Q: Any, c: NDArray[np.float64], n: int, skip_indptr: Any, skip: Any
) -> tuple[Any, Any, Any]:
    """Rank all columns for each row; all arrays except c are those of the device.

    Returns
    -------
    best : array of int32, of shape (n_rows, n)
    scores : array of float64, of shape (n_rows, n)
    is_unranked : array of int32, of shape (n_rows,)
        1 for rows with too many nearly equal scores, which were not ranked.
    """
    xp, (rows, rank), columns = device.xp, P.shape, len(Q)
    lengths = device.asnumpy(xp.sqrt(xp.sum(xp.square(P.astype(np.float64)), axis=1)))
    largest = float(xp.max(xp.abs(Q)))
    p_scale, q_scale, r = scales_and_errors(lengths, largest, c, rank)
    fast_P, fast_Q = _float32(P, p_scale), _float32(Q, q_scale)
    offsets = c.any()
    C = device.asarray((c / (p_scale * q_scale) if offsets else np.zeros(1)).astype(np.float32))
    kernel = device.kernel("top_n", "best_columns", **constants(n, P.dtype, offsets=bool(offsets)))
    best, scores = xp.empty((rows, n), np.int32), xp.empty((rows, n), np.float64)
    is_unranked = xp.zeros(rows, np.int32)
    given = device.asarray((2.0 * r).astype(np.float32)), device.asarray(c)
    at_once = max(1, min(TILE_BYTES, device.free_memory() // SHARE) // (4 * columns))
    for first in range(0, rows, at_once):
        S = xp.matmul(fast_P[first : first + at_once], fast_Q.T)
        arguments = S, C, given[0], np.int64(first), np.int32(columns), skip_indptr, skip, P, Q, given[1]
        kernel(len(S), THREADS, *arguments, np.int32(rank), np.int32(n), best, scores, is_unranked)
    return best, scores, is_unranked


def constants(n: int, dtype: np.dtype[Any], *, offsets: bool) -> dict[str, int | str]:
    """Return the constants with which the kernel is compiled, for factors of a type and with or without c."""
    return {
        "REAL": "float" if dtype == np.float32 else "double",
        "OFFSETS": int(offsets),
        "THREADS": THREADS,
        "GROUP": GROUP if n <= THREADS // (2 * GROUP) else 1,
        "ROOM": ROOM,
    }


def _float32(F: Any, scale: float) -> Any:
    return (F if scale == 1 else F / np.float64(scale)).astype(np.float32, copy=False)
