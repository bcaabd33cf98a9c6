"""The Gramian of the fixed factors, which is part of each row's system if missing cells have weight."""

from __future__ import annotations

from functools import partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from halfstep.solver.layout import Factors
from halfstep.solver.threads import Run

ROWS_PER_PRODUCT = 1024  # rows of a BLAS product, few enough that float32 sums are precise
SHARES = 16  # number of partial sums, at most; it does not depend on the number of threads


def gramian(m: Factors, k: int, Y: Factors, run: Run) -> NDArray[np.float64]:
    """Return G = Σ_i m_i y_i y_iᵀ of the first k columns of Y, multiplied in the precision of m, summed in float64.

    Empty if m is. BLAS must be limited to one thread if `run` uses several.
    """
    if len(m) == 0:
        return np.empty((0, 0))
    is_unweighted = bool((m == 1.0).all())
    share = max(-(-len(Y) // SHARES), ROWS_PER_PRODUCT)
    shares = -(-len(Y) // share)
    sums = np.zeros((shares, k, k))

    def add_share(number: int) -> None:
        last = min((number + 1) * share, len(Y))
        for start in range(number * share, last, ROWS_PER_PRODUCT):
            some = slice(start, min(start + ROWS_PER_PRODUCT, last))
            with np.errstate(over="ignore", invalid="ignore"):
                y = Y[some, :k].astype(m.dtype, copy=False)
                if not is_unweighted:
                    y = y * np.sqrt(m[some, None])
                sums[number] += y.T @ y

    run([partial(add_share, number) for number in range(shares)])
    with np.errstate(invalid="ignore"):
        return cast("NDArray[np.float64]", sums.sum(axis=0))
