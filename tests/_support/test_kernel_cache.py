"""Compiled kernels on disk, tested with a small package."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import numba
import pytest

from halfstep._support import kernel_cache
from halfstep._support.jit import kernel
from halfstep._support.kernel_cache import CHECKSUM_BYTES, KernelFiles

pytestmark = pytest.mark.slow

CALLED = """
from halfstep._support.jit import kernel

@kernel
def step(x):
    return x + 1.0
"""

CALLER = """
from halfstep._support.jit import kernel
from pack.called import step

@kernel
def twice(x):
    return 2.0 * step(x)
"""

IN_A_NEW_PROCESS = """
import sys
from pack.caller import twice

argument = float(sys.argv[1]) if "." in sys.argv[1] else int(sys.argv[1])
print(twice(argument), sum(twice.stats.cache_misses.values()))
"""


class Package:
    """The package and its compiled kernels."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "pack"
        self.folder.mkdir()
        self.write("__init__", "")
        self.write("called", CALLED)
        self.write("caller", CALLER)

    def write(self, module: str, source: str) -> None:
        (self.folder / f"{module}.py").write_text(source)

    def load(self) -> ModuleType:
        """Import the package as in a new process."""
        for name in ("pack", "pack.called", "pack.caller"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("pack.caller")

    def run(self) -> tuple[float, int]:
        """Return twice(1.0) and the number of compiled kernels in a new process."""
        module = self.load()
        result = module.twice(1.0)
        return result, sum(sum(each.stats.cache_misses.values()) for each in (module.twice, module.step))

    def kept(self, folder: Path | None = None) -> list[Path]:
        return sorted((folder or self.folder / "__pycache__").glob("*.nbc"))

    def start(self, argument: str, **variables: str) -> subprocess.Popen[str]:
        """Return the same from a separate process."""
        return subprocess.Popen(
            [sys.executable, "-B", "-c", IN_A_NEW_PROCESS, argument],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(self.root), *sys.path])} | variables,
            stdout=subprocess.PIPE,
            text=True,
        )


def answer(process: subprocess.Popen[str]) -> tuple[float, int]:
    shown, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    result, misses = shown.split()
    return float(result), int(misses)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("HALFSTEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    return Package(tmp_path)


def user_cache(package: Package) -> Path:
    """Return the folder in the user's cache."""
    files = KernelFiles.of(str(package.folder / "caller.py"))
    assert files is not None
    return files.folders()[1]


def temporary_folder(package: Package) -> Path:
    files = KernelFiles.of(str(package.folder / "caller.py"))
    assert files is not None
    return files.folders()[-1]


def make_unwritable(package: Package) -> None:
    """Block a folder by a file, which works for the superuser, too."""
    (package.folder / "__pycache__").write_text("in the way")


class TestLookup:
    def test_finds_compiled_kernels(self, package: Package) -> None:
        assert package.run() == (4.0, 2)
        assert package.run() == (4.0, 0)
        assert len(package.kept()) == 2

    def test_misses_after_edit_of_kernel(self, package: Package) -> None:
        package.run()
        package.write("caller", CALLER.replace("2.0", "30.0"))
        assert package.run() == (60.0, 2)

    def test_misses_after_edit_of_another_file(self, package: Package) -> None:
        package.run()
        package.write("called", CALLED.replace("1.0", "10.0"))
        assert package.run() == (22.0, 2)

    def test_finds_kernels_after_reverted_edit(self, package: Package) -> None:
        package.run()
        package.write("called", CALLED.replace("1.0", "10.0"))
        package.load()  # as others do who compile nothing
        package.write("called", CALLED)
        assert package.run() == (4.0, 0)

    @pytest.mark.parametrize("module", [numba, kernel_cache.llvmlite, kernel_cache.np])
    def test_misses_for_another_version(
        self, package: Package, monkeypatch: pytest.MonkeyPatch, module: ModuleType
    ) -> None:
        package.run()
        kernel_cache._stamp.cache_clear()
        monkeypatch.setattr(module, "__version__", "0.0")
        assert package.run() == (4.0, 2)
        kernel_cache._stamp.cache_clear()

    def test_misses_for_other_checks(self, package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
        package.run()
        monkeypatch.setattr(numba.config, "BOUNDSCHECK", 1)
        assert package.run() == (4.0, 2)

    def test_misses_for_another_processor(self, package: Package) -> None:
        package.run()
        other = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
        assert answer(package.start("1.0", **other)) == (4.0, 1)
        assert answer(package.start("1.0", **other)) == (4.0, 0)
        assert package.run() == (4.0, 0)  # both are kept

    def test_misses_for_function_without_file(self) -> None:
        scope: dict[str, object] = {}
        exec("def half(x): return x / 2", scope)
        half = kernel(scope["half"])
        assert half(3.0) == 1.5


class TestDamagedFiles:
    @pytest.mark.parametrize("keep", [0, CHECKSUM_BYTES - 1, CHECKSUM_BYTES, 1000])
    def test_truncated_files_are_replaced(self, package: Package, keep: int) -> None:
        package.run()
        for path in package.kept():
            path.write_bytes(path.read_bytes()[:keep])
        assert package.run() == (4.0, 2)
        assert package.run() == (4.0, 0)

    @pytest.mark.parametrize("place", [0, CHECKSUM_BYTES, -1])
    def test_corrupted_files_are_replaced(self, package: Package, place: int) -> None:
        package.run()
        for path in package.kept():
            content = bytearray(path.read_bytes())
            content[place] ^= 1
            path.write_bytes(content)
        assert package.run() == (4.0, 2)
        assert package.run() == (4.0, 0)

    def test_folders_are_ignored(self, package: Package) -> None:
        package.run()
        for path in package.kept():
            path.unlink()
            path.mkdir()
        assert package.run() == (4.0, 2)
        assert package.run() == (4.0, 0)  # from the user's cache


def test_concurrent_processes_find_their_own_kernels(package: Package) -> None:
    arguments = ["1.0", "1"]  # for two types each
    answers = [answer(process) for process in [package.start(argument) for argument in 2 * arguments]]
    assert [result for result, _ in answers] == [4.0] * 4
    assert [answers[kind][1] + answers[kind + 2][1] for kind in (0, 1)] == [1, 1]  # one process of each type compiles
    assert [answer(package.start(argument)) for argument in arguments] == [(4.0, 0), (4.0, 0)]
    assert len(package.kept()) == 4
    assert not list((package.folder / "__pycache__").glob(".*"))


class TestFolders:
    def test_user_cache_if_source_is_read_only(self, package: Package) -> None:
        make_unwritable(package)
        assert package.run() == (4.0, 2)
        assert package.run() == (4.0, 0)
        assert len(package.kept(user_cache(package))) == 2

    def test_read_only_source_folder_is_read(self, package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
        package.run()

        def refuse(path: Path, content: bytes) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(kernel_cache, "write_atomically", refuse)
        assert package.run() == (4.0, 0)

    def test_temporary_folder_if_the_cache_is_read_only(
        self, package: Package, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_unwritable(package)
        monkeypatch.setenv("HALFSTEP_CACHE", str(package.folder / "__pycache__"))
        assert package.run() == (4.0, 2)
        assert package.run() == (4.0, 0)
        assert len(package.kept(temporary_folder(package))) == 2

    def test_none_is_writable(self, package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
        make_unwritable(package)
        blocked = str(package.folder / "__pycache__")
        monkeypatch.setenv("HALFSTEP_CACHE", blocked)
        monkeypatch.setattr(tempfile, "tempdir", blocked)
        assert package.run() == (4.0, 2)
        assert package.run() == (4.0, 2)

    def test_no_home_folder(self, package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_home() -> Path:
            raise RuntimeError("Could not determine home directory.")

        make_unwritable(package)
        for name in ("HALFSTEP_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(Path, "home", no_home)
        assert package.run() == (4.0, 2)
        assert package.run() == (4.0, 0)

    def test_environment_variable(self, package: Package, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "chosen"))
        assert package.run() == (4.0, 2)
        assert package.run() == (4.0, 0)
        assert len(list((tmp_path / "chosen").glob("*/*.nbc"))) == 2
        assert not package.kept()

    @pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has other permissions")
    def test_folder_writable_by_others_is_ignored(self, package: Package) -> None:
        make_unwritable(package)
        package.run()
        assert user_cache(package).stat().st_mode & 0o777 == 0o700
        user_cache(package).chmod(0o777)
        assert package.run() == (4.0, 2)
        assert package.run() == (4.0, 0)
        assert len(package.kept(temporary_folder(package))) == 2
        temporary_folder(package).chmod(0o777)
        assert package.run() == (4.0, 2)
        assert package.run() == (4.0, 2)

    @pytest.mark.skipif(not hasattr(os, "getuid"), reason="Windows has other permissions")
    def test_folder_of_another_user_is_ignored(self, package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
        make_unwritable(package)
        package.run()
        stranger = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: stranger)
        assert package.run() == (4.0, 2)


class TestStaleKernels:
    def test_of_previous_sources_are_removed(self, package: Package) -> None:
        package.run()
        old = package.kept()
        package.write("called", CALLED.replace("1.0", "10.0"))
        package.run()
        assert len(package.kept()) == 2
        assert not set(old) & set(package.kept())

    def test_of_another_processor_are_kept(self, package: Package) -> None:
        answer(package.start("1.0", NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES=""))
        others = package.kept()
        package.write("called", CALLED.replace("1.0", "10.0"))
        package.run()
        assert len(others) == 2
        assert set(others) < set(package.kept())

    def test_clear_removes_all(self, package: Package) -> None:
        package.run()
        (package.folder / "__pycache__" / "caller.twice-5.py311.nbi").write_bytes(b"an index of Numba's own cache")
        (package.folder / "__pycache__" / ".caller.twice.nbc.0123").write_bytes(b"of a process that was killed")
        (package.folder / "__pycache__" / "caller.cpython-311.pyc").write_bytes(b"")
        files = KernelFiles.of(str(package.folder / "caller.py"))
        assert files is not None
        files.clear()
        assert [path.name for path in (package.folder / "__pycache__").iterdir()] == ["caller.cpython-311.pyc"]
        assert package.run() == (4.0, 2)


def test_literal_numbers_do_not_compile_again(package: Package) -> None:
    package.write("caller", CALLER.replace("step(x)", "(step(x) + step(1.0) + step(2.0) + step(1) + step(2))"))
    module = package.load()
    assert module.twice(1.0) == 24.0
    assert len(module.step.signatures) == 2  # floats and integers
