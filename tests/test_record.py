"""The record on small made-up splits, in the format of each published split."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

import halfstep as hs
from benchmarks.record import __main__ as program
from benchmarks.record import measure, page
from benchmarks.record.measure import Result
from benchmarks.record.splits import Phase, PublishedSplit, read_split

N_USERS, N_ITEMS = 20, 40
Pairs = set[tuple[int, int]]


def made_up(seed: int = 0) -> list[tuple[int, int]]:
    cells = np.argwhere(np.random.default_rng(seed).random((N_USERS, N_ITEMS)) < np.linspace(0.9, 0.6, N_ITEMS))
    return [tuple(cell) for cell in np.random.default_rng(seed + 1).permutation(cells).tolist()]


def write_lines(path: Path, lines: Iterable[Iterable[object]], separator: str = "\t") -> None:
    path.write_text("".join(f"{separator.join(map(str, line))}\n" for line in lines), encoding="utf-8")


def write_adjacency_lists(folder: Path) -> tuple[Pairs, Pairs]:
    cells = made_up()
    parts = {"train": cells[100:], "test": cells[:100]}
    for name, part in parts.items():
        lists = [[u, *(i for v, i in part if u == v)] for u in range(N_USERS)]
        write_lines(folder / f"{name}.txt", [line for line in lists if name == "train" or line[1:]], " ")
    return set(parts["train"]), set(parts["test"])


def write_leave_one_out(folder: Path, *, with_timestamps: bool = False) -> tuple[Pairs, Pairs]:
    cells = made_up()
    hidden = dict(reversed(cells))
    train = [cell for cell in cells if cell not in hidden.items()]
    had = set(train)
    if with_timestamps:
        write_lines(folder / "toy.train.rating", [(*cell, 5, time) for time, cell in enumerate(train)])
    else:
        write_lines(folder / "toy.train.pairs.tsv", [(*cell, 5) for cell in train])
    write_lines(folder / "toy.test.rating", [(*cell, 5, 0) for cell in hidden.items()])
    others = {user: [item for item in range(N_ITEMS) if (user, item) not in had] for user in hidden}
    write_lines(folder / "toy.test.negative", [(f"({u},{hidden[u]})", *others[u][:5]) for u in hidden])
    return had, set(hidden.items())


def write_held_out_users(folder: Path) -> tuple[Pairs, Pairs]:
    cells = made_up()
    parts = {
        "train": [cell for cell in cells if cell[0] >= 8],
        "validation_tr": [(u, i) for u, i in cells if u < 4 and i % 4],
        "validation_te": [(u, i) for u, i in cells if u < 4 and not i % 4],
        "test_tr": [(u, i) for u, i in cells if 4 <= u < 8 and i % 4],
        "test_te": [(u, i) for u, i in cells if 4 <= u < 8 and not i % 4],
    }
    for name, part in parts.items():
        write_lines(folder / f"{name}.csv", [("uid", "sid"), *part], ",")
    return set(parts["train"]), set(parts["test_te"])


def write_by_time(folder: Path) -> tuple[Pairs, Pairs]:
    cells = made_up()
    n_train = len(cells) - round(0.2 * len(cells))
    write_lines(folder / "u.data", [(*cell, 1 + time % 5, time) for time, cell in reversed([*enumerate(cells)])])
    return set(cells[:n_train]), set(cells[n_train:])


FORMATS = {
    "lightgcn": write_adjacency_lists,
    "ncf": write_leave_one_out,
    "vae": write_held_out_users,
    "time": write_by_time,
}


def pairs_of(data: hs.Interactions) -> Pairs:
    return set(zip(data.user_ids.tolist(), data.item_ids.tolist(), strict=True))


@pytest.fixture(params=FORMATS)
def split(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[PublishedSplit, Pairs, Pairs]:
    train, test = FORMATS[request.param](tmp_path)
    return read_split(tmp_path), train, test


def test_splits_are_read(split: tuple[PublishedSplit, Pairs, Pairs]) -> None:
    read, train, test = split
    assert pairs_of(read.outer.train) == train
    assert pairs_of(read.outer.test) == test


def test_models_are_tuned_without_the_test_set(split: tuple[PublishedSplit, Pairs, Pairs]) -> None:
    read, train, test = split
    inner, held_out = pairs_of(read.inner.train), pairs_of(read.inner.test)
    assert held_out
    assert not held_out & (inner | test)
    assert inner <= train
    if read.protocol != "vae":  # whose validation users are not in the training data
        assert held_out <= train
    for user, item in pairs_of(read.inner.test) if read.inner.candidates else ():
        *sampled, last = read.inner.candidates[user]
        assert last == item
        assert len(set(sampled)) == 5
        assert not {(user, each) for each in sampled} & train


def test_latest_training_items_are_held_out_if_there_are_timestamps(tmp_path: Path) -> None:
    write_leave_one_out(tmp_path, with_timestamps=True)
    read = read_split(tmp_path)
    latest = dict(zip(read.outer.train.user_ids.tolist(), read.outer.train.item_ids.tolist(), strict=True))
    assert pairs_of(read.inner.test) == set(latest.items())


@pytest.mark.slow
def test_tables_are_written_and_continued(
    split: tuple[PublishedSplit, Pairs, Pairs],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(measure, "N_SEEDS", 2)
    read, train, _ = split
    document = tmp_path / "page.md"
    document.write_text("# Page\n", encoding="utf-8")
    arguments = [str(tmp_path), "--ranks", "4", "2", "999", "--trials", "2", "--work", str(tmp_path / "work")]
    program.main([*arguments, "--page", str(document)])
    written = document.read_text("utf-8")
    assert written.startswith(f"# Page\n\n## {tmp_path.name}\n")
    table = [line.split(" | ") for line in written.splitlines() if line.startswith("| ")]
    names = ["popularity", "item-kNN", "EASE", "iALS, rank 2", "iALS, rank 4"]
    assert [line[0].removeprefix("| ") for line in table[2:]] == names
    popularity = hs.Popularity().fit(hs.Interactions.from_arrays(*zip(*sorted(train), strict=True)))
    expected = Phase.score(read.outer, popularity, read.protocol)
    assert table[2][1 : 1 + len(expected)] == [f"{value:.4f}" for value in expected.values()]
    assert "±" in table[5][1]
    assert "rank 999 is left out" in capsys.readouterr().out

    monkeypatch.setattr(measure, "measure", None)  # everything is in the work folder
    program.main([*arguments, "--page", str(document)])
    assert document.read_text("utf-8") == written
    path = tmp_path / "work" / tmp_path.name / "ease.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"data": "another"}), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"ease.json is of other data \(another\): delete it"):
        program.main([*arguments, "--page", str(document)])


def test_models_that_cannot_be_fitted_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_adjacency_lists(tmp_path)
    monkeypatch.setattr("halfstep.models.ease.BYTES", 1 << 50)
    found = measure.rows(read_split(tmp_path), tmp_path / "work", [], 1, "cpu", "a machine")
    assert [row.model for row in found] == ["popularity", "item-kNN"]
    assert "EASE is left out" in capsys.readouterr().out


def test_intervals_are_those_of_students_t() -> None:
    assert page.mean([0.25]) == "0.2500"
    assert page.mean([0.1, 0.2, 0.3]) == "0.2000 ± 0.2484"  # 4.3027 · 0.1 / √3


def test_grids_are_around_the_best_point_of_a_lower_rank(tmp_path: Path) -> None:
    write_adjacency_lists(tmp_path)
    best = {"regularization": 3.0, "regularization.exponent": 0.5, "rank": 2, "objective.missing_weight": 0.3}
    model = measure.ials(read_split(tmp_path), 4, best, 40, "cpu")
    assert model.space == {
        "regularization": [2.0, 3.0, 4.5],
        "regularization.exponent": [0.5],
        "rank": [4],
        "objective.missing_weight": pytest.approx([0.2, 0.3, 0.45]),
    }
    assert model.n_trials is None


def test_parameters_are_counted() -> None:
    data = hs.Interactions.from_arrays([0, 0, 1], ["a", "b", "b"])
    assert measure.parameters_of(hs.Popularity().fit(data)) == 2
    assert measure.parameters_of(hs.EASE().fit(data)) == 2
    assert measure.parameters_of(hs.ItemKNN().fit(data)) == 2
    assert measure.parameters_of(hs.ALS(hs.Implicit(), rank=3, iterations=1).fit(data)) == 12


def test_unknown_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SystemExit, match=r"has no known split: expected LightGCN: train.txt, test.txt; NCF: .*u.data"
    ):
        read_split(tmp_path)


def test_rows_survive_json() -> None:
    row = Result(
        model="EASE", data="d", machine="m", parameters={"regularization": 25}, inner=0.5, n_trials=8,
        n_parameters=2, tuning_seconds=1.5, fit_seconds=0.1, metrics=[{"ndcg@20": 0.5}],
    )  # fmt: skip
    assert Result(**json.loads(json.dumps(measure.asdict(row)))) == row
