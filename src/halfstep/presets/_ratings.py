"""Presets for ratings, or for both ratings and implicit feedback."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from halfstep._support.checks import check_flag, check_number
from halfstep.errors import ParameterError
from halfstep.models.als import ALS
from halfstep.objective.objective import Explicit, Implicit
from halfstep.presets._common import PLAIN, Seed, four_lambdas, scaled_regularization
from halfstep.weights import confidence, preference, row_column


def spark(
    rank: int = 10,
    maxIter: int = 10,
    regParam: float = 0.1,
    implicitPrefs: bool = False,
    alpha: float = 1.0,
    nonnegative: bool = False,
    *,
    random_state: Seed = None,
) -> ALS:
    """``pyspark.ml.recommendation.ALS``: `regParam` is scaled by the number of (positive) observed cells of a row.

    Explicit, which is ALS-WR (Zhou et al. 2008):

        Σ_Ω (r − x)² + λ (Σ_u n_u ‖p_u‖² + Σ_i n_i ‖q_i‖²)

    Implicit, where n counts only cells with r > 0:

        Σ_Ω (1 + α|r|) (t − x)² + Σ_missing x² + λ (Σ_u n_u ‖p_u‖² + Σ_i n_i ‖q_i‖²),   t = 1 where r > 0, else 0

    Parameters
    ----------
    rank : int
    maxIter : int
        `iterations` here. Spark solves the items first, from the users' initial factors.
    regParam : float
        λ.
    implicitPrefs : bool
    alpha : float
        Ignored unless ``implicitPrefs``.
    nonnegative : bool
        Whether all factors are at least 0.
    random_state
        As in `halfstep.ALS`; Spark's ``seed`` is `random_state`.

    Returns
    -------
    ALS
        Unfitted. Names of columns are given to `Interactions`; blocks, storage
        levels and checkpoints have no counterpart. ``coldStartStrategy`` is `unknown` in `predict`, which by default
        returns the baseline instead of NaN.
    """
    check_flag("implicitPrefs", implicitPrefs)
    check_flag("nonnegative", nonnegative)
    if implicitPrefs:
        objective: Explicit | Implicit = Implicit(
            observed_weight=confidence(alpha), missing_weight=1.0, target=preference(), nonnegative=nonnegative
        )
    else:
        objective = Explicit(weight=1.0, biases=False, nonnegative=nonnegative)
    return ALS(
        objective,
        rank=rank,
        regularization=scaled_regularization(regParam, 1.0, counts="positive" if implicitPrefs else "observed"),
        iterations=maxIter,
        random_state=random_state,
        solver=PLAIN,
    )


def wals(
    n_components: int,
    unobserved_weight: float = 0.1,
    regularization: float | None = None,
    row_weights: ArrayLike | None = 1.0,
    col_weights: ArrayLike | None = 1.0,
    *,
    iterations: int = ALS.iterations,
    random_state: Seed = None,
) -> ALS:
    """TensorFlow's ``WALSModel``: `unobserved_weight` is added to the weight of observed cells, too.

        Σ_Ω (W0 + R_u C_i) (r − x)² + Σ_missing W0 x² + λ (Σ_u ‖p_u‖² + Σ_i ‖q_i‖²)

    The target is the value, which is 1 for clicks.

    Parameters
    ----------
    n_components : int
        `rank` here.
    unobserved_weight : float
        W0.
    regularization : float, optional
        λ; 0 by default.
    row_weights : float or array-like of shape (n_users,), optional
        R, by the position of the user. None for both means R C = 0: all cells have the weight W0.
    col_weights : float or array-like of shape (n_items,), optional
        C, by the position of the item.
    iterations : int
        An iteration is two sweeps of ``WALSModel``, which has no default.
    random_state
        As in `halfstep.ALS`.

    Returns
    -------
    ALS
        Unfitted. Numbers of rows, columns and shards, and caches, are omitted. Set `init` for ``row_init`` and
        ``col_init``, which are N(0, 1) by default.

    Raises
    ------
    ParameterError
        If only one kind of weights is None.
    """
    if row_weights is None and col_weights is None:
        weight: float | row_column = unobserved_weight
    elif row_weights is not None and col_weights is not None:
        weight = row_column(unobserved_weight, row_weights, col_weights)
    else:
        missing = "row_weights" if row_weights is None else "col_weights"
        raise ParameterError(f"{missing}=None: give both row_weights and col_weights, or None for both")
    return ALS(
        Explicit(weight=weight, missing_weight=unobserved_weight, biases=False),
        rank=n_components,
        regularization=scaled_regularization(0.0 if regularization is None else regularization, 0.0),
        iterations=iterations,
        random_state=random_state,
        solver=PLAIN,
    )


def cmfrec_explicit(
    k: int = 40,
    lambda_: float | Sequence[float] = 10.0,
    user_bias: bool = True,
    item_bias: bool = True,
    center: bool = True,
    scale_lam: bool = False,
    niter: int = 10,
    nonneg: bool = False,
    *,
    random_state: Seed = None,
) -> ALS:
    """``cmfrec.CMF`` without side information: `lambda_` is not scaled by counts unless `scale_lam`.

        Σ_Ω (r − μ − b_u − b_i − x)² + λ (Σ_u n_u^ν (‖p_u‖² + ρ b_u²) + Σ_i n_i^ν (‖q_i‖² + ρ b_i²))

    with ν = 1 if `scale_lam`, else 0, and μ the mean of the values.

    Parameters
    ----------
    k : int
        `rank` here.
    lambda_ : float or sequence of 6 floats
        λ; six numbers are for biases of users and items, users, items, and two that are ignored.
    user_bias, item_bias, center : bool
        Whether to include b_u, b_i and μ; must be equal.
    scale_lam : bool
        Whether λ is multiplied by the number of observed cells of a row.
    niter : int
        `iterations` here.
    nonneg : bool
        Whether all factors are at least 0; biases can have any sign.
    random_state
        As in `halfstep.ALS`.

    Returns
    -------
    ALS
        Unfitted. Side information, ``l1_lambda``, ``add_implicit_features``, ``scale_bias_const``,
        ``NA_as_zero`` and ``method="lbfgs"`` are not supported.

    Raises
    ------
    ParameterError
        If `user_bias`, `item_bias` and `center` differ, or `lambda_` has different ratios of biases to factors for
        users and items.
    """
    for name, flag in (
        ("user_bias", user_bias),
        ("item_bias", item_bias),
        ("center", center),
        ("scale_lam", scale_lam),
        ("nonneg", nonneg),
    ):
        check_flag(name, flag)
    if not user_bias == item_bias == center:
        raise ParameterError(
            f"user_bias={user_bias!r}, item_bias={item_bias!r}, center={center!r}: give True for all three or False"
        )
    user_biases, item_biases, users, items = four_lambdas(lambda_)
    rho = user_biases / users if users > 0 else 1.0
    if user_bias and not np.allclose((rho * users, rho * items), (user_biases, item_biases), rtol=1e-9, atol=0.0):
        raise ParameterError(
            f"lambda_={lambda_!r}: give users and items the same ratio of λ of biases to λ of factors"
        )
    return ALS(
        Explicit(weight=1.0, biases=user_bias, nonnegative=nonneg),
        rank=k,
        regularization=scaled_regularization((users, items), 1.0 if scale_lam else 0.0, bias_ratio=rho),
        iterations=niter,
        random_state=random_state,
        solver=PLAIN,
    )


def lenskit(
    embedding_size: int = 50,
    epochs: int = 10,
    regularization: float | tuple[float, float] = 0.1,
    weight: float = 40.0,
    use_ratings: bool = False,
    *,
    random_state: Seed = None,
) -> ALS:
    """LensKit's ``ImplicitMFScorer``: `weight` is α of Hu et al. (2008); values are ignored by default.

        Σ_Ω (1 + α r) (1 − x)² + Σ_missing x² + λ_u Σ_u ‖p_u‖² + λ_i Σ_i ‖q_i‖²,   r = 1 unless `use_ratings`

    Parameters
    ----------
    embedding_size : int
        `rank` here; LensKit also calls it ``features``.
    epochs : int
        `iterations` here.
    regularization : float or pair of floats
        λ, or λ_u and λ_i.
    weight : float
        α.
    use_ratings : bool
    random_state
        As in `halfstep.ALS`.

    Returns
    -------
    ALS
        Unfitted; with `use_ratings` for values above 0. ``user_embeddings`` has no counterpart: user factors are
        always stored. ``BiasedMFScorer`` is not supported: it fits factors to the residuals of damped biases, while
        ``Explicit(biases=True)`` fits both jointly.
    """
    check_number("weight", weight)
    check_flag("use_ratings", use_ratings)
    observed = confidence(weight) if use_ratings else 1.0 + weight
    return ALS(
        Implicit(observed_weight=observed, missing_weight=1.0),
        rank=embedding_size,
        regularization=scaled_regularization(regularization, 0.0),
        iterations=epochs,
        random_state=random_state,
        solver=PLAIN,
    )
