from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import pytest

import halfstep as hs
from halfstep import cli
from halfstep._support import jit, kernel_archive
from halfstep._support.kernel_cache import CacheContent, KernelFiles
from halfstep.errors import DataError
from halfstep.solver import kernels as solver_kernels

KNOWN = """
import json, sys
from halfstep._support.jit import Kernel

def known():
    packages = ("halfstep.data.kernels.", "halfstep.solver.kernels.")
    modules = [module for name, module in sys.modules.items() if name.startswith(packages)]
    kernels = {each for module in modules for each in vars(module).values() if isinstance(each, Kernel)}
    return [f"{each.__name__}{signature}" for each in kernels for signature in each.signatures]
"""

WARM = """
import halfstep as hs
hs.doctor.warm()
print(json.dumps([known(), 0]))
"""

USE = """
import sys
import halfstep as hs

data = hs.datasets.movielens_100k()
for objective in (hs.Explicit(), hs.Explicit(weight=hs.weights.power_popularity(w0=1.0, e=0.1), biases=False),
                  hs.Implicit(observed_weight=hs.weights.confidence(alpha=40), missing_weight=0.5)):
    for rank in (10, 64):
        for solver in ("auto", "cholesky"):
            model = hs.ALS(objective, rank=rank, solver=solver, iterations=1, random_state=0).fit(data)
        model.save(sys.argv[1])
        for each in (model, hs.load(sys.argv[1])):
            each.recommend([1, 2, 3])
            each.recommend([1], candidates=[1, 2, 3])
            each.similar_items([1])
            each.fold_in({"new": {1: 5.0, 2: 1.0, 3: 3.0}}).recommend()
            each.explain(1, 2)
            each.partial_fit(hs.Interactions.from_arrays([1, 2], [1000, 1001], [1.0, 5.0], [0, 0]))
    hs.ALS(objective, rank=10, implicit_features=True, iterations=2, random_state=0).fit(data).save(sys.argv[1])
    hs.load(sys.argv[1]).fold_in({"new": {1: 5.0, 2: 1.0, 3: 3.0}}).explain("new", 2)
hs.SGD(rank=20, iterations=1, random_state=0).fit(data).recommend([1])
print(json.dumps([known(), hs.doctor._compiled()]))
"""


def in_a_new_process(program: str, *arguments: object) -> tuple[list[str], int]:
    done = subprocess.run(
        [sys.executable, "-c", KNOWN + program, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    names, compiled = json.loads(done.stdout)
    return names, compiled


@pytest.mark.slow
def test_warm_compiles_all_kernels_of_models(tmp_path: Path) -> None:
    warmed, _ = in_a_new_process(WARM)
    needed, compiled = in_a_new_process(USE, tmp_path / "model")
    assert len(needed) > 10
    assert set(needed) <= set(warmed)
    assert compiled == 0


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the measurements."""
    for name, value in {"N_USERS": 200, "SAMPLED": 5_000, "GEMM_SIZE": 64, "COPIED_BYTES": 1 << 16}.items():
        monkeypatch.setattr(hs.doctor, name, value)
    monkeypatch.setattr(hs.doctor, "SECONDS_EACH", 0.0)


def solver_files() -> KernelFiles:
    files = KernelFiles.of(solver_kernels.__file__)
    assert files is not None
    return files


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(hs.doctor, "_packages", lambda: {"solver": solver_files()})
    return solver_files().folders()[0]


def keep(*names: str) -> None:
    files = solver_files()
    for name in names:
        files.write(name, b"code")


class TestExamine:
    def test_reports_versions(self, small: None) -> None:
        report = hs.doctor.examine()
        assert report.versions["halfstep"] == hs.__version__
        assert report.versions["numba"] == numba.__version__
        assert 1 <= report.cores <= report.machine_cores
        assert report.vector_bits in (128, 256, 512)
        assert report.speed is not None
        assert min(report.speed._replace(compiled=1, half_steps=1)) > 0
        assert set(report.speed.half_steps) == {"cholesky", "cg", "subspace"}
        assert min(report.speed.half_steps.values()) > 0

    def test_reports_missing_packages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hs.doctor, "OPTIONAL", ("a-package-that-nobody-has",))
        report = hs.doctor.examine(measure=False)
        assert report.versions["a-package-that-nobody-has"] is None
        assert report.speed is None

    def test_counts_current_and_stale_kernels(self, folder: Path) -> None:
        files = solver_files()
        ours, others = jit.target(), ("x86_64", "generic", "")
        assert hs.doctor.examine(measure=False).kernels == [CacheContent(folder, True, 0, 0, 0)]
        keep(files.name("a", ours, "x"), files.name("a", ours, "y"), files.name("a", others, "x"))
        (holding,) = hs.doctor.examine(measure=False).kernels
        assert holding[:4] == (folder, True, 2, 1)
        assert holding.size == sum(path.stat().st_size for path in folder.iterdir())

    @pytest.mark.parametrize(
        ("features", "bits"),
        [("+avx2,+avx512f", 512), ("+avx2,-avx512f", 256), ("-avx2,+sse4.2", 128), ("+neon", 128)],
    )
    def test_reports_the_simd_width(self, monkeypatch: pytest.MonkeyPatch, features: str, bits: int) -> None:
        monkeypatch.setattr(hs.doctor, "target", lambda: ("cpu-vendor-system", "cpu", features))
        assert hs.doctor.examine(measure=False).vector_bits == bits


class TestExportedKernels:
    @pytest.fixture
    def archive(self, folder: Path, tmp_path: Path) -> Path:
        """Two kernels for this process, beside others; the cache is empty afterwards."""
        files = solver_files()
        keep(
            files.name("a", jit.target(), "x"), files.name("b.<locals>.c", jit.target(), "x"), "d.cpu.stamp.types.nbc"
        )
        keep(files.name("a", ("x86_64", "generic", ""), "x"))
        assert hs.doctor.export_kernels(tmp_path / "kernels.zip") == 2
        files.clear()
        return tmp_path / "kernels.zip"

    def test_without_kernels_are_an_error(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"no kernels are compiled: call halfstep\.doctor\.warm\(\)"):
            hs.doctor.export_kernels(tmp_path / "kernels.zip")
        assert not (tmp_path / "kernels.zip").exists()

    def test_are_added_to_another_cache(self, archive: Path, folder: Path) -> None:
        assert hs.doctor.import_kernels(str(archive)) == 2
        files = solver_files()
        assert files.read(files.name("b.<locals>.c", jit.target(), "x")) == b"code"
        assert len(list(folder.iterdir())) == 2

    def test_for_another_processor_are_an_error(self, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hs.doctor, "target", lambda: ("aarch64", "other", ""))
        with pytest.raises(DataError, match="has no kernels for this version of halfstep"):
            hs.doctor.import_kernels(archive)

    @pytest.mark.parametrize("damage", [lambda code: code[:-30], lambda code: bytes(200) + code[200:], lambda _: b""])
    def test_damaged_files_are_errors(self, archive: Path, folder: Path, damage: Callable[[bytes], bytes]) -> None:
        archive.write_bytes(damage(archive.read_bytes()))
        with pytest.raises(DataError, match="is not a file of compiled kernels"):
            hs.doctor.import_kernels(archive)
        assert list(folder.iterdir()) == []

    def test_only_add_kernels(self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A path cannot leave the cache, and a file cannot be huge."""
        name = solver_files().name("a", jit.target(), "x")
        with zipfile.ZipFile(tmp_path / "forged.zip", "w") as forged:
            for path in (f"solver/../../{name}", f"solver//{name}", f"other/{name}", "solver/a.py"):
                forged.writestr(path, b"code")
        with pytest.raises(DataError, match="has no kernels"):
            hs.doctor.import_kernels(tmp_path / "forged.zip")
        with zipfile.ZipFile(tmp_path / "huge.zip", "w", zipfile.ZIP_DEFLATED) as huge:
            huge.writestr(f"solver/{name}", bytes(2**20))
        monkeypatch.setattr(kernel_archive, "MOST_BYTES", 2**20 - 1)
        with pytest.raises(DataError, match="exceeds the limit of"):
            hs.doctor.import_kernels(tmp_path / "huge.zip")

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_of_another_compression_are_an_error(self, folder: Path, tmp_path: Path, method: int) -> None:
        name = "solver/" + solver_files().name("a", jit.target(), "x")
        with zipfile.ZipFile(tmp_path / "forged.zip", "w", method) as forged:
            forged.writestr(name, b"code")
        content = bytearray((tmp_path / "forged.zip").read_bytes())
        content[30 + len(name) + 9] ^= 0xFF  # in the compressed data, after the header
        (tmp_path / "forged.zip").write_bytes(content)
        with pytest.raises(DataError, match="compression method is not supported"):
            hs.doctor.import_kernels(tmp_path / "forged.zip")

    def test_need_a_writable_folder(self, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "occupied").touch()
        monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "occupied"))
        with pytest.raises(PermissionError, match="set HALFSTEP_CACHE to a writable folder"):
            hs.doctor.import_kernels(archive)


Advise = Callable[..., list[str]]


@pytest.fixture
def advise(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Advise:
    """Return the advice for a machine with AVX-512, four cores and one BLAS."""
    monkeypatch.setattr(hs.doctor, "target", lambda: ("x86_64-unknown-linux-gnu", "cpu", "+avx2,+avx512f"))
    monkeypatch.setattr(hs.doctor, "available_cores", lambda: 4)
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)

    def advise(**blas: Any) -> list[str]:
        usual = {"user_api": "blas", "internal_api": "openblas", "version": "0.3.30", "num_threads": 4}
        found = [usual | {"architecture": "SkylakeX"} | blas, {**usual, "user_api": "openmp", "num_threads": 99}]
        monkeypatch.setattr(hs.doctor, "threadpool_info", lambda: found)
        return hs.doctor.examine(measure=False).advice

    return advise


class TestAdvice:
    def test_is_empty_without_problems(self, advise: Advise) -> None:
        assert advise() == []

    def test_on_a_cache_that_cannot_be_written(
        self, advise: Advise, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        occupied = tmp_path / "occupied"
        occupied.write_text("in the way")
        monkeypatch.setattr(numba.config, "CACHE_DIR", str(occupied))
        (line,) = advise()
        assert str(occupied) in line
        assert line.endswith("set HALFSTEP_CACHE to a writable folder")

    def test_on_matrix_products_for_another_processor(self, advise: Advise, monkeypatch: pytest.MonkeyPatch) -> None:
        (line,) = advise(architecture="Zen")
        assert "for Zen" in line
        assert "set OPENBLAS_CORETYPE=SkylakeX" in line
        monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
        (line,) = advise(architecture="Haswell")
        assert "unset OPENBLAS_CORETYPE, which is Haswell" in line
        assert advise(internal_api="mkl", architecture="Zen") == []

    def test_on_more_threads_than_cores(self, advise: Advise) -> None:
        (line,) = advise(num_threads=64)
        assert "64 threads on 4 cores" in line
        assert "set OPENBLAS_NUM_THREADS" in line


class TestCommand:
    @pytest.fixture
    def shell(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], small: None
    ) -> Callable[..., tuple[str, str]]:
        def run(*arguments: str) -> tuple[str, str]:
            monkeypatch.setattr(sys, "argv", ["halfstep", "doctor", *arguments])
            with pytest.raises(SystemExit) as ended:
                cli.main()
            assert not ended.value.code
            shown = capsys.readouterr()
            return shown.out, shown.err

        return run

    def test_prints_the_report(self, shell: Callable[..., tuple[str, str]]) -> None:
        out, _ = shell()
        for words in (
            "Installed",
            hs.__version__,
            "This machine",
            "Compiled kernels",
            "GFLOP/s",
            "ns per observation",
        ):
            assert words in out

    def test_prints_the_advice(self, shell: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hs.doctor, "available_cores", lambda: 0)
        monkeypatch.setattr(hs.doctor, "_measure", lambda: None)
        assert "threads on 0 cores" in shell()[1]

    def test_prints_json(self, shell: Callable[..., tuple[str, str]]) -> None:
        parsed = json.loads(shell("--json")[0])
        assert parsed["versions"]["Python"]
        assert parsed["speed"]["half_steps"]["cg"] > 0
        assert {"folder", "is_writable", "current", "stale", "size"} == set(parsed["kernels"][0])
        assert {"name", "version", "architecture", "threads"} == set(parsed["blas"][0])

    def test_deletes_kernels(self, shell: Callable[..., tuple[str, str]], folder: Path) -> None:
        keep("a.cpu.stamp.types.nbc")
        assert list(folder.iterdir())
        assert shell("--clear") == ("", "deleted all compiled kernels\n")
        assert not list(folder.iterdir())

    def test_exports_and_imports_kernels(
        self, shell: Callable[..., tuple[str, str]], folder: Path, tmp_path: Path
    ) -> None:
        keep(solver_files().name("a", jit.target(), "x"))
        file = str(tmp_path / "kernels.zip")
        assert shell("--export", file) == ("", f"kernels written to {file}: 1\n")
        shell("--clear")
        assert shell("--import", file) == ("", "kernels added: 1\n")
        assert len(list(folder.iterdir())) == 1

    @pytest.mark.slow
    def test_compiles_kernels(self, shell: Callable[..., tuple[str, str]]) -> None:
        shell("--warm")
        out, err = shell("--warm")
        assert out == ""
        assert err.startswith("kernels compiled: 0, in ")
