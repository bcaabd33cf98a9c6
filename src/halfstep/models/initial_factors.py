"""Initial factors of a fit: sampled, given, or copied from another model."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from halfstep._support.checks import as_generator
from halfstep.data import Interactions
from halfstep.errors import ParameterError
from halfstep.models.factor_model import FactorModel
from halfstep.solver.layout import Factors, empty_factors

Floats = NDArray[np.float64]


def initial_factors(
    init: Any, data: Interactions, rank: int, scale: float, random_state: Any, *, is_nonnegative: bool
) -> tuple[Floats, Floats]:
    """Return the factors of users and items given as `init`, or random ones."""
    if init is None:
        P, Q = random_factors(data, rank, scale, random_state)
        return (np.abs(P), np.abs(Q)) if is_nonnegative else (P, Q)
    P, Q = given_factors(init, data, rank)
    if rank > 0 and not Q.any():
        raise ParameterError(
            "init: the item factors are all 0, so all factors would become 0: give other item factors"
        )
    least = min(float(F.min(initial=0.0)) for F in (P, Q))
    if is_nonnegative and least < 0:
        raise ParameterError(
            f"init: the lowest factor is {least:g}, but the objective is nonnegative: give factors of at least 0"
        )
    return P, Q


def given_factors(init: Any, data: Interactions, rank: int) -> tuple[Floats, Floats]:
    """Check the user and item factors given as `init`."""
    checked = []
    for name, given, n_rows in zip(("user", "item"), init, (data.n_users, data.n_items), strict=True):
        what, shape = f"init: the {name} factors are", (n_rows, rank)
        try:
            array = np.asarray(given)
        except ValueError as error:
            raise ParameterError(f"{what} not a matrix ({error}): give an array of shape {shape}") from error
        if array.dtype.kind not in "biuf" or np.ma.isMaskedArray(given):
            kind = "a masked array" if np.ma.isMaskedArray(given) else f"of dtype {array.dtype}"
            raise ParameterError(f"{what} {kind}: give an array of numbers")
        with np.errstate(over="ignore"):  # long doubles that overflow are an error below
            factors = array.astype(np.float64)
        if factors.shape != shape:
            raise ParameterError(f"{what} of shape {factors.shape}: give an array of shape {shape}")
        if not np.isfinite(factors).all():
            raise ParameterError(f"{what} not finite: give finite numbers")
        checked.append(factors)
    return checked[0], checked[1]


def random_factors(data: Interactions, rank: int, scale: float, random_state: Any) -> tuple[Floats, Floats]:
    """Sample factors of users and items from N(0, 0.1² scale / rank); zeros for those without interactions."""
    rng, deviation = as_generator(random_state), deviation_of(rank, scale)
    P, Q = (rng.normal(0.0, deviation, (n, rank)) for n in (data.n_users, data.n_items))
    P[data.user_counts == 0] = 0.0
    Q[data.item_counts == 0] = 0.0
    return P, Q


def deviation_of(rank: int, scale: float) -> float:
    """Return the standard deviation of random factors, for the unit of the targets."""
    return float(0.1 * np.sqrt(scale / max(rank, 1)))


def padded_factors(factors: tuple[Floats, Floats], unknowns: int, dtype: DTypeLike) -> tuple[Factors, Factors]:
    """Return factors in the layout of half-steps, with biases of 0."""
    P, Q = (empty_factors(len(F), unknowns, dtype) for F in factors)
    with np.errstate(over="ignore"):  # the objective is then not finite, which is an error
        for padded, F in zip((P, Q), factors, strict=True):
            padded[:, : F.shape[1]] = F
    return P, Q


def starting_factors(
    data: Interactions, init: Any, rank: int, *, biases: bool, target_scale: float, rng: np.random.Generator
) -> tuple[Factors, Factors]:
    """Return the initial P and Q of a sampler, in the row layout ``[factors | bias | 0 …]``.

    Raises
    ------
    ParameterError
        If `init` does not match the data or the rank.
    DataError
        If `init` is a model whose ids are of another type.
    """
    unknowns = rank + bool(biases)
    P, Q = (empty_factors(n, unknowns, "float32") for n in (data.n_users, data.n_items))
    if init is None:
        for F in (P, Q):
            F[:, :rank] = rng.normal(0.0, 0.1 * np.sqrt(target_scale / rank), (len(F), rank))
    elif isinstance(init, FactorModel):
        init = copy.copy(init)  # other threads may update it
        if init.item_factors_.shape[1] != rank:
            raise ParameterError(f"init has rank {init.item_factors_.shape[1]}, but rank={rank}: give the same rank")
        u = init.users_.positions(data.users.ids, "mark", name="user id")
        i = init.items_.positions(data.items.ids, "mark", name="item id")
        _copy_rows(P, u, init.user_factors_, init.user_biases_, unknowns)
        _copy_rows(Q, i, init.item_factors_, init.item_biases_, unknowns)
    elif callable(init):  # an object that a model file could not store: raises
        init()
    else:
        P[:, :rank], Q[:, :rank] = given_factors(init, data, rank)
    return P, Q


def _copy_rows(
    F: Factors,
    positions: NDArray[np.int32],
    factors: NDArray[np.floating],
    biases: NDArray[np.floating],
    unknowns: int,
) -> None:
    """Copy rows of another model; position −1 marks an unknown id, whose row stays 0."""
    k = factors.shape[1]
    found = positions >= 0
    F[found, :k] = factors[positions[found]]
    if unknowns > k:
        F[found, k] = biases[positions[found]]
