"""The naive twins: the objective of `halfstep.objective` and its half-step, dense, in float64, written for the eye.

Everything fast in halfstep is tested against these few lines. No index trick, no sharing between rows: each cell of
the matrix is visited, observed or not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import lsq_linear


@dataclass
class Problem:
    """The arrays of the objective J, dense: rows u, columns i.

    J = Σ_Ω w (t − b_u − b_i − p·q)² + Σ_missing s m (p·q)² + Σ λ_u (‖p‖² + ρ b_u²) + Σ λ_i (‖q‖² + ρ b_i²),
    the mean μ being taken off the targets already.
    """

    observed: np.ndarray  # (rows, columns) of bool
    t: np.ndarray  # (rows, columns)
    w: np.ndarray  # (rows, columns)
    s: np.ndarray  # (rows,), zeros where missing cells do not count
    m: np.ndarray  # (columns,)
    row_lambda: np.ndarray  # (rows,)
    column_lambda: np.ndarray  # (columns,)
    rho: float
    rank: int
    biases: bool

    @property
    def transposed(self) -> Problem:
        return Problem(
            self.observed.T,
            self.t.T,
            self.w.T,
            self.m,
            self.s,
            self.column_lambda,
            self.row_lambda,
            self.rho,
            self.rank,
            self.biases,
        )


def terms(problem: Problem, X: np.ndarray, Y: np.ndarray) -> tuple[float, float, float]:
    """The observed, missing and regularisation terms of J; X and Y are [factors | bias]."""
    k = problem.rank
    product = X[:, :k] @ Y[:, :k].T
    baseline = X[:, k, None] + Y[None, :, k] if problem.biases else 0.0
    observed = np.sum(np.where(problem.observed, problem.w * (problem.t - baseline - product) ** 2, 0.0))
    missing = np.sum(np.where(problem.observed, 0.0, np.outer(problem.s, problem.m) * product**2))
    regularization_term = sum(
        np.sum(ridge * (np.sum(F[:, :k] ** 2, axis=1) + (problem.rho * F[:, k] ** 2 if problem.biases else 0.0)))
        for ridge, F in ((problem.row_lambda, X), (problem.column_lambda, Y))
    )
    return float(observed), float(missing), float(regularization_term)


def objective(problem: Problem, X: np.ndarray, Y: np.ndarray) -> float:
    return sum(terms(problem, X, Y))


def system(problem: Problem, Y: np.ndarray, u: int) -> tuple[np.ndarray, np.ndarray]:
    """A and b of row u: the minimum of Σ_i (cell's weight)·(target − features·x)² + xᵀΛx solves A x = b."""
    k, K = problem.rank, problem.rank + problem.biases
    A = problem.row_lambda[u] * np.diag([1.0] * k + [problem.rho] * problem.biases)
    b = np.zeros(K)
    for i in range(len(Y)):
        if problem.observed[u, i]:
            y = np.append(Y[i, :k], [1.0] * problem.biases)
            offset = Y[i, k] if problem.biases else 0.0
            A = A + problem.w[u, i] * np.outer(y, y)
            b = b + problem.w[u, i] * (problem.t[u, i] - offset) * y
        else:
            y = np.append(Y[i, :k], [0.0] * problem.biases)  # missing cells are predicted without biases
            A = A + problem.s[u] * problem.m[i] * np.outer(y, y)
    return A, b


def half_step(problem: Problem, Y: np.ndarray) -> np.ndarray:
    """Solve every row while Y is held fixed; a row without observations stays 0."""
    X = np.zeros((len(problem.t), problem.rank + problem.biases))
    for u in np.flatnonzero(problem.observed.any(axis=1)):
        X[u] = np.linalg.solve(*system(problem, Y, u))
    return X


def nonnegative_half_step(problem: Problem, Y: np.ndarray) -> np.ndarray:
    """The same with factors of at least 0: the least squares ‖Lᵀx − L⁻¹b‖² for A = L Lᵀ, by another algorithm.

    `scipy.optimize.nnls` is not used: SciPy 1.17 returns rows that are not minima if A is ill-conditioned.
    """
    X = np.zeros((len(problem.t), problem.rank + problem.biases))
    for u in np.flatnonzero(problem.observed.any(axis=1)):
        A, b = system(problem, Y, u)
        L = np.linalg.cholesky(A)
        least = np.append(np.zeros(problem.rank), [-np.inf] * problem.biases)
        X[u] = lsq_linear(L.T, np.linalg.solve(L, b), (least, np.inf), "bvls", tol=1e-15, max_iter=1000).x
    return X


def violation(problem: Problem, Y: np.ndarray, X: np.ndarray) -> float:
    """How far rows are from the conditions of a nonnegative minimum, with g = A x − b:

    g ≥ 0 where a factor is 0, and g = 0 elsewhere; relative to the largest |b_a| / √A_aa of the row, with g / √A_aa.
    """
    worst = 0.0
    for u in np.flatnonzero(problem.observed.any(axis=1)):
        A, b = system(problem, Y, u)
        root, g = np.sqrt(np.diag(A)), A @ X[u] - b
        is_held = np.append(X[u, : problem.rank] == 0, [False] * problem.biases)
        wrong = np.where(is_held, np.minimum(g, 0.0), g)
        worst = max(worst, np.abs(wrong / root).max() / max(np.abs(b / root).max(), 1e-300))
    return worst


def regularization(counts, s, m, *, reg: float, exponent: float) -> np.ndarray:
    """λ_u = λ · c_u^ν with c_u = n_u + Σ_i s_u m_i, row by row."""
    values = []
    for u, n in enumerate(counts):
        count = n + sum(s[u] * m_i for m_i in m)
        values.append(reg * (count if count > 0 else 1.0) ** exponent)
    return np.array(values)


def best(P: np.ndarray, Q: np.ndarray, c: np.ndarray, n: int, allowed: np.ndarray) -> list[list[int]]:
    """The n columns of the highest score p·q + c for each row, of those that it allows; ties by the lower column."""
    lists = []
    for p, may in zip(P.astype(float), allowed, strict=True):
        scores = [
            sum(float(a) * float(b) for a, b in zip(p, q, strict=True)) + c_i for q, c_i in zip(Q, c, strict=True)
        ]
        columns = [i for i in range(len(Q)) if may[i]]
        lists.append(sorted(columns, key=lambda i: (-scores[i], i))[:n])
    return lists


# Ranking metrics of one user: a list of ids, the best first, and the set of relevant ids.


def precision(ranked, relevant, n):
    return sum(item in relevant for item in ranked[:n]) / n


def recall(ranked, relevant, n):
    return sum(item in relevant for item in ranked[:n]) / len(relevant)


def attainable_recall(ranked, relevant, n):
    return sum(item in relevant for item in ranked[:n]) / min(n, len(relevant))


def hit_rate(ranked, relevant, n):
    return float(any(item in relevant for item in ranked[:n]))


def ndcg(ranked, relevant, n):
    gained = sum(1 / np.log2(place + 1) for place, item in enumerate(ranked[:n], start=1) if item in relevant)
    return gained / sum(1 / np.log2(place + 1) for place in range(1, min(n, len(relevant)) + 1))


def average_precision(ranked, relevant, n):
    places = [place for place, item in enumerate(ranked[:n], start=1) if item in relevant]
    return sum(precision(ranked, relevant, place) for place in places) / len(relevant)


def attainable_average_precision(ranked, relevant, n):
    return average_precision(ranked, relevant, n) * len(relevant) / min(n, len(relevant))


def reciprocal_rank(ranked, relevant, n):
    return max((1 / place for place, item in enumerate(ranked[:n], start=1) if item in relevant), default=0.0)


def novelty(ranked, users_of, n_users, n):
    return np.mean([-np.log2(max(len(users_of.get(item, ())), 1) / n_users) for item in ranked[:n]])


# The half-steps of other libraries, from their definitions and not from the objective of this one: R are the values,
# of which those that are `observed` count. Each row is the minimum of Σ_i W_ui (T_ui − x·y_i)² + ridge_u ‖x‖².


def weighted_ridge(W, T, ridge, Y):
    X = np.zeros((len(W), Y.shape[1]))
    for u in range(len(W)):
        A = sum(W[u, i] * np.outer(Y[i], Y[i]) for i in range(len(Y))) + ridge[u] * np.eye(Y.shape[1])
        b = sum(W[u, i] * T[u, i] * Y[i] for i in range(len(Y)))
        X[u] = np.linalg.solve(A, b) if b.any() else 0.0  # without anything to fit, A may be 0
    return X


def spark(R, observed, Y, *, reg_param, implicit_prefs, alpha=1.0):
    """Explicit: λ times the number of entries. Implicit: of positive ones, weight 1 + α|r|, target 0 for r ≤ 0."""
    if not implicit_prefs:
        return weighted_ridge(np.where(observed, 1.0, 0.0), R, reg_param * observed.sum(axis=1), Y)
    liked = observed & (R > 0)
    W = np.where(observed, 1.0 + alpha * np.abs(R), 1.0)
    return weighted_ridge(W, np.where(liked, 1.0, 0.0), reg_param * liked.sum(axis=1), Y)


def lenskit(R, observed, Y, *, weight, reg, use_ratings):
    """YᵀY + λ I + Yᵀ (C − I) Y, where C − I is `weight` times the rating, or times 1; the target is 1."""
    added = weight * (R if use_ratings else np.ones_like(R))
    W = 1.0 + np.where(observed, added, 0.0)
    return weighted_ridge(W, np.where(observed, 1.0, 0.0), np.full(len(R), reg), Y)


def tensorflow_wals(R, observed, Y, *, unobserved_weight, regularization, row_weights, col_weights):
    """W_ij = W0 + R_i C_j where there is a value, else W0; the target is the value, else 0."""
    W = unobserved_weight + np.where(observed, np.outer(row_weights, col_weights), 0.0)
    return weighted_ridge(W, np.where(observed, R, 0.0), np.full(len(R), regularization), Y)


def google_ials(observed, Y, *, unobserved_weight, regularization, regularization_exp):
    """Σ_Ω y yᵀ + α0 Σ_all y yᵀ + λ (n + α0 N)^ν I on the left, Σ_Ω y on the right."""
    X = np.zeros((len(observed), Y.shape[1]))
    for u, seen in enumerate(observed):
        ridge = regularization * (seen.sum() + unobserved_weight * len(Y)) ** regularization_exp
        A = Y[seen].T @ Y[seen] + unobserved_weight * Y.T @ Y + ridge * np.eye(Y.shape[1])
        X[u] = np.linalg.solve(A, Y[seen].sum(axis=0)) if seen.any() else 0.0
    return X


def eals_coordinates(observed, X, Y, C, *, reg):
    """What each number of X would be if it alone were set to its optimum (He et al. 2016, eq. 12 and 13).

    C are the weights of missing cells; observed ones weigh 1, with a target of 1.
    """
    best = np.zeros_like(X)
    for u in range(len(X)):
        for f in range(X.shape[1]):
            others = X[u] @ Y.T - X[u, f] * Y[:, f]
            seen, missing = observed[u], ~observed[u]
            above = np.sum((1 - others[seen]) * Y[seen, f]) - np.sum(C[u, missing] * others[missing] * Y[missing, f])
            below = np.sum(Y[seen, f] ** 2) + np.sum(C[u, missing] * Y[missing, f] ** 2) + reg
            best[u, f] = above / below
    return best


# Dense Gibbs sampler (Salakhutdinov & Mnih 2008)


def sample_row(A: np.ndarray, b: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Sample N(A⁻¹ b, A⁻¹) as A⁻¹ b + L⁻ᵀ noise with L Lᵀ = A, given standard normal noise."""
    L = np.linalg.cholesky(A)
    return np.linalg.solve(A, b) + np.linalg.solve(L.T, noise)


def sample_hyperparameters(
    X: np.ndarray, scale: np.ndarray, rng: np.random.Generator, regression: FeatureRegression | None = None
):
    """Sample the mean and precision of the rows of X: Normal–Wishart with b0 = 2, ν0 = K, W0⁻¹ = diag(scale).

    With features, they are those of X − F β, and the rows of √λ β have the same precision and mean 0.
    """
    X = X if regression is None else X - regression.F @ regression.beta
    n, K = X.shape
    mean, S = X.mean(axis=0), np.cov(X.T, bias=True).reshape(K, K)
    inverse, degrees = np.diag(scale) + n * S + 2 * n / (2 + n) * np.outer(mean, mean), K + n
    if regression is not None:
        inverse = inverse + regression.reg * regression.beta.T @ regression.beta
        degrees += len(regression.beta)
    root = np.linalg.cholesky(np.linalg.inv(inverse))
    vectors = root @ rng.normal(size=(K, degrees))
    precision = vectors @ vectors.T
    return rng.multivariate_normal(n * mean / (2 + n), np.linalg.inv((2 + n) * precision)), precision


@dataclass
class FeatureRegression:
    """x_u ~ N(x̄ + βᵀ f_u, Λ⁻¹) with β_d ~ N(0, (λ Λ)⁻¹), λ ~ Gamma(1, 1/5)."""

    F: np.ndarray  # (rows, features)
    beta: np.ndarray  # (features, K)
    reg: float  # λ

    def sample(self, X: np.ndarray, mean: np.ndarray, precision: np.ndarray, rng: np.random.Generator) -> None:
        root = np.linalg.cholesky(np.linalg.inv(precision))
        E1, E2 = rng.normal(size=X.shape) @ root.T, rng.normal(size=self.beta.shape) @ root.T
        self.beta = sample_coefficients(X - mean, self.F, self.reg, E1, E2)
        squares = np.trace(self.beta @ precision @ self.beta.T)
        self.reg = rng.gamma(1 + self.beta.size / 2) / (1 / 5 + squares / 2)


def sample_coefficients(X: np.ndarray, F: np.ndarray, reg: float, E1: np.ndarray, E2: np.ndarray) -> np.ndarray:
    """Sample β by solving (FᵀF + λ I) β = Fᵀ (X + E1) + √λ E2, given rows of E1 and E2 from N(0, Λ⁻¹)."""
    return np.linalg.solve(F.T @ F + reg * np.eye(F.shape[1]), F.T @ (X + E1) + np.sqrt(reg) * E2)


def gibbs_sweep(t, w, observed, P, Q, noise, scale, rng, regressions=(None, None)):
    """Sample the users, the items and τ, and return them; rows are [factors | bias]. Update regressions in place."""

    def sample(t, w, observed, X, Y, regression):
        mean, precision = sample_hyperparameters(X, scale, rng, regression)
        means = np.tile(mean, (len(X), 1))
        if regression is not None:
            regression.sample(X, mean, precision, rng)
            means = means + regression.F @ regression.beta
        K = X.shape[1]
        y = np.column_stack([Y[:, :-1], np.ones(len(Y))])
        rows = np.empty_like(X)
        for u in range(len(X)):
            seen = observed[u]
            A = precision + noise * (y[seen].T * w[u, seen]) @ y[seen]
            b = precision @ means[u] + noise * (w[u, seen] * (t[u, seen] - Y[seen, -1])) @ y[seen]
            rows[u] = sample_row(A, b, rng.normal(size=K))
        return rows

    P = sample(t, w, observed, P, Q, regressions[0])
    Q = sample(t.T, w.T, observed.T, Q, P, regressions[1])
    error = np.sum((w * (t - dense_scores(P, Q)) ** 2)[observed])
    return P, Q, rng.gamma(1 + observed.sum() / 2) / (1 + error / 2)


@dataclass
class RidgeLinked:
    """A problem whose rows and columns are drawn to Bᵀ f: Σ_u λ_u ‖x_u − Bᵀ f_u‖²_D + λ_B ‖B‖²_D over observed rows.

    D = diag(1, …, 1, ρ); rows without observations are at their means.
    """

    problem: Problem
    row_features: np.ndarray  # (rows, features)
    column_features: np.ndarray  # (columns, features)
    strengths: tuple[float, float]  # λ_B of either side

    def iteration(self, Y: np.ndarray, B: np.ndarray, C: np.ndarray):
        """X, B, Y, C, each solved for in turn."""
        rows, columns = self.problem, self.problem.transposed
        X = self.half_step(rows, Y, self.row_features @ B)
        X, B = self.ridge(rows, X, self.row_features, self.strengths[0])
        Y = self.half_step(columns, X, self.column_features @ C)
        Y, C = self.ridge(columns, Y, self.column_features, self.strengths[1])
        return X, B, Y, C

    @staticmethod
    def half_step(problem: Problem, Y: np.ndarray, means: np.ndarray) -> np.ndarray:
        X = means.copy()
        for u in np.flatnonzero(problem.observed.any(axis=1)):
            A, b = system(problem, Y, u)
            D = np.diag([1.0] * problem.rank + [problem.rho] * problem.biases)
            X[u] = np.linalg.solve(A, b + problem.row_lambda[u] * D @ means[u])
        return X

    @staticmethod
    def ridge(problem: Problem, X: np.ndarray, F: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
        seen = problem.observed.any(axis=1)
        B = np.zeros((F.shape[1], X.shape[1]))
        W = np.diag(problem.row_lambda[seen])
        for c in range(X.shape[1]):
            d = problem.rho if c == problem.rank else 1.0
            if d > 0:
                A = d * F[seen].T @ W @ F[seen] + d * strength * np.eye(len(B))
                B[:, c] = np.linalg.solve(A, d * F[seen].T @ W @ X[seen, c])
        return np.where(seen[:, None], X, F @ B), B

    def terms(self, X: np.ndarray, B: np.ndarray, Y: np.ndarray, C: np.ndarray) -> tuple[float, float, float, float]:
        """Observed and missing cells, the rows' regularisation, and that of B and C."""
        p = self.problem
        D = np.array([1.0] * p.rank + [p.rho] * p.biases)
        of_rows = p.row_lambda @ ((X - self.row_features @ B) ** 2 @ D)
        of_columns = p.column_lambda @ ((Y - self.column_features @ C) ** 2 @ D)
        of_links = self.strengths[0] * np.sum(B**2 @ D) + self.strengths[1] * np.sum(C**2 @ D)
        return *terms(p, X, Y)[:2], float(of_rows + of_columns), float(of_links)


def dense_scores(P: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """p·q + b_u + b_i of all pairs; rows are [factors | bias]."""
    return P[:, :-1] @ Q[:, :-1].T + P[:, -1:] + Q[:, -1]
