"""Other libraries' parameters, translated: each function returns an unfitted `halfstep.ALS`.

The parameters have the names and the defaults that the peer gives them; `random_state` is ours,
and `set_params` sets others, such as ``set_params(threads=2)``. What is translated is the objective, so that with the
same items' factors the users' half-step is the peer's.
Each iteration is one of theirs: rows are solved exactly, without extrapolation (``set_params(solver="auto")`` is
faster). Not translated is how it gets there: solvers, precision,
threads and caches, and the factors that it starts from (`ALS` says what ours are). Solvers that are not exact, such
as a few steps of conjugate gradients, approximate the half-step that is solved here. And unless it is told not to,
`ALS` solves the users once more at the end.

In the formulas r is the value of an observed cell, x = p_u·q_i its score, n_u the number of observed cells of a row,
Σ_Ω runs over observed cells, Σ_missing over the others, and Σ_all over both.

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
    """``implicit.als.AlternatingLeastSquares``: `alpha` is the whole weight, without the 1 of Hu et al. (2008).

        Σ_Ω α|r| (t − x)² + Σ_missing x² + λ (Σ_u ‖p_u‖² + Σ_i ‖q_i‖²),   t = 1 where r > 0, else 0

    so `cmfrec`'s weight 1 + α r is what it gets from the values r + 1/α. A cell with α|r| < 1 counts for less than
    a missing one.

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
        Unfitted. `dtype` may be set on it; the peer's ``use_native``, ``use_cg``, ``use_gpu``, ``num_threads`` and
        ``calculate_training_loss`` say how, not what, and are left out (the loss is in `history_`).
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
    """``pyspark.ml.recommendation.ALS``: `regParam` is multiplied by the number of a row's (positive) entries.

    Explicit, which is ALS-WR (Zhou et al. 2008):

        Σ_Ω (r − x)² + λ (Σ_u n_u ‖p_u‖² + Σ_i n_i ‖q_i‖²)

    Implicit, where only entries with r > 0 are counted in n:

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
        Not used unless ``implicitPrefs``.
    random_state
        As in `halfstep.ALS`; Spark's ``seed`` is `random_state`.

    Returns
    -------
    ALS
        Unfitted. ``nonnegative`` is left out: no half-step here has constraints. Names of columns are given to
        `Interactions`; blocks, storage levels and checkpoints have no counterpart. ``coldStartStrategy`` is the
        `unknown` of `predict`, which gives the baseline instead of NaN.
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
    """Google's iALS (Rendle et al. 2022): `unobserved_weight` also draws observed cells to 0, and scales λ.

        Σ_Ω (1 − x)² + α0 Σ_all x² + λ (Σ_u (n_u + α0 N)^ν ‖p_u‖² + Σ_i (n_i + α0 M)^ν ‖q_i‖²)

    for M users and N items; the values are not used. With ν = 0 it is Hu et al. (2008) on values of 1: their
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
        `iterations` here. The peer has no default; 16 is what its authors run.
    random_state
        As in `halfstep.ALS`.

    Returns
    -------
    ALS
        Unfitted, with the initial factors of the paper, N(0, 0.1² / rank). For another ``stddev`` give `init`.
        ``block_size`` (iALS++) says how, not what.

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
    """``irspack.IALSRecommender``: `ials`, with `alpha0` for the weight of missing cells and values as confidences.

    With the confidence c = r, or log(1 + r / ε) where ``confidence_scaling="log"``:

        IALSPP    Σ_Ω c (1 − x)² + α0 Σ_all x² + λ (Σ_u (n_u + α0 N)^ν ‖p_u‖² + Σ_i (n_i + α0 M)^ν ‖q_i‖²)
        ORIGINAL  Σ_Ω (α0 + c) (1 − x)² + α0 Σ_missing x² + the same

    Parameters
    ----------
    n_components : int
        `rank` here.
    alpha0 : float
        α0. The peer's default of 0 leaves missing cells out, which is seldom wanted.
    reg : float
        λ.
    nu : float
        ν.
    confidence_scaling : {"none", "log"}
    epsilon : float
        ε.
    loss_type : {"IALSPP", "ORIGINAL"}
        Whether observed cells are drawn to 0, too.
    train_epochs : int
        `iterations` here.
    random_state
        As in `halfstep.ALS`; the peer's ``random_seed`` and ``n_threads``.

    Returns
    -------
    ALS
        Unfitted, for values above 0. ``solver_type`` and its options say how, not what. ``init_std`` is the peer's
        0.1, over √rank; for another give `init`. ``nu_star`` multiplies `reg` by a number that depends on the data:
        do that with `reg`. Features of users and items are left out.

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
    """``MF_fastALS`` of He et al. (2016): `w0` is what all items' missing cells weigh together, not each of them.

        Σ_Ω (1 − x)² + Σ_missing c_i x² + λ (Σ_u ‖p_u‖² + Σ_i ‖q_i‖²),   c_i = w0 · f_i^α / Σ_j f_j^α

    f_i is the popularity of item i; the values are not used.

    Parameters
    ----------
    factors : int
        `rank` here.
    maxIter : int
        `iterations` here. The peer improves one factor at a time; rows are solved exactly here, which takes fewer.
    reg : float
        λ.
    w0 : float
        c0 of the paper.
    alpha : float
        How much more popular items weigh; 0 for all alike. It has nothing to do with confidence.
    random_state
        As in `halfstep.ALS`.

    Returns
    -------
    ALS
        Unfitted. ``init_mean`` and ``init_stdev`` are left out: give `init`. So is ``w_new``: what `partial_fit`
        learns weighs as much as the rest.

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

    The target is the value itself: give 1s for clicks.

    Parameters
    ----------
    n_components : int
        `rank` here.
    unobserved_weight : float
        W0.
    regularization : float, optional
        λ; 0 by default.
    row_weights : float or array-like of shape (n_users,), optional
        R, by the position of the user. None for both kinds of weights is R C = 0: all cells weigh W0.
    col_weights : float or array-like of shape (n_items,), optional
        C, by the position of the item.
    iterations : int
        Two of the peer's sweeps; how many is up to its caller.
    random_state
        As in `halfstep.ALS`.

    Returns
    -------
    ALS
        Unfitted. Numbers of rows, columns and shards, and caches, are left out; for ``row_init`` and ``col_init``
        give `init`, where the peer's start is N(0, 1).

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
    """``cmfrec.CMF_implicit``: Hu et al. (2008), where `implicit` and `ials` mean other weights by their names.

        Σ_Ω (1 + α r) (1 − x)² + Σ_missing x² + λ (Σ_u ‖p_u‖² + Σ_i ‖q_i‖²)

    Parameters
    ----------
    k : int
        `rank` here.
    lambda_ : float or sequence of 6 floats
        λ; of six, the third is for users and the fourth for items.
    alpha : float
    niter : int
        `iterations` here.
    random_state
        As in `halfstep.ALS`.

    Returns
    -------
    ALS
        Unfitted, for values above 0. Side information (``k_user``, ``w_main``, ``center_U`` …), ``l1_lambda`` and
        ``nonneg`` are left out: half-steps here are ridge regressions. For ``apply_log_transf`` give the logarithms
        as values. ``use_cg``, ``finalize_chol`` and the like say how, not what.

    Raises
    ------
    ParameterError
        If `lambda_` is neither a number nor six.
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
    """``cmfrec.CMF`` without side information: `lambda_` is for whole rows unless `scale_lam`, so it is large.

        Σ_Ω (r − μ − b_u − b_i − x)² + λ (Σ_u n_u^ν (‖p_u‖² + ρ b_u²) + Σ_i n_i^ν (‖q_i‖² + ρ b_i²))

    with ν = 1 where `scale_lam`, else 0, and μ the mean of the values.

    Parameters
    ----------
    k : int
        `rank` here.
    lambda_ : float or sequence of 6 floats
        λ; of six, they are for the biases of users and items, then for users and items, and two that are not used.
    user_bias, item_bias, center : bool
        b_u, b_i and μ: here, all or none.
    scale_lam : bool
        Whether λ is multiplied by the number of a row's entries.
    niter : int
        `iterations` here.
    random_state
        As in `halfstep.ALS`.

    Returns
    -------
    ALS
        Unfitted. As in `cmfrec`, side information, ``l1_lambda`` and ``nonneg`` are left out; so are
        ``add_implicit_features``, ``scale_bias_const``, ``NA_as_zero`` and ``method="lbfgs"``.

    Raises
    ------
    ParameterError
        If there is to be one of `user_bias`, `item_bias` and `center` without the others, or `lambda_` means other
        ratios of biases to factors for users than for items.
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
            f"lambda_={lambda_!r}: biases are regularised by one multiple of the factors' λ, the same for both sides"
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
    """LensKit's ``ImplicitMFScorer``: `weight` is α of Hu et al. (2008), and the values are not used unless asked.

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
        Unfitted; with `use_ratings` for values above 0. ``user_embeddings`` is left out: users are always kept, and
        `fold_in` is for histories. So is ``BiasedMFScorer``, which fits damped biases first and factors to what
        remains, while biases here are fitted jointly: ``Explicit(biases=True)``.
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
    """The λ of cmfrec for the biases of users and items, and for the factors of users and items."""
    is_listed = isinstance(lambda_, list | tuple | np.ndarray) and np.ndim(lambda_) == 1
    given: list[Any] = list(lambda_) if is_listed else [lambda_] * 6  # type: ignore[arg-type]  # just looked at
    if len(given) != 6:
        raise ParameterError(f"lambda_={lambda_!r}: give one number, or six of them")
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
