"""Load saved models, and import models of other libraries."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from zipfile import ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from halfstep._support.checks import as_path, check_flag
from halfstep._support.files import open_regular
from halfstep.errors import ModelFileError
from halfstep.models.als import ALS
from halfstep.models.als_loop import Iteration
from halfstep.models.baselines import GlobalMean, ItemBias, Popularity, UserItemBias
from halfstep.models.bayesian.bayesian_als import BayesianALS
from halfstep.models.bayesian.sweeps import Sweep
from halfstep.models.ease import EASE
from halfstep.models.factor_model import FactorModel
from halfstep.models.factorization import Factorization
from halfstep.models.incremental_model import IncrementalModel
from halfstep.models.item_knn import ItemKNN
from halfstep.models.live_array import LiveArray
from halfstep.models.pretrained import PretrainedFactors, from_arrays
from halfstep.models.sgd import SGD, Epoch
from halfstep.models.storage import Copies, construct, corrupted, naming_the_file, read_model

if TYPE_CHECKING:
    import pyarrow as pa


__all__ = ["from_arrays", "from_implicit", "from_spark", "load"]

# Only these classes are created from files.
MODELS: Mapping[str, type[FactorModel]] = {
    kind.__name__: kind
    for kind in (
        ALS,
        BayesianALS,
        SGD,
        GlobalMean,
        ItemBias,
        UserItemBias,
        Popularity,
        EASE,
        ItemKNN,
        PretrainedFactors,
    )
}
LINES: Mapping[str, type[Iteration] | type[Sweep] | type[Epoch]] = {  # the items of history_
    "ALS": Iteration,
    "BayesianALS": Sweep,
    "SGD": Epoch,
}


def load(path: str | os.PathLike[str], *, verify: bool = True, copy: bool = False) -> FactorModel:
    """Read a model that ``model.save`` wrote.

    Nothing in the file is executed, so files from untrusted sources are safe to load.
    Factors and interactions are mapped into memory, not copied: several processes that load one file share its pages,
    of which `partial_fit` copies those that it changes, and the arrays are read-only. The file may be replaced by
    ``save`` or ``mv`` while the model is in use (not on Windows). It must not be changed in place, such as by
    ``cp``: the arrays of the model would change, or the process would be killed for reading beyond the end of the
    file. With ``copy=True``, later changes of the file have no effect.

    Parameters
    ----------
    path : path of a file
    verify : bool
        Whether to compare the checksums of all arrays, which reads the whole file. Otherwise, huge files open
        immediately, but corrupted numbers are not detected. Sizes and positions are always checked.
    copy : bool
        Whether to read the file into memory instead of mapping it.

    Returns
    -------
    FactorModel
        With the class, the parameters and the fitted attributes of the saved model, except that ``threads`` and
        ``backend`` have their defaults.

    Raises
    ------
    OSError
        If the file does not exist (FileNotFoundError) or cannot be opened.
    ModelFileError
        If the file is not a model file, is truncated or corrupted, or was written by a newer version of halfstep.

    Examples
    --------
    >>> import tempfile, pathlib, halfstep as hs
    >>> data = hs.Interactions.from_arrays(["ann", "ann", "bob"], ["tea", "milk", "tea"], [5.0, 1.0, 4.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     hs.ItemBias().fit(data).save(pathlib.Path(folder) / "model.halfstep")
    ...     model = hs.load(pathlib.Path(folder) / "model.halfstep")
    >>> model
    <ItemBias(), fitted: 2 users, 2 items>
    """
    path = as_path("path", path)
    for name, flag in (("verify", verify), ("copy", copy)):
        check_flag(name, flag)
    stored = read_model(path, verify=verify, copy=copy)
    with naming_the_file(path):
        if not isinstance(stored.kind, str) or stored.kind not in MODELS:
            raise corrupted(f"it holds a model of the unknown class {stored.kind!r}")
        model: FactorModel = construct(MODELS[stored.kind], stored.parameters)
        fitted = stored.fitted
        if fitted.history is not None:
            fitted = replace(fitted, history=_history(stored.kind, fitted.history))
        try:
            fitted = model._from_arrays(fitted, stored.more)
        except ValueError as error:
            raise corrupted(str(error)) from error
        if isinstance(model, IncrementalModel):
            model._set_result(fitted, _live=_live_arrays(fitted, stored.copies))
        else:
            model._set_result(fitted)
    return model


def _live_arrays(fitted: Factorization, copies: Copies) -> dict[str, LiveArray]:
    return {name: LiveArray(getattr(fitted, name), copy) for name, copy in copies.items()}


def _history(kind: str, lines: Sequence[tuple[float, ...]]) -> list[Any]:
    if kind not in LINES:
        raise corrupted(f"it holds a history, which {kind} does not have")
    line = LINES[kind]
    if line is Iteration:  # older files have the regularization of drift, 0, before the last number
        lines = [(*numbers[:6], *numbers[7:]) if len(numbers) == 8 else numbers for numbers in lines]
    return [construct(line, dict(zip(line._fields, numbers, strict=False))) for numbers in lines]


SPARK_CLASS = "org.apache.spark.ml.recommendation.ALSModel"
LARGEST_RATIO = 100  # of compression; factors compress much less, and a zip bomb up to 1000
LARGEST_METADATA = 1_000_000  # bytes

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def from_implicit(
    path: str | os.PathLike[str], *, users: Any = None, items: Any = None, interactions: Any = None
) -> PretrainedFactors:
    """Read the ``.npz`` file of a matrix factorization of the library implicit.

    Its models have no ids, only the rows and columns of the training matrix. Models with biases (BPR, LMF) store them
    as factors that are 1 on the other side, so scores are the same.

    Parameters
    ----------
    path : path of a file
        A file written by ``model.save`` of implicit 0.5 to 0.7.
    users, items : Vocabulary or array-like of ids, optional
        The ids of rows and columns; by default, 0 to n − 1.
    interactions : Interactions, scipy sparse matrix or dataframe, optional
        As for `from_arrays`, such as the matrix passed to ``fit``.

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
        As for `from_arrays`.
    """
    with open_regular(as_path("path", path)) as file:
        try:
            factors = _factors_of_npz(file)
        except Exception as error:  # any error of the parsers of zip and npy
            raise ModelFileError(
                f"{path} is not a model of implicit ({error or type(error).__name__}): give the .npz file written by "
                "model.save of AlternatingLeastSquares, BayesianPersonalizedRanking or LogisticMatrixFactorization"
            ) from error
    return from_arrays(*factors, users=users, items=items, interactions=interactions)


def _factors_of_npz(file: BinaryIO) -> list[NDArray[np.generic]]:
    """Read two matrices, whose declared sizes are checked against that of the file before memory is allocated."""
    size = os.fstat(file.fileno()).st_size
    names = "user_factors", "item_factors"
    with ZipFile(file) as archive:
        if not {f"{name}.npy" for name in names} <= set(archive.namelist()):
            raise ValueError(f"it has no {' and '.join(names)}")
        found = [archive.getinfo(f"{name}.npy") for name in names]
        for member in found:
            if member.compress_size > size or member.file_size > LARGEST_RATIO * member.compress_size:
                raise ValueError(
                    f"{member.filename} claims {member.file_size:,} bytes, of {member.compress_size:,} in a file of "
                    f"{size:,}"
                )
        return [_matrix_of_npy(archive, member) for member in found]


def _matrix_of_npy(archive: ZipFile, member: ZipInfo) -> NDArray[np.generic]:
    with archive.open(member) as file:
        read_header = _HEADERS[np.lib.format.read_magic(file)]
        shape, is_fortran, dtype = read_header(file)
        if len(shape) != 2 or dtype.kind not in "fiu":
            raise ValueError(f"{member.filename} is of shape {shape} and dtype {dtype}: expected a matrix of numbers")
        expected = math.prod(shape) * dtype.itemsize
        if min(shape) < 0 or expected != member.file_size - file.tell():
            raise ValueError(f"{member.filename} of shape {shape} does not have {expected:,} bytes")
        content = file.read()
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


def from_spark(folder: str | os.PathLike[str], *, interactions: Any = None) -> PretrainedFactors:
    """Read the folder of an ``ALSModel`` of Apache Spark.

    Unknown users and items have the score 0 (in Spark, NaN, or the row is dropped).

    Parameters
    ----------
    folder : path of a folder
        A folder written by ``model.write().save(path)``, with ``metadata``, ``userFactors`` and ``itemFactors``. In a
        saved pipeline, it is below ``stages``.
    interactions : Interactions, scipy sparse matrix or dataframe, optional
        As for `from_arrays`, with the integer ids of Spark.

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
            f"{folder} has factors of rank {P.shape[1]} and {Q.shape[1]}, but rank {rank!r} in its metadata: "
            "copy the complete folder again"
        )
    return from_arrays(P, Q, users=users, items=items, interactions=interactions)


def _spark_metadata(folder: Path) -> dict[str, Any]:
    lines = [line for part in sorted(folder.glob("metadata/part-*")) for line in _beginning(part).splitlines()]
    try:
        about = json.loads(lines[0]) if lines else None
    except (ValueError, RecursionError):
        about = None
    kind = about.get("class") if isinstance(about, dict) else None
    if not isinstance(about, dict) or kind != SPARK_CLASS:
        found = f"but has the class {kind!r} in its metadata" if kind else "or its metadata cannot be read"
        hint = " (a pipeline has one below stages)" if (folder / "stages").is_dir() else ""
        raise ModelFileError(
            f"{folder} is not an ALSModel of Spark, {found}: give the folder of a saved ALSModel{hint}"
        )
    return about


def _beginning(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read(LARGEST_METADATA)


def _spark_factors(folder: Path) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Return the ids of all parts, ascending, and their factors."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("from_spark reads parquet with PyArrow: run pip install pyarrow") from error
    parts = sorted(folder.glob("*.parquet"))
    try:
        tables = []
        for part in parts:
            with open_regular(part) as file:
                tables.append(parquet.read_table(file, columns=["id", "features"]))
        filled = [table for table in tables if len(table)]
        if not filled:
            raise ValueError("no rows")
        table = pa.concat_tables(filled).combine_chunks()
        ids = _spark_ids(table["id"])
        features = table["features"].combine_chunks()
        features = features.chunk(0) if isinstance(features, pa.ChunkedArray) else features
        lengths = np.diff(features.offsets.to_numpy())
        if len(set(lengths.tolist())) != 1 or features.null_count:
            raise ValueError("rows of different length")
        values = features.flatten()
        if values.null_count or not pa.types.is_floating(values.type):
            raise ValueError(f"features that are missing, or of type {values.type}")
        numbers = values.to_numpy(zero_copy_only=False)
    except (pa.ArrowException, ValueError, KeyError, AttributeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelFileError(
            f"{folder} does not contain factors of Spark ({reason}): copy the complete folder of the model again"
        ) from error
    order = np.argsort(ids, kind="stable")
    return ids[order], numbers.reshape(len(ids), -1)[order]


def _spark_ids(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return ids as int64; ValueError or ArrowInvalid if one is not an integer that int64 holds."""
    import pyarrow as pa

    if not pa.types.is_integer(column.type):
        raise ValueError(f"ids of type {column.type} instead of integers")
    if column.null_count:
        raise ValueError(f"{column.null_count:,} ids that are missing")
    ids: NDArray[np.int64] = column.cast(pa.int64()).to_numpy()
    return ids
