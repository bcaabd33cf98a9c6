"""The settings of the objective that published systems amount to, each said twice.

Once to the library (`Setting.objective`), once as dense arrays written down from the definition (`Setting.arrays`).
Tests run over all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

import halfstep as hs
import reference
from halfstep import weights
from halfstep.objective.objective import Objective
from halfstep.objective.problem import HalfProblem, half_problems
from halfstep.objective.regularization import Counted, RowRegularization
from halfstep.solver.cpu import CPU
from halfstep.solver.layout import empty_factors
from halfstep.solvers import NAMES, Solver


@dataclass(frozen=True)
class Table:
    """A small matrix of values and which of its cells are observed."""

    observed: np.ndarray
    values: np.ndarray

    @property
    def item_counts(self) -> np.ndarray:
        return self.observed.sum(axis=0)

    @property
    def transposed(self) -> Table:
        return Table(self.observed.T, self.values.T)

    @property
    def interactions(self) -> hs.Interactions:
        users, items = np.nonzero(self.observed)
        matrix = sparse.coo_array((self.values[users, items], (users, items)), shape=self.observed.shape)
        return hs.Interactions.from_sparse(matrix)


# t, w, s, m of the objective, dense
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Setting:
    name: str
    objective: Objective
    arrays: Callable[[Table], Arrays]
    exponent: float
    biases: bool = False
    counts: Counted = "cells"
    item_ratio: float = 1.0  # of the items' λ to the users'

    def __str__(self) -> str:
        return self.name

    def problem(self, table: Table, *, rank: int, reg: float, rho: float) -> reference.Problem:
        t, w, s, m = self.arrays(table)
        if self.biases:
            mean = np.average(t[table.observed], weights=w[table.observed])
            t = t - mean
        counted = table.observed & (table.values > 0) if self.counts == "positive" else table.observed
        row_counts, column_counts = counted.sum(axis=1), counted.sum(axis=0)
        missing = (s, m) if self.counts == "cells" else (np.zeros_like(s), np.zeros_like(m))
        return reference.Problem(
            observed=table.observed,
            t=t,
            w=w,
            s=s,
            m=m,
            row_lambda=reference.regularization(row_counts, *missing, reg=reg, exponent=self.exponent),
            column_lambda=reference.regularization(
                column_counts, *missing[::-1], reg=self.item_ratio * reg, exponent=self.exponent
            ),
            rho=rho,
            rank=rank,
            biases=self.biases,
        )

    def half_problems(
        self, table: Table, *, rank: int, reg: float, rho: float, dtype: str
    ) -> tuple[HalfProblem, HalfProblem]:
        data = table.interactions
        return half_problems(
            data,
            self.objective.cost(data),
            rank=rank,
            regularization=self.row_regularization(reg, rho),
            dtype=dtype,
        )

    def regularization(self, reg: float, rho: float) -> hs.Regularization:
        """The parameter of `ALS`."""
        rows = self.row_regularization(reg, rho)
        return hs.Regularization(rows.users, rows.items, rows.exponent, rows.bias_ratio, rows.counts)

    def row_regularization(self, reg: float, rho: float) -> RowRegularization:
        """λ, as in `problem`: the items' is another where the setting says so."""
        return RowRegularization(reg, self.item_ratio * reg, self.exponent, rho, self.counts)


def half_step(problem: HalfProblem, Y: np.ndarray, *, threads: int = 1, dtype: str = "float64") -> np.ndarray:
    """The library's half-step between plain arrays [factors | bias]."""
    return half_step_and_loss(problem, Y, threads=threads, dtype=dtype, scored=False)[0]


def half_step_and_loss(
    problem: HalfProblem,
    Y: np.ndarray,
    *,
    threads: int = 1,
    dtype: str = "float64",
    scored: bool = True,
    start: np.ndarray | None = None,
    solver: Solver | str = "cholesky",
) -> tuple[np.ndarray, tuple[float, float] | None]:
    """The same, and the data terms of the objective."""
    K = problem.unknowns
    fixed = empty_factors(len(Y), K, dtype)
    fixed[:, :K] = Y
    X = empty_factors(len(problem.indptr) - 1, K, dtype)
    with CPU(threads) as backend:
        run = backend.half_step_and_loss if scored else backend.half_step
        if start is not None:
            X[:, :K] = start
        loss = run(backend.plan(problem), fixed, X, solver=NAMES[solver]() if isinstance(solver, str) else solver)
    assert not X[:, K:].any(), "the padding must stay 0"
    return X[:, :K], loss


def popularity(table: Table, weight_of_count: Callable[[int], float]) -> np.ndarray:
    per_item = [weight_of_count(int(c)) if c > 0 else 0.0 for c in table.item_counts]
    return np.tile(per_item, (len(table.values), 1))


def arrays(
    t: Callable[[Table], np.ndarray],
    w: Callable[[Table], np.ndarray],
    missing: Callable[[Table], tuple[np.ndarray, np.ndarray]] | float,
) -> Callable[[Table], Arrays]:
    def build(table: Table) -> Arrays:
        n, m = table.values.shape
        s_m = missing(table) if callable(missing) else (np.full(n, missing), np.ones(m))
        if not callable(missing) and missing == 0:
            s_m = (np.zeros(n), np.zeros(m))
        return np.asarray(t(table), dtype=float), np.asarray(w(table), dtype=float), *s_m

    return build


def value(table: Table) -> np.ndarray:
    return table.values


def constant(number: float) -> Callable[[Table], np.ndarray]:
    return lambda table: np.full(table.values.shape, number)


def linear(table: Table) -> np.ndarray:
    return popularity(table, lambda c: 0.1 + 1.0 / c)


def power(table: Table) -> np.ndarray:
    return popularity(table, lambda c: 1.0 + (1.0 / c) ** 0.3)


def eals_missing(table: Table) -> tuple[np.ndarray, np.ndarray]:
    powers = np.array([c**0.4 if c > 0 else 0.0 for c in table.item_counts])
    return np.ones(len(table.values)), 5.0 * powers / powers.sum()


def rows_times_columns(table: Table) -> np.ndarray:
    return 0.2 + np.outer(ROWS[: len(table.values)], COLUMNS[: table.values.shape[1]])


ROWS, COLUMNS = np.linspace(0.5, 3.0, 300), np.linspace(2.0, 0.1, 300)


def tensorflow(cells: weights.Cells) -> np.ndarray:
    """`row_column` for a table of any size."""
    rows, columns = ROWS[: len(cells.user_counts)], COLUMNS[: len(cells.item_counts)]
    return weights.row_column(0.2, rows, columns)(cells)


LINEAR, POWER = weights.linear_popularity(0.1, 1.0), weights.power_popularity(1.0, 0.3)
ALPHA0 = 0.3

SETTINGS = [
    Setting("plain", hs.Explicit(missing_weight=1.0, biases=False), arrays(value, constant(1), 1.0), 0.0),
    Setting("wals-linear", hs.Explicit(weight=LINEAR, biases=False), arrays(value, linear, 0), 0.0),
    Setting("wals-linear-biased", hs.Explicit(weight=LINEAR, biases=True), arrays(value, linear, 0), 0.0, True),
    Setting("wals-power", hs.Explicit(weight=POWER, biases=False), arrays(value, power, 0), 0.0),
    Setting("wals-power-biased", hs.Explicit(weight=POWER, biases=True), arrays(value, power, 0), 0.0, True),
    Setting(
        "wals-tensorflow",
        hs.Explicit(weight=tensorflow, missing_weight=0.2, biases=False),
        arrays(value, rows_times_columns, 0.2),
        0.0,
    ),
    Setting("als-wr", hs.Explicit(biases=False), arrays(value, constant(1), 0), 1.0),
    Setting("biased", hs.Explicit(biases=True), arrays(value, constant(1), 0), 0.5, True),
    Setting(
        "biased-weighted",
        hs.Explicit(weight=lambda cells: 1.0 + np.abs(cells.values), biases=True),
        arrays(value, lambda table: 1.0 + np.abs(table.values), 0),
        0.5,
        True,
    ),
    Setting(
        "hu",
        hs.Implicit(observed_weight=weights.confidence(alpha=4.0), missing_weight=1.0),
        arrays(constant(1), lambda table: 1.0 + 4.0 * np.abs(table.values), 1.0),
        0.0,
    ),
    Setting(
        "ials",
        hs.Implicit(missing_weight=ALPHA0, all_cells=True),
        arrays(constant(1 / (1 + ALPHA0)), constant(1 + ALPHA0), ALPHA0),
        1.0,
    ),
    Setting(
        "ials-values",
        hs.Implicit(observed_weight=weights.confidence(1.0, base=0.0), missing_weight=ALPHA0, all_cells=True),
        arrays(
            lambda table: np.abs(table.values) / (ALPHA0 + np.abs(table.values)),
            lambda table: ALPHA0 + np.abs(table.values),
            ALPHA0,
        ),
        1.0,
    ),
    Setting(
        "without-a-base",  # cells may count for less than missing ones, as in the library called implicit
        hs.Implicit(
            observed_weight=weights.confidence(alpha=0.4, base=0.0), missing_weight=1.0, target=weights.preference()
        ),
        arrays(lambda table: np.where(table.values > 0, 1.0, 0.0), lambda table: 0.4 * np.abs(table.values), 1.0),
        0.0,
    ),
    Setting(
        "eals",
        hs.Implicit(missing_weight=weights.missing_popularity(c0=5.0, exponent=0.4)),
        arrays(constant(1), constant(1), eals_missing),
        0.0,
    ),
    Setting(
        "spark-implicit",
        hs.Implicit(observed_weight=weights.confidence(alpha=2.0), missing_weight=1.0, target=weights.preference()),
        arrays(lambda table: np.where(table.values > 0, 1.0, 0.0), lambda table: 1 + 2.0 * np.abs(table.values), 1.0),
        1.0,
        counts="positive",
    ),
    Setting(
        "lenskit-implicit",
        hs.Implicit(observed_weight=41.0, missing_weight=1.0),
        arrays(constant(1), constant(41), 1.0),
        0.0,
        counts="observed",
        item_ratio=0.3,
    ),
    Setting(
        "signed-target",
        hs.Implicit(missing_weight=0.0, target=weights.preference(above=1.0, otherwise=-1.0)),
        arrays(lambda table: np.where(table.values > 1, 1.0, -1.0), constant(1), 0),
        1.0,
        counts="observed",
    ),
    Setting("signed", hs.Explicit(biases=False), arrays(value, constant(1), 0), 0.0),
    Setting(
        "signed-biased-missing",
        hs.Explicit(weight=2.0, missing_weight=1.0, biases=True),
        arrays(value, constant(2), 1.0),
        0.5,
        True,
    ),
]
