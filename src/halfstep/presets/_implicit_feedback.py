"""Presets for implicit feedback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from halfstep._support.checks import check_choice, check_flag, check_number
from halfstep.models.als import ALS
from halfstep.objective.objective import Implicit
from halfstep.presets._common import PLAIN, Seed, four_lambdas, scaled_regularization
from halfstep.weights import confidence, log_confidence, missing_popularity, preference


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
        regularization=scaled_regularization(regularization, 0.0),
        iterations=iterations,
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
        regularization=scaled_regularization(regularization, regularization_exp, counts="cells"),
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
        regularization=scaled_regularization(reg, nu, counts="cells"),
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
        regularization=scaled_regularization(reg, 0.0),
        iterations=maxIter,
        random_state=random_state,
        solver=PLAIN,
    )


def cmfrec(
    k: int = 50,
    lambda_: float | Sequence[float] = 1.0,
    alpha: float = 1.0,
    niter: int = 10,
    nonneg: bool = False,
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
    nonneg : bool
        Whether all factors are at least 0.
    random_state
        As in `halfstep.ALS`.

    Returns
    -------
    ALS
        Unfitted, for values above 0. Side information (``k_user``, ``w_main``, ``center_U`` …) and ``l1_lambda`` are
        not supported. For ``apply_log_transf``, give logarithms as values. ``use_cg``,
        ``finalize_chol`` and similar options do not affect the objective.

    Raises
    ------
    ParameterError
        If `lambda_` is not one number or six.
    """
    check_flag("nonneg", nonneg)
    _, _, users, items = four_lambdas(lambda_)
    return ALS(
        Implicit(observed_weight=confidence(alpha), missing_weight=1.0, nonnegative=nonneg),
        rank=k,
        regularization=scaled_regularization((users, items), 0.0),
        iterations=niter,
        random_state=random_state,
        solver=PLAIN,
    )
