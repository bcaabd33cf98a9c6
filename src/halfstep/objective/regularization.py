"""Regularization: the parameter of `ALS`, and λ of each row from its number of observed cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from halfstep._support.blocks import BLOCK, blocks
from halfstep._support.checks import as_pair, check_choice, check_number
from halfstep._support.short_repr import short_repr
from halfstep.errors import ParameterError

Floats = NDArray[np.float64]
Counted = Literal["cells", "observed", "positive"]


@dataclass(frozen=True, repr=False)
class Regularization:
    """The regularization λ_u = λ · c_u^ν of the factors of each row, and ρ λ_u of its bias.

    Parameters
    ----------
    users : float, optional
        λ ≥ 0 of users. By default, `ALS` derives λ from the data.
    items : float, optional
        λ of items; by default that of users.
    exponent : float, optional
        ν: 0 gives all rows the same λ, 1 is ALS-WR (Zhou et al. 2008) and iALS (Rendle et al. 2022). By default 0.5
        for `Explicit` and 0.3 for `Implicit`.
    bias_ratio : float, optional
        ρ, the ratio of the regularization of biases to that of factors. By default 1/σ with σ the standard deviation
        of the values, because biases are in the units of the values, and factors in the square roots of these units.
        With 0, side information has no effect on biases.
    counts : {"observed", "cells", "positive"}
        What c_u counts: the observed cells of row u; the observed cells plus the weights of the missing cells, as in
        iALS; or the observed cells with a positive value, as in Spark.
    features : float or pair of float
        λ_β > 0 of the coefficients of side information, or λ_β of users and of items. The default was chosen with
        implicit features on folds within the first 80,000 ratings of MovieLens 100K, for λ from 1 to 2. If features
        are informative, λ should be larger than without them: there 2.5, with a λ_β of 25. Where λ is 0, features
        have no effect.

    Examples
    --------
    >>> import halfstep as hs
    >>> hs.ALS(hs.Explicit(), regularization=hs.Regularization(0.1, exponent=1.0))
    ALS(regularization=Regularization(0.1, exponent=1.0))
    """

    users: float | None = None
    items: float | None = None
    exponent: float | None = None
    bias_ratio: float | None = None
    counts: Counted = "observed"
    features: float | tuple[float, float] = 50.0

    def __post_init__(self) -> None:
        for name in ("users", "items", "exponent", "bias_ratio"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name))
        if self.users is None and self.items is not None:
            raise ParameterError(f"items={self.items!r} without users: give λ of both, or of users only")
        check_choice("counts", self.counts, ("observed", "cells", "positive"))
        for number in as_pair("features", self.features):
            check_number("features", number, positive=True)

    def __repr__(self) -> str:
        return short_repr(self)

    @classmethod
    def of(cls, given: Any) -> Self:
        """Return the regularization for λ, or for a pair of λ of users and items.

        Raises
        ------
        ParameterError
            If a number is negative or not finite.
        """
        if isinstance(given, cls):
            return given
        if given is None:
            return cls()
        users, items = as_pair("regularization", given)
        for number in (users, items):
            check_number("regularization", number)
        return cls(users, items)

    @property
    def pair(self) -> tuple[float, float] | None:
        """λ of users and of items; None if it depends on the data."""
        return None if self.users is None else (self.users, self.users if self.items is None else self.items)

    def completed(self, used: RowRegularization) -> Regularization:
        """Return the regularization with all numbers that a fit has used."""
        return Regularization(used.users, used.items, used.exponent, used.bias_ratio, used.counts, self.features)

    @property
    def for_rows(self) -> RowRegularization:
        """The row regularization. All parameters must be set, as after `completed`."""
        assert self.users is not None
        assert self.items is not None
        assert self.exponent is not None
        assert self.bias_ratio is not None
        return RowRegularization(self.users, self.items, self.exponent, self.bias_ratio, self.counts)


@dataclass(frozen=True)
class RowRegularization:
    """λ_u = λ · c_u^ν of each row, and ρ λ_u of its bias, with all values given.

    Attributes
    ----------
    users, items : float
        λ of each side.
    exponent : float
        ν.
    bias_ratio : float
        ρ.
    counts : {"cells", "observed", "positive"}
        What c_u counts, as in `Regularization`.
    """

    users: float
    items: float
    exponent: float = 0.0
    bias_ratio: float = 1.0
    counts: Counted = "cells"

    def of_counts(self, reg: float, counted: Floats, missing: Floats | None) -> Floats:
        """Return λ_u = λ · c_u^ν of each row, with c_u as `row_counts` returns it.

        λ_u of a row without weight is that for a count of 1: its factors are 0 in any case.
        """
        count = self.row_counts(counted, missing)
        with np.errstate(over="ignore", invalid="ignore"):
            # as a float, since NumPy 1 converts products with large integers to Python objects
            regularization: Floats = float(reg) * np.where(count > 0, count, 1.0) ** self.exponent
        if not np.isfinite(regularization).all():
            raise ParameterError(f"exponent={self.exponent:g} makes λ of some rows infinite: lower it")
        return regularization

    def row_counts(self, counted: Floats, missing: Floats | None) -> Floats:
        """Return c_u of each row from its number of counted cells and the total weight of its missing cells."""
        return counted if missing is None or self.counts != "cells" else counted + missing


def counted_cells(
    observed: NDArray[np.int64], positions: NDArray[np.integer], values: Floats, counts: Counted
) -> Floats:
    """Return the number of cells that c counts in each row, without missing cells.

    Parameters
    ----------
    observed : ndarray of shape (n_rows,)
        Numbers of observed cells.
    positions, values : ndarray of shape (n_cells,)
        The row and the value of each observed cell.
    counts : {"cells", "observed", "positive"}
        As in `Regularization`.
    """
    if counts != "positive":
        return observed.astype(np.float64)
    counted = np.zeros(len(observed))
    for block in blocks(len(positions), max(BLOCK, len(observed))):
        counted += np.bincount(positions[block], values[block] > 0, len(observed))
    return counted
