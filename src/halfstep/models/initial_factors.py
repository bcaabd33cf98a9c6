"""Where a fit begins: factors that are drawn, that are given, or that another model has."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep.data import Interactions
from halfstep.errors import ParameterError
from halfstep.models.factor_model import FactorModel
from halfstep.solver.layout import Factors, empty_factors

Floats = NDArray[np.float64]


def given_factors(init: Any, data: Interactions, rank: int) -> tuple[Floats, Floats]:
    """Take users' and items' factors as a caller gives them, by position.

    Raises
    ------
    ParameterError
        If they are of another shape, or not finite.
    """
    checked = []
    for name, given, n_rows in zip(("users", "items"), init, (data.n_users, data.n_items), strict=True):
        try:
            array, shape = np.asarray(given), (n_rows, rank)
        except ValueError as error:
            raise ParameterError(f"init has {name}' factors that are not a matrix ({error})") from error
        if array.dtype.kind not in "biuf" or np.ma.isMaskedArray(given):
            kind = "a masked array" if np.ma.isMaskedArray(given) else f"of dtype {array.dtype}"
            raise ParameterError(f"init has {name}' factors that are {kind}: give arrays of numbers")
        with np.errstate(over="ignore"):  # of more than 64 bits; refused below
            factors = array.astype(np.float64)
        if factors.shape != shape:
            raise ParameterError(f"init has {name}' factors of shape {factors.shape}: expected {shape}")
        if not np.isfinite(factors).all():
            raise ParameterError(f"init has {name}' factors that are not finite: give finite numbers")
        checked.append(factors)
    return checked[0], checked[1]


def starting_factors(
    data: Interactions, init: Any, rank: int, *, biases: bool, unit: float, rng: np.random.Generator
) -> tuple[Factors, Factors]:
    """P and Q that a sampler starts from, in the layout of the backends: ``[factors | bias | 0 …]``.

    Raises
    ------
    ParameterError
        If `init` does not fit.
    DataError
        If `init` is a model, and an id is of a type that no id of it has.
    """
    unknowns = rank + bool(biases)
    P, Q = (empty_factors(n, unknowns, "float32") for n in (data.n_users, data.n_items))
    if init is None:
        for F in (P, Q):
            F[:, :rank] = rng.normal(0.0, 0.1 * np.sqrt(unit / rank), (len(F), rank))
    elif isinstance(init, FactorModel):
        init = copy.copy(init)  # other threads may update it
        if init.item_factors_.shape[1] != rank:
            raise ParameterError(f"init has rank {init.item_factors_.shape[1]}, and rank={rank}")
        u = init.users_.positions(data.users.ids, "mark", name="user id")
        i = init.items_.positions(data.items.ids, "mark", name="item id")
        _take_rows(P, u, init.user_factors_, init.user_biases_, unknowns)
        _take_rows(Q, i, init.item_factors_, init.item_biases_, unknowns)
    elif callable(init):  # what a file could not hold: says so
        init()
    else:
        P[:, :rank], Q[:, :rank] = given_factors(init, data, rank)
    return P, Q


def _take_rows(
    F: Factors,
    places: NDArray[np.int32],
    factors: NDArray[np.floating],
    biases: NDArray[np.floating],
    unknowns: int,
) -> None:
    """Copy the rows of another model; those without one, at −1, stay 0."""
    k = factors.shape[1]
    found = places >= 0
    F[found, :k] = factors[places[found]]
    if unknowns > k:
        F[found, k] = biases[places[found]]
