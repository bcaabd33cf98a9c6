"""`halfstep tune`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import halfstep as hs
from halfstep.cli.tune import parse_space
from halfstep.errors import ParameterError
from shell import Shell

COLUMNS = ["--value", "rating", "--time", "at"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 10,000 ratings of MovieLens 100K by time."""
    data = hs.datasets.movielens_100k()
    data = data.subset(np.argsort(data.timestamps, kind="stable")[:10_000])
    path = tmp_path_factory.mktemp("tune") / "ratings.csv"
    rows = zip(data.user_ids, data.item_ids, data.values, data.timestamps, strict=True)
    path.write_text("user,item,rating,at\n" + "".join(f"{u},{i},{v:g},{t}\n" for u, i, v, t in rows))
    return path


@pytest.mark.slow
def test_default_space_is_searched_and_the_best_model_saved(shell: Shell, table: Path, tmp_path: Path) -> None:
    out, err = shell("tune", table, *COLUMNS, "--trials", 4, "--search", "random", "-o", tmp_path / "m")
    assert "objective: explicit, because 5 values" in err
    assert "searched: regularization.users in LogUniform(low=0.03" in err
    assert "Tuning of ALS by rmse, random: 4 trials" in out
    assert out.endswith(f"saved to {tmp_path / 'm'}\n")
    data = hs.read_interactions(table, value="rating", timestamp="at")
    by_hand = hs.tune(hs.ALS(random_state=0), data, search="random", n_trials=4)
    np.testing.assert_array_equal(hs.load(tmp_path / "m").item_factors_, by_hand.model.item_factors_)


def test_a_search_is_resumed_from_a_journal(shell: Shell, table: Path, tmp_path: Path) -> None:
    options = ["--space", "regularization=log:0.3:30", "--search", "tpe", "--journal", tmp_path / "j", "--json"]
    options += ["--rank", 2, "--iterations", 3, "-o", tmp_path / "m"]
    first = json.loads(shell("tune", table, *COLUMNS, *options, "--trials", 2)[0])
    more = json.loads(shell("tune", table, *COLUMNS, *options, "--trials", 4)[0])
    assert first["trials"] == more["trials"][:2]
    assert len(more["trials"]) == 4
    assert more["best"] == min(more["trials"], key=lambda trial: np.mean(trial["values"] or [9.0]))
    _, err = shell("tune", table, *COLUMNS, *options, "--seed", 1, fails=1)
    assert "is the journal of another search, with estimator=" in err


@pytest.mark.parametrize("cutoff", ["0", "9" * 30, "x"])
def test_an_invalid_cutoff_is_named_as_part_of_the_metric(shell: Shell, table: Path, cutoff: str) -> None:
    _, err = shell("tune", table, *COLUMNS, "--metric", f"ndcg@{cutoff}", fails=1)
    assert err.splitlines()[-1].startswith(f"halfstep: metric 'ndcg@{cutoff}': give a cutoff")


def test_a_grid_is_searched_and_plotted(shell: Shell, table: Path, tmp_path: Path) -> None:
    options = ["--space", "rank=2,4", "--space", "regularization=3,30", "--folds", 2, "--metric", "mae"]
    out, _ = shell("tune", table, *COLUMNS, *options, "--plot", tmp_path / "p.png", "-o", tmp_path / "m")
    assert "Tuning of ALS by mae, grid: 4 trials" in out
    assert "2 folds in time order" in out
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("space", "name"),
    [
        ([], "regularization"),
        (["--space", "rank=int:2:4"], "rank"),
        (["--space", "regularization=log:0.1:1", "--space", "rank=2,4"], "regularization"),
        (["--space", "rank=2,4", "--space", "tol=uniform:0:0.1"], "tol"),
    ],
)
def test_a_grid_requires_lists_of_values(
    shell: Shell, table: Path, tmp_path: Path, space: list[str], name: str
) -> None:
    _, err = shell("tune", table, *COLUMNS, "--search", "grid", *space, "-o", tmp_path / "m", fails=1)
    last = err.splitlines()[-1]
    assert last.startswith(f"halfstep: --search grid requires a list of values for each parameter, and {name}")
    assert last.endswith("list its values in --space, or use --search random")


def test_fixed_parameters_are_not_searched(shell: Shell, table: Path, tmp_path: Path) -> None:
    fixed = ["--rank", 2, "--regularization", 3, "--regularization-exponent", 0.5]
    _, err = shell("tune", table, *COLUMNS, *fixed, "--trials", 2, "--iterations", 2, "-o", tmp_path / "m")
    assert [line for line in err.splitlines() if line.startswith("searched")] == [
        "searched: regularization.bias_ratio in LogUniform(low=0.275, high=2.75)"
    ]
    model = hs.load(tmp_path / "m")
    assert (model.rank, model.regularization.users, model.regularization.exponent) == (2, 3, 0.5)
    _, err = shell("tune", table, *COLUMNS, *fixed, "--no-biases", fails=1)
    assert "all parameters are fixed by options" in err


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("rank=8,16", ("rank", [8, 16])),
        ("regularization=log:0.1:10", ("regularization", hs.LogUniform(0.1, 10))),
        ("tol=uniform:0:1e-3", ("tol", hs.Uniform(0, 1e-3))),
        ("rank=int:4:9", ("rank", hs.Integers(4, 9))),
        ("rank=logint:4:64", ("rank", hs.Integers(4, 64, log=True))),
        ("objective.biases=true,False", ("objective.biases", [True, False])),
        ("solver=cg", ("solver", ["cg"])),
    ],
)
def test_spaces_are_parsed(text: str, read: object) -> None:
    assert parse_space(text) == read


@pytest.mark.parametrize("text", ["rank", "=1", "rank=lg:1:2", "rank=log:1", "rank=log:a:b"])
def test_invalid_spaces_are_errors(text: str) -> None:
    with pytest.raises(ParameterError, match=f"--space {text}: give name="):
        parse_space(text)


def test_unknown_parameters_are_named(shell: Shell, table: Path, tmp_path: Path) -> None:
    _, err = shell("tune", table, *COLUMNS, "--space", "rnak=2", "-o", tmp_path / "m", fails=1)
    assert "ALS has no parameter 'rnak' (did you mean 'rank'?)" in err
    assert not (tmp_path / "m").exists()


def test_models_are_scored_on_a_test_set(shell: Shell, table: Path, tmp_path: Path) -> None:
    options = ["--space", "regularization=1,30", "--rank", 2, "--folds", 1, "--test-fraction", 0.3, "--seed", 1]
    out, err = shell("tune", table, *COLUMNS, *options, "-o", tmp_path / "m")
    assert "held out: the latest " in err
    train, test = hs.split_by_time(data := hs.load(tmp_path / "m").interactions_, 0.3)
    found = hs.tune(hs.ALS(rank=2, random_state=1), train, {"regularization": [1, 30]}, split=1, random_state=1)
    assert str(found.score(test)) in out
    np.testing.assert_array_equal(hs.load(tmp_path / "m").item_factors_, found.best_estimator.fit(data).item_factors_)
    out, _ = shell("tune", table, *COLUMNS, *options, "--json", "-o", tmp_path / "m")
    assert json.loads(out)["test"] == found.score(test).to_dict()


def test_errors_about_spaces_keep_names_of_parameters(shell: Shell, table: Path, tmp_path: Path) -> None:
    _, err = shell("tune", table, *COLUMNS, "--space", "foo=1", "-o", tmp_path / "m", fails=1)
    assert "ALS has no parameter 'foo'; it has objective, rank, regularization, implicit_features," in err
    _, err = shell("tune", table, *COLUMNS, "--space", "regularization=log:8", "-o", tmp_path / "m", fails=1)
    assert "halfstep: --space regularization=log:8: " in err
