"""History of the Gibbs sampler, one record for each sweep."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from halfstep.errors import NumericalError
from halfstep.models.bayesian.gibbs import Chain


class Sweep(NamedTuple):
    """Record of one sweep in `BayesianALS.history_`.

    Attributes
    ----------
    iteration : int
        Counted from 1.
    loss : float
        Σ w (t − score)² of the sampled factors.
    noise : float
        τ, the noise precision of an observation of weight 1; always 1 for ordinal ratings.
    user_bias, item_bias : float
        Prior mean of the biases.
    user_bias_spread, item_bias_spread : float
        Prior standard deviation of the biases; 0 without biases.
    user_spread, item_spread : float
        Prior standard deviation of the factors, as a root mean square over them.
    user_feature_regularization, item_feature_regularization : float
        λ of the regression on features; 0 without features.
    seconds : float
        Time since the start of the fit.
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
    user_feature_regularization: float
    item_feature_regularization: float
    seconds: float

    @classmethod
    def of(cls, iteration: int, chain: Chain, rank: int, seconds: float) -> Self:
        """Summarize the last sweep of a chain; raise NumericalError if it is not finite."""
        state = chain.state
        if not (np.isfinite(state.loss) and np.isfinite(state.noise)):
            raise NumericalError(
                f"the loss is {state.loss} after sweep {iteration}: check the data for extreme values or weights"
            )
        variances = [np.diag(hyper.covariance) for hyper in (state.users, state.items)]
        user, item = ([*hyper.mean[rank:].tolist(), 0.0][0] for hyper in (state.users, state.items))
        user_bias, item_bias = (float(np.sqrt(variance[rank:].sum())) for variance in variances)
        user_spread, item_spread = (float(np.sqrt(variance[:rank].mean())) for variance in variances)
        user_reg, item_reg = (0.0 if each is None else each.regularization for each in chain.regressions)
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
            user_reg,
            item_reg,
            seconds,
        )
