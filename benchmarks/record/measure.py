"""Rows of the record: models are tuned on the inner split, fitted with several seeds, and scored on the test set."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

import halfstep as hs
from benchmarks.record.splits import PublishedSplit
from halfstep._support.files import write_atomically
from halfstep.evaluation.tuning.space import with_parameters

N_SEEDS = 5
FACTORS = (1 / 1.5, 1, 1.5)  # multiples of λ and of the weight of missing cells, from one rank to the next

Backend = Literal["cpu", "cuda"]


class Entrant(NamedTuple):
    """A model to tune (unless its space is empty) and measure; `n_trials` is None for all points of a grid."""

    name: str
    estimator: Any
    space: Mapping[str, Any]
    n_trials: int | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """A row of the record.

    Attributes
    ----------
    model : str
    data, machine : str
        Descriptions of the split, and of the processor.
    parameters : dict
        The best of the inner split, by path.
    inner : float or None
        Their value of the metric there.
    n_trials, n_parameters : int
        The number of points tried, and of numbers of the fitted model.
    tuning_seconds, fit_seconds : float
        Of all trials, and the median of one fit; CPU seconds, or wall-clock seconds on a GPU.
    metrics : list of dict from str to float
        On the test set, for each seed.
    """

    model: str
    data: str
    machine: str
    parameters: dict[str, Any]
    inner: float | None
    n_trials: int
    n_parameters: int
    tuning_seconds: float
    fit_seconds: float
    metrics: list[dict[str, float]]


def simple_models() -> list[Entrant]:
    return [
        Entrant("popularity", hs.Popularity(), {}),
        Entrant("item-kNN", hs.ItemKNN(), {"neighbors": [20, 50, 100, 200], "shrinkage": [0, 5, 20, 100]}),
        Entrant("EASE", hs.EASE(), {"regularization": [25, 50, 100, 200, 400, 800, 1600, 3200]}),
    ]


def ials(
    split: PublishedSplit, rank: int, previous: Mapping[str, Any] | None, n_trials: int, backend: Backend
) -> Entrant:
    """Return iALS with the default space of `tune`, or a grid around the best parameters of a lower rank."""
    estimator = hs.ALS(hs.Implicit(), rank=rank, random_state=0, backend=backend, progress=False)
    name = f"iALS, rank {rank}"
    if previous is None:
        return Entrant(name, estimator, hs.default_space(estimator, split.inner.train) | {"rank": [rank]}, n_trials)
    varied = ("regularization", "objective.missing_weight")
    space = {
        key: [value * factor for factor in FACTORS] if key in varied else [value] for key, value in previous.items()
    }
    return Entrant(name, estimator, space | {"rank": [rank]})


def rows(
    split: PublishedSplit, work: Path, ranks: Sequence[int], n_trials: int, backend: Backend, machine: str
) -> Iterator[Result]:
    """Yield the rows of a split; those in the work folder are not measured again.

    A model that cannot be fitted, such as EASE of too many items, is reported and left out.
    """
    for model in simple_models():
        try:
            yield kept(model, split, work, backend, machine)
        except hs.errors.HalfstepError as error:
            print(f"{model.name} is left out: {error}", flush=True)
    previous = None
    train = split.inner.train
    largest = min(np.count_nonzero(train.user_counts), np.count_nonzero(train.item_counts))
    for rank in sorted(set(ranks)):
        if rank > largest:
            print(f"rank {rank} is left out: there are only {largest:,} users or items", flush=True)
            continue
        row = kept(ials(split, rank, previous, n_trials, backend), split, work, backend, machine)
        previous = row.parameters
        yield row


def kept(model: Entrant, split: PublishedSplit, work: Path, backend: Backend, machine: str) -> Result:
    """Return the row in the work folder, or measure it.

    Raises
    ------
    SystemExit
        If the row in the work folder is of other data.
    """
    path = work / split.name / f"{model.name.replace(', ', '-').replace(' ', '-').lower()}.json"
    if path.exists():
        row = Result(**json.loads(path.read_text(encoding="utf-8")))
        if row.data != str(split):
            raise SystemExit(f"{path} is of other data ({row.data}): delete it, or name another folder with --work")
        return row
    row = measure(model, split, time.process_time if backend == "cpu" else time.perf_counter, machine)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(asdict(row), indent=1).encode())
    return row


def measure(model: Entrant, split: PublishedSplit, clock: Callable[[], float], machine: str) -> Result:
    """Tune a model on the inner split, fit it with each seed, and score it on the test set."""
    began, tuning, estimator = clock(), None, model.estimator
    if model.space:
        tuning = hs.tune(
            estimator,
            split.inner.train,
            model.space,
            metric=lambda fitted, _: split.inner.score(fitted, split.protocol)[split.metric],
            direction="maximize",
            split=[(split.inner.train, split.inner.train)],  # the metric has its own test set
            n_trials=model.n_trials,
            warm_starts=False,
            refit=False,
            progress=False,
        )
        estimator = with_parameters(estimator, tuning.best_parameters)
    tuning_seconds = clock() - began
    is_random = isinstance(estimator, hs.ALS)
    metrics, seconds, n_parameters = [], [], 0
    for seed in range(N_SEEDS if is_random else 1):
        began = clock()
        fitted = with_parameters(estimator, {"random_state": seed} if is_random else {}).fit(split.outer.train)
        seconds.append(clock() - began)
        metrics.append(split.outer.score(fitted, split.protocol))
        n_parameters = parameters_of(fitted)
    return Result(
        model=model.name,
        data=str(split),
        machine=machine,
        parameters={} if tuning is None else tuning.best_parameters,
        inner=None if tuning is None else tuning.best_value,
        n_trials=0 if tuning is None else len(tuning.trials),
        n_parameters=n_parameters,
        tuning_seconds=tuning_seconds if tuning else 0.0,
        fit_seconds=float(np.median(seconds)),
        metrics=metrics,
    )


def parameters_of(fitted: hs.FactorModel) -> int:
    """Return the number of factors, of weights between items that are not 0, or of counts of items."""
    if isinstance(fitted, hs.EASE | hs.ItemKNN):
        W = fitted.item_weights_
        return int(np.count_nonzero(W) if isinstance(W, np.ndarray) else W.nnz)
    if isinstance(fitted, hs.ALS):
        return int(fitted.user_factors_.size + fitted.item_factors_.size)
    return int(np.count_nonzero(fitted.item_counts_))
