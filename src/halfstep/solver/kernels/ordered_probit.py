"""Ordered probit: likelihoods of categories, latent targets, and predictive probabilities.

The latent target of a rating is N(s, 1) for the score s, and the rating is in category r if its latent target lies
between the bounds c_r and c_{r+1}, which are the thresholds, −∞ and ∞:

    P(r | s) = Φ(c_{r+1} − s) − Φ(c_r − s)

To avoid cancellation, differences of Φ are reflected into the lower tail, and far out computed from Mills' ratio
R(x) = (1 − Φ(x)) / φ(x), which neither underflows nor overflows.

SciPy's functions are not used, because they are inaccurate for such differences in the tails, and allocate
temporaries.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel
from halfstep.solver.kernels._vector import ROW_PADDING, dot_rows
from halfstep.solver.kernels.argument_groups import CellArrays
from halfstep.solver.kernels.posterior import SampleArrays, VarianceArrays, pair_scores, pair_variances

Floats = NDArray[np.floating]
Float64Array = NDArray[np.float64]
Ints = NDArray[np.integer]

SQRT_HALF = math.sqrt(0.5)
INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)  # φ(0)
LOG_INV_SQRT_2PI = math.log(INV_SQRT_2PI)
TAIL = 5.0  # Mills' ratio is used beyond
MIN_PROBABILITY = 1e-300  # replaces probabilities that underflow
TERMS = 40  # of the continued fraction: full float64 accuracy beyond TAIL
MAX_NEWTON_STEPS = 60  # of Newton's method, which takes a few
STEP_TOLERANCE = 1e-13
LARGE = 1e8  # R(x) = 1 / x beyond

# SplitMix64 (Steele, Lea & Flood 2014), which gives the n-th number of a sequence without those before it.
INCREMENT, MIX_1, MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
UNIT = 2.0**-52  # one bit less than float64 has, so that the midpoints are exact and never 0 or 1

N_SUMS = 5  # per category: Σ log P, its first and second derivatives by the lower bound, and by the upper bound


class LatentArrays(NamedTuple):
    """Output arrays of latent targets, and the random number of each cell.

    Attributes
    ----------
    targets : ndarray of shape (n_cells,)
    transposed_targets, transposed_positions : ndarray
        The targets in the order of the transposed pattern, and the position of each cell there; both may be empty.
    streams : ndarray of int
        Index of the random number of each cell; if empty, the position of the cell.
    """

    targets: Floats
    transposed_targets: Floats
    transposed_positions: Ints
    streams: Ints


@inner
def uniform(key: np.uint64, n: int | np.integer) -> float:
    """Return a random number in the open interval (0, 1), a function of the key and n."""
    z = key + np.uint64(n + 1) * INCREMENT
    z = (z ^ (z >> np.uint64(30))) * MIX_1
    z = (z ^ (z >> np.uint64(27))) * MIX_2
    z = z ^ (z >> np.uint64(31))
    return float((np.float64(z >> np.uint64(12)) + 0.5) * UNIT)


@inner
def mills_ratio(x: float) -> float:
    """Return R(x) for x ≥ TAIL, by Laplace's continued fraction 1 / (x + 1 / (x + 2 / (x + …)))."""
    if x > LARGE:
        return 1.0 / x
    denominator = x
    for n in range(TERMS, 0, -1):
        denominator = x + n / denominator
    return 1.0 / denominator


@inner
def normal_pdf(x: float) -> float:
    """Return φ(x)."""
    return INV_SQRT_2PI * math.exp(-0.5 * x * x)


@inner
def normal_cdf(x: float) -> float:
    """Return Φ(x)."""
    return 0.5 * math.erfc(-x * SQRT_HALF)


@inner
def lower_interval_likelihood(a: float, b: float) -> tuple[float, float, float]:
    """Return log P, φ(a) / P and φ(b) / P for P = Φ(b) − Φ(a), where a + b ≤ 0."""
    if b > -TAIL:
        p = max(normal_cdf(b) - normal_cdf(a), MIN_PROBABILITY)
        return math.log(p), normal_pdf(a) / p, normal_pdf(b) / p
    # P = φ(b) (R(−b) − e R(−a)) with e = φ(a) / φ(b)
    e = math.exp(0.5 * (a - b) * (-a - b))
    p = max(mills_ratio(-b) - e * mills_ratio(-a), MIN_PROBABILITY)
    return LOG_INV_SQRT_2PI - 0.5 * b * b + math.log(p), e / p, 1.0 / p


@inner
def interval_likelihood(a: float, b: float) -> tuple[float, float, float]:
    """Return log P, φ(a) / P and φ(b) / P for P = Φ(b) − Φ(a), where a < b."""
    if a + b > 0.0:
        log_p, at_b, at_a = lower_interval_likelihood(-b, -a)
        return log_p, at_a, at_b
    return lower_interval_likelihood(a, b)


@inner
def normal_quantile(p: float) -> float:
    """Return Φ⁻¹(p), by a rational approximation (Hastings 1955, sheet 68) and a step of Halley's method."""
    q = min(p, 1.0 - p)
    t = math.sqrt(-2.0 * math.log(q))
    x = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
    step = (normal_cdf(-x) - q) / normal_pdf(x)
    x += step / (1.0 - 0.5 * x * step)
    return -x if p < 0.5 else x


@inner
def lower_truncated_normal(a: float, b: float, u: float) -> float:
    """Return the quantile u of N(0, 1) truncated to [a, b], where a + b ≤ 0."""
    if b > -TAIL:
        start = normal_cdf(a)
        return min(max(normal_quantile(max(start + u * (normal_cdf(b) - start), MIN_PROBABILITY)), a), b)
    # With x = −b and T = u R(x) + (1 − u) e R(−a), solve log (φ(z) R(z)) = log (φ(x) T) for z ≥ x by Newton's method
    x, ratio = -b, mills_ratio(-b)
    tail = u * ratio + (1.0 - u) * math.exp(0.5 * (a - b) * (-a - b)) * mills_ratio(-a)
    if not tail > 0.0:
        return a
    target = math.log(tail)
    z = math.sqrt(x * x + 2.0 * max(math.log(ratio) - target, 0.0))
    for _ in range(MAX_NEWTON_STEPS):
        ratio = mills_ratio(z)
        step = (math.log(ratio) - 0.5 * (z - x) * (z + x) - target) * ratio
        z = max(z + step, x)
        if abs(step) <= STEP_TOLERANCE * z:
            break
    return min(max(-z, a), b)


@inner
def truncated_normal(a: float, b: float, u: float) -> float:
    """Sample N(0, 1) truncated to [a, b] by inversion, given u uniform on (0, 1)."""
    if a + b > 0.0:
        return -lower_truncated_normal(-b, -a, 1.0 - u)
    return lower_truncated_normal(a, b, u)


@kernel
def score_cells(
    first: int, last: int, cells: CellArrays, k: int, biases: bool, X: Floats, Y: Floats, scores: Float64Array
) -> None:
    """Compute the score of each observed cell of rows first … last − 1."""
    indptr, indices = cells.indptr, cells.indices
    width = -(-(k + biases) // ROW_PADDING) * ROW_PADDING
    for row in range(first, last):
        for p in range(indptr[row], indptr[row + 1]):
            column = np.intp(indices[p])
            score = np.float64(dot_rows(X, row, Y, column, width))
            if biases:  # rows hold [factors | bias]: replace the product of the biases by their sum
                b, o = np.float64(X[row, k]), np.float64(Y[column, k])
                score += b + o - b * o
            scores[p] = score


@kernel
def sum_likelihoods(
    first: int,
    last: int,
    scores: Float64Array,
    categories: NDArray[np.uint8],
    bounds: Float64Array,
    sums: Float64Array,
) -> None:
    """Sum log P over cells first … last − 1 by category, with its derivatives by the bounds of the category."""
    sums[:] = 0.0
    for p in range(first, last):
        r = np.intp(categories[p])
        a, b = bounds[r] - scores[p], bounds[r + 1] - scores[p]
        log_p, at_a, at_b = interval_likelihood(a, b)
        sums[r, 0] += log_p
        sums[r, 1] -= at_a
        sums[r, 3] += at_b
        if at_a > 0.0:
            sums[r, 2] += (a - at_a) * at_a
        if at_b > 0.0:
            sums[r, 4] -= (b + at_b) * at_b


@kernel
def sample_latent_targets(
    first: int,
    last: int,
    scores: Float64Array,
    categories: NDArray[np.uint8],
    bounds: Float64Array,
    key: np.uint64,
    latent: LatentArrays,
) -> None:
    """Sample the latent targets of cells first … last − 1."""
    targets, transposed_targets, transposed_positions, streams = latent
    for p in range(first, last):
        r, score = np.intp(categories[p]), scores[p]
        u = uniform(key, np.int64(streams[p]) if len(streams) > 0 else np.int64(p))
        t = score + truncated_normal(bounds[r] - score, bounds[r + 1] - score, u)
        targets[p] = t
        if len(transposed_positions) > 0:
            transposed_targets[transposed_positions[p]] = t


@kernel
def mean_probabilities(
    u: Ints,
    i: Ints,
    rows: SampleArrays,
    columns: SampleArrays,
    variance_arrays: VarianceArrays,
    thresholds: Float64Array,
    out: Float64Array,
) -> None:
    """Average the probability of each category over all samples; −1 is the position of an unknown id."""
    samples, n_thresholds = thresholds.shape
    scores, variances = np.empty(samples, np.float64), np.empty(samples, np.float64)
    for n in range(len(u)):
        pair_scores(u[n], i[n], rows, columns, scores)
        pair_variances(u[n], i[n], rows, columns, variance_arrays, variances)
        for r in range(n_thresholds + 1):
            out[n, r] = 0.0
        for s in range(samples):
            deviation, lower = math.sqrt(variances[s]), 0.0
            for r in range(n_thresholds):
                upper = normal_cdf((thresholds[s, r] - scores[s]) / deviation)
                out[n, r] += (upper - lower) / samples
                lower = upper
            out[n, n_thresholds] += (1.0 - lower) / samples
