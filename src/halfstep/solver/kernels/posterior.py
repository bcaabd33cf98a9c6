"""Predictions from samples of a posterior: means, and quantiles of mixtures of normal distributions.

Sample s says that the pair (u, i) is N(μ_s, v_s), with the score μ_s = p·q + b + c of its own factors and biases, and
the variance v_s: 1/τ_s, and what is not known of rows or columns without observations.

Why it is written out: the samples of a pair lie side by side, and no array of pairs × samples is made.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Ints = NDArray[np.integer]
Singles = NDArray[np.float32]
Marks = NDArray[np.bool_]

STEPS = 60  # of Newton's method at most; a handful are needed
EXACT = 1e-9  # of a probability


class Sampled(NamedTuple):
    """The rows of each sample, or its columns.

    Attributes
    ----------
    factors : ndarray of shape (n_rows, samples, k)
    biases : ndarray of shape (n_rows, samples)
    means : ndarray of shape (samples, k + 1)
        What the rows of a sample are drawn around; for ids never seen.
    """

    factors: Singles
    biases: Singles
    means: Singles


class Spread(NamedTuple):
    """What is not known of a score.

    Attributes
    ----------
    noise : ndarray of shape (samples,)
        τ.
    rows, columns : ndarray of shape (samples, k + 1, k + 1)
        The covariances with which rows, or columns, are drawn around their means.
    row_is_new, column_is_new : ndarray of bool
        Which of them have no observations.
    """

    noise: Doubles
    rows: Doubles
    columns: Doubles
    row_is_new: Marks
    column_is_new: Marks


@kernel
def mean_scores(u: Ints, i: Ints, rows: Sampled, columns: Sampled, out: Doubles) -> None:
    """The mean score of each pair over all samples; −1 stands for an id never seen."""
    samples = rows.factors.shape[1]
    scores = np.empty(samples, np.float64)
    for n in range(len(u)):
        score_all(u[n], i[n], rows, columns, scores)
        total = 0.0
        for s in range(samples):
            total += scores[s]
        out[n] = total / samples


@inner
def score_all(u: int, i: int, rows: Sampled, columns: Sampled, scores: Doubles) -> None:
    """The score of one pair in each sample."""
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
def quantiles(
    u: Ints, i: Ints, rows: Sampled, columns: Sampled, spread: Spread, share: float, normal: float, out: Doubles
) -> None:
    """The ends that have (1 − share) / 2 of each pair's mixture beyond them, to out[n, :2].

    `normal` is the standard normal distribution's upper end.
    """
    samples = rows.factors.shape[1]
    scores, spreads = np.empty(samples, np.float64), np.empty(samples, np.float64)
    for n in range(len(u)):
        score_all(u[n], i[n], rows, columns, scores)
        variances_all(u[n], i[n], rows, columns, spread, spreads)
        mean = variance = 0.0
        for s in range(samples):
            mean += scores[s] / samples
            variance += (spreads[s] + scores[s] ** 2) / samples
            spreads[s] = math.sqrt(spreads[s])
        deviation = math.sqrt(max(variance - mean**2, 0.0))
        out[n, 0] = quantile(scores, spreads, 0.5 * (1.0 - share), mean - normal * deviation)
        out[n, 1] = quantile(scores, spreads, 0.5 * (1.0 + share), mean + normal * deviation)


@inner
def variances_all(u: int, i: int, rows: Sampled, columns: Sampled, spread: Spread, variances: Doubles) -> None:
    """The variance of an observation of one pair in each sample, given its score."""
    P, _, M = rows
    Q, _, N = columns
    noise, S, T, row_is_new, column_is_new = spread
    k = P.shape[2]
    new_row, new_column = u < 0 or row_is_new[u], i < 0 or column_is_new[i]
    for s in range(len(variances)):
        v = 1.0 / noise[s]
        p, q = P[u, s] if u >= 0 else M[s], Q[i, s] if i >= 0 else N[s]
        if new_row:
            v += of_features(S, s, q, k)
        if new_column:
            v += of_features(T, s, p, k)
        if new_row and new_column:
            for a in range(k):
                for d in range(k):
                    v += S[s, a, d] * T[s, d, a]
        variances[s] = v


@inner
def of_features(S: Doubles, s: int, y: Singles, k: int) -> float:
    """[y | 1]ᵀ S_s [y | 1]."""
    total = 0.0
    for a in range(k):
        row = 0.0
        for d in range(k):
            row += S[s, a, d] * y[d]
        total += (row + 2.0 * S[s, a, k]) * y[a]
    return float(total + S[s, k, k])


@inner
def quantile(means: Doubles, spreads: Doubles, share: float, start: float) -> float:
    """The number below which the mixture of N(means, spreads²) has the share: Newton's method between bounds."""
    samples = len(means)
    low, high = np.inf, -np.inf
    for s in range(samples):  # each component has less, or more, than the share there
        low, high = min(low, means[s] - 9.0 * spreads[s]), max(high, means[s] + 9.0 * spreads[s])
    x = start
    for _ in range(STEPS):
        if not low < x < high:
            x = 0.5 * (low + high)
        below = density = 0.0
        for s in range(samples):
            z = (x - means[s]) / spreads[s]
            below += 0.5 * math.erfc(-z * math.sqrt(0.5)) / samples
            density += math.exp(-0.5 * z * z) / spreads[s] / samples
        if abs(below - share) < EXACT:
            break
        if below > share:
            high = x
        else:
            low = x
        step = (below - share) * math.sqrt(2.0 * math.pi) / max(density, 1e-300)
        x -= step
    return x
