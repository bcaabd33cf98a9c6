"""What the sweeps of a sampler drew, one line for each."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from halfstep.errors import NumericalError
from halfstep.models.bayesian.gibbs import Chain


class Sweep(NamedTuple):
    """One line of `BayesianALS.history_`: what a sweep drew. A chain that has mixed wanders around in all of these.

    Attributes
    ----------
    iteration : int
        From 1.
    loss : float
        Σ w (t − score)² of the sweep's factors.
    noise : float
        τ, the precision of an observation of weight 1; its standard deviation is τ^-½. Of latent targets always 1.
    user_bias, item_bias : float
        What biases are drawn around.
    user_bias_spread, item_bias_spread : float
        The standard deviation with which they are drawn; 0 without biases.
    user_spread, item_spread : float
        That of factors: the root mean square over the factors.
    user_ridge, item_ridge : float
        λ of the links, by which their coefficients are drawn to 0; 0 without features.
    seconds : float
        Since the fit began.
    """

    iteration: int
    loss: float
    noise: float
    user_bias: float
    item_bias: float
    user_bias_spread: float
    item_bias_spread: float
    user_spread: float
    item_spread: float
    user_ridge: float
    item_ridge: float
    seconds: float

    @classmethod
    def of(cls, iteration: int, chain: Chain, rank: int, seconds: float) -> Self:
        """What the last sweep of a chain drew; NumericalError if it is not finite."""
        state = chain.state
        if not (np.isfinite(state.loss) and np.isfinite(state.noise)):
            raise NumericalError(
                f"the loss is {state.loss} after sweep {iteration}: look for extreme values or weights"
            )
        variances = [np.diag(hyper.covariance) for hyper in (state.users, state.items)]
        user, item = ([*hyper.mean[rank:].tolist(), 0.0][0] for hyper in (state.users, state.items))
        user_bias, item_bias = (float(np.sqrt(variance[rank:].sum())) for variance in variances)
        user_spread, item_spread = (float(np.sqrt(variance[:rank].mean())) for variance in variances)
        user_ridge, item_ridge = (0.0 if link is None else link.strength for link in chain.links)
        return cls(
            iteration,
            state.loss,
            state.noise,
            user,
            item,
            user_bias,
            item_bias,
            user_spread,
            item_spread,
            user_ridge,
            item_ridge,
            seconds,
        )
