from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from halfstep._support import files
from halfstep._support.files import write_atomically


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


def test_chunks_of_several_system_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "AT_ONCE", 7)
    write_atomically(tmp_path / "file", b"twenty-three characters")
    assert only_file_of(tmp_path).read_bytes() == b"twenty-three characters"


class Interrupted(BaseException):
    """A BaseException such as KeyboardInterrupt."""


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt(), Interrupted()], ids=repr)
def test_errors_between_chunks_keep_the_old_file(tmp_path: Path, error: BaseException) -> None:
    def chunks() -> Iterator[memoryview]:
        yield memoryview(b"new" * 100_000)
        raise error

    path = tmp_path / "file"
    write_atomically(path, b"old")
    with pytest.raises(type(error)):
        write_atomically(path, chunks())
    assert only_file_of(tmp_path).read_bytes() == b"old"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_errors_of_steps_keep_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(*((files.os, "fsync", fail) if call == "fsync" else (Path, "replace", fail)))
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, b"new")
    assert only_file_of(tmp_path).read_bytes() == b"old"


def test_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    fdopen = os.fdopen

    def open_on_a_small_disk(descriptor: int, mode: str) -> SmallDisk:
        return SmallDisk(fdopen(descriptor, mode))

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fdopen", open_on_a_small_disk)
        with pytest.raises(OSError, match="no space left"):
            write_atomically(path, iter([memoryview(b"x" * 10)] * 5))
    assert only_file_of(tmp_path).read_bytes() == b"old"


class SmallDisk:
    """A file on a disk with 32 free bytes."""

    def __init__(self, file):
        self.file = file

    def fileno(self):
        return self.file.fileno()

    def close(self):
        self.file.close()

    def write(self, content):
        if self.file.tell() + len(content) > 32:
            raise OSError(errno.ENOSPC, "no space left on device")
        return self.file.write(content)


LIMITED = """
import resource, sys
from pathlib import Path
from halfstep._support.files import write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_atomically(Path(sys.argv[1]), iter([memoryview(b"x" * 9_000)] * 3))
except OSError as error:
    print(error.errno)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_file_size_limit_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    shown = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=True).stdout
    assert int(shown) == errno.EFBIG
    assert only_file_of(tmp_path).read_bytes() == b"old"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions, and asks for rights to link")
def test_permissions_and_links_are_kept(tmp_path: Path) -> None:
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
def test_folder_is_synced_after_replacement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    path = tmp_path / "file"

    def fsync(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))

    monkeypatch.setattr(files.os, "fsync", fsync)
    write_atomically(path, b"content")
    assert synced == [(False, False), (True, True)]


needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions and no such files")
needs_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="for root only")


def device(folder: Path, name: str, minor: int) -> Path:
    """Return a writable device; for root a new one, since root could replace that of the system."""
    if os.geteuid() != 0:
        return Path("/dev", name)
    path = folder / name
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        path.open("wb").close()
    except OSError as error:
        pytest.skip(f"no devices here: {error}")
    return path


@needs_posix
class TestSpecialFiles:
    def test_device_is_not_replaced(self, tmp_path: Path) -> None:
        null = device(tmp_path, "null", 3)
        before = null.stat()
        write_atomically(null, b"content")
        (tmp_path / "link").symlink_to(null)
        write_atomically(tmp_path / "link", b"content")
        assert os.path.samestat(before, null.stat())
        assert stat.S_ISCHR(null.stat().st_mode)
        assert (tmp_path / "link").is_symlink()

    def test_a_device_that_is_full_is_an_error(self, tmp_path: Path) -> None:
        full = device(tmp_path, "full", 7)
        with pytest.raises(OSError, match=r"[Nn]o space left"):
            write_atomically(full, b"content")

    def test_a_named_pipe_is_written_to(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        content, read = b"0123456789" * 100_000, []  # more than a pipe holds
        reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
        reader.start()
        write_atomically(tmp_path / "pipe", iter([memoryview(content)]))
        reader.join()
        assert read == [content]
        assert only_file_of(tmp_path).is_fifo()

    @pytest.mark.parametrize("mode", ["wb", "ab"])
    def test_standard_output_is_written_to_in_turn(self, tmp_path: Path, mode: str) -> None:
        """The file of a descriptor is neither replaced nor overwritten."""
        program = (
            "from pathlib import Path\nfrom halfstep._support.files import write_atomically\nprint('before')\n"
            "write_atomically(Path('/dev/stdout'), b'content\\n')\nprint('after')"
        )
        (tmp_path / "out").write_bytes(b"old\n")
        with (tmp_path / "out").open(mode) as out:
            subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
        expected = b"before\ncontent\nafter\n"
        assert only_file_of(tmp_path).read_bytes() == (expected if mode == "wb" else b"old\n" + expected)

    @pytest.mark.parametrize("path", ["/", "/tmp"])
    def test_a_folder_is_refused(self, path: str) -> None:
        with pytest.raises(IsADirectoryError, match="it is a folder"):
            write_atomically(Path(path), b"content")

    def test_a_socket_is_refused(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(str(tmp_path / "s"))
            with pytest.raises(OSError, match="it is a socket, not a file"):
                write_atomically(tmp_path / "s", b"content")
        assert only_file_of(tmp_path).is_socket()


@needs_posix
class TestPermissions:
    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
    def test_temporary_file_is_private(self, tmp_path: Path, mode: int) -> None:
        path, seen = tmp_path / "file", []

        def chunks() -> Iterator[memoryview]:
            (temporary,) = (each for each in tmp_path.iterdir() if each != path)
            seen.append(stat.S_IMODE(temporary.stat().st_mode))
            yield memoryview(b"secret")
            seen.append(stat.S_IMODE(temporary.stat().st_mode))

        path.write_bytes(b"old")
        path.chmod(mode)
        write_atomically(path, chunks())
        assert seen == [0o600, 0o600]
        assert stat.S_IMODE(only_file_of(tmp_path).stat().st_mode) == mode

    @pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
    def test_a_new_file_honors_the_umask(self, tmp_path: Path, umask: int) -> None:
        before = os.umask(umask)
        try:
            write_atomically(tmp_path / "file", b"content")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask

    @needs_root
    def test_root_keeps_the_owner(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"old")
        os.chown(path, 12345, 54321)
        path.chmod(0o640)
        write_atomically(path, b"new")
        status = path.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12345, 54321, 0o640)

    @pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write to any file")
    def test_a_read_only_file_is_not_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"old")
        path.chmod(0o444)
        with pytest.raises(PermissionError, match="it is read-only"):
            write_atomically(path, b"new")
        assert only_file_of(tmp_path).read_bytes() == b"old"

    def test_dangling_link_is_followed(self, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "link").symlink_to("folder/file")
        write_atomically(tmp_path / "link", b"content")
        assert (tmp_path / "link").is_symlink()
        assert only_file_of(tmp_path / "folder").read_bytes() == b"content"

    def test_a_link_to_itself_is_an_error(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to("link")
        with pytest.raises(OSError, match=r"[Ss]ymbolic link"):
            write_atomically(tmp_path / "link", b"content")


SLOWLY = """
import sys, time
from pathlib import Path
from halfstep._support.files import write_atomically
def chunks():
    yield memoryview(b"half of it")
    print("begun", flush=True)
    time.sleep(1000)
write_atomically(Path(sys.argv[1]), chunks())
"""


def killed_or_stopped(path: Path, number: int) -> subprocess.Popen[str]:
    """Return a process that is killed or stopped while it writes to a path."""
    process = subprocess.Popen([sys.executable, "-c", SLOWLY, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    if number == signal.SIGKILL:
        process.wait()
        process.stdout.close()
    return process


@needs_posix
class TestLeftovers:
    @pytest.mark.parametrize("name", ["file", "my model (2).halfstep", ".hidden", "x" * 255], ids=len)
    def test_of_killed_processes_are_removed_by_the_next_one(self, tmp_path: Path, name: str) -> None:
        path, other = tmp_path / name, tmp_path / "other"
        processes = [killed_or_stopped(target, signal.SIGSTOP) for target in (path, path, other)]
        for process in processes:
            process.kill()
            process.communicate()
        assert len(list(tmp_path.iterdir())) == 3
        write_atomically(path, b"content")
        left = [each.name for each in tmp_path.iterdir() if each != path]
        assert [name[:7] for name in left] == [".other."]  # not of this target
        write_atomically(other, b"content")
        assert {each.name for each in tmp_path.iterdir()} == {name, "other"}

    def test_files_that_a_process_has_open_are_kept(self, tmp_path: Path) -> None:
        process = killed_or_stopped(tmp_path / "file", signal.SIGSTOP)
        write_atomically(tmp_path / "file", b"content")
        assert len(list(tmp_path.iterdir())) == 2
        process.kill()
        process.communicate()
        write_atomically(tmp_path / "file", b"content")
        assert only_file_of(tmp_path).read_bytes() == b"content"

    @pytest.mark.parametrize(
        "name", [".file.txt", ".file.0123", ".file." + "g" * 32, "file." + "0" * 32, ".other." + "0" * 32]
    )
    def test_other_files_are_kept(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).touch()
        write_atomically(tmp_path / "file", b"content")
        assert (tmp_path / name).exists()

    def test_links_and_folders_are_kept(self, tmp_path: Path) -> None:
        (tmp_path / "precious").touch()
        (tmp_path / (".file." + "0" * 32)).symlink_to("precious")
        (tmp_path / (".file." + "1" * 32)).mkdir()
        write_atomically(tmp_path / "file", b"content")
        assert len(list(tmp_path.iterdir())) == 4

    def test_deleted_temporary_file_is_created_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another process deletes the temporary file before it is locked."""
        deleted = []

        def flock_too_late(file: object, operation: int) -> None:
            if not deleted:
                deleted.append(only_file_of(tmp_path))
                deleted[0].unlink()

        monkeypatch.setattr(files.fcntl, "flock", flock_too_late)
        write_atomically(tmp_path / "file", b"content")
        assert only_file_of(tmp_path).read_bytes() == b"content"
        assert deleted

    def test_kept_without_support_for_locks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def flock(*_: object) -> None:
            raise OSError(errno.ENOLCK, "no locks available")

        killed_or_stopped(tmp_path / "file", signal.SIGKILL)
        monkeypatch.setattr(files.fcntl, "flock", flock)
        write_atomically(tmp_path / "file", b"content")
        assert len(list(tmp_path.iterdir())) == 2


@needs_posix
@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "\N{HOT BEVERAGE}" * 85, "\N{PILE OF POO}" * 63])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    write_atomically(tmp_path / name, b"content")
    assert only_file_of(tmp_path).read_bytes() == b"content"


@needs_posix
def test_errors_name_the_target(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"name too long: .*xxx"):
        write_atomically(tmp_path / ("x" * 256), b"content")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere: .*nowhere/file'"):
        write_atomically(tmp_path / "nowhere" / "file", b"content")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        write_atomically(tmp_path / "file" / "file", b"content")
    assert only_file_of(tmp_path).name == "file"


@needs_posix
def test_interrupt_after_creation_deletes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create = files._create_beside
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def create_and_interrupt(*given):
        created = create(*given)
        signal.raise_signal(signal.SIGINT)
        return created

    monkeypatch.setattr(files, "_create_beside", create_and_interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            write_atomically(tmp_path / "file", b"content")
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(tmp_path.iterdir()) == []
