"""The inputs of a fit of `ALS`."""

from __future__ import annotations

from typing import NamedTuple

from halfstep.data import Interactions
from halfstep.data.side_information import SideInformation
from halfstep.objective.cost import Cost
from halfstep.objective.regularization import RowRegularization


class Fit(NamedTuple):
    """The inputs of a fit.

    Attributes
    ----------
    data : Interactions
    cost : Cost
        The data terms of the objective.
    regularization : RowRegularization
    of_users : SideInformation or None
        The features of the users; None without side information.
    """

    data: Interactions
    cost: Cost
    regularization: RowRegularization
    of_users: SideInformation | None
