from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from halfstep import atomic
from halfstep.atomic import write_atomically


def only_file_of(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_bytes_and_chunks_are_written_in_order(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"whole")
    assert path.read_bytes() == b"whole"
    numbers = np.arange(1000, dtype=np.int64)
    write_atomically(path, iter([memoryview(b"head"), memoryview(b""), memoryview(numbers), memoryview(b"tail")]))
    assert only_file_of(tmp_path).read_bytes() == b"head" + numbers.tobytes() + b"tail"


def test_chunks_longer_than_one_call_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "AT_ONCE", 7)
    write_atomically(tmp_path / "file", b"twenty-three characters")
    assert only_file_of(tmp_path).read_bytes() == b"twenty-three characters"


class Interrupted(BaseException):
    """Stands for Ctrl-C, and for whatever else is not an Exception."""


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt(), Interrupted()], ids=repr)
def test_whatever_happens_between_chunks_leaves_the_old_file_and_no_other(
    tmp_path: Path, error: BaseException
) -> None:
    def chunks() -> Iterator[memoryview]:
        yield memoryview(b"new" * 100_000)
        raise error

    path = tmp_path / "file"
    write_atomically(path, b"old")
    with pytest.raises(type(error)):
        write_atomically(path, chunks())
    assert only_file_of(tmp_path).read_bytes() == b"old"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_step_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(*((atomic.os, "fsync", fail) if call == "fsync" else (Path, "replace", fail)))
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, b"new")
    assert only_file_of(tmp_path).read_bytes() == b"old"


def test_a_disk_that_fills_up_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    opened = Path.open

    def open_on_a_small_disk(self: Path, mode: str) -> SmallDisk:
        return SmallDisk(opened(self, mode))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", open_on_a_small_disk)
        with pytest.raises(OSError, match="no space left"):
            write_atomically(path, iter([memoryview(b"x" * 10)] * 5))
    assert only_file_of(tmp_path).read_bytes() == b"old"


class SmallDisk:
    """A file that has room for 32 bytes."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, content):
        if self.file.tell() + len(content) > 32:
            raise OSError(errno.ENOSPC, "no space left on device")
        return self.file.write(content)


LIMITED = """
import resource, sys
from pathlib import Path
from halfstep.atomic import write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_atomically(Path(sys.argv[1]), iter([memoryview(b"x" * 9_000)] * 3))
except OSError as error:
    print(error.errno)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_a_limit_on_the_size_of_files_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    shown = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=True).stdout
    assert int(shown) == errno.EFBIG
    assert only_file_of(tmp_path).read_bytes() == b"old"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions, and asks for rights to link")
def test_permissions_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    write_atomically(path, b"old")
    path.chmod(0o640)
    link.symlink_to(path.name)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", b"")
    (tmp_path / "usual").touch()
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.skipif(not hasattr(os, "O_DIRECTORY"), reason="folders cannot be opened here")
def test_the_folder_reaches_the_disk_after_the_file_took_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    path = tmp_path / "file"

    def fsync(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    write_atomically(path, b"content")
    assert synced == [(False, False), (True, True)]
