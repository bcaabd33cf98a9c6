"""The examples of the README and of the docs run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import halfstep as hs
from halfstep.evaluation.metric_names import PER_LIST
from halfstep.serve.config import ServeConfig
from halfstep.serve.connection import LARGEST_HEAD, REQUEST_SECONDS
from halfstep.serve.ids import LONGEST
from halfstep.serve.learner import SCALE
from halfstep.serve.messages import LARGEST, LATEST
from halfstep.serve.service import WAIT_SECONDS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to a copy of the folder of examples."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path / "examples")


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    example = EXAMPLES[0]
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    exec(compile(example, "README.md", "exec"), {})
    shown = capsys.readouterr().out
    found = re.search(r"RMSE on the last fifth of the ratings: (\d\.\d{3})", shown)
    assert found is not None
    assert float(found[1]) < 1.0
    assert "Iteration(iteration=20" in shown


@pytest.mark.usefixtures("examples")
def test_the_second_example_runs() -> None:
    names: dict[str, object] = {}
    exec(compile(EXAMPLES[1], "README.md", "exec"), names)
    model = names["model"]
    assert isinstance(model, hs.ALS)
    assert "listener-152" in model.users_
    assert "Iron Orchard" not in model.recommend("listener-152").item_ids[0]


def test_the_bayesian_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(EXAMPLES[2], "README.md", "exec"), {})
    found = re.fullmatch(r"RMSE (\d\.\d{3}), coverage of 90% intervals (\d\.\d+)\n", capsys.readouterr().out)
    assert found is not None
    assert float(found[1]) < 0.94
    assert 0.86 < float(found[2]) < 0.94


def test_the_example_of_tuning_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "tuning.md").read_text("utf-8"), flags=re.DOTALL)
    exec(compile(example, "tuning.md", "exec"), {})
    found = re.search(r"tuned +(\d\.\d{4})", capsys.readouterr().out)
    assert found is not None
    assert float(found[1]) < 0.955


def test_the_examples_of_the_bayesian_page_run() -> None:
    names: dict[str, object] = {}
    for example in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "bayesian.md").read_text("utf-8"), re.DOTALL):
        exec(compile(example, "bayesian.md", "exec"), names)
    model, train = names["with_genres"], names["train"]
    assert isinstance(model, hs.BayesianALS)
    assert isinstance(train, hs.Interactions)
    assert 2000 in model.items_
    assert 2000 not in train.items


def test_the_examples_of_evaluation_run(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    page = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
    for example in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(example, "evaluation.md", "exec"), names)
    weak, strong = capsys.readouterr().out.split("Evaluation on ")[1:]
    for name in ("Popularity", "GlobalMean", "ItemBias", "UserItemBias"):
        assert name in weak
    assert "attainable_recall@50" in strong


def test_all_metrics_and_splits_are_documented() -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE)) == set(PER_LIST)
    for call in re.findall(r"`((?:split_|k_)\w+)\(", page):
        assert callable(getattr(hs, call))
    assert {name for name in hs.__all__ if name.startswith("split_")} <= set(re.findall(r"\w+", page))


def test_the_limits_of_the_service_are_documented() -> None:
    page = (ROOT / "docs" / "serve.md").read_text("utf-8")
    config = ServeConfig.beside(Path("model.halfstep"))
    limits = {
        "bytes of the URL and the headers": LARGEST_HEAD,
        "seconds within which a request must arrive": REQUEST_SECONDS,
        "bytes of a body": config.max_body,
        "events or users of a request": config.max_batch,
        "length of a list (`n`)": config.max_n,
        "candidates, or items of a history": config.max_candidates,
        "characters of an id, a type or an `event_id`": LONGEST,
        "absolute value of an event": LARGEST,
        "concurrent requests, in each process": config.max_requests,
        "events waiting to be written, in each process": config.max_waiting,
        "seconds that `after` waits": WAIT_SECONDS,
    }
    rows = re.findall(r"^\| ([^|]+) \| ([\d,]+) \| \d{3} \|$", page, flags=re.MULTILINE)
    assert dict(rows) == {name: f"{limit:,.0f}" for name, limit in limits.items()}
    assert f"at most {SCALE:,} times" in page
    assert f"from 1970 to {1970 + int(LATEST / 31_556_952)}" in page
    assert f"at most {config.max_lag:,} events" in page
    assert f"Every {config.checkpoint_every:,} events" in page


def test_settings_in_the_table_are_valid() -> None:
    cells = re.findall(r"^\|[^|]+\| `(hs\.[^`]+)`", README, flags=re.MULTILINE)
    assert len(cells) == 10
    for cell in cells:
        eval(cell, {"hs": hs, "w0": 0.1, "rows": 1.0, "columns": 1.0, "a": 0.3})


def test_documented_presets_exist() -> None:
    paragraph = README.split("**Coming from another library.**")[1].split("**scikit-learn")[0]
    for call in re.findall(r"`(hs\.presets\.[^`]+\))`", paragraph):
        assert isinstance(eval(call, {"hs": hs}), hs.ALS)
    for name in ("ials", "irspack", "eals", "wals", "cmfrec", "lenskit"):
        assert f"`{name}`" in paragraph
        assert callable(getattr(hs.presets, name))


def test_the_example_data_is_reproducible(tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "make_plays.py", tmp_path)
    exec(
        compile((tmp_path / "make_plays.py").read_text(encoding="utf-8"), "make_plays.py", "exec"),
        {"__name__": "__main__", "__file__": str(tmp_path / "make_plays.py")},
    )
    for name in ("plays.csv", "artists.csv"):
        assert (tmp_path / name).read_bytes() == (ROOT / "examples" / name).read_bytes()
