"""Fits to tables in blocks, by an engine that calls functions in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import halfstep as hs
from halfstep.cluster.block_files import read_block
from halfstep.cluster.build import Table, build
from halfstep.cluster.file_steps import run_task, version_of
from halfstep.cluster.fit import fit
from halfstep.cluster.folder import Folder
from halfstep.cluster.model import ClusterModel
from halfstep.cluster.session import ClusterSession
from halfstep.cluster.step import FactorsAt, Step
from halfstep.errors import DataError, FitInterruptedWarning, ModelFileError, NumericalError, ParameterError
from halfstep.solver.cpu import CPU
from halfstep.solver.layout import empty_factors
from halfstep.solver.session import Side
from serial_engine import SerialEngine

pa = pytest.importorskip("pyarrow")
from halfstep.cluster.parts import write_part  # noqa: E402 - needs pyarrow

pytestmark = pytest.mark.slow

BLOCKS, PARTS = 3, 4


@pytest.fixture(scope="module")
def data() -> hs.Interactions:
    rng = np.random.default_rng(0)
    cells = rng.permutation(60 * 40)[:700]
    users, items = cells // 40, (cells % 40) ** 2 // 40
    keep = np.unique(users * 40 + items, return_index=True)[1]
    users, items = users[keep], items[keep]
    values = rng.integers(1, 6, len(users)).astype(float)
    return hs.Interactions.from_arrays([f"u{user}" for user in users], items, values, weights=1.0 + users % 3)


def table_of(data: hs.Interactions, *, values: bool = True, weights: bool = True) -> pa.Table:
    columns = {"user": data.users.ids[data.user_positions], "item": data.items.ids[data.item_positions]}
    if values:
        columns["value"] = data.values
    if weights:
        columns["weight"] = data.weights
    return pa.table(columns)


def built(path: Path, table: pa.Table, blocks: int = BLOCKS, **options: Any) -> tuple[SerialEngine, Folder, Table]:
    engine, folder = SerialEngine(blocks), Folder(str(path))
    size = -(-len(table) // PARTS)
    for number in range(PARTS):
        write_part(folder, number, blocks, table[number * size : (number + 1) * size])
    return engine, folder, build(engine, folder, PARTS, **options)


SETTINGS = {
    "explicit": hs.ALS(hs.Explicit()),
    "explicit, weights by popularity": hs.ALS(
        hs.Explicit(weight=hs.weights.linear_popularity(1.0, 5.0)), regularization=0.5
    ),
    "explicit, missing": hs.ALS(hs.Explicit(biases=False, missing_weight=0.2)),
    "explicit, positive counts": hs.ALS(
        hs.Explicit(biases=False), regularization=hs.Regularization(0.3, exponent=1.0, counts="positive")
    ),
    "implicit": hs.ALS(hs.Implicit()),
    "implicit, confidence": hs.ALS(hs.Implicit(observed_weight=hs.weights.confidence(alpha=2.0))),
    "implicit, default by positive counts": hs.ALS(
        hs.Implicit(target=hs.weights.preference(2.5)), regularization=hs.Regularization(counts="positive")
    ),
    "implicit, all cells": hs.ALS(hs.Implicit(all_cells=True)),
    "implicit, missing by popularity": hs.ALS(
        hs.Implicit(missing_weight=hs.weights.missing_popularity(c0=50.0, exponent=0.5))
    ),
    "conjugate gradients": hs.ALS(hs.Implicit(), solver="cg"),
    "explicit, nonnegative": hs.ALS(hs.Explicit(nonnegative=True)),
    "implicit, nonnegative": hs.ALS(hs.Implicit(nonnegative=True)),
}
PARAMETERS = {"rank": 3, "random_state": 0, "iterations": 4}


@pytest.fixture
def start_of_items(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The factors of items that fits have started from."""
    starts: list[Any] = []
    plain = ClusterSession.starting_from

    def starting_from(self: ClusterSession, start: Any) -> ClusterSession:
        starts.append(start[1].copy())
        return plain(self, start)

    monkeypatch.setattr(ClusterSession, "starting_from", starting_from)
    return starts


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("als", SETTINGS.values(), ids=SETTINGS)
def test_fits_equal_those_of_one_machine(
    als: hs.ALS, dtype: str, data: hs.Interactions, tmp_path: Path, start_of_items: list[Any]
) -> None:
    als = als.__sklearn_clone__().set_params(dtype=dtype, **PARAMETERS)
    local = fit(als, *built(tmp_path, table_of(data))).to_local()
    start = np.zeros((data.n_users, 3)), start_of_items[0][:, :3]
    alone = als.__sklearn_clone__().set_params(init=start).fit(data)
    assert local.objective_ == alone.objective_
    for name in ("users", "items", "exponent", "bias_ratio"):
        assert getattr(local.regularization_, name) == pytest.approx(getattr(alone.regularization_, name), rel=1e-9)
    assert local.mean_ == pytest.approx(alone.mean_, rel=1e-12)
    np.testing.assert_array_equal(local.items_.ids, alone.items_.ids)
    u = local.users_.positions(data.users.ids, name="user id")
    assert len(local.users_) == len(u)
    tolerance = {"rtol": 1e-7, "atol": 1e-9} if dtype == "float64" else {"rtol": 1e-3, "atol": 1e-4}
    np.testing.assert_allclose(local.user_factors_[u], alone.user_factors_, **tolerance)
    np.testing.assert_allclose(local.user_biases_[u], alone.user_biases_, **tolerance)
    np.testing.assert_allclose(local.item_factors_, alone.item_factors_, **tolerance)
    np.testing.assert_allclose(local.item_biases_, alone.item_biases_, **tolerance)
    for ours, theirs in zip(local.history_, alone.history_, strict=True):
        np.testing.assert_allclose(ours[:5], theirs[:5], rtol=1e-9 if dtype == "float64" else 1e-5)
    assert local.interactions_ is not None
    assert len(local.interactions_) == len(data)
    assert not als.objective.nonnegative or (local.user_factors_ >= 0).all()


class MissingByUserAndItem:
    """Weights of missing cells that differ between users, and between items."""

    def __call__(self, cells: hs.weights.Cells) -> Any:
        return 0.1 + 0.1 * (cells.user_counts > 10), 1.0 / (1.0 + cells.item_counts)


STAYING = {
    "explicit": hs.ALS(hs.Explicit(), regularization=0.5),
    "explicit, missing": hs.ALS(hs.Explicit(biases=False, missing_weight=0.2)),
    "explicit, positive counts": hs.ALS(
        hs.Explicit(biases=False), regularization=hs.Regularization(0.3, exponent=1.0, counts="positive")
    ),
    "explicit, biases and missing": hs.ALS(hs.Explicit(missing_weight=0.2)),
    "implicit": hs.ALS(hs.Implicit()),
    "implicit, all cells": hs.ALS(hs.Implicit(all_cells=True)),
    "implicit, missing by popularity": hs.ALS(
        hs.Implicit(missing_weight=hs.weights.missing_popularity(c0=50.0, exponent=0.5))
    ),
    "implicit, missing by user and item": hs.ALS(hs.Implicit(missing_weight=MissingByUserAndItem())),
}


@pytest.mark.parametrize("als", STAYING.values(), ids=STAYING)
def test_fits_with_staying_users_are_the_same(als: hs.ALS, data: hs.Interactions, tmp_path: Path) -> None:
    """The conjugate gradients solve four unknowns in fewer than 8 steps, so that every iteration is the same."""
    parameters = {"rank": 3, "random_state": 0, "dtype": "float64", "iterations": 10}
    exact = als.__sklearn_clone__().set_params(solver="cholesky", **parameters)
    steps = als.__sklearn_clone__().set_params(solver=hs.solvers.ConjugateGradient(steps=8), **parameters)
    expected = fit(exact, *built(tmp_path / "a", table_of(data))).to_local()
    local = fit(steps, *built(tmp_path / "b", table_of(data), exchange="items")).to_local()
    assert local.history_[-1].objective == pytest.approx(expected.history_[-1].objective, rel=1e-8)
    ours, theirs = (each.user_factors_ @ each.item_factors_.T for each in (local, expected))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(local.item_biases_, expected.item_biases_, rtol=1e-5, atol=1e-5)


def test_many_cells_sample_users_for_the_default_regularization(
    data: hs.Interactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("halfstep.models.default_regularization.MOST", 300)
    model = fit(hs.ALS(hs.Explicit(), **PARAMETERS), *built(tmp_path, table_of(data)))
    scales = model.items.regularization_.users / np.array(hs.Explicit.defaults.ladder)
    alone = hs.ALS(hs.Explicit(), **PARAMETERS).fit(data).regularization_.users / np.array(
        hs.Explicit.defaults.ladder
    )
    assert np.isclose(scales[:, None], alone).any()  # another multiple, possibly


def test_bits_do_not_depend_on_parts_or_repeated_fits(data: hs.Interactions, tmp_path: Path) -> None:
    table = table_of(data)
    shuffled = table.take(np.random.default_rng(1).permutation(len(table)))
    als = hs.ALS(hs.Implicit(), **PARAMETERS)
    one, other = (
        fit(als, *built(tmp_path / name, each)).to_local() for name, each in (("a", table), ("b", shuffled))
    )
    np.testing.assert_array_equal(one.users_.ids, other.users_.ids)
    np.testing.assert_array_equal(one.user_factors_, other.user_factors_)
    np.testing.assert_array_equal(one.item_factors_, other.item_factors_)


def test_more_blocks_than_users(tmp_path: Path) -> None:
    table = pa.table({"user": [1, 1, 2, 3], "item": ["a", "b", "a", "c"]})
    model = fit(hs.ALS(hs.Implicit(), **PARAMETERS), *built(tmp_path, table, blocks=16))
    assert sorted(model.to_local().users_.ids) == [1, 2, 3]


class OwnObjective(hs.Explicit):
    """An objective that files cannot store."""


def test_models_of_own_objectives_have_biases_when_they_are_opened(data: hs.Interactions, tmp_path: Path) -> None:
    model = fit(hs.ALS(OwnObjective(), **PARAMETERS), *built(tmp_path, table_of(data)))
    opened = ClusterModel.open(str(tmp_path))
    assert opened.block(0).user_biases_.any()
    np.testing.assert_array_equal(opened.block(0).user_biases_, model.block(0).user_biases_)
    assert opened.to_local().user_biases_.any()


def test_blocks_are_models(data: hs.Interactions, tmp_path: Path) -> None:
    model = fit(hs.ALS(hs.Explicit(), **PARAMETERS), *built(tmp_path, table_of(data)))
    local, opened = model.to_local(), ClusterModel.open(str(tmp_path))
    assert opened.items.history_ == local.history_
    assert sum(len(opened.block(number).users_) for number in range(opened.n_blocks)) == data.n_users
    for number in range(opened.n_blocks):
        block = opened.block(number)
        expected = local.recommend(block.users_.ids, n=3)
        np.testing.assert_array_equal(block.recommend(n=3).item_ids, expected.item_ids)
        np.testing.assert_array_equal(block.recommend(n=3).scores, expected.scores)
    folded = opened.items.fold_in(data)
    u = local.users_.positions(data.users.ids, name="user id")
    np.testing.assert_allclose(folded.user_factors_, local.user_factors_[u], rtol=1e-5, atol=1e-6)
    local.save(tmp_path / "local.halfstep")
    again = hs.load(tmp_path / "local.halfstep").partial_fit(data.subset(np.arange(3)), duplicates="last")
    assert len(again.users_) == data.n_users


def test_a_killed_fit_goes_on_after_its_last_iteration(
    data: hs.Interactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    als = hs.ALS(hs.Implicit(), rank=3, iterations=6, random_state=0)
    expected = fit(als, *built(tmp_path / "a", table_of(data))).to_local()
    context = built(tmp_path / "b", table_of(data))
    plain, steps = SerialEngine.map, []

    def dying(self: SerialEngine, function: Any, arguments: Any) -> Any:
        if function is run_task:
            steps.append(arguments[0].step)
            if len(steps) == 8:
                raise RuntimeError("killed")
        return plain(self, function, arguments)

    monkeypatch.setattr(SerialEngine, "map", dying)
    with pytest.raises(RuntimeError, match="killed"):
        fit(als, *context)
    model = fit(als, *context).to_local()
    assert len(steps) < 8 + 10  # instead of 13
    np.testing.assert_array_equal(model.user_factors_, expected.user_factors_)
    np.testing.assert_array_equal(model.item_factors_, expected.item_factors_)
    assert [each[:5] for each in model.history_] == [each[:5] for each in expected.history_]
    assert not Folder(str(tmp_path / "b")).exists("state")


def test_other_parameters_do_not_go_on(
    data: hs.Interactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = built(tmp_path, table_of(data))
    context[1].write("state", {}, parameters="others", history=[], state=[9, 9, None, 9])
    assert len(fit(hs.ALS(hs.Implicit(), **PARAMETERS), *context).items.history_) == 4


def test_files_of_versions_in_use_only_are_kept(data: hs.Interactions, tmp_path: Path) -> None:
    fit(hs.ALS(hs.Implicit(), **PARAMETERS), *built(tmp_path, table_of(data)))
    kept = [path for path in (tmp_path / "factors").rglob("*") if path.is_file()]
    assert len(kept) <= 5 * BLOCKS
    assert not (tmp_path / "parts").exists()
    assert not (tmp_path / "exchange").exists()


@pytest.mark.parametrize("how", ["sum", "mean"])
def test_repeated_cells_are_merged(how: str, data: hs.Interactions, tmp_path: Path) -> None:
    table = pa.concat_tables([table_of(data), table_of(data).slice(10, 50)])
    model = fit(hs.ALS(hs.Explicit(), **PARAMETERS), *built(tmp_path, table, duplicates=how)).to_local()
    expected = hs.Interactions.from_frame(table, duplicates=how)
    found = model.interactions_
    assert found is not None
    assert cells_of(found) == cells_of(expected)


def test_repeated_cells_without_values_are_counted(tmp_path: Path) -> None:
    table = pa.table({"user": [1, 1, 1, 2], "item": [5, 5, 6, 5]})
    found = (
        fit(hs.ALS(hs.Implicit(), **PARAMETERS), *built(tmp_path, table, duplicates="sum")).to_local().interactions_
    )
    assert found is not None
    assert cells_of(found) == {(1, 5): (2.0, 1.0), (1, 6): (1.0, 1.0), (2, 5): (1.0, 1.0)}


def cells_of(data: hs.Interactions) -> dict[Any, tuple[float, float]]:
    users, items = data.users.ids[data.user_positions].tolist(), data.items.ids[data.item_positions].tolist()
    weights = np.ones(len(data)) if data.weights is None else data.weights
    return dict(
        zip(zip(users, items, strict=True), zip(data.values.tolist(), weights.tolist(), strict=True), strict=True)
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user": [1, None, 2, 3], "item": [1, 2, 3, 4]}, "the user ids have missing values: remove rows"),
        ({"user": [1, 1, 2, 3], "item": [1, 1, 3, 4]}, "user 1 has item 1 more than once"),
        ({"user": ["a"] * 4, "item": [1, 2, 3, 4], "value": [1, 2, None, 4]}, "user 'a', item 3 is None"),
        ({"user": ["a"] * 4, "item": [1, 2, 3, 4], "value": [1, 2, float("inf"), 4]}, "item 3 is inf: give finite"),
        ({"user": ["a"] * 4, "item": [1, 2, 3, 4], "weight": [1, -1, 1, 1]}, "item 2 is -1: .* of at least 0"),
        ({"user": ["a"] * 4, "item": [1, 2, 3, 4], "value": ["x"] * 4}, "column of values is of type string"),
        ({"user": [1.5] * 4, "item": [1, 2, 3, 4]}, "user ids are of type double, but are not all integers"),
        ({"user": [[1]] * 4, "item": [1, 2, 3, 4]}, "user ids are of type list.*: convert them"),
        ({"user": pa.array([2**63] * 4, pa.uint64()), "item": [1, 2, 3, 4]}, "user ids exceed 64-bit integers"),
    ],
)  # fmt: skip
def test_invalid_tables_name_the_culprit(columns: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        built(tmp_path, pa.table(columns))


def test_ids_of_other_types(tmp_path: Path) -> None:
    table = pa.table({
        "user": pa.array(["ä", "", "日本", "ä"], pa.string()).dictionary_encode(),
        "item": pa.array([1.0, 2.0, 1.0, 2.0]),
    })  # fmt: skip
    local = fit(hs.ALS(hs.Implicit(), **PARAMETERS), *built(tmp_path, table)).to_local()
    assert sorted(local.users_.ids) == ["", "ä", "日本"]
    assert local.items_.ids.tolist() == [1, 2]


def test_an_empty_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the table has no interactions"):
        built(tmp_path, pa.table({"user": pa.array([], pa.int64()), "item": pa.array([], pa.int64())}))


@pytest.mark.parametrize(
    ("name", "value"),
    [("init", ([[1.0]], [[1.0]])), ("callbacks", [print]), ("implicit_features", True)],
)
def test_what_clusters_do_not_support_is_an_error(
    name: str, value: Any, data: hs.Interactions, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match=f"{name} is not supported on clusters"):
        fit(hs.ALS(**{name: value}), *built(tmp_path, table_of(data)))


def test_what_nonnegative_fits_do_not_support_is_an_error(data: hs.Interactions, tmp_path: Path) -> None:
    objective = hs.Implicit(nonnegative=True)
    with pytest.raises(ParameterError, match="solver='cg' does not support an objective with nonnegative=True"):
        fit(hs.ALS(objective, solver="cg"), *built(tmp_path / "a", table_of(data)))
    with pytest.raises(
        ParameterError, match="exchange='items' does not support nonnegative=True: set exchange='all'"
    ):
        fit(hs.ALS(objective), *built(tmp_path / "b", table_of(data), exchange="items"))


def test_errors_name_the_user_and_the_item(data: hs.Interactions, tmp_path: Path) -> None:
    context = built(tmp_path, table_of(data))
    with pytest.raises(DataError, match=r"returned the weight -1.0 for user 'u\d+', item \d+ \(value 5.0\)"):
        fit(hs.ALS(hs.Explicit(weight=Negative()), **PARAMETERS), *context)
    with pytest.raises(NumericalError, match=r"the system of user 'u\d+' is not positive definite"):
        fit(hs.ALS(hs.Explicit(biases=False), rank=20, regularization=0.0, random_state=0), *context)


class Negative:
    """Weights that can be sent to workers."""

    def __call__(self, cells: hs.weights.Cells) -> Any:
        return np.where(cells.values > 4, -1.0, 1.0)


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no fitted model in"):
        ClusterModel.open(str(tmp_path))


def test_a_missing_or_truncated_file_is_an_error(data: hs.Interactions, tmp_path: Path) -> None:
    model = fit(hs.ALS(hs.Implicit(), **PARAMETERS), *built(tmp_path, table_of(data)))
    path = tmp_path / "cells" / "users-00001"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"cells/users-00001 in the working folder .* cannot be read"):
        model.block(1)
    path.unlink()
    with pytest.raises(DataError, match="No such file"):
        model.block(1)


@pytest.mark.parametrize(
    "forged",
    [
        {"indices": lambda indices: indices + np.int32(1_000_000)},
        {"indices": lambda indices: indices - np.int32(1000)},
        {"indptr": lambda indptr: indptr[::-1].copy()},
        {"indptr": lambda indptr: indptr[:-1]},
        {"indices": lambda indices: indices.astype(np.int64)},
    ],
)
def test_forged_cells_are_an_error(forged: Any, data: hs.Interactions, tmp_path: Path) -> None:
    """Kernels do not check positions."""
    context = built(tmp_path, table_of(data))
    fit(hs.ALS(hs.Implicit(), **PARAMETERS), *context)
    folder, ((name, change),) = context[1], forged.items()
    arrays, _ = folder.read("cells/users-00001")
    folder.write("cells/users-00001", {**arrays, name: change(arrays[name])})
    with pytest.raises(DataError, match="block 1 of users in the working folder"):
        read_block(folder, Side.USERS, 1)


def test_factors_of_other_shapes_are_an_error(data: hs.Interactions, tmp_path: Path) -> None:
    context = built(tmp_path, table_of(data))
    fit(hs.ALS(hs.Implicit(), **PARAMETERS), *context)
    block, cpu = read_block(context[1], Side.USERS, 0), CPU(1)
    rows = empty_factors(len(block), 3, "float32")
    step = Step(Side.USERS, FactorsAt(0), FactorsAt(0), solver=hs.solvers.Cholesky())
    with cpu, pytest.raises(DataError, match="do not match the table"):
        block.run(cpu, step, empty_factors(3, 3, "float32"), {0: rows})
    with cpu, pytest.raises(DataError, match="do not match the table"):
        block.run(cpu, step, empty_factors(data.n_items, 3, "float32"), {0: rows[1:]})


def test_fits_leave_no_files_in_the_temporary_folder(
    data: hs.Interactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "machine"))
    fit(hs.ALS(hs.Implicit(), **PARAMETERS), *built(tmp_path / "a", table_of(data)))
    assert not list((tmp_path / "machine").iterdir())


def test_truncated_factors_are_an_error(data: hs.Interactions, tmp_path: Path) -> None:
    model = fit(hs.ALS(hs.Implicit(), **PARAMETERS), *built(tmp_path, table_of(data)))
    path = tmp_path / version_of(Side.USERS, model.version, 1)
    for content in (path.read_bytes()[:-8], path.read_bytes()[:20], b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"factors/\d+/users-00001 in the working folder .* cannot be read"):
            model.block(1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", lambda *_: open("/dev/full", "wb"))  # noqa: PTH123, SIM115
    with pytest.raises(ModelFileError, match=r"a in the working folder .* was not written \(No space left"):
        Folder(str(tmp_path)).write_array("a", np.ones(100_000))
    assert not list(tmp_path.iterdir())


def test_ctrl_c_keeps_the_last_iteration(
    data: hs.Interactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = built(tmp_path, table_of(data))
    plain, steps = SerialEngine.map, []

    def interrupted(self: SerialEngine, function: Any, arguments: Any) -> Any:
        if function is run_task:
            steps.append(0)
            if len(steps) == 6:
                raise KeyboardInterrupt
        return plain(self, function, arguments)

    monkeypatch.setattr(SerialEngine, "map", interrupted)
    with pytest.warns(FitInterruptedWarning, match="this is the model after 2 of 4 iterations"):
        model = fit(hs.ALS(hs.Implicit(), **PARAMETERS), *context)
    assert len(model.items.history_) == 2


def test_the_working_folder_may_be_a_url(
    data: hs.Interactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fsspec")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "machine"))
    als = hs.ALS(hs.Implicit(), **PARAMETERS)
    expected = fit(als, *built(tmp_path / "a", table_of(data))).to_local()
    url = (tmp_path / "b").as_uri()
    engine, folder = SerialEngine(BLOCKS), Folder(url)
    write_part(folder, 0, BLOCKS, table_of(data))
    fit(als, engine, folder, build(engine, folder, 1))
    local = ClusterModel.open(url).to_local()
    np.testing.assert_array_equal(local.user_factors_, expected.user_factors_)
    assert folder.exists("table")
    assert not folder.exists("parts/00000")
    other = hs.ALS(hs.Explicit(), **PARAMETERS)
    folder = Folder(url)  # as by another program: copies of replaced files are not read
    fit(other, engine, folder, Table.read(folder))
    expected = fit(other, *built(tmp_path / "c", table_of(data))).to_local()
    np.testing.assert_array_equal(ClusterModel.open(url).to_local().user_factors_, expected.user_factors_)
    assert folder.names("cells") == [f"cells/{side}-0000{n}" for side in ("items", "users") for n in range(BLOCKS)]
