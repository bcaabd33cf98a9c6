"""Biased matrix factorization by stochastic gradient descent."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from halfstep._support.checks import as_generator, check_flag, check_integer, check_number, check_random_state
from halfstep._support.memory import check_rank
from halfstep._support.progress import progress_bar, warn_of_interruption
from halfstep.data import Interactions, interactions_to_fit
from halfstep.errors import NumericalError
from halfstep.models.factor_model import FactorModel
from halfstep.models.factorization import Factorization
from halfstep.models.fitted_attribute import FittedAttribute
from halfstep.models.poor_fit import warn_of_equal_targets
from halfstep.solver.kernels.sgd_epoch import sgd_epoch
from halfstep.solver.threads import working


class Epoch(NamedTuple):
    """Record of one epoch in `SGD.history_`.

    Attributes
    ----------
    iteration : int
        Counted from 1.
    rmse : float
        Root mean squared error on the training ratings, each predicted just before its step.
    seconds : float
        Time since the start of the fit.
    """

    iteration: int
    rmse: float
    seconds: float


@dataclass(eq=False, repr=False, kw_only=True)
class SGD(FactorModel):
    """Biased matrix factorization by stochastic gradient descent (Koren, Bell and Volinsky 2009).

    Minimizes Σ (r_ui − μ − b_u − b_i − p_u·q_i)² + λ (b_u² + b_i² + ‖p_u‖² + ‖q_i‖²) over the observed ratings,
    with a step after each rating (e is its error, γ the learning rate):

        b_u ← b_u + γ(e − λ b_u),    p_u ← p_u + γ(e q_i − λ p_u),    and likewise for the item,

    using the old p_u and q_i. μ is the mean rating, biases start at 0, and factors are sampled from N(0, init_std²).
    An epoch visits the ratings grouped by user, with users and their ratings in the order of the data. This is the
    model that Surprise calls SVD, with the same defaults, but predictions are not clipped to the rating scale.

    Users and items without ratings have zero factors and biases. Weights are ignored.

    Parameters
    ----------
    rank : int
        Number of factors.
    iterations : int
        Number of epochs.
    learning_rate : float
        γ > 0.
    regularization : float
        λ ≥ 0.
    init_std : float
        Standard deviation of the initial factors, ≥ 0.
    random_state : int, numpy.random.Generator or None
        Seed or generator of the initial factors. Pass an int for reproducible results.
    progress : bool or None
        Whether to show a progress bar. By default it is shown in terminals and notebooks if the fit takes more than
        two seconds.

    Attributes
    ----------
    history_ : list of Epoch
        One record for each epoch.

    Notes
    -----
    Ctrl-C during `fit` keeps the model of the last finished epoch, and issues a `FitInterruptedWarning`.
    `FactorModel` describes the other fitted attributes.

    Examples
    --------
    >>> import halfstep as hs
    >>> data = hs.Interactions.from_arrays(["ann", "ann", "bob"], ["Alien", "Brazil", "Brazil"], [5, 3, 4])
    >>> model = hs.SGD(rank=2, random_state=0).fit(data)
    >>> model.predict("bob", ["Alien", "Brazil"]).shape
    (2,)
    """

    history_ = FittedAttribute[list[Epoch]]()

    rank: int = 100
    iterations: int = 20
    learning_rate: float = 0.005
    regularization: float = 0.02
    init_std: float = 0.1
    random_state: int | np.random.Generator | None = None
    progress: bool | None = None

    def _check_parameters(self) -> None:
        check_integer("rank", self.rank, minimum=1)
        check_integer("iterations", self.iterations, minimum=1)
        check_number("learning_rate", self.learning_rate, positive=True)
        check_number("regularization", self.regularization)
        check_number("init_std", self.init_std)
        check_random_state(self.random_state)
        check_flag("progress", self.progress, optional=True)

    def fit(self, data: Any, y: None = None) -> Self:
        """Fit the model to observed ratings.

        Parameters
        ----------
        data : Interactions, scipy.sparse matrix or dataframe
            Input of `as_interactions`; rows of a sparse matrix are users.
        y : None
            Ignored, present for compatibility with scikit-learn.

        Returns
        -------
        SGD
            This model.

        Raises
        ------
        DataError
            If there are no interactions.
        ParameterError
            If a parameter is invalid, or y is not None.
        NumericalError
            If the steps diverge.
        """
        self._check_before_fit(y)
        interactions = interactions_to_fit(data)
        check_rank(self.rank, interactions.n_users, interactions.n_items, itemsize=8, is_solved=False)
        rng = as_generator(self.random_state)
        P = rng.normal(0.0, self.init_std, (interactions.n_users, self.rank))
        Q = rng.normal(0.0, self.init_std, (interactions.n_items, self.rank))
        P[interactions.user_counts == 0] = 0.0
        Q[interactions.item_counts == 0] = 0.0
        user_biases, item_biases = np.zeros(len(P)), np.zeros(len(Q))
        with np.errstate(over="ignore"):  # the model is then not finite, which is an error
            mean = float(interactions.values.mean())

        history: list[Epoch] = []
        try:
            self._run_epochs(interactions, mean, user_biases, item_biases, P, Q, history)
        except KeyboardInterrupt:
            # raised between two calls of the kernel, so that the arrays are those after a whole epoch
            if not history:
                raise
            warn_of_interruption(
                f"fit was interrupted: this is the model after {len(history)} of {self.iterations} iterations"
            )
        self._set_result(
            Factorization.fitted_now(
                interactions,
                mean=mean,
                user_factors=P,
                item_factors=Q,
                user_biases=user_biases,
                item_biases=item_biases,
                history=history,
            )
        )
        warn_of_equal_targets(interactions.values)
        return self

    def _run_epochs(
        self,
        data: Interactions,
        mean: float,
        user_biases: NDArray[np.float64],
        item_biases: NDArray[np.float64],
        P: NDArray[np.float64],
        Q: NDArray[np.float64],
        history: list[Epoch],
    ) -> None:
        """Run all epochs, updating the parameters in place."""
        order = _visiting_order(data)
        users, items = data.user_positions[order], data.item_positions[order]
        targets = data.values[order] - mean
        began = time.perf_counter()
        with progress_bar(self.progress, self.iterations, "SGD") as bar:
            for iteration in range(1, self.iterations + 1):
                with working():  # the first call compiles
                    squared_error = sgd_epoch(
                        users,
                        items,
                        targets,
                        user_biases,
                        item_biases,
                        P,
                        Q,
                        float(self.learning_rate),
                        float(self.regularization),
                    )
                if not all(np.isfinite(part).all() for part in (user_biases, item_biases, P, Q)):
                    raise NumericalError(
                        f"the factors are not finite after epoch {iteration}: check the data for extreme values, or "
                        f"lower learning_rate, which is {self.learning_rate:g}"
                    )
                rmse = math.sqrt(squared_error / len(targets))
                history.append(Epoch(iteration, rmse, time.perf_counter() - began))
                bar.set_postfix_str(f"training RMSE {rmse:.4f}", refresh=False)
                bar.update()


def _visiting_order(data: Interactions) -> NDArray[np.int64]:
    """Return the order of ratings grouped by user, with users in the order of their first rating."""
    first_rating = np.empty(data.n_users, dtype=np.int64)
    backwards = np.arange(len(data))[::-1]
    first_rating[data.user_positions[backwards]] = backwards  # the last of repeated assignments wins
    return np.argsort(first_rating[data.user_positions], kind="stable")
