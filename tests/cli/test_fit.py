"""`halfstep fit`, `recommend`, `similar` and `evaluate`."""

from __future__ import annotations

import csv
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import halfstep as hs
from halfstep.cli import list_files
from shell import Shell, fitted

COLUMNS = ["--user", "who", "--item", "movie", "--value", "stars", "--time", "when"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ratings with string ids, and clicks with integer ids."""
    path = tmp_path_factory.mktemp("data")
    data = hs.datasets.movielens_100k()
    frame = pd.DataFrame(
        {
            "who": [f"user {u}" for u in data.user_ids],
            "movie": [f"movie {i}" for i in data.item_ids],
            "stars": data.values.astype(int),
            "when": data.timestamps,
        }
    )
    frame.to_csv(path / "ratings.csv", index=False)
    clicks = pd.DataFrame({"user": data.user_ids, "item": data.item_ids})
    pd.concat([clicks, clicks[:100]]).to_parquet(path / "clicks.parquet")
    return path


@pytest.fixture(scope="module")
def ratings_model(folder: Path) -> Path:
    return fitted(folder / "ratings.csv", *COLUMNS, to=folder / "ratings.halfstep")


@pytest.fixture(scope="module")
def clicks_model(folder: Path) -> Path:
    return fitted(folder / "clicks.parquet", to=folder / "clicks.halfstep")


@pytest.mark.slow
def test_fit_prints_its_choices(shell: Shell, folder: Path, tmp_path: Path) -> None:
    out, err = shell("fit", folder / "ratings.csv", *COLUMNS, "-o", tmp_path / "m")
    assert "100,000 interactions, 943 users, 1,682 items, values 1 to 5" in err
    assert "objective: explicit, because 5 values from 1 to 5 look like ratings" in err
    assert "model: ALS(random_state=0)\nrank 16, λ 1.238 · count^0.5\n" in err
    assert out.startswith("fitted in ")
    assert out.endswith(f"saved to {tmp_path / 'm'}\n")
    model = hs.load(tmp_path / "m")
    by_hand = hs.ALS(random_state=0).fit(model.interactions_)
    np.testing.assert_array_equal(model.item_factors_, by_hand.item_factors_)


@pytest.mark.slow
def test_fit_on_disk(shell: Shell, folder: Path, tmp_path: Path) -> None:
    table = [folder / "ratings.csv", *COLUMNS]
    shell("fit", *table, "-o", tmp_path / "one")
    for _ in range(2):
        _, err = shell("fit", *table, "-o", tmp_path / "other", "--on-disk", tmp_path / "disk")
        assert "memory: up to " in err
        assert f"interactions are read from {tmp_path / 'disk'}\n" in err
    one, other = hs.load(tmp_path / "one"), hs.load(tmp_path / "other")
    np.testing.assert_array_equal(one.user_factors_, other.user_factors_)
    lists = [shell("recommend", tmp_path / name, "user 1")[0] for name in ("one", "other")]
    assert lists[0] == lists[1]
    out, _ = shell("evaluate", *table, "--on-disk", tmp_path / "disk", "-n", "5", "--iterations", "1")
    assert "ndcg@5" in out
    _, err = shell("fit", *table, "--value", "when", "--on-disk", tmp_path / "disk", fails=1)
    assert "--value stars instead of 'when'; delete the folder" in err


@pytest.mark.slow
def test_repeated_clicks_are_counted(clicks_model: Path) -> None:
    model = hs.load(clicks_model)
    assert isinstance(model.objective, hs.Implicit)
    by_hand = hs.ALS(hs.Implicit(), random_state=0).fit(model.interactions_)
    np.testing.assert_array_equal(model.item_factors_, by_hand.item_factors_)
    assert sorted(set(model.interactions_.values)) == [1.0, 2.0]


def test_options_override_choices(shell: Shell, folder: Path, tmp_path: Path) -> None:
    options = ["--objective", "implicit", "--rank", 3, "--regularization", 2, "--regularization-exponent", 0]
    options += ["--iterations", 2, "--alpha", 40, "--missing-weight", 1, "--seed", 5, "--json"]
    out, _ = shell("fit", folder / "ratings.csv", *COLUMNS, *options, "-o", tmp_path / "m")
    parsed = json.loads(out)
    assert (parsed["users"], parsed["items"], parsed["interactions"], parsed["rank"]) == (943, 1682, 100_000, 3)
    assert [line["iteration"] for line in parsed["history"]] == [1, 2]
    model = hs.load(tmp_path / "m")
    assert model.objective == hs.Implicit(observed_weight=hs.weights.confidence(alpha=40), missing_weight=1)
    assert (model.regularization, model.random_state) == (hs.Regularization(2, exponent=0), 5)


def test_recommend_to_a_user(shell: Shell, ratings_model: Path) -> None:
    out, err = shell("recommend", ratings_model, "user 1", "-n", 3)
    assert "for user user 1" in out
    assert err == ""
    best = hs.load(ratings_model).recommend("user 1", 3)["user 1"]
    assert all(item in out and f"{score:.4f}" in out for item, score in best)
    parsed = json.loads(shell("recommend", ratings_model, "user 1", "user 7", "-n", 2, "--json")[0])
    assert [(row["user"], row["rank"]) for row in parsed] == [
        ("user 1", 1),
        ("user 1", 2),
        ("user 7", 1),
        ("user 7", 2),
    ]
    assert (parsed[0]["item"], parsed[0]["score"]) == best[0]


def test_integer_ids_are_parsed(shell: Shell, clicks_model: Path) -> None:
    parsed = json.loads(shell("recommend", clicks_model, "1", "--json")[0])
    assert parsed[0]["user"] == 1
    assert isinstance(parsed[0]["item"], int)
    assert "similar to item 50" in shell("similar", clicks_model, "50")[0]


def test_string_ids_that_look_like_integers_are_found(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "plays.csv").write_text("user,item\n7,1\n7,2\nx9,1\n007,2\n")
    shell("fit", tmp_path / "plays.csv", "-o", tmp_path / "m")
    for user in ("7", "x9", "007"):
        out, err = shell("recommend", tmp_path / "m", user, "--json", "--include-seen")
        assert "unknown" not in err
        assert {line["user"] for line in json.loads(out)} == {user}
    assert "user '9' is unknown to the model" in shell("recommend", tmp_path / "m", "9", "--json")[1]


def test_unknown_users_get_a_note(shell: Shell, clicks_model: Path) -> None:
    out, err = shell("recommend", clicks_model, "5000", "-n", 1, "--json")
    assert err == "user 5000 is unknown to the model: all unknown users get the same list\n"
    assert "user -5 is unknown" in shell("recommend", clicks_model, "--json", "--", "-5")[1]
    assert json.loads(out)[0]["item"] == 50  # Star Wars


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_recommend_to_all(
    shell: Shell, clicks_model: Path, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_files, "AT_ONCE", 100)  # several blocks
    path = tmp_path / f"all{suffix}"
    out, _ = shell("recommend", clicks_model, "-o", path, "-n", 5)
    assert out == f"4,715 rows for 943 users written to {path}\n"
    if suffix == ".parquet":
        rows = pl.read_parquet(path).rows()
    else:
        with path.open(newline="") as file:
            header, *rows = csv.reader(file, delimiter="\t" if suffix == ".tsv" else ",")
        assert header == ["user", "item", "rank", "score"]
        rows = [(int(u), int(i), int(r), float(s)) for u, i, r, s in rows]
    lists = hs.load(clicks_model).recommend(n=5)
    expected = list(list_files.rows_of(lists))
    assert [row[:3] for row in rows] == [row[:3] for row in expected]
    np.testing.assert_allclose([row[3] for row in rows], [row[3] for row in expected], rtol=1e-5)


def test_files_are_replaced_atomically(
    shell: Shell, clicks_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "all.csv"
    path.write_text("old")
    monkeypatch.setattr(list_files, "AT_ONCE", 300)
    calls = []

    def rows_of(lists: object) -> list[object]:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return []

    monkeypatch.setattr(list_files, "rows_of", rows_of)
    shell("recommend", clicks_model, "-o", path, fails=130)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_similar(shell: Shell, ratings_model: Path) -> None:
    parsed = json.loads(shell("similar", ratings_model, "movie 50", "movie 1", "-n", 2, "--json")[0])
    lists = hs.load(ratings_model).similar_items(["movie 50", "movie 1"], 2)
    assert [(row["item"], row["similar_item"], row["similarity"]) for row in parsed] == [
        (item, *entry) for item, entries in lists for entry in entries
    ]
    assert [row["rank"] for row in parsed] == [1, 2, 1, 2]
    assert "similar to user user 1" in shell("similar", ratings_model, "user 1", "--users")[0]


@pytest.mark.slow
def test_evaluate_holds_out_the_latest_interactions(shell: Shell, folder: Path) -> None:
    out, err = shell("evaluate", folder / "ratings.csv", *COLUMNS, "--iterations", 3)
    assert "held out: the latest 20,000 interactions" in err
    assert "ndcg@10" in out
    assert "rmse" in out
    assert "Popularity" in out
    options = ["--metrics", "rmse,recall", "-n", "5,20", "--iterations", 3, "--json"]
    parsed = json.loads(shell("evaluate", folder / "ratings.csv", *COLUMNS, *options)[0])
    figures = {(row["model"], row["metric"], row["n"]): row["value"] for row in parsed["rows"]}
    train, test = hs.split_by_time(
        hs.read_interactions(folder / "ratings.csv", user="who", item="movie", value="stars", timestamp="when"), 0.2
    )
    model = hs.ALS(iterations=3, random_state=0).fit(train)
    assert figures["ALS", "rmse", None] == pytest.approx(hs.metrics.rmse(test.values, model.predict(test)))
    assert figures["Popularity", "rmse", None] is None  # it predicts no values; JSON knows no NaN
    assert parsed["baselines"] == ["Popularity", "GlobalMean", "ItemBias", "UserItemBias"]
    assert set(figures) == {
        (m, *of) for m in ("ALS", *parsed["baselines"]) for of in (("rmse", None), ("recall", 5), ("recall", 20))
    }


def test_without_timestamps_the_split_is_random(shell: Shell, folder: Path) -> None:
    out, err = shell("evaluate", folder / "clicks.parquet", "--iterations", 2, "--rank", 4)
    assert "some training interactions are later" in err
    assert "hit_rate@10" in out
    _, err = shell("evaluate", folder / "ratings.csv", *COLUMNS, "--split", "last", "--iterations", 1)
    assert "held out: the last of each user, 943 interactions" in err


def test_evaluate_a_saved_model(shell: Shell, folder: Path, clicks_model: Path, tmp_path: Path) -> None:
    unseen = pd.DataFrame({"user": [1, 2], "item": [1000, 1001]})
    unseen.to_csv(tmp_path / "later.csv", index=False)
    parsed = json.loads(shell("evaluate", tmp_path / "later.csv", "--model", clicks_model, "--json")[0])
    assert parsed["n_scored"] == 2


@pytest.mark.slow
def test_nonnegative_factors(shell: Shell, folder: Path, tmp_path: Path) -> None:
    for name in ("ratings.csv", "clicks.parquet"):
        columns = COLUMNS if name == "ratings.csv" else []
        line = ["fit", folder / name, *columns, "--rank", 3, "--iterations", 2, "-o", tmp_path / "m"]
        _, err = shell(*line, "--nonnegative")
        assert "nonnegative=True" in err
        model = hs.load(tmp_path / "m")
        assert model.objective.nonnegative
        assert (model.user_factors_ >= 0).all()
        shell(*line)
        assert not hs.load(tmp_path / "m").objective.nonnegative


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "{}/none.csv"], "there is no file"),
        (["fit", "{}/ratings.csv"], "there is no column 'user' for user: the columns are 0 'who', 1 'movie'"),
        (["fit", "{}/ratings.csv", "--user", "who"], "set --item to a name or position"),
        (["fit", "{}/clicks.parquet", "--biases", "-o", "{}/x"], "--biases requires --objective explicit"),
        (["fit", "{}/clicks.parquet", "--rank", "0", "-o", "{}/x"], "--rank 0: give an integer"),
        (["fit", "{}/clicks.parquet", "-o", "{}/no/x"], "/x: there is no folder"),
        (["recommend", "{}/ratings.csv", "1"], "is neither a model file"),
        (["recommend", "{}/none", "1"], "none"),
        (["recommend", "{}/clicks.halfstep"], "name users, or set --output to a file for the lists of all users"),
        (
            ["recommend", "{}/clicks.halfstep", "-o", "{}/all.xls"],
            "the suffix '.xls' is not supported: use one of .csv, .tsv, .parquet",
        ),
        (["recommend", "{}/clicks.halfstep", "-o", "{}/no/all.csv"], "/no: create it, or name another file"),
        (["similar", "{}/clicks.halfstep", "99999"], "unknown item id 99999"),
        (["similar", "{}/clicks.halfstep", "--users", "007"], "user id '007' cannot be parsed"),
        (["recommend", "{}/clicks.halfstep", "1", "nobody"], "the known user ids are integers such as 1; write"),
        (["evaluate", "{}/clicks.parquet", "--metrics", "auc"], "auc"),
        (["evaluate", "{}/clicks.parquet", "-n", "ten"], "-n ten: give an integer"),
        (
            ["evaluate", "{}/clicks.parquet", "--split", "time"],
            "--split time requires timestamps: name",
        ),
        (["evaluate", "{}/clicks.parquet", "-n", "0"], "0"),
        (
            ["evaluate", "{}/clicks.parquet", "--model", "{}/clicks.halfstep", "--rank", "3"],
            "--rank has no effect: the model of --model",
        ),
        (
            ["evaluate", "{}/clicks.parquet", "--model", "{}/clicks.halfstep", "--split", "last"],
            "--split has no effect",
        ),
        (["fit", "{}/ratings.csv", "--user", "who", "--item", "movie", "--value", "who"], "not a number"),
        (["fit", "{}/clicks.parquet", "--duplicates", "error"], "set --duplicates last, sum or mean"),
    ],
)
def test_errors_are_one_line(
    shell: Shell, folder: Path, clicks_model: Path, arguments: list[str], message: str
) -> None:
    is_usage = any(word in message for word in ("has no effect", "requires --objective", "name users"))
    _, err = shell(*(each.format(folder) for each in arguments), fails=2 if is_usage else 1)
    last = err.splitlines()[-1]
    assert last.startswith("halfstep: ")
    assert message in last
    assert "Traceback" not in err
    assert not (folder / "x").exists()


def test_counts_of_clicks_are_not_ratings(shell: Shell, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clicks = pd.DataFrame({"user": rng.integers(0, 20, 4000), "item": rng.integers(0, 10, 4000)})
    clicks.to_csv(tmp_path / "clicks.csv", index=False)
    _, err = shell("fit", tmp_path / "clicks.csv", "-o", tmp_path / "m", "--iterations", 1)
    assert "objective: implicit, because there are no values" in err


def test_parquet_requires_no_optional_package(
    shell: Shell, clicks_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pyarrow", "pandas", "polars"):
        monkeypatch.setitem(sys.modules, name, None)
    shell("recommend", clicks_model, "-o", tmp_path / "all.parquet", "-n", 5)
    monkeypatch.undo()
    assert len(pl.read_parquet(tmp_path / "all.parquet")) == 4_715


@pytest.mark.parametrize("ids", [["a", 1, 2.5], [2**70, 5, 6]], ids=str)
def test_mixed_ids_are_written_to_parquet(shell: Shell, tmp_path: Path, ids: list[object]) -> None:
    hs.Popularity().fit(hs.Interactions.from_arrays(ids, ids[::-1])).save(tmp_path / "m")
    shell("recommend", tmp_path / "m", "-o", tmp_path / "all.parquet")
    assert set(pl.read_parquet(tmp_path / "all.parquet")["user"]) == {str(each) for each in ids}


def test_empty_lists_have_all_columns(shell: Shell, tmp_path: Path) -> None:
    hs.Popularity().fit(hs.Interactions.from_arrays([1], [7])).save(tmp_path / "m")
    shell("recommend", tmp_path / "m", "-o", tmp_path / "all.parquet")
    table = pl.read_parquet(tmp_path / "all.parquet")
    assert len(table) == 0
    assert [str(each) for each in table.dtypes] == ["Int64", "Int64", "Int32", "Float64"]


def test_json_is_ascii(shell: Shell, tmp_path: Path) -> None:
    hs.Popularity().fit(hs.Interactions.from_arrays(["ä", "ö"], ["µ", "ß"])).save(tmp_path / "m")
    out, _ = shell("recommend", tmp_path / "m", "ä", "--json")
    assert out.isascii()
    assert json.loads(out)[0]["item"] == "ß"


def test_columns_by_position(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "plays.txt").write_text("ann::tea::3\nbob::tea::1\nbob::rum::1\n")
    arguments = ["--separator", "::", "--no-header", "--user", 0, "--item", 1, "--value", 2, "-o", tmp_path / "m"]
    _, err = shell("fit", tmp_path / "plays.txt", *arguments)
    assert "objective: implicit, because values from 1 to 3 look like counts" in err
    assert hs.load(tmp_path / "m").users_.ids.tolist() == ["ann", "bob"]


class TestColumnsOfTheDefaultNames:
    """``value``, ``timestamp`` and ``weight`` are used and reported by default."""

    @pytest.fixture
    def table(self, tmp_path: Path) -> Path:
        rng = np.random.default_rng(0)
        lines = [f"u{u},i{i},{rng.integers(1, 6)},{rng.integers(1000)}" for u in range(9) for i in range(u, u + 6)]
        path = tmp_path / "table.csv"
        path.write_text("\n".join(["user,item,value,timestamp", *lines]) + "\n")
        return path

    @pytest.mark.parametrize("name", ["value", "timestamp", "weight"])
    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_each_is_used_and_reported(self, shell: Shell, tmp_path: Path, name: str, suffix: str) -> None:
        frame = pl.DataFrame({"user": [1, 1, 2, 2], "item": [5, 6, 5, 7], name: [3.0, 2.0, 4.0, 1.0]})
        path, option = tmp_path / f"table.{suffix}", {"timestamp": "--time"}.get(name, f"--{name}")
        frame.write_csv(path) if suffix == "csv" else frame.write_parquet(path)
        _, err = shell("fit", path, "--iterations", 1, "-o", tmp_path / "m")
        assert f"using the column '{name}'; {option} '' leaves it out" in err
        assert getattr(hs.load(tmp_path / "m").interactions_, f"{name}s").tolist() == [3.0, 2.0, 4.0, 1.0]

    def test_are_used_and_reported(self, shell: Shell, table: Path, tmp_path: Path) -> None:
        _, err = shell("fit", table, "-o", tmp_path / "m")
        assert "using the column 'value'; --value '' leaves it out" in err
        assert "using the column 'timestamp'; --time '' leaves it out" in err
        assert "objective: explicit" in err
        data = hs.load(tmp_path / "m").interactions_
        assert data.has_values
        assert data.timestamps is not None

    def test_are_ignored_on_request(self, shell: Shell, table: Path, tmp_path: Path) -> None:
        _, err = shell("fit", table, "--value", "", "--time", "", "-o", tmp_path / "m")
        assert "is used" not in err
        assert "objective: implicit, because there are no values" in err
        data = hs.load(tmp_path / "m").interactions_
        assert not data.has_values
        assert data.timestamps is None

    def test_are_not_reported_if_they_are_named(self, shell: Shell, table: Path, tmp_path: Path) -> None:
        _, err = shell("fit", table, "--value", "value", "--time", "timestamp", "-o", tmp_path / "m")
        assert "is used" not in err

    def test_that_cannot_be_read_can_be_ignored(self, shell: Shell, tmp_path: Path) -> None:
        path = tmp_path / "table.csv"
        path.write_text("user,item,timestamp\n1,2,yesterday\n")
        _, err = shell("fit", path, "-o", tmp_path / "m", fails=1)
        assert "--time '' ignores the column" in err


def test_predictions_are_not_compared_with_missing_values(shell: Shell, folder: Path) -> None:
    out, _ = shell("evaluate", folder / "clicks.parquet", "--objective", "explicit", "--rank", 2, "--iterations", 1)
    assert "rmse" not in out
    assert "ndcg" in out


@pytest.mark.parametrize("regularization", ["1e-7", "1e-8", "1e-9"])
def test_objective_with_tiny_regularization_is_not_negative(
    shell: Shell, tmp_path: Path, regularization: str
) -> None:
    """Fewer items than factors."""
    users, items = np.nonzero(np.random.default_rng(0).random((80, 12)) < 0.4)
    pd.DataFrame({"user": users, "item": items}).to_csv(tmp_path / "plays.csv", index=False)
    options = ["--rank", 64, "--missing-weight", 1, "--regularization", regularization, "--json"]
    out, _ = shell("fit", tmp_path / "plays.csv", *options, "-o", tmp_path / "m")
    assert all(0 <= line["objective"] < 10 for line in json.loads(out)["history"])
    model = hs.load(tmp_path / "m")
    np.testing.assert_allclose(model.predict(model.interactions_), 1.0, atol=0.01)


class TestFormatsOfFiles:
    """Options for the formats of files."""

    TEXT = "user;item;value;name\n1;é;3,5;One\n2;b;2,5;Two\n1;b;1,5;Two\n2;é;5;One\n3;b;2;Two\n"
    OPTIONS = ("--encoding", "latin-1", "--decimal", ",", "--titles", "name")

    def test_encoding_decimal_commas_and_titles(self, tmp_path: Path, shell: Shell) -> None:
        table, model = tmp_path / "table.csv", tmp_path / "m.halfstep"
        table.write_bytes(self.TEXT.encode("latin-1"))
        _, err = shell("fit", table, *self.OPTIONS, "-o", model)
        assert "Interactions(5 interactions, 3 users, 2 items, values 1.5 to 5)" in err
        assert hs.load(model).interactions_.item_titles == {"é": "One", "b": "Two"}

    def test_errors_name_options(self, tmp_path: Path, shell: Shell) -> None:
        table = tmp_path / "table.csv"
        table.write_text('user,item\n1,2\n"3,4\n')
        _, err = shell("fit", table, fails=1)
        assert "table.csv, line 3: a quoted field is not closed in this line" in err
        assert "--bad-lines skip" in err
        assert "--quote ''" in err
        assert "--newlines-in-values" in err
        shell("fit", table, "--quote", "", "-o", tmp_path / "m.halfstep")

    def test_skipped_lines_are_counted(self, tmp_path: Path, shell: Shell) -> None:
        table = tmp_path / "table.csv"
        table.write_text("user,item\n1,2\n3\n5,6\n7,2\n")
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            _, err = shell("fit", table, "--bad-lines", "skip", "-o", tmp_path / "m.halfstep")
        assert "table.csv: 1 line was skipped" in err
        assert "Interactions(3 interactions, 3 users" in err

    def test_escaped_tab_as_separator(self, tmp_path: Path, shell: Shell) -> None:
        table = tmp_path / "u.data"
        table.write_text("1\t2\n3\t2\n3\t4\n")
        columns = ("--no-header", "--user", 0, "--item", 1)
        _, err = shell("fit", table, *columns, "--separator", "\\t", "-o", tmp_path / "m.halfstep")
        assert "Interactions(3 interactions, 2 users, 2 items" in err

    @pytest.mark.parametrize("odd", ["x9", "007"])  # one such id makes all of them strings
    @pytest.mark.parametrize("side", ["user", "item"])
    @pytest.mark.parametrize("suffix", ["csv", "parquet"])
    def test_a_test_set_is_read_with_the_id_types_of_the_model(
        self, tmp_path: Path, shell: Shell, odd: str, side: str, suffix: str
    ) -> None:
        train, test, model = tmp_path / "train.csv", tmp_path / f"test.{suffix}", tmp_path / "m.halfstep"
        other = {"user": "item", "item": "user"}[side]
        pl.DataFrame({side: ["1", odd, "2", "1", "2"], other: [2, 2, 3, 3, 4]}).write_csv(train)
        frame = pl.DataFrame({side: [1, 2], other: [4, 2]})
        frame.write_csv(test) if suffix == "csv" else frame.write_parquet(test)
        shell("fit", train, "-o", model)
        out, _ = shell("evaluate", test, "--model", model, "--metrics", "recall", "--json")
        parsed = json.loads(out)
        assert (parsed["n_scored"], parsed["n_unknown"]) == (2, 0)
        assert parsed["rows"][0]["value"] == 1.0

    def test_an_id_of_another_type_is_named(self, tmp_path: Path, shell: Shell) -> None:
        train, test = tmp_path / "train.csv", tmp_path / "test.csv"
        train.write_text("user,item\n1,2\nx9,2\n2,3\n1,3\n2,4\n")
        test.write_text("user,item\n1,4\n2,2\n")
        integers = fitted(test, to=tmp_path / "integers.halfstep")
        _, err = shell("evaluate", train, "--model", integers, fails=1)
        assert "train.csv, line 3: the user id 'x9' is a string, but the model's user ids" in err


def test_one_column_for_users_and_items_is_an_error(shell: Shell, folder: Path) -> None:
    _, err = shell("fit", folder / "ratings.csv", "--user", "who", "--item", "who", fails=1)
    assert err.endswith("user and item are both the column 'who': give two different columns\n")


def test_errors_of_the_system_have_no_errno(shell: Shell, tmp_path: Path) -> None:
    _, err = shell("recommend", tmp_path / "none", 1, fails=1)
    assert err == f"halfstep: {tmp_path}/none: No such file or directory\n"


def test_regularization_counts_are_shown(shell: Shell, folder: Path, tmp_path: Path) -> None:
    options = ["--regularization-counts", "cells", "--iterations", 1, "--rank", 2, "-o", tmp_path / "m"]
    _, err = shell("fit", folder / "clicks.parquet", *options)
    assert (
        "model: ALS(Implicit(), rank=2, regularization=Regularization(counts='cells'), iterations=1, "
        "random_state=0)\n" in err
    )
