"""Models that other libraries have saved: implicit and Apache Spark."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from halfstep.errors import ModelFileError
from halfstep.parameters import as_path
from halfstep.pretrained import PretrainedFactors, from_arrays

SPARK_CLASS = "org.apache.spark.ml.recommendation.ALSModel"


def from_implicit(
    path: str | os.PathLike[str], *, users: Any = None, items: Any = None, interactions: Any = None
) -> PretrainedFactors:
    """Read the ``.npz`` that a matrix factorisation of the library implicit saved.

    Its models know no ids but the rows and columns of the matrix that they were fitted on. Models with biases (BPR,
    LMF) carry them as factors that are 1 on the other side, so nothing is lost.

    Parameters
    ----------
    path : path of a file
        What ``model.save`` of implicit wrote (0.5 to 0.7).
    users, items : Vocabulary or array-like of ids, optional
        The id of each row and of each column; 0 to n − 1 if left out.
    interactions : Interactions, scipy sparse matrix or dataframe, optional
        As in `from_arrays`; the matrix that ``fit`` was given, for one.

    Returns
    -------
    PretrainedFactors

    Raises
    ------
    OSError
        If the file cannot be opened.
    ModelFileError
        If it is not such a file.
    DataError
        As `from_arrays` does.
    """
    names = "user_factors", "item_factors"
    try:
        with as_path("path", path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile) or not set(names) <= set(archive.files):
                raise ValueError(f"it has no {' and '.join(names)}")
            factors = [archive[name] for name in names]
    except (ValueError, BadZipFile, EOFError, AttributeError, TypeError) as error:
        raise ModelFileError(
            f"{path} is no model of implicit ({error}): give the .npz that model.save of AlternatingLeastSquares, "
            "BayesianPersonalizedRanking or LogisticMatrixFactorization wrote"
        ) from error
    return from_arrays(*factors, users=users, items=items, interactions=interactions)


def from_spark(folder: str | os.PathLike[str], *, interactions: Any = None) -> PretrainedFactors:
    """Read the folder that an ``ALSModel`` of Apache Spark was saved to.

    A user or item that Spark does not know scores the baseline here, 0, where Spark says NaN or drops the row.

    Parameters
    ----------
    folder : path of a folder
        What ``model.write().save(path)`` wrote: ``metadata``, ``userFactors`` and ``itemFactors``. A saved pipeline
        has such a folder for its ALS below ``stages``.
    interactions : Interactions, scipy sparse matrix or dataframe, optional
        As in `from_arrays`, with Spark's integer ids.

    Returns
    -------
    PretrainedFactors
        Users and items by ascending id.

    Raises
    ------
    ModelFileError
        If it is not such a folder.
    ModuleNotFoundError
        If PyArrow, which reads parquet, is not installed.
    """
    folder = as_path("folder", folder)
    about = _spark_metadata(folder)
    users, P = _spark_factors(folder / "userFactors")
    items, Q = _spark_factors(folder / "itemFactors")
    rank = about.get("rank", P.shape[1])
    if (P.shape[1], Q.shape[1]) != (rank, rank):
        raise ModelFileError(
            f"{folder} has factors of rank {P.shape[1]} and {Q.shape[1]}, its metadata say {rank!r}: "
            "copy it again, whole"
        )
    return from_arrays(P, Q, users=users, items=items, interactions=interactions)


def _spark_metadata(folder: Path) -> dict[str, Any]:
    lines = [line for part in sorted(folder.glob("metadata/part-*")) for line in part.read_bytes().splitlines()]
    try:
        about = json.loads(lines[0]) if lines else None
    except (ValueError, RecursionError):
        about = None
    kind = about.get("class") if isinstance(about, dict) else None
    if not isinstance(about, dict) or kind != SPARK_CLASS:
        found = f"its metadata say {kind!r}" if kind else "it has no metadata that can be read"
        hint = " (a pipeline has one below stages)" if (folder / "stages").is_dir() else ""
        raise ModelFileError(f"{folder} is no ALSModel of Spark, {found}: give the folder of one{hint}")
    return about


def _spark_factors(folder: Path) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Ids, ascending, and the factors of each; of all parts."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("from_spark reads parquet with PyArrow: run pip install pyarrow") from error
    parts = sorted(folder.glob("*.parquet"))
    try:
        tables = [parquet.read_table(part, columns=["id", "features"]) for part in parts]
        filled = [table for table in tables if len(table)]
        if not filled:
            raise ValueError("no rows")
        table = pa.concat_tables(filled).combine_chunks()
        ids = table["id"].to_numpy().astype(np.int64)
        features = table["features"].combine_chunks()
        features = features.chunk(0) if isinstance(features, pa.ChunkedArray) else features
        lengths = np.diff(features.offsets.to_numpy())
        if len(set(lengths.tolist())) != 1 or features.null_count:
            raise ValueError("rows of different length")
        numbers = features.flatten().to_numpy(zero_copy_only=False)
    except (pa.ArrowException, ValueError, KeyError, AttributeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelFileError(
            f"{folder} holds no factors of Spark ({reason}): copy the folder of the model again, whole"
        ) from error
    order = np.argsort(ids, kind="stable")
    return ids[order], numbers.reshape(len(ids), -1)[order]
