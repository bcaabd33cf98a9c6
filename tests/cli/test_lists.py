"""`halfstep recommend` and `similar` with tables of users and titles, and files of lists."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import halfstep as hs
from shell import Shell, fitted


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of clicks with integer item ids, and titles of all items but one."""
    path = tmp_path_factory.mktemp("lists")
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((40, 12)) < 0.4)
    data = hs.Interactions.from_arrays([f"u{user:02d}" for user in users], items + 1)
    hs.ALS(hs.Implicit(), rank=4, iterations=3, random_state=0).fit(data).save(path / "model.halfstep")
    names = [f"Movie {item}" for item in range(1, 12)]
    table = pl.DataFrame({"movie": range(1, 12), "year": [1990] * 11, "name": names})
    table.write_csv(path / "items.csv")
    table.select(pl.col("name").alias("title"), pl.col("movie").alias("item")).write_parquet(path / "items.parquet")
    (path / "users.csv").write_text("who,age\nu03,7\nu01,8\nu03,9\n")
    (path / "users.txt").write_text("u05\nu06\n")
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class TestUsersFromATable:
    def test_are_unique_in_order_of_appearance(self, shell: Shell, folder: Path) -> None:
        line = [
            "recommend",
            folder / "model.halfstep",
            "--users-from",
            folder / "users.csv",
            "--user",
            "who",
            "-n",
            2,
        ]
        parsed = json.loads(shell(*line, "--json")[0])
        assert [(row["user"], row["rank"]) for row in parsed] == [("u03", 1), ("u03", 2), ("u01", 1), ("u01", 2)]
        lists = hs.load(folder / "model.halfstep").recommend(["u03", "u01"], 2)
        assert [(row["item"], row["score"]) for row in parsed] == [each for _, entries in lists for each in entries]
        out, _ = shell(*line)
        assert out.index("for user u03") < out.index("for user u01")

    def test_are_written_to_a_file(self, shell: Shell, folder: Path, tmp_path: Path) -> None:
        options = ["--users-from", folder / "users.txt", "--no-header", "-n", 3, "-o", tmp_path / "lists.csv"]
        out, _ = shell("recommend", folder / "model.halfstep", *options)
        assert out == f"6 rows for 2 users written to {tmp_path}/lists.csv\n"
        assert [row["user"] for row in rows_of(tmp_path / "lists.csv")] == ["u05"] * 3 + ["u06"] * 3

    def test_are_read_from_a_pipe(self, shell: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"user\nu07\n")))
        parsed = json.loads(shell("recommend", folder / "model.halfstep", "--users-from", "-", "-n", 1, "--json")[0])
        assert [row["user"] for row in parsed] == ["u07"]

    def test_unknown_ones_are_counted(self, shell: Shell, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "users.csv").write_text("user\nx1\nx2\nx3\nx4\nu01\n")
        line = ["recommend", folder / "model.halfstep", "--users-from", tmp_path / "users.csv", "--json"]
        assert shell(*line)[1] == (
            "4 of 5 users are unknown to the model, such as 'x1': all unknown users get the same list\n"
        )

    def test_arguments_are_written_to_a_file(self, shell: Shell, folder: Path, tmp_path: Path) -> None:
        shell("recommend", folder / "model.halfstep", "u09", "u02", "-n", 1, "-o", tmp_path / "lists.parquet")
        assert pl.read_parquet(tmp_path / "lists.parquet")["user"].to_list() == ["u09", "u02"]


class TestTitlesFromATable:
    @pytest.mark.parametrize("options", [["--title", "name"], ["--title", 2, "--title-id", 0]], ids=str)
    def test_of_named_columns(self, shell: Shell, folder: Path, options: list[object]) -> None:
        titles = ["--titles", folder / "items.csv", *options]
        parsed = json.loads(shell("recommend", folder / "model.halfstep", "u01", *titles, "--json")[0])
        assert parsed
        assert all(row["title"] == (f"Movie {row['item']}" if row["item"] < 12 else None) for row in parsed)
        out, _ = shell("similar", folder / "model.halfstep", 3, *titles)
        assert "similar to item 3, Movie 3" in out
        assert "Movie 4" in out

    def test_of_default_columns(self, shell: Shell, folder: Path, tmp_path: Path) -> None:
        titles = ["--titles", folder / "items.parquet"]
        shell("similar", folder / "model.halfstep", 3, 4, *titles, "-n", 2, "-o", tmp_path / "all.csv")
        rows = rows_of(tmp_path / "all.csv")
        assert [(row["item"], row["rank"]) for row in rows] == [("3", "1"), ("3", "2"), ("4", "1"), ("4", "2")]
        assert all(row["title"] == f"Movie {row['similar_item']}" for row in rows if row["similar_item"] != "12")

    def test_take_precedence_over_those_of_the_model(self, shell: Shell, tmp_path: Path) -> None:
        data = hs.Interactions.from_arrays(["a", "a", "b"], ["x", "y", "x"], item_titles={"x": "Old X", "y": "Old Y"})
        hs.Popularity().fit(data).save(tmp_path / "m")
        (tmp_path / "items.csv").write_text("item,title\ny,New Y\n")
        line = ["recommend", tmp_path / "m", "a", "--include-seen", "--json", "--titles", tmp_path / "items.csv"]
        assert [row["title"] for row in json.loads(shell(*line)[0])] == ["Old X", "New Y"]

    @pytest.mark.parametrize("command", ["fit", "update", "tune"])
    def test_are_saved_in_the_model(self, shell: Shell, folder: Path, tmp_path: Path, command: str) -> None:
        (tmp_path / "clicks.csv").write_text(
            "user,movie\n" + "".join(f"{u},{i}\n" for u in range(8) for i in (1, 2, 3))
        )
        model = fitted(tmp_path / "clicks.csv", "--item", "movie", to=tmp_path / "m")
        options = ["--item", "movie", "--titles", folder / "items.csv", "--title", "name", "--title-id", "movie"]
        if command == "update":
            shell("update", model, tmp_path / "clicks.csv", *options)
        else:
            few = ["--space", "rank=1,2", "--iterations", 1, "--folds", 1] if command == "tune" else []
            shell(command, tmp_path / "clicks.csv", *options, *few, "-o", model)
        assert hs.load(model).interactions_.item_titles == {1: "Movie 1", 2: "Movie 2", 3: "Movie 3"}


class TestSimilarLists:
    def test_of_all_items_are_written_to_a_file(self, shell: Shell, folder: Path, tmp_path: Path) -> None:
        out, _ = shell("similar", folder / "model.halfstep", "-n", 2, "-o", tmp_path / "all.csv", "--json")
        assert json.loads(out) == {"output": str(tmp_path / "all.csv"), "items": 12, "rows": 24}
        assert list(rows_of(tmp_path / "all.csv")[0]) == ["item", "similar_item", "rank", "similarity"]

    def test_of_users(self, shell: Shell, folder: Path, tmp_path: Path) -> None:
        shell("similar", folder / "model.halfstep", "--users", "u01", "-n", 2, "-o", tmp_path / "all.parquet")
        table = pl.read_parquet(tmp_path / "all.parquet")
        assert table.columns == ["user", "similar_user", "rank", "similarity"]
        lists = hs.load(folder / "model.halfstep").similar_users("u01", 2)
        assert table["similar_user"].to_list() == lists.ids[0].tolist()


class TestUnknownIds:
    def test_of_users_have_suggestions(self, shell: Shell, folder: Path) -> None:
        _, err = shell("recommend", folder / "model.halfstep", "U01", "--json")
        assert err.startswith("user 'U01' is unknown to the model (did you mean 'u01'?): all unknown")
        assert "unknown to the model: " in shell("recommend", folder / "model.halfstep", "nobody", "--json")[1]

    def test_of_items_have_suggestions(self, shell: Shell, folder: Path, tmp_path: Path) -> None:
        data = hs.Interactions.from_arrays([1, 1], ["tea", "rum"])
        hs.ALS(hs.Implicit(), rank=1, iterations=1, random_state=0).fit(data).save(tmp_path / "m")
        _, err = shell("similar", tmp_path / "m", "tee", fails=1)
        assert err.endswith("(did you mean 'tea'?)\n")

    def test_have_suggestions_by_title(self, shell: Shell, folder: Path) -> None:
        titles = ["--titles", folder / "items.csv", "--title", "name"]
        _, err = shell("similar", folder / "model.halfstep", "movie 7", *titles, fails=1)
        assert "(did you mean 7, Movie 7, or " in err
        _, err = shell("similar", folder / "model.halfstep", 99, *titles, fails=1)
        assert err == "halfstep: unknown item id 99: the vocabulary holds 12 ids, such as 1\n"


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("recommend {}/model.halfstep u01 --users-from {}/users.csv", 2, "use one of the two"),
        ("similar {}/model.halfstep", 2, "name items, or set --output to a file for the lists of all items"),
        ("similar {}/model.halfstep --users", 2, "name users, or set --output"),
        ("recommend {}/model.halfstep u01 --user who", 2, "--user has no effect: there is no table of --users-from"),
        ("recommend {}/model.halfstep u01 --title name", 2, "--title has no effect: there is no table of --titles"),
        ("recommend {}/model.halfstep u01 --encoding latin-1", 2, "--encoding has no effect"),
        ("similar {}/model.halfstep 1 --title-id 0", 2, "--title-id has no effect"),
        ("similar {}/model.halfstep 1 --no-header", 2, "--header has no effect: there is no table of --titles"),
        ("similar {}/model.halfstep u01 --users --titles {}/items.csv", 2, "--titles has no effect: with --users"),
        ("similar {}/model.halfstep 1 --escape-formulas", 2, "--escape-formulas has no effect"),
        ("fit {}/users.csv --title name", 2, "--title has no effect"),
        ("recommend {}/model.halfstep --users-from {}/users.csv", 1, "no column 'user' for user"),
        (
            "recommend {}/model.halfstep --users-from {}/users.txt",
            1,
            "is 'u05', not 'user': set --user to this name, or --no-header if the first line is an id",
        ),
        ("recommend {}/model.halfstep --users-from {}/none.csv", 1, "there is no file"),
        ("recommend {}/model.halfstep u01 --titles {}/none.csv", 1, "there is no file"),
        ("recommend {}/model.halfstep u01 --titles {}/items.csv --title nam", 1, "(did you mean 'name'?)"),
        ("recommend {}/model.halfstep u01 --titles {}/items.csv --title nam", 1, "set --title to a name or position"),
        ("recommend {}/model.halfstep u01 --titles {}/items.csv --title-id x", 1, "set --title-id to a name"),
        (
            "recommend {}/model.halfstep u01 --titles {}/items.csv --title name --title-id year",
            1,
            "the table has no titles of the items: its ids are such as 1990, but those of items",
        ),
        (
            "recommend {}/model.halfstep -o {}/users.csv --users-from {}/users.csv",
            1,
            "--output {}/users.csv is also the table of users",
        ),
        ("similar {}/model.halfstep -o {}/items.csv --titles {}/items.csv", 1, "is also the table of titles"),
    ],
)
def test_errors_are_one_line(shell: Shell, folder: Path, line: str, code: int, message: str) -> None:
    out, err = shell(*line.format(*[folder] * 3).split(), fails=code)
    assert out == ""
    assert message.format(folder) in err.splitlines()[-1]
    assert "=..." not in err


@pytest.mark.parametrize("options", [[], ["--users"], ["-o", "lists.csv"]], ids=str)
def test_models_without_factors_have_no_similar_items(shell: Shell, folder: Path, options: list[str]) -> None:
    hs.Popularity().fit(hs.Interactions.from_arrays(["u"], ["tea"])).save(folder / "popular")
    _, err = shell("similar", folder / "popular", "tea", *options, fails=1)
    side = "users" if "--users" in options else "items"
    assert err == (
        f"halfstep: {folder}/popular is of class Popularity, which has no factors to compare {side}: use a model "
        "with factors, such as ALS\n"
    )


def test_models_with_item_weights_have_similar_items(shell: Shell, folder: Path) -> None:
    hs.ItemKNN().fit(hs.Interactions.from_arrays(["u", "u"], ["tea", "milk"])).save(folder / "neighbors")
    assert "milk" in shell("similar", folder / "neighbors", "tea")[0]
    assert "no factors to compare" in shell("similar", folder / "neighbors", "u", "--users", fails=1)[1]
