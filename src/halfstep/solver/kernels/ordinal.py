"""Ordinal ratings: what categories say of their bounds, latent targets drawn between these, and probabilities.

A rating's category r is where its latent target lies, which is normal around the score s with a variance of 1:

    P(r | s) = Φ(c_{r+1} − s) − Φ(c_r − s)

with the bounds c of the categories, −∞ and ∞ among them: category r lies between bounds r and r + 1. Differences of
Φ are taken in the lower tail, into which they are reflected, where they keep their digits; farther out by Mills'
ratio R(x) = (1 − Φ(x)) / φ(x), which neither vanishes nor overflows.

Why it is written out: SciPy has no difference of Φ that holds in the tails, and would store each of its terms.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from halfstep._support.jit import inner, kernel
from halfstep.solver.kernels._vector import ROW_PADDING, dot_rows
from halfstep.solver.kernels.arguments import Cells
from halfstep.solver.kernels.posterior import Sampled, Spread, score_all, variances_all

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]
Ints = NDArray[np.integer]
Singles = NDArray[np.float32]
Marks = NDArray[np.bool_]

ROOT_HALF = math.sqrt(0.5)
PEAK = 1.0 / math.sqrt(2.0 * math.pi)  # φ(0)
LOG_PEAK = math.log(PEAK)
FAR = 5.0  # from where on Mills' ratio is used
LEAST = 1e-300  # in the place of a probability that is rounded to 0
TERMS = 40  # of the continued fraction, which has all digits from FAR on
STEPS = 60  # of Newton's method at most; a handful are needed
EXACT = 1e-13
HUGE = 1e8  # where R(x) is 1 / x

# SplitMix64 (Steele, Lea & Flood 2014): the n-th number of a sequence without those before it.
GOLDEN, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
UNIT = 2.0**-52  # of numbers in whose middle there is room for one bit more: none is 0 or 1

N_SUMS = 5  # of a category: Σ log P, and its first and second derivatives by the lower bound, and by the upper one


class Latent(NamedTuple):
    """Where latent targets are written to, and which random number each cell gets.

    Attributes
    ----------
    targets : ndarray of shape (n_cells,)
    others, places : ndarray
        A second copy of the targets, and the place of each cell there; both may be empty.
    numbers : ndarray of int
        The random number of each cell; its own position where there are none.
    """

    targets: Floats
    others: Floats
    places: Ints
    numbers: Ints


@inner
def uniform(key: np.uint64, n: int | np.integer) -> float:
    """A number between 0 and 1, neither of them, that depends on the key and on n alone."""
    z = key + np.uint64(n + 1) * GOLDEN
    z = (z ^ (z >> np.uint64(30))) * FIRST
    z = (z ^ (z >> np.uint64(27))) * SECOND
    z = z ^ (z >> np.uint64(31))
    return float((np.float64(z >> np.uint64(12)) + 0.5) * UNIT)


@inner
def mills(x: float) -> float:
    """R(x) = (1 − Φ(x)) / φ(x) for x ≥ FAR, by Laplace's continued fraction 1 / (x + 1 / (x + 2 / (x + …)))."""
    if x > HUGE:
        return 1.0 / x
    below = x
    for n in range(TERMS, 0, -1):
        below = x + n / below
    return 1.0 / below


@inner
def density(x: float) -> float:
    """φ(x)."""
    return PEAK * math.exp(-0.5 * x * x)


@inner
def below(x: float) -> float:
    """Φ(x)."""
    return 0.5 * math.erfc(-x * ROOT_HALF)


@inner
def lower_interval(a: float, b: float) -> tuple[float, float, float]:
    """Of P = Φ(b) − Φ(a): log P, φ(a) / P and φ(b) / P, where the middle is at most 0."""
    if b > -FAR:
        p = max(below(b) - below(a), LEAST)
        return math.log(p), density(a) / p, density(b) / p
    # −b is the nearer end: P = φ(b) (R(−b) − e R(−a)) with e = φ(a) / φ(b)
    e = math.exp(0.5 * (a - b) * (-a - b))
    p = max(mills(-b) - e * mills(-a), LEAST)
    return LOG_PEAK - 0.5 * b * b + math.log(p), e / p, 1.0 / p


@inner
def of_interval(a: float, b: float) -> tuple[float, float, float]:
    """Of P = Φ(b) − Φ(a): log P, φ(a) / P and φ(b) / P, for a < b."""
    if a + b > 0.0:
        log_p, at_b, at_a = lower_interval(-b, -a)
        return log_p, at_a, at_b
    return lower_interval(a, b)


@inner
def inverse(p: float) -> float:
    """Φ⁻¹(p): a rational approximation (Hastings 1955, sheet 68), and a step of Halley's method."""
    q = min(p, 1.0 - p)
    t = math.sqrt(-2.0 * math.log(q))
    x = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
    step = (below(-x) - q) / density(x)
    x += step / (1.0 - 0.5 * x * step)
    return -x if p < 0.5 else x


@inner
def in_lower_interval(a: float, b: float, u: float) -> float:
    """The number between a and b below which N(0, 1), cut off at both, has the share u; their middle is at most 0."""
    if b > -FAR:
        least = below(a)
        return min(max(inverse(max(least + u * (below(b) - least), LEAST)), a), b)
    # With x = −b and T = u R(x) + (1 − u) e R(−a), z ≥ x of φ(z) R(z) = φ(x) T: Newton's method on logarithms
    x, ratio = -b, mills(-b)
    share = u * ratio + (1.0 - u) * math.exp(0.5 * (a - b) * (-a - b)) * mills(-a)
    if not share > 0.0:
        return a
    target = math.log(share)
    z = math.sqrt(x * x + 2.0 * max(math.log(ratio) - target, 0.0))
    for _ in range(STEPS):
        ratio = mills(z)
        step = (math.log(ratio) - 0.5 * (z - x) * (z + x) - target) * ratio
        z = max(z + step, x)
        if abs(step) <= EXACT * z:
            break
    return min(max(-z, a), b)


@inner
def truncated_normal(a: float, b: float, u: float) -> float:
    """A draw from N(0, 1) between a and b, by the inverse of its distribution function, from u uniform on (0, 1)."""
    if a + b > 0.0:
        return -in_lower_interval(-b, -a, 1.0 - u)
    return in_lower_interval(a, b, u)


@kernel
def score_cells(
    first: int, last: int, cells: Cells, k: int, biases: bool, X: Floats, Y: Floats, scores: Doubles
) -> None:
    """The score of each observed cell in some rows."""
    indptr, indices = cells.indptr, cells.indices
    width = -(-(k + biases) // ROW_PADDING) * ROW_PADDING
    for row in range(first, last):
        for p in range(indptr[row], indptr[row + 1]):
            column = np.intp(indices[p])
            score = np.float64(dot_rows(X, row, Y, column, width))
            if biases:  # which stand opposite each other in the product
                b, o = np.float64(X[row, k]), np.float64(Y[column, k])
                score += b + o - b * o
            scores[p] = score


@kernel
def sum_categories(
    first: int, last: int, scores: Doubles, categories: NDArray[np.uint8], bounds: Doubles, sums: Doubles
) -> None:
    """Σ log P over some cells of each category, and its derivatives by the category's own bounds."""
    sums[:] = 0.0
    for p in range(first, last):
        r = np.intp(categories[p])
        a, b = bounds[r] - scores[p], bounds[r + 1] - scores[p]
        log_p, at_a, at_b = of_interval(a, b)
        sums[r, 0] += log_p
        sums[r, 1] -= at_a
        sums[r, 3] += at_b
        if at_a > 0.0:
            sums[r, 2] += (a - at_a) * at_a
        if at_b > 0.0:
            sums[r, 4] -= (b + at_b) * at_b


@kernel
def draw_latents(
    first: int,
    last: int,
    scores: Doubles,
    categories: NDArray[np.uint8],
    bounds: Doubles,
    key: np.uint64,
    latent: Latent,
) -> None:
    """Draw the latent target of some cells to targets, and to others[places] where there are such."""
    targets, others, places, numbers = latent
    for p in range(first, last):
        r, score = np.intp(categories[p]), scores[p]
        u = uniform(key, np.int64(numbers[p]) if len(numbers) > 0 else np.int64(p))
        t = score + truncated_normal(bounds[r] - score, bounds[r + 1] - score, u)
        targets[p] = t
        if len(places) > 0:
            others[places[p]] = t


@kernel
def mean_probabilities(
    u: Ints, i: Ints, rows: Sampled, columns: Sampled, spread: Spread, cuts: Doubles, out: Doubles
) -> None:
    """Each category's probability for each pair, in the mean over all samples; −1 stands for an id never seen."""
    samples, n_cuts = cuts.shape
    scores, variances = np.empty(samples, np.float64), np.empty(samples, np.float64)
    for n in range(len(u)):
        score_all(u[n], i[n], rows, columns, scores)
        variances_all(u[n], i[n], rows, columns, spread, variances)
        for r in range(n_cuts + 1):
            out[n, r] = 0.0
        for s in range(samples):
            deviation, before = math.sqrt(variances[s]), 0.0
            for r in range(n_cuts):
                here = below((cuts[s, r] - scores[s]) / deviation)
                out[n, r] += (here - before) / samples
                before = here
            out[n, n_cuts] += (1.0 - before) / samples
