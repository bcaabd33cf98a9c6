"""`halfstep update`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import halfstep as hs
from halfstep.cli.update import UpdateResult
from shell import Shell, fitted

COLUMNS = ["--value", "plays", "--time", "when"]


@pytest.fixture(scope="module")
def fitted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plays, a model, later plays of known and new users and items, and clicks without values."""
    tmp_path = tmp_path_factory.mktemp("plays")
    rows = "".join(f"u{k % 30},i{k * 7 % 40},{k % 3 + 1},{k},Item {k * 7 % 40}\n" for k in range(120))
    (tmp_path / "plays.csv").write_text(f"user,item,plays,when,name\n{rows}")
    (tmp_path / "today.csv").write_text(
        "user,item,plays,when,name\nu0,i1,5,200,Item 1\nu0,i0,4,201,Item 0\nnew,i0,1,202,Item 0\n"
        "new,fresh,2,203,Fresh\n"
    )
    fitted(tmp_path / "plays.csv", *COLUMNS, "--titles", "name", to=tmp_path / "model.halfstep")
    return tmp_path


@pytest.fixture
def folder(fitted_folder: Path, tmp_path: Path) -> Path:
    """Copy the folder for a single test."""
    return shutil.copytree(fitted_folder, tmp_path, dirs_exist_ok=True)


def test_the_file_is_replaced_by_an_updated_model(shell: Shell, folder: Path) -> None:
    before = hs.load(folder / "model.halfstep", copy=True)
    out, err = shell("update", folder / "model.halfstep", folder / "today.csv", *COLUMNS)
    assert f"{folder}/today.csv: Interactions(4 interactions, 2 users, 3 items, values 1 to 5" in err
    lines = out.splitlines()
    assert lines[0] == ("3 new interactions, 1 changed, 1 new user, 1 new item; solved 2 users and 3 items")
    assert lines[1].endswith(f"saved to {folder}/model.halfstep")
    after = hs.load(folder / "model.halfstep")
    new = hs.read_interactions(folder / "today.csv", value="plays", timestamp="when")
    by_hand = before.partial_fit(new)
    np.testing.assert_array_equal(after.user_factors_, by_hand.user_factors_)
    np.testing.assert_array_equal(after.item_factors_, by_hand.item_factors_)
    assert "new" in after.users_
    assert len(after.interactions_) == len(hs.read_interactions(folder / "plays.csv")) + 3


def test_another_file_is_written_on_request(shell: Shell, folder: Path) -> None:
    before = (folder / "model.halfstep").read_bytes()
    out, _ = shell("update", folder / "model.halfstep", folder / "today.csv", *COLUMNS, "-o", folder / "m", "--json")
    parsed = json.loads(out)
    assert parsed.pop("seconds") >= 0
    assert parsed == {
        "model": str(folder / "m"),
        "interactions": 4,
        "new_interactions": 3,
        "new_users": 1,
        "new_items": 1,
        "touched_users": 2,
        "touched_items": 3,
    }
    assert (folder / "model.halfstep").read_bytes() == before
    assert "fresh" in hs.load(folder / "m").items_


def test_items_are_unchanged_with_no_update_items(shell: Shell, folder: Path) -> None:
    before = hs.load(folder / "model.halfstep", copy=True)
    line = ["update", folder / "model.halfstep", folder / "today.csv", *COLUMNS, "--no-update-items"]
    assert "solved 2 users and 0 items" in shell(*line)[0]
    after = hs.load(folder / "model.halfstep")
    np.testing.assert_array_equal(after.item_factors_[: len(before.items_)], before.item_factors_)
    assert (after.user_factors_[after.users_.position("u0")] != before.user_factors_[0]).any()


@pytest.mark.parametrize(("how", "value"), [(None, 4.0), ("last", 4.0), ("sum", 5.0)])
def test_duplicates_are_merged(shell: Shell, folder: Path, how: str | None, value: float) -> None:
    options = [] if how is None else ["--duplicates", how]
    shell("update", folder / "model.halfstep", folder / "today.csv", *COLUMNS, *options)
    data = hs.load(folder / "model.halfstep").interactions_
    cell = (data.user_ids == "u0") & (data.item_ids == "i0")
    assert data.values[cell].tolist() == [value]


def test_interactions_without_values_are_counted(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("user,item\n1,5\n1,6\n2,5\n3,6\n")
    (tmp_path / "today.csv").write_text("user,item\n1,5\n1,5\n2,6\n")
    model = fitted(tmp_path / "clicks.csv", to=tmp_path / "m")
    out, _ = shell("update", model, tmp_path / "today.csv")
    assert out.startswith("1 new interaction, 1 changed, 0 new users")
    data = hs.load(model).interactions_
    assert data.values[(data.user_ids == 1) & (data.item_ids == 5)].tolist() == [3.0]


def test_titles_of_new_items_are_added(shell: Shell, folder: Path) -> None:
    shell("update", folder / "model.halfstep", folder / "today.csv", *COLUMNS, "--titles", "name")
    titles = hs.load(folder / "model.halfstep").interactions_.item_titles
    assert (titles["fresh"], titles["i1"]) == ("Fresh", "Item 1")


@pytest.mark.parametrize("options", [[], ["--title", "title"]], ids=str)
def test_tables_may_have_titles_of_known_items(shell: Shell, folder: Path, options: list[str]) -> None:
    (folder / "items.csv").write_text("item,title\ni7,Seven\nfresh,Fresh\n")
    line = ["update", folder / "model.halfstep", folder / "today.csv", *COLUMNS, "--titles", folder / "items.csv"]
    shell(*line, *options)
    titles = hs.load(folder / "model.halfstep").interactions_.item_titles
    assert (titles["i7"], titles["fresh"]) == ("Item 7", "Fresh")  # items that have a title keep it
    (folder / "items.csv").write_text("item,title\ni7,Seven\n")
    shell(*line, *options)


def test_ids_are_read_with_the_types_of_the_model(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "plays.csv").write_text("user,item\n1,a\nx9,a\n2,b\n1,b\n")
    (tmp_path / "today.csv").write_text("user,item\n1,a\n2,a\n")
    model = fitted(tmp_path / "plays.csv", to=tmp_path / "m")
    assert "0 new users" in shell("update", model, tmp_path / "today.csv")[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("update {}/model.halfstep {}/model.halfstep", "MODEL {}/model.halfstep is also the input file"),
        ("update {}/model.halfstep {}/today.csv -o {}/today.csv", "--output {}/today.csv is also the input file"),
        ("update {}/model.halfstep {}/today.csv -o {}/no/m", "there is no folder {}/no"),
        ("update {}/none {}/today.csv", "{}/none"),
        ("update {}/model.halfstep {}/none.csv", "there is no file"),
        ("update {}/weighted.halfstep {}/today.csv --time when", "the new interactions have no values"),
        ("update {}/model.halfstep {}/today.csv --value plays", "timestamps"),
        ("update {}/model.halfstep {}/today.csv --value plays --time when --duplicates error", "set --duplicates"),
        ("update {}/popular.halfstep {}/today.csv", "is of class Popularity, which does not support incremental"),
    ],
)
def test_errors_leave_the_model_unchanged(shell: Shell, folder: Path, line: str, message: str) -> None:
    hs.Popularity().fit(hs.Interactions.from_arrays(["u1"], ["i1"])).save(folder / "popular.halfstep")
    fitted(folder / "plays.csv", *COLUMNS, "--alpha", "2", to=folder / "weighted.halfstep")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    _, err = shell(*line.format(*[folder] * 3).split(), fails=1)
    assert message.format(folder) in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("halfstep: ")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_ctrl_c_leaves_the_model_unchanged(shell: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    before = (folder / "model.halfstep").read_bytes()
    monkeypatch.setattr(hs.ALS, "partial_fit", interrupted)
    _, err = shell("update", folder / "model.halfstep", folder / "today.csv", *COLUMNS, fails=130)
    assert err.endswith("halfstep: interrupted\n")
    assert (folder / "model.halfstep").read_bytes() == before


def test_nouns_agree_with_their_numbers() -> None:
    result = UpdateResult(1_001, 1, 0, 1, 1, 1)
    assert str(result) == ("1 new interaction, 1,000 changed, 0 new users, 1 new item; solved 1 user and 1 item")
