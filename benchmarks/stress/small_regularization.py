"""Fits with λ from 0 to 1e-4: each is finite, has no negative terms and the objective of float64, or is an error.

Run as ``python -m benchmarks.stress.small_regularization [fits]``. Errors must name a λ with which the fit succeeds.
History and factors are compared with an independent dense implementation in float64.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

import halfstep as hs

REGULARIZATIONS = (0.0, 1e-12, 1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4)
ROUNDING = 1e-6  # relative to weighted squares of targets: error of an objective near 0 due to float32 factors
AGREEMENT = 1e-3  # relative to the objective


@dataclass(frozen=True)
class Case:
    """A small data set and the parameters of a fit."""

    data: hs.Interactions
    values: np.ndarray
    observed: np.ndarray
    objective: hs.Explicit | hs.Implicit
    parameters: dict[str, object]

    @property
    def target(self) -> np.ndarray:
        return self.values if isinstance(self.objective, hs.Explicit) else np.ones_like(self.values)

    @property
    def weight(self) -> float:
        given = self.objective.observed_weight if isinstance(self.objective, hs.Implicit) else 1.0
        return float(given)  # type: ignore[arg-type]

    def fit(self) -> hs.ALS:
        return hs.ALS(self.objective, **self.parameters).fit(self.data)  # type: ignore[arg-type]


def case(seed: int) -> Case:
    """Return a random case, in which users, items or factors may be the most numerous."""
    rng = np.random.default_rng(seed)
    shape = int(rng.integers(3, 60)), int(rng.integers(2, 45))
    observed = rng.random(shape) < rng.uniform(0.1, 1.0)
    observed[rng.integers(shape[0]), rng.integers(shape[1])] = True
    values = np.where(observed, rng.integers(1, 6, shape), 0.0)
    users, items = np.nonzero(observed)
    data = hs.Interactions.from_arrays(users, items, values[users, items])
    missing = float(rng.choice([0.0, 0.1, 1.0]))
    objective: hs.Explicit | hs.Implicit
    if rng.random() < 0.5:
        objective = hs.Implicit(missing_weight=missing, observed_weight=float(rng.choice([1.0, 2.0, 41.0])))
    else:
        objective = hs.Explicit(missing_weight=missing, biases=bool(rng.random() < 0.5))
    dtype = str(rng.choice(["float32", "float32", "float64"]))
    solver = hs.solvers.NAMES[str(rng.choice(["cholesky", "cholesky", "cg", "subspace"]))]
    rank = int(rng.choice([2, 8, 16, 33, 40, 64, 70]))
    parameters = {
        "rank": rank,
        "regularization": hs.Regularization(
            float(rng.choice(REGULARIZATIONS)),
            exponent=float(rng.choice([0.0, 0.5, 1.0])),
            bias_ratio=1.0,
            counts="cells",
        ),
        "solver": solver(extrapolation=float(rng.choice([0.0, 0.8])), refresh_users=False),
        "dtype": dtype,
        "iterations": int(rng.choice([3, 10])),
        "random_state": seed,
        "threads": 1,
    }
    return Case(data, values, observed, objective, parameters)


def outcome(given: Case) -> str:
    """Fit a case, and return "fitted", "refused, and fitted with the λ that was named", or a failure."""
    try:
        return fault(given, given.fit()) or "fitted"
    except hs.errors.NumericalError as error:
        if error.regularization is None:
            return f"refused without a λ: {error}"
        regularization = replace(given.parameters["regularization"], users=error.regularization)
        named = replace(given, parameters=given.parameters | {"regularization": regularization})
        try:
            return fault(named, named.fit()) or "refused, and fitted with the λ that was named"
        except hs.errors.NumericalError as again:
            return f"refused with the λ that was named: {again}"


def fault(given: Case, model: hs.ALS) -> str | None:
    """Return a description of the failure of a fitted model, if any."""
    scores = model.predict(given.data)
    terms = np.array([(line.observed, line.missing, line.regularization) for line in model.history_])
    scale = float(np.sum(given.weight * (given.target - model.mean_) ** 2 * given.observed))
    objectives = terms.sum(axis=1)
    if not (np.isfinite(scores).all() and np.isfinite(terms).all()):
        return "not finite"
    if (terms < 0).any():
        return f"below 0: {terms.min()}"
    if (np.diff(objectives) > AGREEMENT * objectives[:-1] + ROUNDING * scale).any():
        return f"the objective rises: {objectives.tolist()}"
    expected = naive_objective(given, model)
    if abs(objectives[-1] - expected) > AGREEMENT * expected + ROUNDING * scale:
        return f"the objective is {expected}, but {objectives[-1]} in history_"
    return None


def naive_objective(given: Case, model: hs.ALS) -> float:
    """Return the objective of a model's factors, cell by cell."""
    rows, columns = (np.asarray(ids, int) for ids in (model.users_.ids, model.items_.ids))
    observed, target = given.observed[np.ix_(rows, columns)], given.target[np.ix_(rows, columns)]
    product = model.user_factors_.astype(float) @ model.item_factors_.astype(float).T
    biases = model.user_biases_.astype(float)[:, None] + model.item_biases_.astype(float)
    error = given.weight * (target - model.mean_ - biases - product) ** 2
    missing = float(given.objective.missing_weight)  # type: ignore[arg-type]
    total = float(np.sum(np.where(observed, error, missing * product**2)))
    regularization = given.parameters["regularization"]
    scale, exponent = regularization.users, regularization.exponent
    for F, bias, counts, others in (
        (model.user_factors_, model.user_biases_, observed.sum(axis=1), observed.shape[1]),
        (model.item_factors_, model.item_biases_, observed.sum(axis=0), observed.shape[0]),
    ):
        penalty = scale * (counts + missing * others) ** exponent  # type: ignore[operator]
        total += float(np.sum(penalty * (np.sum(F.astype(float) ** 2, axis=1) + bias.astype(float) ** 2)))
    return total


def main(fits: int = 2000) -> int:
    """Run all cases and print the outcomes; return how many are faults."""
    began, outcomes, faults = time.perf_counter(), Counter[str](), 0
    for seed in range(fits):
        found = outcome(case(seed))
        is_fault = not found.startswith(("fitted", "refused, and fitted"))
        if is_fault:
            faults += 1
            print(f"seed {seed}: {found}", flush=True)
        outcomes["fault" if is_fault else found] += 1
    for name, count in outcomes.most_common():
        print(f"{count:6,}  {name}")
    print(f"{fits:,} fits in {time.perf_counter() - began:.0f} s")
    return faults


if __name__ == "__main__":
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", hs.errors.PoorFitWarning)  # small data
    sys.exit(min(main(*map(int, sys.argv[1:])), 1))
