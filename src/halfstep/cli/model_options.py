"""Options of the model; parameters without an option are chosen from the data, and printed with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

import halfstep as hs
from halfstep._support.blocks import blocks
from halfstep.cli.combinations import UsageError
from halfstep.cli.options import model_option
from halfstep.objective.defaults import EVENTS, MISSING_RATIO, VALUES
from halfstep.objective.regularization import Counted
from halfstep.solver.backends import BackendName, need_device

ObjectiveName = Literal["implicit", "explicit"]
ModelType = Literal[
    "als", "bayesian", "sgd", "ease", "item-knn", "global-mean", "item-bias", "user-item-bias", "popularity"
]

CLASSES: Mapping[ModelType, Any] = {
    "als": hs.ALS,
    "bayesian": hs.BayesianALS,
    "sgd": hs.SGD,
    "global-mean": hs.GlobalMean,
    "item-bias": hs.ItemBias,
    "user-item-bias": hs.UserItemBias,
    "popularity": hs.Popularity,
    "ease": hs.EASE,
    "item-knn": hs.ItemKNN,
}
MOST_RATINGS = 21  # distinct values, as from 0 to 10 in steps of 0.5


def _defaults(parameter: str, *names: ModelType) -> str:
    return ", ".join(f"{getattr(CLASSES[name], parameter):g} for {name}" for name in names)


@dataclass(frozen=True)
class ModelOptions:
    """Class and parameters of a model; None for parameters whose option is not given."""

    model_type: Annotated[
        ModelType,
        model_option(
            help="ALS; Bayesian ALS for ratings, which requires no tuning; stochastic gradient descent; weights "
            "between items (EASE, or nearest neighbors); or a baseline."
        ),
    ] = "als"
    objective: Annotated[
        ObjectiveName | None,
        model_option(
            help="Explicit: predict the values. Implicit: predict which interactions occur. Default: chosen from the "
            "values."
        ),
    ] = None
    rank: Annotated[
        int | None,
        model_option(
            help=f"Number of factors. Default: {EVENTS.rank} for implicit, {VALUES.rank} for explicit objectives; "
            f"{_defaults('rank', 'bayesian', 'sgd')}."
        ),
    ] = None
    regularization: Annotated[
        float | None,
        model_option(
            help="Regularization λ, the most important parameter. Default: chosen from the data and printed; "
            f"{_defaults('regularization', 'sgd', 'item-bias')}."
        ),
    ] = None
    regularization_exponent: Annotated[
        float | None,
        model_option(
            help="ν: λ of a row is proportional to its count to this power. Default: "
            f"{EVENTS.regularization_exponent} for implicit, {VALUES.regularization_exponent} for explicit "
            "objectives."
        ),
    ] = None
    regularization_counts: Annotated[
        Counted | None,
        model_option(
            help="What the count of a row is: observed cells and weights of missing cells, observed cells, or "
            f"positive values. Default: {hs.Regularization.counts}."
        ),
    ] = None
    iterations: Annotated[
        int | None,
        model_option(
            help="Number of iterations. Default: "
            f"{_defaults('iterations', 'als', 'bayesian', 'sgd', 'user-item-bias')}."
        ),
    ] = None
    alpha: Annotated[
        float | None,
        model_option(
            help="Implicit: the weight of an observed cell is 1 + alpha · value. Default: weight 1 for all values."
        ),
    ] = None
    missing_weight: Annotated[
        float | None,
        model_option(
            help="Weight of a missing cell. Default: 0 for explicit objectives; for implicit ones such that the "
            f"total weight of missing cells is {MISSING_RATIO:g} times that of observed cells, but at most the mean "
            "weight of an observed cell."
        ),
    ] = None
    biases: Annotated[
        bool | None, model_option("--biases/--no-biases", help="Explicit: whether to fit biases. Default: --biases.")
    ] = None
    nonnegative: Annotated[
        bool | None,
        model_option("--nonnegative/--no-nonnegative", help="Whether factors are at least 0. Default: any sign."),
    ] = None
    neighbors: Annotated[
        int | None,
        model_option(help=f"Number of neighbors of an item. Default: {_defaults('neighbors', 'item-knn')}."),
    ] = None
    shrinkage: Annotated[
        float | None,
        model_option(help=f"Shrinkage of similarities of items. Default: {_defaults('shrinkage', 'item-knn')}."),
    ] = None
    backend: Annotated[
        BackendName | None, model_option(help="Where ALS is fitted: on the CPU or on an NVIDIA GPU. Default: cpu.")
    ] = None
    seed: Annotated[int, model_option(help="Seed of all random numbers.", min=0)] = 0

    def need_device(self) -> None:
        """Raise an error if there is no GPU for ``--backend cuda``."""
        need_device(self.backend or "cpu")

    def choose(self, data: hs.Interactions) -> tuple[Any, list[str]]:
        """Make the estimator, and return a line for each choice with its reason."""
        if self.model_type == "als":
            return self._choose_als(data)
        parameters = _given(
            rank=self.rank,
            iterations=self.iterations,
            regularization=self.regularization,
            neighbors=self.neighbors,
            shrinkage=self.shrinkage,
        )
        if self.biases is not None:
            parameters["objective"] = hs.Explicit(biases=self.biases)
        if self.model_type in ("bayesian", "sgd"):
            parameters["random_state"] = self.seed
        estimator = CLASSES[self.model_type](**parameters)
        return estimator, [f"model: {estimator}"]

    def _choose_als(self, data: hs.Interactions) -> tuple[hs.ALS, list[str]]:
        objective, why = _objective(data) if self.objective is None else (self.objective, "set by --objective")
        is_implicit = objective == "implicit"
        option, value = ("--biases", self.biases) if is_implicit else ("--alpha", self.alpha)
        if value is not None:
            other = "explicit" if is_implicit else "implicit"
            raise UsageError(f"{option} requires --objective {other}, but the objective is {objective} ({why})")
        chosen: hs.Explicit | hs.Implicit
        if is_implicit:
            weight = None if self.alpha is None else hs.weights.confidence(self.alpha)
            chosen = hs.Implicit(
                observed_weight=weight, missing_weight=self.missing_weight, **_given(nonnegative=self.nonnegative)
            )
        else:
            chosen = hs.Explicit(
                **_given(missing_weight=self.missing_weight, biases=self.biases, nonnegative=self.nonnegative)
            )
        parameters = _given(
            rank=self.rank, regularization=self._regularization(), iterations=self.iterations, backend=self.backend
        )
        model = hs.ALS(chosen, random_state=self.seed, **parameters)
        return model, [f"objective: {objective}, {why}", f"model: {model!r}", *_describe_memory(model, data)]

    def _regularization(self) -> hs.Regularization | float | None:
        parts = _given(exponent=self.regularization_exponent, counts=self.regularization_counts)
        return hs.Regularization(**_given(users=self.regularization), **parts) if parts else self.regularization


def _describe_memory(model: hs.ALS, data: hs.Interactions) -> list[str]:
    """Return a line with the memory of a fit to interactions on disk."""
    if data.stored is None:
        return []
    needed = model.memory_of_fit(data)
    return [f"memory: up to {needed / 1e9:.1f} GB for the fit; interactions are read from {data.stored.folder}"]


def describe_fit(model: Any) -> list[str]:
    """Return a line with the parameters of a fitted ALS, including defaults that depend on the data."""
    if not isinstance(model, hs.ALS):
        return []
    fitted, missing = model.regularization_, getattr(model.objective_, "missing_weight", None)
    weight = f", missing weight {missing:.4g}" if isinstance(missing, float) and missing else ""
    return [f"rank {model.item_factors_.shape[1]}, λ {fitted.users:.4g} · count^{fitted.exponent:g}{weight}"]


def _objective(data: hs.Interactions) -> tuple[ObjectiveName, str]:
    """Choose the objective from the values, and return it with the reason."""
    if not data.has_values:
        return "implicit", "because there are no values"
    distinct, counts = _distinct(data.values)
    if len(distinct) == 1:
        return "implicit", "because all values are the same"
    if len(distinct) <= MOST_RATINGS and _is_a_scale(distinct, counts):
        return (
            "explicit",
            f"because {len(distinct)} values from {distinct[0]:g} to {distinct[-1]:g} look like ratings",
        )
    return "implicit", f"because values from {distinct[0]:g} to {distinct[-1]:g} look like counts"


def _distinct(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the distinct values, ascending, and how often each occurs."""
    distinct, counts = np.empty(0), np.empty(0, np.int64)
    for block in blocks(len(values)):
        found, times = np.unique(values[block], return_counts=True)
        distinct, rows = np.unique(np.concatenate([distinct, found]), return_inverse=True)
        counts = np.bincount(rows, np.concatenate([counts, times])).astype(np.int64)
    return distinct, counts


def _is_a_scale(distinct: NDArray[np.float64], counts: NDArray[np.int64]) -> bool:
    """Return whether values are on a rating scale; for counts, the lowest value is the most common one."""
    return bool(distinct[np.argmax(counts)] != distinct[0] or distinct[0] < 0)


def _given(**parameters: Any) -> dict[str, Any]:
    """Return the parameters that are not None."""
    return {name: value for name, value in parameters.items() if value is not None}
