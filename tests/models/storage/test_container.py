"""Invalid model files, and failures of saving."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import halfstep as hs
from halfstep import weights
from halfstep._support.faults import Fault
from halfstep.data import Interactions
from halfstep.data.packed_ids import unpack_vocabulary
from halfstep.errors import ModelFileError
from halfstep.models.factor_model import FactorModel
from halfstep.models.storage import container
from stored import MODELS, SOME, assert_same, fitted, same_array, saved
from thorough import THOROUGH


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model file with arrays of parameters, ids of two types, titles, timestamps and weights."""
    data = Interactions.from_arrays(
        [("a", n // 7) for n in range(60)],
        [f"item {n % 13}" for n in range(60)],
        np.linspace(-1, 5, 60),
        [f"2020-01-{1 + n % 28:02}" for n in range(60)],
        np.linspace(0, 1, 60),
        duplicates="last",
    )
    data = dataclasses.replace(data, item_titles={f"item {n}": f"Títle {n}" for n in range(13)})
    mine = hs.Explicit(weight=weights.row_column(0.1, 1.0, np.arange(13.0)), biases=True)
    model = hs.ALS(mine, rank=3, iterations=3, random_state=np.random.default_rng(0)).fit(data)
    path = tmp_path_factory.mktemp("sound") / "model.halfstep"
    model.save(path)
    return path


def header_of(content: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(header: dict, rest: bytes) -> bytes:
    """Return a forged file with valid checksums."""
    metadata = header.get("__metadata__")
    if isinstance(metadata, dict) and "checksums" in metadata:
        checksums = {}
        for name, entry in header.items():
            if name != "__metadata__":
                start, stop, *_ = entry["data_offsets"]
                checksums[name] = container.zlib.crc32(rest[start:stop])
        metadata["checksums"] = json.dumps(checksums)
        metadata["checksum"] = "0" * 32
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 8)
    whole = bytearray(len(text).to_bytes(8, "little") + text)
    if isinstance(metadata, dict) and "checksum" in metadata:
        whole[container._CHECKSUM_AT] = container._checksum(bytes(whole)).encode()
    return bytes(whole) + rest


def test_forged_file_is_valid(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(with_header(*header_of(sound.read_bytes())))
    assert_same(hs.load(sound), hs.load(tmp_path / "copy"))


def bit_flip(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]


def bit_flip_in_header(content: bytes, rng: random.Random) -> bytes:
    length = 8 + int.from_bytes(content[:8], "little")
    return bit_flip(content[:length], rng) + content[length:]


def truncation(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def insertion(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.randbytes(rng.randint(1, 100)) + content[at:]


def swap(content: bytes, rng: random.Random) -> bytes:
    size = rng.choice([1, 8, 64])
    a, b = sorted(rng.randrange(len(content) // size) * size for _ in range(2))
    changed = bytearray(content)
    changed[a : a + size], changed[b : b + size] = content[b : b + size], content[a : a + size]
    return bytes(changed)


def zeros(content: bytes, rng: random.Random) -> bytes:
    at, size = rng.randrange(len(content)), rng.randint(1, 512)
    return content[:at] + bytes(len(content[at : at + size])) + content[at + size :]


CORRUPTIONS = [bit_flip, bit_flip_in_header, truncation, insertion, swap, zeros]


@pytest.mark.parametrize(
    "seed", [*range(20), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(20, 200))]
)
def test_corrupted_files_are_errors(sound: Path, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    before = sound.read_bytes()
    after = CORRUPTIONS[seed % len(CORRUPTIONS)](before, rng)
    path = tmp_path / "model.halfstep"
    path.write_bytes(after)
    if after == before:
        assert_same(hs.load(sound), hs.load(path))
        return
    with pytest.raises(ModelFileError, match=r"model.halfstep (is|was) "):
        hs.load(path)
    try:
        model = hs.load(path, verify=False)
    except ModelFileError:
        return
    use(model)


def use(model: FactorModel) -> None:
    """Read all arrays of a model."""
    with np.errstate(all="ignore"):
        assert len(model.predict(list(model.users_), model.items_[0])) == len(model.users_)
        assert model.interactions_.to_sparse().shape == (len(model.users_), len(model.items_))
        ranking = model.recommend(n=5)
        assert len(ranking) == len(model.users_)
        assert ranking.positions.max() < len(model.items_)


def test_every_bit_of_the_header_is_verified(sound: Path, tmp_path: Path) -> None:
    before = sound.read_bytes()
    length = 8 + int.from_bytes(before[:8], "little")
    path = tmp_path / "model"
    for at in range(0, length, 7):
        path.write_bytes(before[:at] + bytes([before[at] ^ 0x20]) + before[at + 1 :])
        with pytest.raises(ModelFileError):
            hs.load(path)


def length(of_header: int) -> bytes:
    return of_header.to_bytes(8, "little")


class TestForeignFiles:
    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "is empty"),
            (b"short", "is neither a model file"),
            (b"user,item,value\n1,2,3\n" * 10, "is neither a model file nor another safetensors file"),
            (b"\x80\x04\x95" + bytes(100), "is neither a model file"),
            (b"PK\x03\x04" + bytes(100), "is a zip archive.*from_implicit"),
            (safetensors.numpy.save({"w": np.ones(3)}), "is a safetensors file, but not a model file.*from_arr"),
            (
                safetensors.numpy.save({"w": np.ones(3)}, {"format": "pt"}),
                "is a safetensors file, but not a model file",
            ),
            (length(2**63) + b"{}", "is neither a model file"),
            (length(2**63) + container._START, "is corrupted: its header claims 9,223,372,036,854,775,808 bytes"),
            (length(2**20) + container._START, "is truncated or corrupted: it has 57 bytes"),
            (length(100) + b"{" * 100, "is corrupted: its header cannot be parsed"),
            (length(10**5) + b'{"a":' + b"[" * (10**5 - 5), "is corrupted: its header cannot be parsed"),
        ],
    )
    @pytest.mark.parametrize("verify", [True, False])
    def test_errors_distinguish_types(self, tmp_path: Path, content: bytes, reason: str, verify: bool) -> None:
        path = tmp_path / "some file"
        path.write_bytes(content)
        with pytest.raises(ModelFileError, match=rf"some file {reason}"):
            hs.load(path, verify=verify)

    def test_errors_are_model_file_errors(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="missing"):
            hs.load(tmp_path / "missing")
        with pytest.raises(IsADirectoryError):
            hs.load(tmp_path)

    def test_error_for_truncated_files(self, sound: Path, tmp_path: Path) -> None:
        (tmp_path / "part").write_bytes(sound.read_bytes()[:-1])
        with pytest.raises(ModelFileError, match="is truncated"):
            hs.load(tmp_path / "part")

    def test_error_for_corrupted_files_names_the_array(self, sound: Path, tmp_path: Path) -> None:
        header, rest = header_of(sound.read_bytes())
        at = header["item_factors"]["data_offsets"][0]
        (tmp_path / "bad").write_bytes(sound.read_bytes()[: -len(rest)] + rest[:at] + b"\xff" + rest[at + 1 :])
        with pytest.raises(ModelFileError, match="item_factors does not match its checksum; take it from a backup"):
            hs.load(tmp_path / "bad")

    def test_error_for_newer_version(self, sound: Path, tmp_path: Path) -> None:
        header, rest = header_of(sound.read_bytes())
        header["__metadata__"] |= {"version": "3", "written_by": "7.8.9", "model": "who knows"}
        header["q"] = {"dtype": "F4_NEW", "shape": "other", "data_offsets": [0, 0]}
        (tmp_path / "new").write_bytes(with_header(header, rest))
        with pytest.raises(ModelFileError, match=r"was written by halfstep 7\.8\.9 in version 3 .*: update halfstep"):
            hs.load(tmp_path / "new")


def entry_of(name: str, **changes: object):
    return lambda header, model: header[name].update(changes)


def model_with(**changes: object):
    return lambda header, model: model.update(changes)


def parameters_with(**changes: object):
    return lambda header, model: model["parameters"].update(changes)


def without(name: str):
    return lambda header, model: header.pop(name)


HUGE = 2**61
HOSTILE = {
    "huge shape": entry_of("user_factors", shape=[HUGE, 8]),
    "huge offsets": entry_of("user_factors", shape=[HUGE, 1], data_offsets=[0, HUGE * 4]),
    "shape beyond 64 bits": entry_of("user_factors", shape=[2**32, 2**32]),
    "negative shape": entry_of("user_factors", shape=[-1, -3]),
    "shape of floats": entry_of("user_factors", shape=[9.0, 3.0]),
    "shape of nothing": entry_of("user_factors", shape=None),
    "many dimensions": entry_of("user_factors", shape=[1] * 100),
    "overlap": lambda header, model: header["user_factors"].update(
        data_offsets=header["item_factors"]["data_offsets"]
    ),
    "backwards": lambda header, model: header["user_factors"]["data_offsets"].reverse(),
    "negative offset": entry_of("user_factors", data_offsets=[-8, 100]),
    "three offsets": entry_of("user_factors", data_offsets=[0, 1, 2]),
    "a dtype of safetensors that is not ours": entry_of("user_factors", dtype="BF16"),
    "a dtype of nobody": entry_of("user_factors", dtype="object"),
    "positions as floats": entry_of("interactions.user_positions", dtype="F32"),
    "positions without sign": entry_of("interactions.user_positions", dtype="U32"),
    "factors as integers": entry_of("user_factors", dtype="I32"),
    "more metadata": lambda header, model: header["__metadata__"].update(more=1),
    "no factors": without("user_factors"),
    "no ids": without("users.json"),
    "no positions": without("interactions.user_positions"),
    "no ends of titles": without("titles.texts.ends"),
    "unknown class": model_with(**{"class": "Popen"}),
    "class that is a list": model_with(**{"class": ["ALS"]}),
    "class of another kind": model_with(**{"class": "Explicit"}),
    "class that takes other parameters": model_with(**{"class": "Popularity"}),
    "no parameters": model_with(parameters=None),
    "no number as mean": model_with(mean="1"),
    "mean that is not finite": model_with(mean=float("nan")),
    "history of texts": model_with(history=[["a"]]),
    "history of other columns": model_with(history=[[1, 2]]),
    "interactions that are no table": model_with(interactions=3),
    "other timestamps": lambda header, model: model["interactions"].update(timestamps="datetime64[ns]"),
    "origin that is no mapping": lambda header, model: header["__metadata__"].update(origin="[]"),
    "origin that is no text": lambda header, model: header["__metadata__"].update(origin='{"fitted": 3}'),
    "origin that is no time": lambda header, model: header["__metadata__"].update(origin='{"fitted": "today"}'),
    "other rank": parameters_with(rank=4),
    "rank that is none": parameters_with(rank="3"),
    "unknown parameter": parameters_with(surprise=1),
    "objective of a model": parameters_with(objective={"class": "ALS", "fields": {}}),
    "objective of a module": parameters_with(objective={"class": "os.system", "fields": {}}),
    "objective of other fields": parameters_with(objective={"class": "Explicit", "fields": {"weights": 3}}),
    "objective that is wrong": parameters_with(objective={"class": "Explicit", "fields": {"weight": -1}}),
    "array that is not there": parameters_with(init={"array": "nowhere"}),
    "tag of nobody": parameters_with(init={"pickle": "gASV"}),
    "generator beyond its buffer": parameters_with(
        random_state={"generator": {"bit_generator": "MT19937", "state": {"key": [1] * 624, "pos": 10**9}}}
    ),
    "generator of nobody": parameters_with(random_state={"generator": {"bit_generator": "default_rng"}}),
    "generator of a list": parameters_with(random_state={"generator": {"bit_generator": []}}),
    "deep nest": parameters_with(init=json.loads("[" * 900 + "]" * 900)),
    "empty array of a huge shape": lambda header, model: header.update(
        {"more.x": {"dtype": "F64", "shape": [HUGE, 0], "data_offsets": [last_offset(header)] * 2}}
    ),
}


def rewritten(path: Path, change: Callable[[dict, dict], object]) -> None:
    """Change the header of a file and its description of the model."""
    header, rest = header_of(path.read_bytes())
    model = json.loads(header["__metadata__"]["model"])
    change(header, model)
    header["__metadata__"]["model"] = json.dumps(model)
    path.write_bytes(with_header(header, rest))


@pytest.mark.parametrize("kind", ["als", "als-features", "bayesian"])
def test_file_of_version_with_drift_but_without_drift(tmp_path: Path, kind: str) -> None:
    """Such files have one more parameter of Explicit, and a column of zeros in the history of ALS."""

    def make_older(header: dict, model: dict) -> None:
        model["parameters"]["objective"]["fields"]["drift"] = None
        if kind != "bayesian":
            assert {len(line) for line in model["history"]} == {7}
            for line in model["history"]:
                line.insert(6, 0.0)

    model = fitted(kind)
    model.save(tmp_path / "older")
    rewritten(tmp_path / "older", make_older)
    assert_same(model, hs.load(tmp_path / "older"))
    if kind == "als-features":
        assert model.history_[-1].feature_regularization > 0


DRIFT = {"class": "Drift", "fields": {"bins": 10, "user_trend": True, "regularization": {"tuple": [30.0, 50.0]}}}


@pytest.mark.parametrize("verify", [True, False])
def test_error_for_drift(tmp_path: Path, verify: bool) -> None:
    fitted("als").save(tmp_path / "older")
    rewritten(
        tmp_path / "older",
        lambda header, model: model["parameters"]["objective"]["fields"].update(drift=DRIFT),
    )
    with pytest.raises(ModelFileError, match="older contains drifting biases, which are no longer supported: fit a"):
        hs.load(tmp_path / "older", verify=verify)


def test_error_for_arrays_of_drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """These are of an objective that was not stored."""
    model = fitted("als")
    arrays = model._to_arrays() | {"drift.scale": np.ones(1)}
    monkeypatch.setattr(hs.ALS, "_to_arrays", lambda self: arrays)
    model.save(tmp_path / "older")
    with pytest.raises(ModelFileError, match="older contains drifting biases, which are no longer supported: fit a"):
        hs.load(tmp_path / "older")


def last_offset(header: dict) -> int:
    return max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("name", HOSTILE)
def test_error_for_forged_header(sound: Path, tmp_path: Path, name: str, verify: bool) -> None:
    path = Path(shutil.copy(sound, tmp_path / "hostile"))
    rewritten(path, HOSTILE[name])
    tracemalloc.start()
    with pytest.raises(ModelFileError, match=f"^{path} (is|was) "):
        hs.load(path, verify=verify)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_threads_in_a_file_are_ignored(sound: Path, tmp_path: Path) -> None:
    header, rest = header_of(sound.read_bytes())
    model = json.loads(header["__metadata__"]["model"])
    model["parameters"]["threads"] = 10**9
    header["__metadata__"]["model"] = json.dumps(model)
    (tmp_path / "forged").write_bytes(with_header(header, rest))
    assert hs.load(tmp_path / "forged").threads is None


def with_array(content: bytes, name: str, change) -> bytes:
    header, rest = header_of(content)
    start, stop = header[name]["data_offsets"]
    dtype = container._DTYPES[header[name]["dtype"]]
    array = np.frombuffer(rest[start:stop], dtype).copy()
    change(array)
    return with_header(header, rest[:start] + array.tobytes() + rest[stop:])


WRONG_NUMBERS = {
    "position beyond the users": ("interactions.user_positions", lambda array: array.__setitem__(3, 10**6), False),
    "negative position": ("interactions.item_positions", lambda array: array.__setitem__(0, -1), False),
    "ends beyond the texts": ("items.ends", lambda array: array.__setitem__(-1, 2**40), False),
    "ends that go back": ("items.ends", lambda array: array.__setitem__(0, 100), False),
    "negative ends": ("items.ends", lambda array: array.__setitem__(0, -(2**62)), False),
    "text that is no UTF-8": ("items.utf8", lambda array: array.__setitem__(0, 255), False),
    "ids twice": ("items.utf8", lambda array: array.__setitem__(slice(None), 65), False),
    "ids that are no JSON": ("users.json", lambda array: array.__setitem__(0, 65), False),
    "ids of an unknown kind": ("users.json", lambda array: array.__setitem__(3, 65), False),
    "factors that are NaN": ("user_factors", lambda array: array.__setitem__(0, np.nan), True),
    "values that are NaN": ("interactions.values", lambda array: array.__setitem__(0, np.nan), True),
    "factors that are infinite": ("item_factors", lambda array: array.__setitem__(0, np.inf), True),
    "biases that are NaN": ("item_biases", lambda array: array.__setitem__(0, np.nan), True),
    "parameters that are NaN": ("parameters.objective.weight.columns", lambda array: array.fill(np.nan), False),
    "instants that are missing": ("interactions.timestamps", lambda array: array.__setitem__(2, -(2**63)), True),
    "weights that are infinite": ("interactions.weights", lambda array: array.__setitem__(0, np.inf), True),
    "counts below 0": ("item_counts", lambda array: array.__setitem__(0, -1), False),
    "weights below 0": ("interactions.weights", lambda array: array.__setitem__(0, -1), True),
    "a pair twice": ("interactions.item_positions", lambda array: array.__setitem__(slice(None), 0), True),
}


@pytest.mark.parametrize("name", WRONG_NUMBERS)
def test_error_for_wrong_numbers_with_valid_checksum(sound: Path, tmp_path: Path, name: str) -> None:
    array, change, only_verified = WRONG_NUMBERS[name]
    path = tmp_path / "forged"
    path.write_bytes(with_array(sound.read_bytes(), array, change))
    with pytest.raises(ModelFileError, match="is corrupted"):
        hs.load(path)
    if only_verified:
        with contextlib.suppress(hs.errors.DataError):
            use(hs.load(path, verify=False))
    else:
        with pytest.raises(ModelFileError, match="is corrupted"):
            hs.load(path, verify=False)


def model_of(kind: str) -> FactorModel:
    """Return one of `MODELS`, or one of those here, which require more data."""
    if kind in MODELS:
        return fitted(kind)
    n = np.arange(60)
    data = Interactions.from_arrays(n // 6, n * 7 % 13, 1.0 + n % 4, n * 1000)
    more = {"ordinal": hs.BayesianALS(ordinal=True, rank=2, iterations=4, burn_in=1, random_state=0)}
    return more[kind].fit(data)


def bool_of_two(array: np.ndarray) -> None:
    array.view(np.uint8)[0] = 2


WRONG_SAMPLES = {
    "noise that is NaN": ("bayesian", "more.noise", lambda array: array.__setitem__(0, np.nan), False),
    "noise of 0": ("bayesian", "more.noise", lambda array: array.__setitem__(0, 0.0), False),
    "negative noise": ("bayesian", "more.noise", lambda array: array.__setitem__(0, -1.0), False),
    "covariance that is NaN": ("bayesian", "more.users.roots", lambda array: array.fill(np.nan), False),
    "covariance of 0": ("bayesian", "more.items.roots", lambda array: array.fill(0.0), False),
    "samples that are NaN": ("bayesian", "more.users.factors", lambda array: array.__setitem__(0, np.nan), True),
    "infinite samples": ("bayesian", "more.items.biases", lambda array: array.__setitem__(0, np.inf), True),
    "means that are NaN": ("bayesian", "more.items.means", lambda array: array.__setitem__(0, np.nan), True),
    "truth that is 2": ("bayesian", "more.users.is_new", bool_of_two, True),
    "thresholds that descend": ("ordinal", "more.cuts", lambda array: array.__imul__(-1.0), False),
    "categories that descend": ("ordinal", "more.categories", lambda array: array.__imul__(-1.0), False),
}


@pytest.mark.parametrize("name", WRONG_SAMPLES)
def test_error_for_wrong_samples_with_valid_checksum(tmp_path: Path, name: str) -> None:
    kind, array, change, only_verified = WRONG_SAMPLES[name]
    model_of(kind).save(tmp_path / "sound")
    (tmp_path / "forged").write_bytes(with_array((tmp_path / "sound").read_bytes(), array, change))
    with pytest.raises(ModelFileError, match="is corrupted"):
        hs.load(tmp_path / "forged")
    if not only_verified:
        with pytest.raises(ModelFileError, match="is corrupted"):
            hs.load(tmp_path / "forged", verify=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["als", "als-features", "bayesian", "ordinal", "sgd", "popularity"])
def test_random_numbers_with_valid_checksums_do_not_crash(tmp_path: Path, kind: str) -> None:
    """Each array in turn is filled with random bits, or extreme values of its type."""
    model_of(kind).save(tmp_path / "sound")
    sound = (tmp_path / "sound").read_bytes()
    names = [name for name in header_of(sound)[0] if name != "__metadata__"]
    for seed in range((8 if THOROUGH else 3) * len(names)):
        rng = np.random.default_rng(seed)

        def change(array: np.ndarray, rng: np.random.Generator = rng) -> None:
            some = rng.random(array.shape) < rng.choice([0.05, 1.0])
            bits = np.frombuffer(rng.bytes(array.nbytes), array.dtype).reshape(array.shape)
            if array.dtype.kind in "iu" and rng.random() < 0.5:
                bits = np.full_like(array, rng.choice([np.iinfo(array.dtype).min, np.iinfo(array.dtype).max, 0, 1]))
            array[some] = bits[some]

        (tmp_path / "forged").write_bytes(with_array(sound, names[seed % len(names)], change))
        for verify in (True, False):
            try:
                model = hs.load(tmp_path / "forged", verify=verify)
            except ModelFileError:
                continue
            with contextlib.suppress(hs.errors.HalfstepError), np.errstate(all="ignore"):
                use(model)


def test_error_for_large_header_before_reading_it(tmp_path: Path) -> None:
    size = 40_000_000
    content = container._START + b'","x":[' + b"[]," * (size // 3)
    (tmp_path / "file").write_bytes(length(len(content)) + content)
    tracemalloc.start()
    with pytest.raises(ModelFileError, match="is corrupted: its header claims"):
        hs.load(tmp_path / "file")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.slow
@pytest.mark.parametrize("entry", [b"{}", b'{"tuple":[]}', b"1"])
def test_error_for_long_ids_before_parsing_them(sound: Path, tmp_path: Path, entry: bytes) -> None:
    """Parsing one id of ten million parts would take 30 times its size."""
    text = np.frombuffer(b'[{"tuple":[' + b",".join([entry] * (10_000_000 // len(entry))) + b"]}]", np.uint8)
    arrays = {"users.json": text}
    tracemalloc.start()
    with pytest.raises(Fault, match=r"users.json has an id that cannot be read"):
        unpack_vocabulary(arrays, "users")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * len(text)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
class TestSpecialFiles:
    @pytest.mark.parametrize("options", [{}, {"verify": False}, {"copy": True}], ids=repr)
    def test_a_named_pipe_does_not_block(self, tmp_path: Path, options: dict[str, bool]) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match=r"it is a named pipe, not a regular file: .*pipe"):
            hs.load(tmp_path / "pipe", **options)  # type: ignore[arg-type]

    @pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
    def test_a_device_is_not_read(self, device: str) -> None:
        with pytest.raises(OSError, match="it is a device"):
            hs.load(device)


# Saving under bad luck.


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import numpy as np
import halfstep as hs
path = Path(sys.argv[1])
users = [f"user {n}" for n in range(20_000)]
models = [hs.persistence.from_arrays(np.full((20_000, 16), x), np.full((5, 16), x), users=users) for x in (1.0, 2.0)]
models[0].save(path)
rng = random.Random(0)
for number in range(50):
    child = os.fork()
    if child == 0:
        while True:
            models[number % 2].save(path)
            models[1 - number % 2].save(path)
    time.sleep(rng.uniform(0.0, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    loaded = hs.load(path)
    (number,) = np.unique(loaded.user_factors_)
    assert (loaded.item_factors_ == number).all() and list(loaded.users_) == users
    left_behind = [rest for rest in path.parent.iterdir() if rest != path]
    print(int(number), len(left_behind))
    for rest in left_behind:
        rest.unlink()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, so that fifty processes start quickly")
def test_killed_process_leaves_a_complete_file(tmp_path: Path) -> None:
    one_thread = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    shown = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "model.halfstep"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | one_thread,
        timeout=120,
    )
    assert shown.returncode == 0, shown.stderr
    rounds = [tuple(map(int, line.split())) for line in shown.stdout.splitlines()]
    assert len(rounds) == 50
    assert {number for number, _ in rounds} == {1, 2}  # an old file, or a new one
    assert {left for _, left in rounds} == {0, 1}  # kills that hit the middle of a save, and others


LIMITED = """
import resource, sys
import halfstep as hs
model = hs.load(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))
try:
    model.save(sys.argv[1])
except hs.errors.ModelFileError as error:
    print(error.errno, error)
"""


class TestWriteErrors:
    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
    def test_full_disk_keeps_the_old_file(self, sound: Path, tmp_path: Path) -> None:
        path = tmp_path / "model"
        shutil.copy(sound, path)
        command = [sys.executable, "-c", LIMITED, path]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert shown.startswith(f"{errno.EFBIG} {path} was not written (File too large): free disk space, or save to")
        assert list(tmp_path.iterdir()) == [path]
        assert path.read_bytes() == sound.read_bytes()

    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(
            ModelFileError, match=r"nowhere.model was not written \(there is no folder .*nowhere\): create the folder"
        ) as caught:
            fitted("item bias").save(tmp_path / "nowhere" / "model")
        assert caught.value.errno == errno.ENOENT

    def test_path_of_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "model").mkdir()
        with pytest.raises(
            ModelFileError, match=r"model was not written \(it is a folder\): give the path of a file"
        ):
            fitted("item bias").save(tmp_path / "model")
        assert [path.name for path in tmp_path.iterdir()] == ["model"]

    def test_ctrl_c(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        model = fitted("als")
        model.save(tmp_path / "model")
        before = (tmp_path / "model").read_bytes()

        def interrupted(header: bytes, arrays: object) -> Iterator[memoryview]:
            yield memoryview(header)
            signal.raise_signal(signal.SIGINT)
            yield memoryview(b"more")

        with monkeypatch.context() as patched:
            patched.setattr(container, "_chunks", interrupted)
            with pytest.raises(KeyboardInterrupt):
                model.save(tmp_path / "model")
        assert [path.name for path in tmp_path.iterdir()] == ["model"]
        assert (tmp_path / "model").read_bytes() == before


class TestFilesInUse:
    @pytest.mark.skipif(sys.platform == "win32", reason="Windows does not replace a file that is mapped")
    def test_loaded_model_does_not_need_its_file(self, tmp_path: Path) -> None:
        path = tmp_path / "model"
        first = fitted("als")
        first.save(path)
        expected = first.predict(SOME)
        loaded, twice = hs.load(path), hs.load(path)
        loaded.save(path)  # over the very file that it lies in
        assert_same(loaded, hs.load(path))
        hs.SGD(rank=5, iterations=1).fit(SOME).save(path)
        path.unlink()
        assert same_array(loaded.predict(SOME), expected)
        assert same_array(twice.predict(SOME), expected)

    @pytest.mark.parametrize("verify", [True, False])
    @pytest.mark.parametrize("name", ["als", "bayesian"])
    def test_a_copy_does_not_depend_on_its_file(self, tmp_path: Path, name: str, verify: bool) -> None:
        path = tmp_path / "model"
        model = fitted(name)
        model.save(path)
        loaded = hs.load(path, verify=verify, copy=True)
        assert_same(model, loaded)
        size = path.stat().st_size
        with path.open("r+b") as file:  # as cp does
            file.write(bytes(size // 2))
            file.truncate(size // 2)
        assert_same(model, loaded)
        assert not loaded.item_factors_.flags.writeable

    @pytest.mark.slow
    def test_a_file_from_another_process(self, tmp_path: Path) -> None:
        program = (
            "import sys, halfstep as hs\n"
            "data = hs.Interactions.from_arrays(['ann', 'ann', 'eve'], [3, 1, 3], [5.0, 1.0, 4.0])\n"
            "model = hs.ALS(rank=2, random_state=0, threads=1).fit(data)\n"
            "model.save(sys.argv[1])\n"
            "print(model.predict(['ann', 'eve', 'eve'], [3, 3, 1]).tolist())\n"
        )
        command = [sys.executable, "-c", program, tmp_path / "model"]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert hs.load(tmp_path / "model").predict(["ann", "eve", "eve"], [3, 3, 1]).tolist() == json.loads(shown)

    def test_a_loaded_model_can_be_pickled_for_other_processes(self, tmp_path: Path) -> None:
        loaded = saved(fitted("als"), tmp_path / "model")
        assert_same(loaded, pickle.loads(pickle.dumps(loaded)))
