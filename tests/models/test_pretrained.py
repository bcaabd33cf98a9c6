from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import random
import re
import shutil
import sys
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse
from threadpoolctl import threadpool_limits

import halfstep as hs
from halfstep.data import Vocabulary
from halfstep.errors import DataError, ModelFileError, ParameterError
from halfstep.persistence import from_arrays, from_implicit, from_spark
from stored import SOME, assert_same, fitted, same_array, saved

RNG = np.random.default_rng(0)
P, Q = RNG.normal(size=(4, 3)).astype(np.float32), RNG.normal(size=(5, 3)).astype(np.float32)


class TestFromArrays:
    def test_predictions_equal_formula(self) -> None:
        b_u, b_i = np.arange(4.0), np.arange(5.0) / 10
        model = from_arrays(
            P, Q, users=list("abcd"), items=range(10, 15), user_biases=b_u, item_biases=b_i, mean=np.float32(3)
        )
        scores = 3 + b_u[:, None] + b_i + P.astype(np.float64) @ Q.T.astype(np.float64)
        assert model.predict("c", [10, 14]) == pytest.approx(scores[2, [0, 4]], rel=1e-12)
        ranking = model.recommend("c", n=5, exclude_seen=False)
        assert list(ranking.ids[0]) == [10 + position for position in np.argsort(-scores[2])]
        assert model.predict("nobody", [14])[0] == 3 + b_i[4]

    def test_arrays_of_a_model_give_an_equal_model(self, tmp_path: Path) -> None:
        model = fitted("als")
        copy = from_arrays(
            model.user_factors_,
            model.item_factors_,
            users=model.users_,
            items=model.items_,
            user_biases=model.user_biases_,
            item_biases=model.item_biases_,
            mean=model.mean_,
            interactions=model.interactions_,
        )
        assert same_array(copy.predict(SOME), model.predict(SOME))
        assert str(copy.recommend(n=2)) == str(model.recommend(n=2))
        assert_same(copy, saved(copy, tmp_path / "model"))

    def test_arrays_are_copied(self) -> None:
        modified = P.copy()
        model = from_arrays(modified, Q)
        modified[:] = 0
        assert same_array(model.user_factors_, P)
        assert model.users_ == Vocabulary(range(4))

    @pytest.mark.parametrize("empty", [True, False])
    def test_rank_and_rows_may_be_zero(self, tmp_path: Path, empty: bool) -> None:
        model = (
            from_arrays(np.empty((0, 3)), np.ones((2, 3)))
            if empty
            else from_arrays(np.empty((2, 0)), np.empty((2, 0)))
        )
        assert_same(model, saved(model, tmp_path / "model"))

    def test_interactions_are_matched_by_id(self) -> None:
        seen = pd.DataFrame({"user": ["d", "a", "a"], "item": [14, 12, 10], "value": [1.0, 2.0, 3.0]})
        model = from_arrays(P, Q, users=list("abcd"), items=range(10, 15), interactions=seen)
        assert model.interactions_.users is model.users_
        assert list(model.interactions_.user_ids) == ["d", "a", "a"]
        assert list(model.interactions_.item_ids) == [14, 12, 10]
        assert not {10, 12} & set(model.recommend("a", n=5).ids[0])

    def test_rows_and_columns_of_a_sparse_matrix_are_those_of_the_factors(self) -> None:
        matrix = sparse.csr_array(([1.0], ([3], [4])), shape=(4, 5))
        model = from_arrays(P, Q, users=list("abcd"), items=range(10, 15), interactions=matrix)
        assert (list(model.interactions_.user_ids), list(model.interactions_.item_ids)) == (["d"], [14])

    def test_unused_ids_of_the_interactions_need_no_factors(self) -> None:
        data = hs.Interactions.from_arrays([0, 1, 99], [0, 1, 2]).subset([0, 1])
        assert len(from_arrays(P, Q, interactions=data).interactions_) == 2

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"user_factors": P[0]}, r"user_factors has the shape \(3,\): give a matrix"),
            ({"user_factors": P[:, :2]}, "user_factors has 2 columns and item_factors 3"),
            ({"item_factors": np.full((5, 3), np.nan)}, "item_factors has values that are not finite"),
            ({"item_factors": [["a"]]}, "item_factors has the dtype .*: give numbers"),
            ({"users": [1, 2]}, "users has 2 ids for 4 rows of factors"),
            ({"items": [1, 2, 3, 4, 1]}, "the item id in row 4 .* is 1: a repeat; give each id once"),
            ({"user_biases": [1.0]}, r"user_biases has the shape \(1,\): give 4 numbers"),
            ({"interactions": hs.Interactions.from_arrays([0, 7], [0, 0])}, "1 user without factors, such as 7"),
        ],
    )
    def test_invalid_arrays_are_refused(self, given: dict[str, object], message: str) -> None:
        with pytest.raises(DataError, match=message):
            from_arrays(**{"user_factors": P, "item_factors": Q} | given)

    def test_mean_that_is_not_finite_is_refused(self) -> None:
        with pytest.raises(ParameterError, match="mean=nan"):
            from_arrays(P, Q, mean=float("nan"))

    def test_cannot_be_fitted_but_can_initialize_another_model(self) -> None:
        model = from_arrays(P, Q)
        with pytest.raises(ParameterError, match=r"no objective.*init="):
            model.fit(SOME)
        data = hs.Interactions.from_sparse(sparse.csr_array((np.ones(4), (range(4), [0, 1, 2, 4])), shape=(4, 5)))
        hs.ALS(hs.Implicit(), rank=3, init=(model.user_factors_, model.item_factors_)).fit(data)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(path: Path, arrays: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in arrays.items():
            archive.writestr(f"{name}.npy", content)


class TestFromImplicit:
    def save(self, path: Path, **arrays: object) -> Path:
        np.savez(
            path, **({"user_factors": P, "item_factors": Q, "factors": 3, "dtype": "float32", "alpha": 1.0} | arrays)
        )
        return path

    def test_factors_are_unchanged(self, tmp_path: Path) -> None:
        matrix = sparse.csr_array(([1.0], ([3], [4])), shape=(4, 5))
        path = self.save(tmp_path / "als.npz")
        model = from_implicit(path, users=list("abcd"), items=list("vwxyz"), interactions=matrix)
        assert same_array(model.user_factors_, P)
        assert same_array(model.item_factors_, Q)
        assert list(model.interactions_.item_ids) == ["z"]
        assert from_implicit(str(path)).users_ == Vocabulary(range(4))

    def test_model_saved_by_implicit_gives_equal_recommendations(self, tmp_path: Path) -> None:
        als = pytest.importorskip("implicit.cpu.als")
        with threadpool_limits(1, "blas"):  # implicit warns otherwise
            peer = als.AlternatingLeastSquares(factors=4, iterations=2, random_state=0)
        peer.user_factors, peer.item_factors = P, Q
        peer.save(tmp_path / "als.npz")
        model = from_implicit(tmp_path / "als.npz")
        items, scores = peer.recommend(2, sparse.csr_matrix((1, 5)), N=5, filter_already_liked_items=False)
        ours = model.recommend(2, n=5, exclude_seen=False)
        assert list(ours.ids[0]) == list(items)
        assert ours.scores[0] == pytest.approx(scores, rel=1e-5)

    def test_other_files_are_refused(self, tmp_path: Path) -> None:
        other = tmp_path / "other.npz"
        for content in (b"text", b"", pickle.dumps([1]), b"PK\x03\x04"):
            other.write_bytes(content)
            with pytest.raises(ModelFileError, match=r"other.npz is not a model of implicit .*: give the .npz file"):
                from_implicit(other)
        np.savez(other, user_factors=P)
        with pytest.raises(ModelFileError, match="it has no user_factors and item_factors"):
            from_implicit(other)
        np.save(tmp_path / "one.npy", P)
        with pytest.raises(ModelFileError, match="is not a model of implicit"):
            from_implicit(tmp_path / "one.npy")
        with pytest.raises(FileNotFoundError):
            from_implicit(tmp_path / "nothing.npz")

    def test_pickled_arrays_are_refused(self, tmp_path: Path) -> None:
        path = self.save(tmp_path / "als.npz", item_factors=np.array([Bomb()], dtype=object))
        with pytest.raises(ModelFileError, match="is not a model of implicit"):
            from_implicit(path)

    @pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
    def test_corrupt_file_raises_documented_error_or_loads(self, tmp_path: Path, compression: int) -> None:
        """Cover the errors of zipfile, its decompressors and the parser of npy headers."""
        path = tmp_path / "als.npz"
        npz(path, {"user_factors": npy(P), "item_factors": npy(Q)}, compression)
        intact = path.read_bytes()
        for seed in range(300):
            rng = random.Random(seed)
            changed = bytearray(intact)
            for _ in range(rng.randint(1, 3)):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            path.write_bytes(bytes(changed[: rng.choice([len(changed), rng.randrange(len(changed))])]))
            with contextlib.suppress(ModelFileError, DataError), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert from_implicit(path).user_factors_.shape[1] == from_implicit(path).item_factors_.shape[1]

    @pytest.mark.parametrize(
        "header",
        [
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 3)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-4, -3)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (12,)}",
            "{'descr': '|O', 'fortran_order': False, 'shape': (4, 3)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (4L, 3L)",
            "{'descr': 'a",
            "(" * 5000,
            "{'descr': '<f4'}",
        ],
        ids=range(8),
    )
    def test_invalid_headers_are_refused_before_memory_is_allocated(self, tmp_path: Path, header: str) -> None:
        text = header.encode() + b"\n"
        forged = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + P.tobytes()
        npz(tmp_path / "als.npz", {"user_factors": forged, "item_factors": npy(Q)})
        tracemalloc.start()
        with pytest.raises(ModelFileError, match=r"als.npz is not a model of implicit"):
            from_implicit(tmp_path / "als.npz")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10_000_000

    @pytest.mark.slow
    def test_zip_bomb_is_not_unpacked(self, tmp_path: Path) -> None:
        zeros = npy(np.zeros((10_000_000, 3), np.float32))
        npz(tmp_path / "als.npz", {"user_factors": zeros, "item_factors": npy(Q)}, zipfile.ZIP_DEFLATED)
        tracemalloc.start()
        with pytest.raises(ModelFileError, match=r"user_factors.npy claims 120,000,128 bytes"):
            from_implicit(tmp_path / "als.npz")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10_000_000

    def test_compressed_and_transposed_factors_are_read(self, tmp_path: Path) -> None:
        arrays = {"user_factors": npy(np.asfortranarray(P)), "item_factors": npy(Q.astype(np.float64))}
        npz(tmp_path / "als.npz", arrays, zipfile.ZIP_DEFLATED)
        model = from_implicit(tmp_path / "als.npz")
        assert same_array(model.user_factors_, P)
        assert same_array(model.item_factors_, Q.astype(np.float64))

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
    def test_a_named_pipe_does_not_block(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match="it is a named pipe"):
            from_implicit(tmp_path / "pipe")

    def test_factors_of_different_ranks_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="columns"):
            from_implicit(self.save(tmp_path / "als.npz", item_factors=Q[:, :2]))


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a pickle was run",)


SPARK_METADATA = {
    "class": "org.apache.spark.ml.recommendation.ALSModel",
    "timestamp": 1700000000000,
    "sparkVersion": "3.5.1",
    "uid": "ALS_0123456789ab",
    "paramMap": {"userCol": "user", "itemCol": "item"},
    "defaultParamMap": {"predictionCol": "prediction", "coldStartStrategy": "nan", "blockSize": 4096},
    "rank": 3,
}


def write_factors(folder: Path, ids: list[int], factors: np.ndarray, parts: int) -> None:
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    for part in range(parts):  # partitioned by the hash of the id, as in Spark
        rows = [row for row, each in enumerate(ids) if each % parts == part]
        table = pa.table(
            {
                "id": pa.array([ids[row] for row in rows], pa.int32()),
                "features": pa.array(factors[rows].tolist(), pa.list_(pa.float32())),
            }
        )
        name = f"part-{part:05}-7d6c1b9e-c000.snappy.parquet"
        pq.write_table(table, folder / name)
        (folder / f".{name}.crc").write_bytes(b"crc")


@pytest.fixture
def spark(tmp_path: Path) -> Path:
    """Write a folder in Spark's layout, with an empty part on each side."""
    folder = tmp_path / "spark-als"
    (folder / "metadata").mkdir(parents=True)
    (folder / "metadata" / "part-00000").write_text(json.dumps(SPARK_METADATA) + "\n")
    (folder / "metadata" / "_SUCCESS").touch()
    write_factors(folder / "userFactors", [7, 3, 12, 4], P, parts=5)
    write_factors(folder / "itemFactors", [100, 20, 31, 42, 53], Q, parts=7)
    return folder


class TestFromSpark:
    def test_all_parts_are_read_in_the_order_of_ids(self, spark: Path) -> None:
        seen = hs.Interactions.from_arrays([3, 7], [53, 100])
        model = from_spark(spark, interactions=seen)
        assert list(model.users_) == [3, 4, 7, 12]
        assert list(model.items_) == [20, 31, 42, 53, 100]
        assert same_array(model.user_factors_, P[[1, 3, 0, 2]])
        assert model.predict([7], [100])[0] == pytest.approx(P[0].astype(float) @ Q[0], rel=1e-6)
        assert 100 not in model.recommend(7, n=5).ids[0]
        assert 53 in model.recommend(7, n=5).ids[0]

    def test_can_be_saved(self, spark: Path, tmp_path: Path) -> None:
        model = from_spark(str(spark))
        assert_same(model, saved(model, tmp_path / "model"))

    def test_other_folders_are_refused(self, spark: Path, tmp_path: Path) -> None:
        with pytest.raises(ModelFileError, match="nowhere is not an ALSModel of Spark, or its metadata cannot"):
            from_spark(tmp_path / "nowhere")
        part = spark / "metadata" / "part-00000"
        part.write_text("{")
        with pytest.raises(ModelFileError, match="or its metadata cannot be read"):
            from_spark(spark)
        part.write_text(json.dumps({"class": "org.apache.spark.ml.PipelineModel"}))
        (spark / "stages").mkdir()
        with pytest.raises(ModelFileError, match=r"class 'org.apache.spark.ml.PipelineModel'.*below stages"):
            from_spark(spark)

    def test_invalid_or_missing_parts_are_refused(self, spark: Path) -> None:
        pq.write_table(pa.table({"id": [1], "features": [[1.0, 2.0]]}), spark / "userFactors" / "part-x.parquet")
        with pytest.raises(ModelFileError, match=r"userFactors does not contain factors of Spark .*: copy"):
            from_spark(spark)
        pq.write_table(pa.table({"id": [1], "other": [[1.0]]}), spark / "userFactors" / "part-x.parquet")
        with pytest.raises(ModelFileError, match="userFactors does not contain factors"):
            from_spark(spark)
        (spark / "userFactors" / "part-x.parquet").write_bytes(b"PAR1 and so on")
        with pytest.raises(ModelFileError, match="userFactors does not contain factors"):
            from_spark(spark)
        shutil.rmtree(spark / "userFactors")
        with pytest.raises(ModelFileError, match="no rows"):
            from_spark(spark)

    @pytest.mark.parametrize(
        ("ids", "reason"),
        [
            (pa.array([1, None], pa.int32()), "1 ids that are missing"),
            (pa.array([1, 2**63], pa.uint64()), "9223372036854775808"),
            (pa.array([1.0, 2.5]), "ids of type double instead of integers"),
            (pa.array(["1", "2"]), "ids of type string instead of integers"),
            (pa.array([True, False]), "ids of type bool instead of integers"),
        ],
        ids=["missing", "too large", "floats", "strings", "bools"],
    )
    def test_invalid_ids_are_refused(self, spark: Path, ids: pa.Array, reason: str) -> None:
        self.only_part(spark, pa.table({"id": ids, "features": [[1.0, 2.0, 3.0]] * 2}))
        with pytest.raises(ModelFileError, match=rf"userFactors does not contain factors of Spark \(.*{reason}"):
            from_spark(spark)

    def test_ids_of_64_bits_are_kept(self, spark: Path) -> None:
        ids = pa.array([2**53 + 1, 2**63 - 1, -(2**63)], pa.int64())
        self.only_part(spark, pa.table({"id": ids, "features": [[1.0, 2.0, 3.0]] * 3}))
        assert from_spark(spark).users_.ids.tolist() == sorted(ids.to_pylist())

    @pytest.mark.parametrize("features", [[[1.0, None, 3.0]], [["1", "2", "3"]], [None]])
    def test_invalid_features_are_refused(self, spark: Path, features: list[object]) -> None:
        self.only_part(spark, pa.table({"id": [1], "features": features}))
        with pytest.raises(ModelFileError, match="userFactors does not contain factors of Spark"):
            from_spark(spark)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
    @pytest.mark.parametrize("part", ["metadata/part-00001", "userFactors/part-x.parquet"])
    def test_named_pipes_do_not_block(self, spark: Path, part: str) -> None:
        os.mkfifo(spark / part)
        with pytest.raises(OSError, match="it is a named pipe"):
            from_spark(spark)

    def only_part(self, spark: Path, table: pa.Table) -> None:
        for part in (spark / "userFactors").glob("*.parquet"):
            part.unlink()
        pq.write_table(table, spark / "userFactors" / "part-x.parquet")

    def test_rank_that_differs_from_metadata_is_refused(self, spark: Path) -> None:
        part = spark / "metadata" / "part-00000"
        part.write_text(json.dumps(SPARK_METADATA | {"rank": 5}))
        with pytest.raises(ModelFileError, match=re.escape("rank 3 and 3, but rank 5 in its metadata")):
            from_spark(spark)

    def test_error_without_pyarrow_says_how_to_install_it(self, spark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ModuleNotFoundError, match="pip install pyarrow"):
            from_spark(spark)


def test_masked_factors_are_refused() -> None:
    masked = np.ma.masked_array(np.ones((2, 2)), mask=np.eye(2))
    with pytest.raises(DataError, match="user_factors is a masked array: fill the masked values"):
        hs.persistence.from_arrays(masked, np.ones((3, 2)))
    with pytest.raises(DataError, match="item_biases is a masked array"):
        hs.persistence.from_arrays(np.ones((3, 2)), np.ones((2, 2)), item_biases=np.ma.masked_array([1.0, 2.0]))


@pytest.mark.parametrize("dtype", ["float16", ">f4", ">f8", "int8", "bool"])
def test_factors_are_converted_to_native_contiguous_arrays(dtype: str) -> None:
    P = np.asfortranarray(np.array([[1, 0], [0, 1], [1, 1]]).astype(dtype))
    P.flags.writeable = False
    model = hs.persistence.from_arrays(P, P[:2])
    assert model.user_factors_.flags.c_contiguous
    assert model.user_factors_.dtype.isnative
    assert model.recommend(n=1, exclude_seen=False).positions.shape == (3, 1)


def test_an_evaluation_requires_interactions() -> None:
    model = from_arrays(np.ones((2, 1)), np.ones((2, 1)))
    with pytest.raises(DataError, match=r"has no training interactions, .*: create it with interactions=\.\.\."):
        hs.evaluate(model, hs.Interactions.from_arrays([0, 1], [0, 1]))
