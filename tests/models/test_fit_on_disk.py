"""Fits to interactions on disk have the bits of fits in memory, and need little memory."""

from __future__ import annotations

import shutil
import sys
import tracemalloc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

import halfstep as hs
from halfstep._support import blocks
from halfstep.data.on_disk import sorting
from halfstep.errors import DataError, ModelFileError, PoorFitWarning
from halfstep.weights import (
    Cells,
    confidence,
    linear_popularity,
    missing_popularity,
    preference,
    row_column,
)

N = 4000
ARRAYS = "user_factors_", "item_factors_", "user_biases_", "item_biases_"


def write(path: Path, n: int, n_users: int, n_items: int) -> Path:
    rng = np.random.default_rng(0)
    columns = {
        "user": rng.zipf(1.3, n) % n_users,
        "item": rng.zipf(1.3, n) % n_items,
        "value": rng.integers(1, 6, n) + 0.1,
        "timestamp": rng.integers(0, n, n),
        "weight": rng.random(n),
        "one": np.ones(n),
    }
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "data.parquet", N, 200, 120)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks.blocks, "__defaults__", (333,))
    monkeypatch.setattr(sorting, "MOST", 500)


def read(file: Path, folder: Path | None = None, **parameters: Any) -> hs.Interactions:
    return hs.read_interactions(file, duplicates=None, on_disk=folder, **parameters)


def own_weight(cells: Cells) -> np.ndarray[Any, np.dtype[np.float64]]:
    return cells.values + cells.item_counts[cells.items] + cells.users % 3


OBJECTIVES = [
    hs.Explicit(),
    hs.Explicit(biases=False, weight=1, missing_weight=1),
    hs.Explicit(weight=linear_popularity(0.1, 1)),
    hs.Explicit(weight=own_weight),
    hs.Implicit(),
    hs.Implicit(observed_weight=confidence(2), all_cells=True),
    hs.Implicit(missing_weight=missing_popularity(3, 0.5), target=preference(2)),
    hs.Implicit(observed_weight=row_column(1, 2, 0.5), missing_weight=1),
]


@pytest.mark.slow
@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("columns", [{}, {"weight": None}, {"value": None}, {"weight": "one"}])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_same_bits(file: Path, tmp_path: Path, objective: hs.Objective, columns: dict[str, Any]) -> None:
    in_memory, on_disk = read(file, **columns), read(file, tmp_path / "disk", **columns)
    for parameters in (
        {"rank": 5},
        {"rank": 40},
        {"rank": 3, "regularization": hs.Regularization(counts="positive")},
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PoorFitWarning)
            one, other = (
                hs.ALS(objective, iterations=2, random_state=0, **parameters).fit(data)  # type: ignore[arg-type]
                for data in (in_memory, on_disk)
            )
        for name in ARRAYS:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        assert (one.mean_, one.regularization_) == (other.mean_, other.regularization_)
        assert one.objective_ == other.objective_
        assert [line._replace(seconds=0) for line in one.history_] == [
            line._replace(seconds=0) for line in other.history_
        ]


@pytest.mark.usefixtures("small_blocks")
def test_equal_values(file: Path, tmp_path: Path) -> None:
    """Equal values are one number on disk and many in memory."""
    one, other = (
        hs.ALS(hs.Implicit(), rank=5, iterations=2, random_state=0).fit(read(file, folder, value="one"))
        for folder in (None, tmp_path / "disk")
    )
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize(
    "model",
    [hs.Popularity(), hs.SGD(rank=3, random_state=0), hs.UserItemBias(),
     hs.BayesianALS(rank=3, burn_in=2, iterations=6, random_state=0),
     hs.ALS(rank=3, implicit_features=True, iterations=2, random_state=0)],
    ids=repr,
)  # fmt: skip
def test_other_models(file: Path, tmp_path: Path, model: Any) -> None:
    lists = [repr(model.fit(read(file, folder)).recommend(n=3)) for folder in (None, tmp_path / "disk")]
    assert lists[0] == lists[1]


def test_splits_and_evaluation(file: Path, tmp_path: Path) -> None:
    one, other = read(file), read(file, tmp_path / "disk")
    for split in (
        lambda data: hs.split_random(data, random_state=1),
        lambda data: hs.split_by_time(data, 0.2),
        lambda data: hs.split_leave_last_out(data),
    ):
        for expected, found in zip(split(one), split(other), strict=True):
            assert found.stored is None
            np.testing.assert_array_equal(found.cells, expected.cells)
            np.testing.assert_array_equal(found.values, expected.values)
    tables = []
    for data in (one, other):
        train, test = hs.split_by_time(data, 0.2)
        model = hs.ALS(hs.Implicit(), rank=4, iterations=2, random_state=0).fit(train)
        tables.append(str(hs.evaluate(model, test)))
    assert tables[0] == tables[1]


def test_changed_values_and_weights_are_not_those_on_disk(file: Path, tmp_path: Path) -> None:
    data = read(file, tmp_path / "disk")
    changed = data.with_values(np.arange(len(data)) % 7).with_weights(None)
    assert changed.stored is None
    expected = read(file).with_values(np.arange(len(data)) % 7).with_weights(None)
    one, other = (hs.ALS(rank=4, iterations=2, random_state=0).fit(each) for each in (expected, changed))
    np.testing.assert_array_equal(one.user_factors_, other.user_factors_)
    assert data.with_titles({1: "one"}).stored is not None


def test_errors_name_the_cell(file: Path, tmp_path: Path) -> None:
    def negative_for_one(cells: Cells) -> Any:
        return np.where((cells.users == 7) & (cells.items == 3), -1.0, 1.0)

    for data in (read(file), read(file, tmp_path / "disk")):
        user, item = data.users[7], data.items[3]
        with pytest.raises(DataError, match=rf"weight -1.0 for user {user}, item {item} \(value"):
            hs.ALS(hs.Explicit(weight=negative_for_one)).fit(data)


def test_a_folder_that_cannot_be_written(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary arrays are then in the system's folder."""
    data = read(file, tmp_path / "disk")
    monkeypatch.setattr("halfstep._support.disk_arrays.os.access", lambda path, mode: False)
    monkeypatch.setattr("halfstep._support.disk_arrays.tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    assert data.stored is not None
    assert data.stored.scratch().folder == tmp_path / "temporary"
    (tmp_path / "disk").chmod(0o555)
    expected = hs.ALS(rank=4, iterations=1, random_state=0).fit(read(file))
    found = hs.ALS(rank=4, iterations=1, random_state=0).fit(read(file, tmp_path / "disk"))
    np.testing.assert_array_equal(found.user_factors_, expected.user_factors_)


@pytest.fixture
def saved(file: Path, tmp_path: Path) -> Path:
    data = read(file, tmp_path / "disk", timestamp=None).with_titles({1: "one"})
    hs.ALS(hs.Implicit(), rank=4, iterations=1, random_state=0).fit(data).save(tmp_path / "model.halfstep")
    return tmp_path / "model.halfstep"


def test_a_model_file_refers_to_the_folder(file: Path, saved: Path) -> None:
    model = hs.load(saved)
    assert saved.stat().st_size < 40_000
    assert model.interactions_.stored is not None
    assert model.interactions_.item_titles == {1: "one"}
    expected = hs.ALS(hs.Implicit(), rank=4, iterations=1, random_state=0).fit(read(file, timestamp=None))
    np.testing.assert_array_equal(model.recommend(n=3).scores, expected.recommend(n=3).scores)
    assert repr(model.explain(model.users_[0], model.items_[3])).count("\n") > 2
    new = hs.Interactions.from_arrays([1, 9999], [3, 4])
    for each in (model, expected):
        each.partial_fit(new, duplicates="sum")
    np.testing.assert_array_equal(model.user_factors_, expected.user_factors_)
    model.save(saved)  # with all interactions, since they are no longer those in the folder
    assert hs.load(saved).interactions_.stored is None
    assert len(hs.load(saved).interactions_) == len(expected.interactions_)


def test_a_model_without_its_folder(saved: Path) -> None:
    folder = saved.parent / "disk"
    shutil.move(folder, saved.parent / "moved")
    with pytest.raises(ModelFileError, match=rf"in the folder {folder}, which does not exist: move it back"):
        hs.load(saved)
    shutil.move(saved.parent / "moved", folder)
    (folder / "values.bin").write_bytes(b"")
    with pytest.raises(ModelFileError, match=r"cannot be opened: .*incomplete or corrupted \(values.bin has 0 bytes"):
        hs.load(saved)


def test_a_model_with_another_folder(file: Path, saved: Path) -> None:
    shutil.rmtree(saved.parent / "disk")
    read(file, saved.parent / "disk", timestamp=None, value=None)
    with pytest.raises(ModelFileError, match="which has other ones now"):
        hs.load(saved)


def resident_bytes(folder: Path) -> int:
    """Return the size of all pages of mapped files of a folder that are in the memory of this process."""
    total, is_inside = 0, False
    with Path("/proc/self/smaps").open() as file:  # a line at a time, for it is called while memory is counted
        for line in file:
            if not line.split()[0].endswith(":"):
                is_inside = str(folder) in line
            elif is_inside and line.startswith("Rss:"):
                total += 1024 * int(line.split()[1])
    return total


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> hs.Interactions:
    """Interactions whose arrays are larger than all else that a fit needs."""
    folder, n_users, n_items = tmp_path_factory.mktemp("large"), 4000, 2000
    cells = np.flatnonzero(np.random.default_rng(0).random(n_users * n_items) < 0.5)
    columns = {"user": cells // n_items, "item": cells % n_items, "value": cells % 5 + 1.1}
    pq.write_table(pa.table(columns), folder / "data.parquet")
    return hs.read_interactions(folder / "data.parquet", on_disk=folder / "disk")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the pages in memory are listed in /proc")
@pytest.mark.filterwarnings("ignore::halfstep.errors.PoorFitWarning")
@pytest.mark.parametrize("objective", [hs.Explicit(), hs.Implicit(observed_weight=confidence(0.1)), hs.Implicit()])
def test_memory(large: hs.Interactions, monkeypatch: pytest.MonkeyPatch, objective: hs.Objective) -> None:
    """No array of all cells is in memory, mapped files included, and the memory stated is enough.

    The arrays of NumPy are counted as they are allocated. The memory of the process depends on what it freed before.
    """
    monkeypatch.setattr(blocks.blocks, "__defaults__", (1 << 13,))
    for module in ("default_regularization", "poor_fit"):
        monkeypatch.setattr(f"halfstep.models.{module}.MOST", 20_000)
    model = hs.ALS(objective, rank=4, iterations=1, random_state=0, progress=False)
    model.fit(large.subset(np.arange(10_000)))  # loads the kernels
    assert large.stored is not None
    resident, folder = list[int](), large.stored.folder
    model.set_params(callbacks=[lambda _: resident.append(resident_bytes(folder))])  # at the end of an iteration
    tracemalloc.start()
    try:
        model.fit(large)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0 < resident[0] < len(large)  # a quarter of the positions of one side
    assert peak < 3 * len(large)  # an array of all cells has at least four bytes for each
    assert peak < model.memory_of_fit(large)


def test_memory_of_fit_grows_with_what_is_in_memory(file: Path, tmp_path: Path) -> None:
    on_disk, in_memory = read(file, tmp_path / "disk"), read(file)
    model = hs.ALS(rank=10)
    assert 0 < model.memory_of_fit(on_disk) < model.memory_of_fit(in_memory)
    assert model.memory_of_fit(on_disk) < hs.ALS(rank=100).memory_of_fit(on_disk)
