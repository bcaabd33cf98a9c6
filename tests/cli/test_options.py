"""Invalid options are errors before any work is done, and errors name options."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

import halfstep as hs
from halfstep.cli.app import app
from halfstep.cli.combinations import RULES
from halfstep.cli.wording import in_terms_of_options
from shell import Shell


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plays = tmp_path_factory.mktemp("plays") / "plays.csv"
    rows = "".join(f"u{k % 30},i{k * 7 % 40},{k % 3 + 1}\n" for k in range(120))
    plays.write_text("user,item,plays\n" + rows)
    data = hs.read_interactions(plays, value="plays", duplicates="sum")
    hs.ALS(hs.Implicit(), rank=2, iterations=1, random_state=0).fit(data).save(plays.with_name("model.csv"))
    return plays.with_name("model.csv")


@pytest.fixture
def folder(model: Path, tmp_path: Path) -> Path:
    """Plays, a model, and links to both."""
    shutil.copytree(model.parent, tmp_path, dirs_exist_ok=True)
    (tmp_path / "link.csv").symlink_to("plays.csv")
    os.link(tmp_path / "plays.csv", tmp_path / "hard.csv")
    os.link(tmp_path / "plays.csv", tmp_path / "hard.svg")
    (tmp_path / "link.png").symlink_to("plays.csv")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "1.csv").write_text("user,item\na,b\n")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling.svg").symlink_to("new.svg")
    return tmp_path


@pytest.fixture
def no_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a file is read."""

    def read(*_: Any, **__: Any) -> None:
        raise AssertionError("a file was read")

    monkeypatch.setattr(hs, "read_interactions", read)
    monkeypatch.setattr(hs, "load", read)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fit {}/plays.csv -o {}/plays.csv", "--output {}/plays.csv is also the input file"),
        ("fit {}/plays.csv -o {}/link.csv", "is also the input file"),
        ("fit {}/link.csv -o {}/plays.csv", "is also the input file"),
        ("fit {}/plays.csv -o {}/hard.csv", "is also the input file"),
        ("fit {}/loop/plays.csv -o {}/plays.csv", "is also the input file"),
        ("fit {}/parts -o {}/parts/1.csv", "is also the input file"),
        ("fit {}/parts/*.csv -o {}/parts/1.csv", "is also the input file"),
        ("fit {}/parts -o {}/parts/new.halfstep", "is also the input file, or a part of it"),
        ("fit {}/plays.csv -o {}/hard.csv --titles {}/parts/1.csv", "is also the input file"),
        ("fit {}/plays.csv -o {}/parts/1.csv --titles {}/parts/1.csv", "is also the table of titles"),
        ("tune {}/plays.csv -o {}/parts/../plays.csv", "is also the input file"),
        ("tune {}/plays.csv -o {}/m --journal {}/plays.csv", "--journal {}/plays.csv is also the input file"),
        ("tune {}/plays.csv -o {}/m --journal {}/m", "--journal {}/m is also the file of --output"),
        ("tune {}/plays.csv -o {}/new.svg --plot {}/dangling.svg", "is also the file of --output"),
        ("tune {}/plays.csv -o {}/m --plot {}/hard.svg", "--plot {}/hard.svg is also the input file"),
        ("tune {}/plays.csv -o {}/m --plot {}/link.png", "--plot {}/link.png is also the input file"),
        ("tune {}/hard.svg -o {}/m --plot {}/hard.svg", "--plot {}/hard.svg is also the input file"),
        ("recommend {}/model.csv -o {}/model.csv", "--output {}/model.csv is also the model file"),
        ("fit {}/plays.csv -o /", "--output / is a folder: name a file"),
        ("fit {}/plays.csv -o {}", "is a folder: name a file"),
        ("fit {}/plays.csv -o {}/no/model", "there is no folder {}/no: create it, or name another file"),
        ("fit {}/plays.csv -o {}/plays.csv/model", "there is no folder {}/plays.csv"),
        ("tune {}/plays.csv -o {}/m --plot {}/no/p.png", "--plot {}/no/p.png: there is no folder"),
        ("tune {}/plays.csv -o {}/m --journal {}/parts", "--journal {}/parts is a folder"),
        (
            "tune {}/plays.csv -o {}/m --plot {}/p.jpeg2",
            "the suffix '.jpeg2' is not supported: use one of .png, .svg, .pdf",
        ),
        ("tune {}/plays.csv -o {}/m --plot {}/p", "the suffix '' is not supported: use one of .png, .svg, .pdf"),
        (
            "recommend {}/model.csv -o {}/all.xlsx",
            "the suffix '.xlsx' is not supported: use one of .csv, .tsv, .parquet",
        ),
        ("recommend {}/model.csv -o {}/no/all.csv", "there is no folder"),
        ("evaluate {}/plays.csv --history {}/link.csv", "--history {}/link.csv is also the input file"),
        ("evaluate {}/plays.csv --model {}/model.csv --history {}/model.csv", "model.csv is also the model file"),
        ("evaluate {}/plays.csv --history {}/no/h.jsonl", "--history {}/no/h.jsonl: there is no folder"),
        ("evaluate {}/plays.csv --history {}/parts", "--history {}/parts is a folder"),
        ("evaluate {}/plays.csv --history {}/model.csv", "model.csv is not a history of evaluations, whose lines"),
        ("evaluate {}/plays.csv --history /dev/null", "/dev/null cannot be written (it is a device, not a regular"),
    ],
)
def test_outputs_are_checked_before_any_file_is_read(shell: Shell, folder: Path, line: str, message: str) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    _, err = shell(*line.format(*[folder] * 5).split(), fails=1)
    assert err.startswith("halfstep: ")
    assert err.count("\n") == 1
    assert message.format(folder) in err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("evaluate {}/plays.csv --metrics map", "unknown metric 'map' (did you mean 'average_precision'?)"),
        ("evaluate {}/plays.csv -n ten", "-n ten: give an integer"),
        ("evaluate {}/plays.csv --metrics ndcg@0", "metric 'ndcg@0': give a cutoff, such as ndcg@10"),
        ("evaluate {}/plays.csv --metrics ndcg@" + "9" * 20, "': give a cutoff of at most 9223372036854775807, such"),
        ("evaluate {}/plays.csv -n " + "9" * 20, "--number " + "9" * 20 + ": give an integer of at most"),
        ("evaluate {}/plays.csv --fail-under ndgc@10=0.2", "unknown metric 'ndgc@10' (did you mean 'ndcg@10'?)"),
        ("evaluate {}/plays.csv --fail-under ndcg@10", "--fail-under ndcg@10: give a metric and a number, such as"),
        ("evaluate {}/plays.csv --fail-under =0.2", "--fail-under =0.2: give a metric and a number"),
        ("evaluate {}/plays.csv --fail-under ndcg=nan", "--fail-under ndcg=nan: give a metric and a number"),
        ("evaluate {}/plays.csv --fail-above mae=x", "--fail-above mae=x: give a metric and a number"),
        ("evaluate {}/plays.csv --fail-under ndcg@x=1", "metric 'ndcg@x': give a cutoff, such as ndcg@10"),
        ("evaluate {}/plays.csv -n 5,9 --fail-under ndcg=1", "--fail-under ndcg=1: give one of ndcg@5, ndcg@9"),
        ("evaluate {}/plays.csv --fail-under rmse=1", "the lower rmse is, the better the model: use --fail-above"),
        ("evaluate {}/plays.csv --fail-above ndcg=1", "the higher ndcg is, the better the model: use --fail-under"),
        ("tune {}/plays.csv --space rank", "--space rank: give name=value"),
        ("tune {}/plays.csv --space rank=", "--space rank=: give name=value"),
        ("tune {}/plays.csv --space rank=2,,3", "--space rank=2,,3: give name=value"),
        ("tune {}/plays.csv --space rank=log:0:3", "--space rank=log:0:3: low=0: give a number above 0"),
        ("tune {}/plays.csv --space rank=2 --space rank=3", "--space names rank more than once"),
    ],
)
def test_options_are_checked_before_any_file_is_read(shell: Shell, folder: Path, line: str, message: str) -> None:
    _, err = shell(*line.format(folder).split(), fails=1)
    assert message in err


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("option", ["--output", "--plot", "--journal"])
def test_an_output_in_a_folder_without_permission_is_an_error(
    shell: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != folder / "parts")  # root may write anywhere
    _, err = shell("tune", folder / "plays.csv", option, folder / "parts" / "x.png", fails=1)
    assert f"{option} {folder}/parts/x.png: the folder {folder}/parts cannot be written" in err


@pytest.mark.usefixtures("no_work")
def test_a_journal_without_permission_is_an_error(
    shell: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.R_OK or Path(path) != folder / "j")
    (folder / "j").write_text("")
    _, err = shell("tune", folder / "plays.csv", "--journal", folder / "j", fails=1)
    assert "cannot be written, because of its permissions" in err


@pytest.mark.usefixtures("no_work")
def test_a_read_only_output_is_an_error(shell: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`write_atomically` does not replace it either."""
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.R_OK or Path(path) != folder / "model")
    (folder / "model").write_text("")
    _, err = shell("fit", folder / "plays.csv", "--output", folder / "model", fails=1)
    assert f"--output {folder}/model cannot be written, because of its permissions" in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "begins"), [("p.svg", b"<?xml"), ("p.SVG", b"<?xml"), ("p.PNG", b"\x89PNG"), ("p.pdf", b"%PDF")]
)
def test_a_plot_has_the_format_of_its_suffix(shell: Shell, folder: Path, name: str, begins: bytes) -> None:
    options = ["--space", "rank=1,2", "--iterations", 1, "--folds", 1, "-o", folder / "m", "--plot", folder / name]
    shell("tune", folder / "plays.csv", *options)
    content = (folder / name).read_bytes()
    assert content.startswith(begins)
    shell("tune", folder / "plays.csv", *options)
    assert (folder / name).read_bytes() == content  # reproducible


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "evaluate {}/plays.csv --model {}/model.csv --test-fraction 0.5",
            "--test-fraction has no effect: the model",
        ),
        ("evaluate {}/plays.csv --model {}/model.csv --test-fraction 0.2", "--test-fraction has no effect"),
        ("evaluate {}/plays.csv --model {}/model.csv --no-biases", "--biases has no effect"),
        ("evaluate {}/plays.csv --model {}/model.csv --weight plays", "--weight has no effect"),
        ("evaluate {}/plays.csv --split last --time plays --test-fraction 0.1", "--split last holds out one"),
        ("evaluate {}/plays.csv --metrics rmse,mae -n 5", "--number has no effect"),
        ("evaluate {}/plays.csv --metrics ndcg@5,recall@20 -n 5", "--number has no effect"),
        ("recommend {}/model.csv u1 --escape-formulas", "--escape-formulas has no effect"),
        ("recommend {}/model.csv -o {}/all.parquet --escape-formulas", "--escape-formulas has no effect"),
        ("tune {}/plays.csv --rank 3 --space rank=2,4", "--rank has no effect: --space searches rank"),
        ("tune {}/plays.csv --missing-weight 1 --space objective.missing_weight=0,1", "--missing-weight has no"),
        ("doctor --clear --json", "--json has no effect"),
        ("fit {}/plays.csv --biases", "--biases requires --objective explicit"),
        ("tune {}/plays.csv --value plays --objective explicit --alpha 1", "--alpha requires --objective implicit"),
    ],
)
def test_options_without_effect_are_errors(shell: Shell, folder: Path, line: str, message: str) -> None:
    _, err = shell(*line.format(*[folder] * 3).split(), fails=2)
    assert message in err.splitlines()[-1]


def test_options_with_an_effect_are_allowed(shell: Shell, folder: Path) -> None:
    shell("evaluate", folder / "plays.csv", "--model", folder / "model.csv", "--include-seen", fails=2)
    (folder / "test.csv").write_text("user,item\nu1,i1\nu2,i2\n")
    shell("evaluate", folder / "test.csv", "--model", folder / "model.csv", "--seed", 3, "-n", 5)
    shell("recommend", folder / "model.csv", "-o", folder / "all.csv", "--escape-formulas")


@pytest.mark.parametrize("command", ["fit", "evaluate", "tune"])
def test_an_empty_name_is_an_error(shell: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(folder / "parts")
    _, err = shell(command, "", fails=2)
    assert "it is empty: name a file" in err


@pytest.mark.parametrize("command", ["fit", "evaluate"])
@pytest.mark.parametrize("header", ["movie,movie,movie", "user,item,item"])
def test_repeated_column_names_by_position(shell: Shell, tmp_path: Path, command: str, header: str) -> None:
    rows = "".join(f"u{k % 9},{k % 3},i{k % 7}\n" for k in range(60))
    (tmp_path / "plays.csv").write_text(f"{header}\n{rows}")
    _, err = shell(command, tmp_path / "plays.csv", "--user", 0, "--item", 2, "--iterations", 1)
    assert "9 users, 7 items" in err


@pytest.mark.parametrize("position", ["2", "movie"])
def test_columns_can_be_positions_with_a_header(shell: Shell, tmp_path: Path, position: str) -> None:
    (tmp_path / "plays.csv").write_text("user,1,movie\nu1,a,x\nu2,b,y\n")
    options = ["-o", tmp_path / "m", "--iterations", 1]
    shell("fit", tmp_path / "plays.csv", "--item", position, *options)
    assert hs.load(tmp_path / "m").items_.ids.tolist() == ["x", "y"]
    shell("fit", tmp_path / "plays.csv", "--item", "1", *options)  # a name
    assert hs.load(tmp_path / "m").items_.ids.tolist() == ["a", "b"]
    _, err = shell("fit", tmp_path / "plays.csv", "--item", "3", *options, fails=1)
    assert "there is no column 3 for item" in err


WITHOUT_DEFAULT = {
    ("doctor", "export"),
    ("doctor", "imported"),
    ("evaluate", "model"),
    ("refit", "output"),
    ("vectors", "output"),
    ("evaluate", "history"),
    ("evaluate", "fail_under"),
    ("evaluate", "fail_above"),
}


def test_help_shows_every_default() -> None:
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        for param in command.params:
            is_set = param.default is not None and param.show_default
            is_flag = getattr(param, "is_flag", False) and not param.secondary_opts  # off
            if param.param_type_name == "option" and not is_set and not is_flag:
                assert "Default: " in param.help or (name, param.name) in WITHOUT_DEFAULT, (name, param.name)


def test_rules_name_existing_options() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for name, rules in RULES.items():
        parameters = {param.name for param in commands[name].params}
        assert {option for rule in rules for option in rule.options} <= parameters


def context_of(command: str) -> typer.Context:
    return typer.Context(get_command(app).commands[command])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("command", "text", "reworded"),
    [
        ("fit", "rank=0: give an integer", "--rank 0: give an integer"),
        ("fit", "set user=... to a name", "set --user to a name"),
        ("fit", "set timestamp=... or separator=';'.", "set --time or --separator ';'."),
        ("fit", "set duplicates='last', 'sum' or 'mean'", "set --duplicates last, sum or mean"),
        ("fit", "set header=False, not header=True", "set --no-header, not --header"),
        ("fit", "timestamp=None ignores the column", "--time '' ignores the column"),
        ("fit", "set quote=None or bad_lines='skip'", "set --quote '' or --bad-lines skip"),
        ("update", "set duplicates='last' or 'sum'", "set --duplicates last or sum"),
        ("fit", "set newlines_in_values=True", "set --newlines-in-values"),
        ("fit", "set item_titles=... to a name", "set --titles to a name"),
        ("evaluate", "give others, or set exclude_seen=False", "give others"),
        ("tune", "all 2 trials failed; the first: rank=0", "all 2 trials failed; the first: rank=0"),
        (
            "fit",
            "quote='ab': give a character, or None for no quotes",
            "--quote ab: give a character, or '' for no quotes",
        ),
        ("fit", "biases=False; random_state=-1", "--no-biases; --seed -1"),
        ("fit", "solver='cg' is not for rank=2", "solver='cg' is not for --rank 2"),
        ("fit", "Explicit(missing_weight=0.0, biases=True)", "Explicit(missing_weight=0.0, biases=True)"),
        ("fit", "unknown id 'rank=3'", "unknown id 'rank=3'"),
        ("fit", "the user's rank=3 isn't", "the user's --rank 3 isn't"),
        ("tune", "split=0: give", "--folds 0: give"),
        ("tune", "name them by space=..., or set n_trials=5", "name them by --space, or set --trials 5"),
        ("evaluate", "n=0: give", "--number 0: give"),
        ("similar", "rank=0: give", "rank=0: give"),
    ],
)
def test_errors_name_options_instead_of_keywords(command: str, text: str, reworded: str) -> None:
    assert in_terms_of_options(text, context_of(command)) == reworded


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fit {}/plays.csv --user who", "set --user to"),
        ("fit {}/plays.csv --no-header", "set --user to a position"),
        ("fit {}/plays.csv --rank 0 -o {}/m", "--rank 0: give an integer"),
        ("fit {}/plays.csv --iterations -1 -o {}/m", "--iterations -1: give an integer"),
        ("fit {}/plays.csv --regularization nan -o {}/m", "--regularization nan: give a finite number"),
        ("tune {}/plays.csv --folds 1 --metric rmse@5", "metric 'rmse@5'"),
        ("evaluate {}/plays.csv --test-fraction 2", "--test-fraction 2.0: give a number"),
    ],
)
def test_errors_of_the_library_name_options(shell: Shell, folder: Path, line: str, message: str) -> None:
    _, err = shell(*line.format(*[folder] * 3).split(), fails=1)
    last = err.splitlines()[-1]
    assert message in last
    assert "=" not in last


@pytest.mark.parametrize("command", ["fit", "evaluate", "tune"])
def test_a_missing_gpu_is_reported_before_data_are_read(
    command: str, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_device() -> None:
        raise hs.errors.DeviceError("there is no GPU")

    monkeypatch.setattr("halfstep.solver.backends.default_device", no_device)
    _, err = shell(command, tmp_path / "missing.csv", "--backend", "cuda", fails=1)
    assert err == "halfstep: there is no GPU\n"
