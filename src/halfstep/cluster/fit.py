"""Fits of `halfstep.ALS` to tables in blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from halfstep._support.blocks import all_equal
from halfstep._support.checks import as_generator
from halfstep._support.progress import progress_bar
from halfstep.cluster.block_files import write_problem, write_shared
from halfstep.cluster.build import STATE, Table
from halfstep.cluster.cells import Missing, id_at
from halfstep.cluster.engine import Engine
from halfstep.cluster.folder import Folder
from halfstep.cluster.model import ClusterModel
from halfstep.cluster.session import ClusterSession, State
from halfstep.cluster.statistics import Statistics, Task
from halfstep.cluster.staying_users import StayingUsersSession, check_solver
from halfstep.errors import ParameterError
from halfstep.models.als import ALS
from halfstep.models.als_loop import Iteration, TrainingLoop, show_objective
from halfstep.models.initial_factors import deviation_of
from halfstep.objective.problem import problem_of_rows
from halfstep.objective.regularization import Regularization
from halfstep.solver.backends import check_backend
from halfstep.solver.cpu_session import CPUBackend
from halfstep.solver.layout import Factors, empty_factors
from halfstep.solver.session import Side


def fit(als: ALS, engine: Engine, folder: Folder, table: Table) -> ClusterModel:
    """Fit a model to a table in blocks.

    If an earlier call with the same parameters and folder was interrupted, and the engine's factors are in files, the
    fit continues after the last finished iteration.

    Parameters
    ----------
    als : ALS
        The parameters; it is not fitted. `init`, `callbacks` and side information are not supported.
    folder : Folder
        With the blocks from `build`.

    Raises
    ------
    ParameterError
        If a parameter is invalid or not supported.
    DataError
        If the objective returns invalid numbers, or all weights are 0.
    NumericalError
        If a system is not positive definite; the message names the user or item.
    """
    check_is_supported(als)
    if table.exchange == "items":
        if als.objective.nonnegative:
            raise ParameterError("exchange='items' does not support nonnegative=True: set exchange='all'")
        check_solver(als._solver)
    with progress_bar(als.progress, als.iterations, "ALS") as bar:
        prepared = _prepare(als, Statistics(engine, folder, table, als.objective).resolved())
        unknowns = als._rank + bool(als.objective.biases)
        session = _session(engine, folder, table, unknowns, als.dtype)
        history, state = _saved(folder, als)
        session = session.starting_from((None, prepared.start)) if state is None else session.going_on_from(state)
        bar.update(len(history))
        with session:
            ids = _Ids(folder, Side.USERS), _Ids(folder, Side.ITEMS)
            loop = TrainingLoop(session, als._solver, ids, dtype=als.dtype, history=history)

            def after() -> bool:
                show_objective(bar, loop.history)
                _save(folder, als, loop.history, session)
                return False

            loop.run(als.iterations, tol=als.tol, after=after)
            version = session.save(Side.USERS)
            factors = session.factors_of(Side.ITEMS)
    folder.remove(STATE)
    return ClusterModel.create(als, folder, table, prepared.fitted, factors, version, loop.history)


def _session(engine: Engine, folder: Folder, table: Table, unknowns: int, dtype: DTypeLike) -> ClusterSession:
    if table.exchange == "items":
        return StayingUsersSession(engine, folder, table.partitions, unknowns, dtype)
    return ClusterSession(engine.steps(folder, table.partitions), folder, table.partitions, unknowns, dtype)


def _save(folder: Folder, als: ALS, history: list[Iteration], session: ClusterSession) -> None:
    """Save the state of a fit."""
    state = session.state
    if state is not None:
        folder.write(STATE, {}, parameters=_parameters(als), history=history, state=state)
        session.keep(state)


def _saved(folder: Folder, als: ALS) -> tuple[list[Iteration], State | None]:
    """Return the history and the state of an interrupted fit with the same parameters."""
    if not folder.exists(STATE):
        return [], None
    saved = folder.read(STATE)[1]
    if saved["parameters"] != _parameters(als):
        return [], None
    return [Iteration(*each) for each in saved["history"]], State(*saved["state"])


def _parameters(als: ALS) -> str:
    """Return all parameters that determine the factors."""
    others = ("backend", "callbacks", "iterations", "progress", "threads", "tol")
    return repr({name: each for name, each in als.get_params(deep=False).items() if name not in others})


def remove_problems(folder: Folder) -> None:
    """Remove the files that only fits need."""
    for name in ("problem", "missing"):
        folder.remove(name)


def check_is_supported(als: ALS) -> None:
    """Check the parameters."""
    als._check_parameters()
    for name, is_set in (
        ("init", als.init is not None),
        ("callbacks", len(als.callbacks) > 0),
        ("implicit_features", als.implicit_features),
        (f"backend={als.backend!r}", als.backend != "cpu"),
    ):
        if is_set:
            raise ParameterError(f"{name} is not supported on clusters: omit it, or fit on one machine")
    check_backend("cpu", als._solver, has_features=False, nonnegative=bool(als.objective.nonnegative))


@dataclass(frozen=True)
class _Ids:
    """The ids of a side, which are read one at a time, for error messages."""

    folder: Folder
    side: Side

    def __getitem__(self, position: int) -> Any:
        return id_at(self.folder, self.side, position)


@dataclass(frozen=True)
class _Prepared:
    """The inputs of a fit besides the files of problems.

    Attributes
    ----------
    fitted : mapping from str to object
        `mean`, `objective`, `regularization` and `missing_weight` of the `Factorization`.
    start : ndarray
        The factors of items.
    """

    fitted: Mapping[str, Any]
    start: Factors


def _prepare(als: ALS, statistics: Statistics) -> _Prepared:
    """Write the problems of all blocks."""
    folder, table, objective, rank = statistics.folder, statistics.table, statistics.objective, als._rank
    missing, targets = statistics.missing(), statistics.targets()
    mean = targets.mean if objective.biases else 0.0
    unit = targets.unit(mean, is_centered=objective.defaults.is_centered)
    used = als._given_regularization(unit)
    if Regularization.of(als.regularization).pair is None:
        used = statistics.default_regularization(rank, used, targets, unit, mean, missing, CPUBackend(als.threads))
    for side in Side:
        more = mean, rank, used, als._precision
        if side is Side.ITEMS and table.exchange == "items":
            write_problem_of_items(statistics, more)
        else:
            statistics.map(write_problem_of, side, more)
        of_side = Missing.read(folder, side)
        m = np.empty(0) if of_side is None else of_side.m
        write_shared(folder, side, m.astype(als._precision), table.partitions[1 - side].n_rows)
    n_items = table.partitions[Side.ITEMS].n_rows
    start = empty_factors(n_items, rank + bool(objective.biases), als.dtype)
    scale = unit if objective.defaults.is_centered else 1.0
    start[:, :rank] = as_generator(als.random_state).normal(0.0, deviation_of(rank, scale), (n_items, rank))
    if objective.nonnegative:
        np.abs(start, out=start)
    fitted = {
        "mean": mean,
        "objective": als.objective,
        "regularization": Regularization.of(als.regularization).completed(used),
        "missing_weight": None if objective is als.objective else getattr(objective, "missing_weight", None),
    }
    return _Prepared(fitted, start)


def write_problem_of(task: Task) -> None:
    """Write the problem of a block."""
    mean = task.more[0]
    block = task.block
    t, w = block.evaluate(task.objective)
    t, w = (each[:1] if all_equal(each) else each for each in (t - mean if mean else t, w))
    pattern = block.arrays["indptr"], block.arrays["indices"]
    _write_problem(task, (*pattern, t, w), block.counted(task.more[2].counts), block.first)


def write_problem_of_items(statistics: Statistics, more: Any) -> None:
    """Write the problem of all items, without cells."""
    task = Task(statistics.folder, statistics.table, Side.ITEMS, 0, statistics.objective, more)
    counted = statistics.counted(more[2].counts, None)[1]
    none = np.empty(0)
    cells = np.zeros(len(counted) + 1, np.int64), np.empty(0, np.int32), none, none
    _write_problem(task, cells, counted, 0)


def _write_problem(task: Task, cells: tuple[NDArray[Any], ...], counted: NDArray[np.float64], first: int) -> None:
    _, rank, used, dtype = task.more
    indptr, indices, t, w = cells
    n_rows, none = len(indptr) - 1, np.empty(0)
    missing, of_others = (Missing.read(task.folder, side) for side in (task.side, Side(1 - task.side)))
    problem = problem_of_rows(
        (indptr, indices, t.astype(dtype), w.astype(dtype)),
        counted,
        None if missing is None else (missing.of_rows(first, first + n_rows), none, missing.total),
        rank=rank,
        reg=used.users if task.side is Side.USERS else used.items,
        regularization=used,
        biases=task.objective.biases,
        nonnegative=task.objective.nonnegative,
        dtype=dtype,
    )
    gram_weights = none if of_others is None else of_others.of_columns(first, first + n_rows)
    write_problem(task.folder, task.side, task.number, problem, gram_weights.astype(dtype), first)
