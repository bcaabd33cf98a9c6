"""Progress bars in terminals and notebooks."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import halfstep as hs
from halfstep._support import progress
from halfstep._support.progress import is_watched, progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def pretend_ipython(monkeypatch: pytest.MonkeyPatch, **config: Any) -> None:
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace(config=config)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_ipython(monkeypatch, IPKernelApp={})


def pretend_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_a_pipe_shows_no_bar() -> None:
    assert not is_watched()
    assert progress_bar(None, 3, "fit").disable


def test_a_terminal_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_terminal(monkeypatch)
    assert is_watched()
    with progress_bar(None, 3, "fit") as bar:
        assert not bar.disable
        assert bar.delay == 2.0


@pytest.mark.usefixtures("notebook")
def test_a_notebook_is_watched() -> None:
    assert is_watched()
    with progress_bar(None, 3, "fit") as bar:
        assert not bar.disable
        assert bar.delay == 2.0


@pytest.mark.parametrize("config", [{}, {"TerminalIPythonApp": {}}])
def test_ipython_console_is_watched_like_its_terminal(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    pretend_ipython(monkeypatch, **config)
    assert not is_watched()


def test_imported_ipython_is_not_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert not is_watched()


def test_a_process_without_standard_error_has_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with progress_bar(None, 3, "fit") as bar:
        bar.update()
    assert bar.disable


def test_bar_appears_after_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = pretend_terminal(monkeypatch)
    with progress_bar(None, 3, "fit") as bar:
        bar.update()
    assert terminal.getvalue() == ""
    monkeypatch.setattr(progress, "DELAY", 0.0)
    with progress_bar(None, 3, "fit"):
        pass
    assert "fit:" in terminal.getvalue()


@pytest.mark.parametrize(("show", "is_shown"), [(True, True), (False, False)])
def test_a_bar_is_shown_as_asked(capsys: pytest.CaptureFixture[str], show: bool, is_shown: bool) -> None:
    with progress_bar(show, 3, "fit"):
        pass
    assert ("0/3" in capsys.readouterr().err) == is_shown


def _ratings() -> hs.Interactions:
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(20 * 10)[:120], 10)
    return hs.Interactions.from_arrays(users, items, rng.integers(1, 6, 120).astype(float))


LONG: dict[str, Callable[[hs.Interactions], object]] = {
    "ALS": hs.ALS(hs.Explicit(biases=False), rank=2, iterations=2, random_state=0).fit,
    "BayesianALS": hs.BayesianALS(rank=2, iterations=2, burn_in=1, random_state=0).fit,
    "SGD": hs.SGD(rank=2, iterations=2, random_state=0).fit,
    "tune": lambda data: hs.tune(hs.ItemBias(), data, {"regularization": [0.0, 1.0]}, split=1),
    "stream": lambda data: hs.evaluate_stream(
        hs.Popularity().fit(data.subset(np.arange(100))), data.subset(np.arange(100, 120)), update=False
    ),
}


@pytest.mark.usefixtures("notebook")
@pytest.mark.parametrize("name", LONG)
def test_long_operations_have_bars(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    data = _ratings()
    monkeypatch.setattr(progress, "DELAY", 0.0)  # as if it took long
    LONG[name](data)
    assert f"{name}:" in capsys.readouterr().err
