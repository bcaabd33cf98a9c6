"""What all tests share."""

from __future__ import annotations

import gc
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import halfstep as hs

settings.register_profile("full", deadline=None)  # the first example of many compiles a kernel
settings.register_profile("quick", deadline=None, max_examples=5)

TOGETHER = ("tests/spark/", "tests/cluster/")
"""Folders whose files share a session of Spark or a cluster, and thus one process."""

FIRST = ("tests/spark/", "tests/serve/", "tests/lab/", "tests/cluster/", "tests/solver/")
"""Folders that take longest; a process that started one of them last would run it alone."""


ALL_SLOW = re.compile(r"^pytestmark = \[?\s*pytest\.mark\.slow\b", re.MULTILINE)


def is_quick(config: pytest.Config) -> bool:
    return bool(config.option.markexpr == "not slow")


def pytest_configure(config: pytest.Config) -> None:
    """Generate fewer examples for the quick suite."""
    settings.load_profile("quick" if is_quick(config) else "full")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import modules whose tests are all slow for the quick suite."""
    if not is_quick(config) or not collection_path.match("test_*.py"):
        return None
    return bool(ALL_SLOW.search(collection_path.read_text(encoding="utf-8"))) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest folders start first, in their order."""
    items.sort(key=lambda item: ([*map(item.nodeid.startswith, FIRST), True]).index(True))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave the tests and their libraries out of garbage collections, which would take a third of a second each."""
    gc.collect()
    gc.freeze()


def group_of(nodeid: str) -> str:
    """Return the file or the folder of a test."""
    return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return a scheduler that runs a group in one process, and starts groups in the order of the tests."""
    from xdist.scheduler import LoadFileScheduling

    class GroupScheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    if config.option.dist != "loadfile":
        return None
    config.option.loadscopereorder = False
    return GroupScheduling(config, log)


@pytest.fixture(scope="session")
def titles() -> None:
    """Movies' titles, which the copy of MovieLens in the package index is without."""
    if hs.datasets.movielens_100k().item_titles is None:
        pytest.skip("MovieLens 100K came without titles: set HALFSTEP_DATA to a folder with ml-100k/u.item")
