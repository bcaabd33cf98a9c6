"""Gramians of the factors of each side, which are part of each row's system if missing cells have weight."""

from __future__ import annotations

from typing import NamedTuple
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from halfstep._support.blocks import all_equal
from halfstep.solver.cpu import CPU
from halfstep.solver.gram import gramian

Floats = NDArray[np.float64]
Matrix = NDArray[np.floating]

WORTH_THREADS = 100_000_000  # multiply-adds from which several threads are faster
PROPORTIONAL = 1e-12  # relative difference up to which weights are proportional


def gram(m: Floats, F: Matrix, threads: int | None = None) -> Floats:
    """Return G = Σ_i m_i q_i q_iᵀ in float64, of shape (rank, rank), for m ≥ 0.

    Parameters
    ----------
    m : ndarray of shape (n_rows,)
    F : ndarray of shape (n_rows, rank)
    threads : int, optional
        All cores by default, and one if there is little work. Does not change the result.
    """
    rank = F.shape[1]
    if len(F) == 0:
        return np.zeros((rank, rank))
    is_little = len(F) * rank * rank < WORTH_THREADS
    with CPU(1 if is_little else threads) as backend:
        if not is_little:
            backend.limit_blas()
        return gramian(m, rank, F, backend.run)


class _Known(NamedTuple):
    """A Gramian, and the weights and factors that it was computed from."""

    weights: Floats
    factors: ref[Matrix]
    gram: Floats


class Gramians:
    """The last Gramian of each side of a model.

    Factors are compared by identity, because comparing values would take as long as computing the Gramian. They are
    held by weak references.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def put(self, side: str, m: Floats, F: Matrix, G: Floats) -> None:
        """Store the Gramian of a side."""
        weights = np.broadcast_to(m[0], m.shape) if all_equal(m) else m
        self._known[side] = _Known(weights, ref(F), G)

    def known(self, side: str, m: Floats, F: Matrix) -> Floats | None:
        """Return the Gramian of a side if it is known for weights proportional to these, else None."""
        last = self._known.get(side)
        if last is None or last.factors() is not F or last.weights.shape != m.shape:
            return None
        if np.array_equal(m, last.weights):
            return last.gram
        total = float(last.weights.sum())
        ratio = float(m.sum()) / total if total > 0 else 0.0
        return last.gram * ratio if np.allclose(m, last.weights * ratio, rtol=PROPORTIONAL, atol=0.0) else None

    def of(self, side: str, m: Floats, F: Matrix, threads: int | None = None) -> Floats:
        """Return the Gramian of a side, and compute it if it is not known."""
        G = self.known(side, m, F)
        if G is None:
            G = gram(m, F, threads)
            self.put(side, m, F, G)
        return G
