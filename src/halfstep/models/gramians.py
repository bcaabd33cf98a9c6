"""Gramians of all rows of a side, which each row's system needs where missing cells have weights."""

from __future__ import annotations

from typing import NamedTuple
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from halfstep.objective.problem import is_constant
from halfstep.solver.cpu import CPU

Floats = NDArray[np.float64]
Factors = NDArray[np.floating]

WORTH_HELPERS = 100_000_000  # multiply-adds from which several threads are faster
PROPORTIONAL = 1e-12  # relative difference up to which weights are proportional


def gram(m: Floats, F: Factors, threads: int | None = None) -> Floats:
    """Return G = Σ_i m_i q_i q_iᵀ in float64, of shape (rank, rank), for m of at least 0.

    Parameters
    ----------
    m : ndarray of shape (n_rows,)
    F : ndarray of shape (n_rows, rank)
    threads : int, optional
        All cores by default, and one where there is little to do. Does not change the result.
    """
    rank = F.shape[1]
    if len(F) == 0:
        return np.zeros((rank, rank))
    is_little = len(F) * rank * rank < WORTH_HELPERS
    with CPU(1 if is_little else threads) as backend:
        if not is_little:
            backend.hold_blas()
        return backend.gram(m, rank, F)


class _Known(NamedTuple):
    """A Gramian with the weights and factors that it is of."""

    weights: Floats
    factors: ref[Factors]
    gram: Floats


class Gramians:
    """The Gramians that were computed last, one for each side of a model.

    Factors are compared by identity, since comparing their values would take as long as summing them. They are held
    by weak references.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def put(self, side: str, m: Floats, F: Factors, G: Floats) -> None:
        """Remember a Gramian of a side."""
        weights = np.broadcast_to(m[0], m.shape) if is_constant(m) else m  # memory for one
        self._known[side] = _Known(weights, ref(F), G)

    def known(self, side: str, m: Floats, F: Factors) -> Floats | None:
        """Return the Gramian of a side if it is known for weights that are proportional to these; None if not."""
        last = self._known.get(side)
        if last is None or last.factors() is not F or last.weights.shape != m.shape:
            return None
        if np.array_equal(m, last.weights):
            return last.gram
        total = float(last.weights.sum())
        ratio = float(m.sum()) / total if total > 0 else 0.0
        return last.gram * ratio if np.allclose(m, last.weights * ratio, rtol=PROPORTIONAL, atol=0.0) else None

    def of(self, side: str, m: Floats, F: Factors, threads: int | None = None) -> Floats:
        """Return the Gramian of a side, computing it if it is not known."""
        G = self.known(side, m, F)
        if G is None:
            G = gram(m, F, threads)
            self.put(side, m, F, G)
        return G
