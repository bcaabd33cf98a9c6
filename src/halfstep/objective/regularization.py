"""Regularization: λ of each row from its number of observed cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from halfstep.errors import ParameterError

Floats = NDArray[np.float64]
Counted = Literal["cells", "observed", "positive"]


@dataclass(frozen=True)
class Regularization:
    """How rows are regularised: λ_u = λ · c_u^ν, and ρ λ_u for their biases.

    Attributes
    ----------
    users, items : float
        λ of either side.
    exponent : float
        ν.
    bias_ratio : float
        ρ.
    counts : {"cells", "observed", "positive"}
        What c_u counts: the observed cells, plus Σ_i s_u m_i where missing cells count (Rendle et al. 2022); the
        observed cells alone (Zhou et al. 2008); or those of them with a positive value (Spark).
    """

    users: float
    items: float
    exponent: float = 0.0
    bias_ratio: float = 1.0
    counts: Counted = "cells"

    def of_rows(self, strength: float, counted: Floats, missing: Floats | None) -> Floats:
        """λ_u of each row from the cells that are counted and, for "cells", what its missing ones weigh.

        A row that weighs nothing gets λ_u as if it weighed 1: its factors are 0 whatever it is.
        """
        heft = counted if missing is None or self.counts != "cells" else counted + missing
        with np.errstate(over="ignore", invalid="ignore"):
            ridge: Floats = strength * np.where(heft > 0, heft, 1.0) ** self.exponent
        if not np.isfinite(ridge).all():
            raise ParameterError(f"regularization_exponent={self.exponent:g} makes λ of some rows infinite: lower it")
        return ridge
