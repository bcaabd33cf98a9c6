"""The Gramian of factors on a device."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep.solver.cuda.device import Device
from halfstep.solver.gram import ROWS_PER_PRODUCT

PRODUCTS = 64  # blocks of rows that are multiplied at once


def gramian(device: Device, m: Any, k: int, F: Any) -> NDArray[np.float64]:
    """Return G = Σ_i m_i f_i f_iᵀ of the first k columns of F on the host, multiplied in the precision of F.

    Blocks of rows are few enough that float32 sums are precise; they are added in float64. Empty if m is.

    Parameters
    ----------
    m : array of the device, of shape (len(F),), (1,) or (0,)
    """
    if len(m) == 0:
        return np.empty((0, 0))
    xp, (rows, width) = device.xp, F.shape
    F = F * xp.sqrt(m.astype(F.dtype))[:, None]
    whole = rows // ROWS_PER_PRODUCT
    blocks = F[: whole * ROWS_PER_PRODUCT].reshape(whole, ROWS_PER_PRODUCT, width)
    G = xp.zeros((width, width), np.float64)
    if rows > whole * ROWS_PER_PRODUCT:
        last = F[whole * ROWS_PER_PRODUCT :]
        G += xp.matmul(last.T, last)
    for start in range(0, whole, PRODUCTS):
        some = blocks[start : start + PRODUCTS]
        G += xp.matmul(some.transpose(0, 2, 1), some).astype(np.float64).sum(axis=0)
    return device.asnumpy(G)[:k, :k]
