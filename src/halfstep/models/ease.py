"""EASE, a linear item-to-item model in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_array

from halfstep._support.checks import check_number
from halfstep._support.memory import check_memory
from halfstep.errors import NumericalError, ParameterError
from halfstep.models.item_weight_model import ItemWeightModel
from halfstep.solver.threads import working

ENOUGH = 1e-9  # λ relative to the trace of XᵀX, at which XᵀX + λ I is positive definite in float64
COUNTS_AT_ONCE = 1 << 24  # elements of the Gramian that are computed at once
BYTES = 12  # for each pair of items: float64 for the inverse, and float32 for the weights


@dataclass(eq=False, repr=False, kw_only=True)
class EASE(ItemWeightModel):
    """A linear item-to-item model, the embarrassingly shallow autoencoder of Steck [1]_.

    Minimizes ‖X − X W‖² + λ ‖W‖² over all W with a diagonal of 0, where X is 1 for observed cells and 0 for missing
    ones. The solution is

        W_ji = −P_ji / P_ii for j ≠ i,   P = (XᵀX + λ I)⁻¹.

    For n items, fitting inverts a matrix of n × n elements, which takes n³ multiply-adds and 12 n² bytes of memory:
    9 GB for 27,000 items.

    Parameters
    ----------
    regularization : float
        λ > 0, the most important parameter to tune; published values are between 200 and 1,000 [1]_.

    References
    ----------
    .. [1] H. Steck, "Embarrassingly shallow autoencoders for sparse data", WWW 2019.

    Examples
    --------
    >>> import halfstep as hs
    >>> data = hs.Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "milk", "tea"])
    >>> hs.EASE(regularization=1.0).fit(data).recommend("bob", 1).item_ids.tolist()
    [['milk']]
    """

    regularization: float = 500.0

    def _check_parameters(self) -> None:
        check_number("regularization", self.regularization)
        if self.regularization == 0:
            raise ParameterError("regularization=0: give a number above 0")

    def _weights_of(self, X: csr_array) -> NDArray[np.float32]:
        n = X.shape[1]
        check_memory(BYTES * n**2, f"EASE for {n:,} items", "keep fewer items, or use ItemKNN or ALS")
        G = gramian_of(X)
        enough = 10.0 ** math.ceil(math.log10(ENOUGH * max(float(np.trace(G)), 1.0)))
        G[np.diag_indices(n)] += self.regularization
        with working():
            L, failed = lapack.dpotrf(G.T, lower=1, clean=0, overwrite_a=1)
            P, failed_too = lapack.dpotri(L, lower=1, overwrite_c=1)
        if failed or failed_too:
            raise NumericalError(
                f"XᵀX + λ I is not positive definite in float64 with λ={self.regularization:g}: set "
                f"regularization={enough:.0e} or more",
                regularization=enough,
            )
        diagonal = np.diag(P).copy()
        W = np.empty((n, n), np.float32)
        for i in range(n):  # P is the lower triangle
            W[i:, i] = P[i:, i] / -diagonal[i]
            W[i, i + 1 :] = P[i + 1 :, i] / -diagonal[i + 1 :]
        W[np.diag_indices(n)] = 0.0
        return W

    def _similarities(self, weights: Any, items: NDArray[np.int32]) -> NDArray[np.float32]:
        return np.asarray(weights[items])  # the scores of users of one item each


def gramian_of(X: csr_array) -> NDArray[np.float64]:
    """Return XᵀX, in blocks of rows."""
    n = X.shape[1]
    G, transposed = np.empty((n, n)), csr_array(X.T)
    size = max(1, COUNTS_AT_ONCE // n)
    for first in range(0, n, size):
        some: Any = transposed[first : first + size] @ X
        G[first : first + size] = some.toarray()
    return G
