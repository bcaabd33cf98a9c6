"""The parameters of other libraries: each function returns an unfitted `halfstep.ALS`.

Parameters have the names and defaults of the other library; `random_state` is added, and `set_params` sets others,
such as ``set_params(threads=2)``. The presets translate the objective, so that given the same item factors, the
half-step of the users is that of the other library. An iteration is one of its iterations: rows are solved exactly,
without extrapolation (``set_params(solver="auto")`` is faster). Solvers, precision, threads, caches and initial
factors are not translated (see `ALS`). Approximate solvers of other libraries approximate the same half-step. By
default, `ALS` also solves the users once more after the last iteration.

In the formulas, r is the value of an observed cell, x = p_u·q_i its score, n_u the number of observed cells of a row,
Σ_Ω is over observed cells, Σ_missing over the others, and Σ_all over both.

>>> import halfstep as hs
>>> model = hs.presets.implicit(factors=64, alpha=40.0, random_state=0)
>>> model.rank, model.regularization, model.iterations
(64, Regularization(0.01, exponent=0.0), 15)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from halfstep._support.checks import check_choice, check_flag, check_number
from halfstep.errors import ParameterError
from halfstep.models.als import ALS
from halfstep.objective.objective import Explicit, Implicit
from halfstep.objective.regularization import Counted, Regularization
from halfstep.solvers import Cholesky
from halfstep.weights import (
    confidence,
    log_confidence,
    missing_popularity,
    preference,
    row_column,
)

PLAIN = Cholesky(extrapolation=0.0)

__all__ = ["cmfrec", "cmfrec_explicit", "eals", "ials", "implicit", "irspack", "lenskit", "spark", "wals"]

Seed = int | np.random.Generator | None


def implicit(
    factors: int = 100,
    regularization: float = 0.01,
    alpha: float = 1.0,
    iterations: int = 15,
    *,
    random_state: Seed = None,
) -> ALS:
    """``implicit.als.AlternatingLeastSquares``: the weight is α|r|, without the 1 of Hu et al. (2008).

        Σ_Ω α|r| (t − x)² + Σ_missing x² + λ (Σ_u ‖p_u‖² + Σ_i ‖q_i‖²),   t = 1 where r > 0, else 0

    so that values r + 1/α give the weights 1 + α r of `cmfrec`. A cell with α|r| < 1 has a lower weight than a
    missing one.

    Parameters
    ----------
    factors : int
        `rank` here.
    regularization : float
        λ, the same for all rows.
    alpha : float
        Multiplies the values.
    iterations : int
    random_state
        As in `halfstep.ALS`.

    Returns
    -------
    ALS
        Unfitted. ``use_native``, ``use_cg``, ``use_gpu``, ``num_threads`` and ``calculate_training_loss`` do not
        affect the objective, and are omitted (the loss is in `history_`).
    """
    return ALS(
        Implicit(observed_weight=confidence(alpha, base=0.0), missing_weight=1.0, target=preference()),
        rank=factors,
        regularization=_regularization(regularization, 0.0),
        iterations=iterations,
        random_state=random_state,
        solver=PLAIN,
    )


def spark(
    rank: int = 10,
    maxIter: int = 10,
    regParam: float = 0.1,
    implicitPrefs: bool = False,
    alpha: float = 1.0,
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
    random_state
        As in `halfstep.ALS`; Spark's ``seed`` is `random_state`.

    Returns
    -------
    ALS
        Unfitted. ``nonnegative`` is not supported. Names of columns are given to `Interactions`; blocks, storage
        levels and checkpoints have no counterpart. ``coldStartStrategy`` is `unknown` in `predict`, which by default
        returns the baseline instead of NaN.
    """
    check_flag("implicitPrefs", implicitPrefs)
    if implicitPrefs:
        objective: Explicit | Implicit = Implicit(
            observed_weight=confidence(alpha), missing_weight=1.0, target=preference()
        )
    else:
        objective = Explicit(weight=1.0, biases=False)
    return ALS(
        objective,
        rank=rank,
        regularization=_regularization(regParam, 1.0, counts="positive" if implicitPrefs else "observed"),
        iterations=maxIter,
        random_state=random_state,
        solver=PLAIN,
    )


def ials(
    embedding_dim: int = 16,
    regularization: float = 0.0001,
    unobserved_weight: float = 0.1,
    regularization_exp: float = 1.0,
    epochs: int = 16,
    *,
    random_state: Seed = None,
) -> ALS:
    """Google's iALS (Rendle et al. 2022): `unobserved_weight` also applies to observed cells, and scales λ.

        Σ_Ω (1 − x)² + α0 Σ_all x² + λ (Σ_u (n_u + α0 N)^ν ‖p_u‖² + Σ_i (n_i + α0 M)^ν ‖q_i‖²)

    for M users and N items; values are ignored. With ν = 0 it is Hu et al. (2008) on values of 1: their
    (α, λ) is α0 = 1/α with λ / (1 + α) here, and their scores are (1 + α) / α times these.

    Parameters
    ----------
    embedding_dim : int
        `rank` here.
    regularization : float
        λ.
    unobserved_weight : float
        α0.
    regularization_exp : float
        ν.
    epochs : int
        `iterations` here. The authors have no default, and use 16.
    random_state
        As in `halfstep.ALS`.

    Returns
    -------
    ALS
        Unfitted, with the initial factors of the paper, N(0, 0.1² / rank); set `init` for another ``stddev``.
        ``block_size`` (iALS++) does not affect the objective.

    References
    ----------
    .. [1] S. Rendle et al., "Revisiting the performance of iALS on item recommendation benchmarks", RecSys 2022.
    """
    check_number("unobserved_weight", unobserved_weight)
    return ALS(
        Implicit(observed_weight=1.0, missing_weight=unobserved_weight, all_cells=True),
        rank=embedding_dim,
        regularization=_regularization(regularization, regularization_exp, counts="cells"),
        iterations=epochs,
        random_state=random_state,
        solver=PLAIN,
    )


def irspack(
    n_components: int = 20,
    alpha0: float = 0.0,
    reg: float = 0.001,
    nu: float = 1.0,
    confidence_scaling: Literal["none", "log"] = "none",
    epsilon: float = 1.0,
    loss_type: Literal["IALSPP", "ORIGINAL"] = "IALSPP",
    train_epochs: int = 16,
    *,
    random_state: Seed = None,
) -> ALS:
    """``irspack.IALSRecommender``: `ials` with the weight `alpha0` of missing cells, and values as confidences.

    With the confidence c = r, or log(1 + r / ε) with ``confidence_scaling="log"``:

        IALSPP    Σ_Ω c (1 − x)² + α0 Σ_all x² + λ (Σ_u (n_u + α0 N)^ν ‖p_u‖² + Σ_i (n_i + α0 M)^ν ‖q_i‖²)
        ORIGINAL  Σ_Ω (α0 + c) (1 − x)² + α0 Σ_missing x² + the same

    Parameters
    ----------
    n_components : int
        `rank` here.
    alpha0 : float
        α0. The default of 0 ignores missing cells, which is rarely useful.
    reg : float
        λ.
    nu : float
        ν.
    confidence_scaling : {"none", "log"}
    epsilon : float
        ε.
    loss_type : {"IALSPP", "ORIGINAL"}
        Whether the loss of missing cells also applies to observed cells.
    train_epochs : int
        `iterations` here.
    random_state
        As in `halfstep.ALS`; irspack's ``random_seed``.

    Returns
    -------
    ALS
        Unfitted, for values above 0. ``solver_type`` and its options do not affect the objective. ``init_std`` is 0.1
        over √rank, irspack's default; set `init` for another. ``nu_star`` multiplies `reg` by a number that depends
        on the data. Features of users and items are not supported.

    Raises
    ------
    ParameterError
        If an option is not one of those above.
    """
    check_choice("confidence_scaling", confidence_scaling, ("none", "log"))
    check_choice("loss_type", loss_type, ("IALSPP", "ORIGINAL"))
    check_number("alpha0", alpha0)
    is_shared = loss_type == "IALSPP"
    base = 0.0 if is_shared else alpha0
    weight = confidence(1.0, base) if confidence_scaling == "none" else log_confidence(1.0, epsilon, base)
    return ALS(
        Implicit(observed_weight=weight, missing_weight=alpha0, all_cells=is_shared),
        rank=n_components,
        regularization=_regularization(reg, nu, counts="cells"),
        iterations=train_epochs,
        random_state=random_state,
        solver=PLAIN,
    )


def eals(
    factors: int = 64,
    maxIter: int = 500,
    reg: float = 0.01,
    w0: float = 10.0,
    alpha: float = 0.75,
    *,
    random_state: Seed = None,
) -> ALS:
    """``MF_fastALS`` of He et al. (2016): `w0` is the total weight of a user's missing cells.

        Σ_Ω (1 − x)² + Σ_missing c_i x² + λ (Σ_u ‖p_u‖² + Σ_i ‖q_i‖²),   c_i = w0 · f_i^α / Σ_j f_j^α

    f_i is the popularity of item i; values are ignored.

    Parameters
    ----------
    factors : int
        `rank` here.
    maxIter : int
        `iterations` here. Fewer are needed, because rows are solved exactly instead of one factor at a time.
    reg : float
        λ.
    w0 : float
        c0 of the paper.
    alpha : float
        The exponent of popularity; with 0, all items have the same weight. Not the α of confidences.
    random_state
        As in `halfstep.ALS`.

    Returns
    -------
    ALS
        Unfitted. Set `init` instead of ``init_mean`` and ``init_stdev``. ``w_new`` is not supported: `partial_fit`
        gives new interactions the same weight.

    References
    ----------
    .. [1] X. He et al., "Fast matrix factorization for online recommendation with implicit feedback", SIGIR 2016.
    """
    return ALS(
        Implicit(observed_weight=1.0, missing_weight=missing_popularity(c0=w0, exponent=alpha)),
        rank=factors,
        regularization=_regularization(reg, 0.0),
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
        regularization=_regularization(0.0 if regularization is None else regularization, 0.0),
        iterations=iterations,
        random_state=random_state,
        solver=PLAIN,
    )


def cmfrec(
    k: int = 50,
    lambda_: float | Sequence[float] = 1.0,
    alpha: float = 1.0,
    niter: int = 10,
    *,
    random_state: Seed = None,
) -> ALS:
    """``cmfrec.CMF_implicit``: the weights of Hu et al. (2008), unlike `implicit` and `ials`.

        Σ_Ω (1 + α r) (1 − x)² + Σ_missing x² + λ (Σ_u ‖p_u‖² + Σ_i ‖q_i‖²)

    Parameters
    ----------
    k : int
        `rank` here.
    lambda_ : float or sequence of 6 floats
        λ; of six numbers, the third is for users and the fourth for items.
    alpha : float
    niter : int
        `iterations` here.
    random_state
        As in `halfstep.ALS`.

    Returns
    -------
    ALS
        Unfitted, for values above 0. Side information (``k_user``, ``w_main``, ``center_U`` …), ``l1_lambda`` and
        ``nonneg`` are not supported. For ``apply_log_transf``, give logarithms as values. ``use_cg``,
        ``finalize_chol`` and similar options do not affect the objective.

    Raises
    ------
    ParameterError
        If `lambda_` is not one number or six.
    """
    _, _, users, items = _four_lambdas(lambda_)
    return ALS(
        Implicit(observed_weight=confidence(alpha), missing_weight=1.0),
        rank=k,
        regularization=_regularization((users, items), 0.0),
        iterations=niter,
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
    random_state
        As in `halfstep.ALS`.

    Returns
    -------
    ALS
        Unfitted. Side information, ``l1_lambda``, ``nonneg``, ``add_implicit_features``, ``scale_bias_const``,
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
    ):
        check_flag(name, flag)
    if not user_bias == item_bias == center:
        raise ParameterError(
            f"user_bias={user_bias!r}, item_bias={item_bias!r}, center={center!r}: give True for all three or False"
        )
    user_biases, item_biases, users, items = _four_lambdas(lambda_)
    rho = user_biases / users if users > 0 else 1.0
    if user_bias and not np.allclose((rho * users, rho * items), (user_biases, item_biases), rtol=1e-9, atol=0.0):
        raise ParameterError(
            f"lambda_={lambda_!r}: the ratio of λ of biases to λ of factors must be the same for users and items"
        )
    return ALS(
        Explicit(weight=1.0, biases=user_bias),
        rank=k,
        regularization=_regularization((users, items), 1.0 if scale_lam else 0.0, bias_ratio=rho),
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
        regularization=_regularization(regularization, 0.0),
        iterations=epochs,
        random_state=random_state,
        solver=PLAIN,
    )


def _four_lambdas(lambda_: float | Sequence[float]) -> tuple[float, float, float, float]:
    """Return λ of cmfrec for the biases of users and items, and for the factors of users and items."""
    is_listed = isinstance(lambda_, list | tuple | np.ndarray) and np.ndim(lambda_) == 1
    given: list[Any] = list(lambda_) if is_listed else [lambda_] * 6  # type: ignore[arg-type]
    if len(given) != 6:
        raise ParameterError(f"lambda_={lambda_!r}: give one number, or six")
    for number in given:
        check_number("lambda_", number)
    user_biases, item_biases, users, items = map(float, given[:4])
    return user_biases, item_biases, users, items


def _regularization(
    given: Any, exponent: float, *, counts: Counted = "observed", bias_ratio: float | None = None
) -> Regularization:
    """Return the regularization for λ, or a pair of λ, scaled by counts to the power `exponent`."""
    scaled = replace(Regularization.of(given), exponent=exponent, counts=counts, bias_ratio=bias_ratio)
    return replace(scaled, items=None) if scaled.items == scaled.users else scaled
