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

from halfstep.presets._implicit_feedback import cmfrec, eals, ials, implicit, irspack
from halfstep.presets._ratings import cmfrec_explicit, lenskit, spark, wals

__all__ = ["cmfrec", "cmfrec_explicit", "eals", "ials", "implicit", "irspack", "lenskit", "spark", "wals"]
