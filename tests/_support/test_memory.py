"""Errors of requests that exceed the memory or int64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import halfstep as hs
from halfstep._support import memory
from halfstep.errors import ParameterError, TuningError
from shell import Shell

HUGE = 10**20


@pytest.fixture
def data() -> hs.Interactions:
    return hs.Interactions.from_arrays(list("aabbcc"), list("xyxzyz"), [1.0, 2, 3, 4, 5, 3])


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the memory of the machine to 1 MB, so that tests do not allocate much."""
    monkeypatch.setattr(memory, "machine_memory", lambda: 1_000_000)


ESTIMATORS: dict[str, Callable[..., Any]] = {
    "ALS": lambda **options: hs.ALS(hs.Explicit(biases=False), **options),
    "ALS, implicit": lambda **options: hs.ALS(hs.Implicit(), **options),
    "BayesianALS": lambda **options: hs.BayesianALS(burn_in=1, **options),
    "SGD": hs.SGD,
}


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("rank", [10**9, 10**18])
def test_error_for_rank_that_exceeds_memory(data: hs.Interactions, name: str, rank: int) -> None:
    message = (
        rf"^rank={rank} for 3 users and 3 items requires at least [0-9,.]+ GB of memory, but only [0-9,.]+ GB are "
        "available: lower the rank"
    )
    with pytest.raises(ParameterError, match=message):
        ESTIMATORS[name](rank=rank, iterations=3).fit(data)


@pytest.mark.usefixtures("small_machine")
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_limit_is_that_of_the_machine(data: hs.Interactions, name: str) -> None:
    with pytest.raises(ParameterError, match=r"but only 0\.0 GB are available: lower the rank"):
        ESTIMATORS[name](rank=100_000, iterations=3).fit(data)
    ESTIMATORS[name](rank=3, iterations=3, random_state=0).fit(data)


@pytest.mark.usefixtures("small_machine")
def test_error_for_lists_that_exceed_memory() -> None:
    ids = np.arange(1_000)
    model = hs.Popularity().fit(hs.Interactions.from_arrays(ids, ids))
    with pytest.raises(ParameterError, match=r"n=1000 for 1,000 lists requires at least 0\.0 GB of memory"):
        model.recommend(n=HUGE // 1000)
    assert len(model.recommend([3], n=HUGE // 1000)[3]) == 999


def test_search_records_rank_that_exceeds_memory(data: hs.Interactions) -> None:
    with pytest.raises(TuningError, match=r"the only trial failed.*rank=10000000 .* of memory"):
        hs.tune(hs.ALS(hs.Explicit(biases=False)), data, {"rank": [10_000_000]}, split=[(data, data)])


def test_smallest_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  2000 kB\nMemFree: 7 kB\nSwapTotal: 1000 kB\n")
    (tmp_path / "max").write_text("max\n")
    (tmp_path / "limit").write_text("1000000\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    memory_of = memory.machine_memory.__wrapped__
    for limits, expected in (((), 3_072_000), (("max", "none"), 3_072_000), (("max", "limit"), 1_000_000)):
        monkeypatch.setattr(memory, "CONTAINER_LIMITS", [tmp_path / name for name in limits])
        assert memory_of() == expected


@pytest.mark.parametrize("name", ["rank", "iterations"])
def test_integers_beyond_64_bits_are_refused(data: hs.Interactions, name: str) -> None:
    with pytest.raises(ParameterError, match=f"^{name}={HUGE}: give an integer of at most {2**63 - 1}"):
        hs.ALS(hs.Explicit(biases=False), **{name: HUGE}).fit(data)  # type: ignore[arg-type]


def test_error_for_n_beyond_64_bits(data: hs.Interactions) -> None:
    model = hs.ALS(hs.Explicit(biases=False), rank=2, iterations=1, random_state=0).fit(data)
    test = hs.Interactions.from_arrays(["a"], ["z"], [4.0])
    calls: list[Callable[[int], Any]] = [
        lambda n: model.recommend("a", n),
        lambda n: model.similar_items("x", n),
        lambda n: model.similar_users("a", n),
        lambda n: model.explain("a", "z", n),
        lambda n: hs.evaluate(model, test, n=n),
        lambda n: hs.evaluate_stream(model, test, n=n),
    ]
    for call in calls:
        with pytest.raises(ParameterError, match=f"n={HUGE}: give an integer of at most"):
            call(HUGE)
        call(2**63 - 1)
    with pytest.raises(ParameterError, match=f"metric 'ndcg@{HUGE}': give a cutoff of at most {2**63 - 1}"):
        hs.evaluate(model, test, f"ndcg@{HUGE}")
    hs.evaluate(model, test, f"ndcg@{2**63 - 1}")
    every = [
        "ndcg",
        "recall",
        "attainable_recall",
        "hit_rate",
        "precision",
        "average_precision",
        "reciprocal_rank",
        "attainable_average_precision",
        "coverage",
        "novelty",
    ]
    longest, all_of_them = hs.evaluate(model, test, every, n=2**63 - 1), hs.evaluate(model, test, every, n=3)
    for metric in set(every) - {"precision"}:
        assert longest["ALS", metric] == pytest.approx(all_of_them["ALS", metric])


@pytest.mark.parametrize("name", ["regularization", "tol"])
def test_error_for_numbers_beyond_float64(data: hs.Interactions, name: str) -> None:
    with pytest.raises(ParameterError, match=f"{name}=1000.*: give a finite number"):
        hs.ALS(hs.Explicit(biases=False), **{name: 10**400}).fit(data)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fit {} --rank 1000000000 -o {}.m", "--rank 1000000000 for 3 users and 3 items requires at least"),
        ("fit {} --rank 10000000 -o {}.m", "--rank 10000000 for 3 users and 3 items requires at least"),
        ("fit {} --rank 99999999999999999999 -o {}.m", "--rank 99999999999999999999: give an integer of at most"),
        ("fit {} --iterations 99999999999999999999 -o {}.m", "--iterations 99999999999999999999: give an integer"),
        ("evaluate {} -n 99999999999999999999", "99999999999999999999: give an integer of at most"),
        (
            "evaluate {} --metrics recall,ndcg@99999999999999999999",
            "metric 'ndcg@99999999999999999999': give a cutoff of at most 9223372036854775807",
        ),
        (
            "tune {} --trials 99999999999999999999 -o {}.m",
            "--trials 99999999999999999999: give an integer of at most",
        ),
        ("tune {} --folds 99999999999999999999 -o {}.m", "--folds 99999999999999999999"),
        ("tune {} --search grid -o {}.m", "--search grid requires a list of values for each parameter"),
        (
            "tune {} --search grid --space rank=int:2:4 -o {}.m",
            "list its values in --space, or use --search random",
        ),
    ],
)
def test_errors_at_the_command_line_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, message: str
) -> None:
    table = tmp_path / "plays.csv"
    table.write_text("user,item\na,x\na,y\nb,x\nb,z\nc,y\nc,z\n")
    _, err = Shell(monkeypatch, capsys)(*line.format(*[table] * 2).split(), fails=1)
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err


def test_long_list_at_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, data: hs.Interactions
) -> None:
    hs.Popularity().fit(data).save(tmp_path / "m")
    shell = Shell(monkeypatch, capsys)
    _, err = shell("recommend", tmp_path / "m", "a", "-n", HUGE, fails=1)
    assert err == f"halfstep: --number {HUGE}: give an integer of at most {2**63 - 1}\n"
    out, _ = shell("recommend", tmp_path / "m", "a", "-n", 10**18)
    assert "z" in out
