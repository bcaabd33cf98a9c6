"""Locks among processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from halfstep._support import host_locks

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="all locks are free on Windows")

HOLDER = """
import sys
from pathlib import Path
from halfstep._support import host_locks

host_locks.acquire(Path(sys.argv[1]), "a")
print("held", flush=True)
sys.stdin.readline()
host_locks.release(Path(sys.argv[1]), "a")
print("released", flush=True)
sys.stdin.readline()
"""


def seconds(folder: Path, name: str) -> float:
    began = time.monotonic()
    host_locks.acquire(folder, name)
    host_locks.release(folder, name)
    return time.monotonic() - began


@pytest.fixture
def holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    monkeypatch.setattr(host_locks, "MOST_SECONDS", 0.3)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_waits_for_another_process_but_not_forever(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    assert seconds(tmp_path, "a") >= 0.3
    assert seconds(tmp_path, "b") < 0.3
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "released\n"
    assert seconds(tmp_path, "a") < 0.3


def test_killed_processes_hold_no_locks(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    assert seconds(tmp_path, "a") < 0.3


def test_no_lock_without_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert seconds(tmp_path / "file", "a") < 0.3
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
