"""Posterior predictive means and quantiles, from samples of a factorization.

Given sample s, an observation of the pair (u, i) is N(μ_s, v_s), with the score μ_s = p·q + b + c and the variance
v_s = 1/τ_s plus the prior variance of rows and columns without observations. The predictive distribution is the
mixture over all samples.

NumPy is not used, because it would allocate an array of pairs × samples. Here the samples of a row are contiguous in
memory.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel

Floats = NDArray[np.floating]
Float64Array = NDArray[np.float64]
Ints = NDArray[np.integer]
Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

MAX_STEPS = 60  # of Newton's method, which takes a few
PROBABILITY_TOLERANCE = 1e-9  # of a probability


class SampleArrays(NamedTuple):
    """The rows, or columns, in every sample.

    Attributes
    ----------
    factors : ndarray of shape (n_rows, samples, k)
    biases : ndarray of shape (n_rows, samples)
    means : ndarray of shape (samples, k + 1)
        Prior means of the rows, [factors | bias]; used for unknown ids.
    """

    factors: Float32Array
    biases: Float32Array
    means: Float32Array


class VarianceArrays(NamedTuple):
    """The components of the predictive variance.

    Attributes
    ----------
    noise : ndarray of shape (samples,)
        τ.
    row_covariances, column_covariances : ndarray of shape (samples, k + 1, k + 1)
        Prior covariances.
    row_is_new, column_is_new : ndarray of bool
        True for rows and columns without observations.
    """

    noise: Float64Array
    row_covariances: Float64Array
    column_covariances: Float64Array
    row_is_new: BoolArray
    column_is_new: BoolArray


@kernel
def mean_scores(u: Ints, i: Ints, rows: SampleArrays, columns: SampleArrays, out: Float64Array) -> None:
    """Average the score of each pair over all samples; −1 is the position of an unknown id."""
    samples = rows.factors.shape[1]
    scores = np.empty(samples, np.float64)
    for n in range(len(u)):
        pair_scores(u[n], i[n], rows, columns, scores)
        total = 0.0
        for s in range(samples):
            total += scores[s]
        out[n] = total / samples


@inner
def pair_scores(u: int, i: int, rows: SampleArrays, columns: SampleArrays, scores: Float64Array) -> None:
    """Compute the score of one pair in each sample."""
    P, b, M = rows
    Q, c, N = columns
    k = P.shape[2]
    for s in range(len(scores)):
        p, q = P[u, s] if u >= 0 else M[s], Q[i, s] if i >= 0 else N[s]
        score = np.float64(b[u, s] if u >= 0 else M[s, k]) + np.float64(c[i, s] if i >= 0 else N[s, k])
        for a in range(k):
            score += np.float64(p[a]) * np.float64(q[a])
        scores[s] = score


@kernel
def central_intervals(
    u: Ints,
    i: Ints,
    rows: SampleArrays,
    columns: SampleArrays,
    variance_arrays: VarianceArrays,
    probability: float,
    normal_end: float,
    out: Float64Array,
) -> None:
    """Write the ends of each pair's central predictive interval to out[n, :2].

    `normal_end` is the upper end of that interval for N(0, 1), used as the starting point.
    """
    samples = rows.factors.shape[1]
    scores, deviations = np.empty(samples, np.float64), np.empty(samples, np.float64)
    for n in range(len(u)):
        pair_scores(u[n], i[n], rows, columns, scores)
        pair_variances(u[n], i[n], rows, columns, variance_arrays, deviations)
        mean = variance = 0.0
        for s in range(samples):
            mean += scores[s] / samples
            variance += (deviations[s] + scores[s] ** 2) / samples
            deviations[s] = math.sqrt(deviations[s])
        deviation = math.sqrt(max(variance - mean**2, 0.0))
        out[n, 0] = mixture_quantile(scores, deviations, 0.5 * (1.0 - probability), mean - normal_end * deviation)
        out[n, 1] = mixture_quantile(scores, deviations, 0.5 * (1.0 + probability), mean + normal_end * deviation)


@inner
def pair_variances(
    u: int,
    i: int,
    rows: SampleArrays,
    columns: SampleArrays,
    variance_arrays: VarianceArrays,
    variances: Float64Array,
) -> None:
    """Compute the predictive variance of one pair in each sample."""
    P, _, M = rows
    Q, _, N = columns
    noise, S, T, row_is_new, column_is_new = variance_arrays
    k = P.shape[2]
    new_row, new_column = u < 0 or row_is_new[u], i < 0 or column_is_new[i]
    for s in range(len(variances)):
        v = 1.0 / noise[s]
        p, q = P[u, s] if u >= 0 else M[s], Q[i, s] if i >= 0 else N[s]
        if new_row:
            v += quadratic_form(S, s, q, k)
        if new_column:
            v += quadratic_form(T, s, p, k)
        if new_row and new_column:
            for a in range(k):
                for d in range(k):
                    v += S[s, a, d] * T[s, d, a]
        variances[s] = v


@inner
def quadratic_form(S: Float64Array, s: int, y: Float32Array, k: int) -> float:
    """[y | 1]ᵀ S_s [y | 1]."""
    total = 0.0
    for a in range(k):
        row = 0.0
        for d in range(k):
            row += S[s, a, d] * y[d]
        total += (row + 2.0 * S[s, a, k]) * y[a]
    return float(total + S[s, k, k])


@inner
def mixture_quantile(means: Float64Array, deviations: Float64Array, probability: float, start: float) -> float:
    """Return the quantile of the equal mixture of N(means, deviations²), by bracketed Newton steps."""
    samples = len(means)
    low, high = np.inf, -np.inf
    for s in range(samples):
        low, high = min(low, means[s] - 9.0 * deviations[s]), max(high, means[s] + 9.0 * deviations[s])
    x = start
    for _ in range(MAX_STEPS):
        if not low < x < high:
            x = 0.5 * (low + high)
        below = density = 0.0
        for s in range(samples):
            z = (x - means[s]) / deviations[s]
            below += 0.5 * math.erfc(-z * math.sqrt(0.5)) / samples
            density += math.exp(-0.5 * z * z) / deviations[s] / samples
        if abs(below - probability) < PROBABILITY_TOLERANCE:
            break
        if below > probability:
            high = x
        else:
            low = x
        step = (below - probability) * math.sqrt(2.0 * math.pi) / max(density, 1e-300)
        x -= step
    return x
