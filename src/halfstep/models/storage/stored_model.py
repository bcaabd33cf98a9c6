"""The content of model files."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from halfstep._support.checks import as_pair
from halfstep._support.faults import Fault, corrupted, has_drift, naming_the_file, parse_json
from halfstep._support.version import __version__
from halfstep.data import Interactions, Vocabulary
from halfstep.data.duplicates import find_repeat
from halfstep.data.on_disk.folder import open_folder
from halfstep.data.packed_ids import Arrays, need, pack_texts, pack_vocabulary, unpack_texts, unpack_vocabulary
from halfstep.errors import DataError, ParameterError
from halfstep.models.factorization import Factorization
from halfstep.models.origin import Origin
from halfstep.models.storage.container import VERSION, Copies, read_container, write_container
from halfstep.models.storage.values import construct, pack_value, unpack_value
from halfstep.objective.regularization import Regularization
from halfstep.solvers import NAMES, Solver


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredModel:
    """The content of a model file.

    Attributes
    ----------
    kind : str
        The name of the class.
    parameters : dict from str to value
        The parameters of the constructor.
    fitted : Factorization
        Its `data` and its users and items have the same vocabularies; the rows of its `history` are tuples of numbers
        after reading.
    more : dict from str to ndarray
        Further arrays of this class.
    written_by : str
        The version of halfstep that wrote the file.
    version : int
        The version of the format.
    copies : dict from str to callable
        Return writable copies of mapped factors, biases and item_counts, or None; see
        `halfstep.models.storage.container.Container`.
    """

    kind: str
    parameters: dict[str, Any]
    fitted: Factorization
    more: dict[str, NDArray[Any]] = field(default_factory=dict)
    written_by: str = __version__
    version: int = VERSION
    copies: Copies = field(default_factory=dict)


_MORE = "more."
_NOT_STORED = ("backend", "threads")  # parameters of the machine, which have their defaults after loading
_FACTORS = ("user_factors", "item_factors", "user_biases", "item_biases")


def write_model(model: StoredModel, path: Path) -> None:
    """Write a model to a file atomically.

    Raises
    ------
    DataError
        If an id is of a type that cannot be stored.
    ParameterError
        If the parts of the model are inconsistent.
    ModelFileError
        If the file cannot be written; an old file is then unchanged.
    """
    fitted, data = model.fitted, model.fitted.interactions
    if data is not None and (data.users != fitted.users or data.items != fitted.items):
        raise ParameterError("the model's ids are not those of its interactions: fit it again before saving")
    arrays: Arrays = {name: getattr(fitted, name) for name in (*_FACTORS, "item_counts")}
    arrays |= {f"{_MORE}{name}": array for name, array in model.more.items()}
    arrays |= pack_vocabulary(fitted.users, "users") | pack_vocabulary(fitted.items, "items")
    parameters = {
        name: pack_value(value, name, arrays) for name, value in model.parameters.items() if name not in _NOT_STORED
    }
    about: dict[str, Any] = {
        "class": model.kind,
        "parameters": parameters,
        "mean": float(fitted.mean),
        "folded": fitted.is_folded,
        "history": None if fitted.history is None else [list(map(_number, line)) for line in fitted.history],
        "interactions": None if data is None else _pack_interactions(data, arrays),
    }
    try:
        _check_sizes(about, arrays, len(fitted.users), len(fitted.items))
    except ValueError as error:
        raise ParameterError(f"the model is inconsistent: {error}; fit it again before saving") from error
    arrays = {name: np.asarray(array, array.dtype.newbyteorder("<"), order="C") for name, array in arrays.items()}
    metadata = {
        "written_by": __version__,
        "model": json.dumps(about, separators=(",", ":")),
        "values": fitted.values_are,
        "origin": json.dumps(fitted.origin.to_texts()),
    }
    write_container(path, arrays, metadata)


def _number(value: float) -> float:
    return value.item() if isinstance(value, np.generic) else value


def read_model(path: Path, *, verify: bool, copy: bool) -> StoredModel:
    """Read a model file.

    Raises
    ------
    OSError
        If the file cannot be opened.
    ModelFileError
        If the file is truncated, corrupted, of a newer version, or not a model file.
    """
    with naming_the_file(path):
        container = read_container(path, verify=verify, copy=copy)
        about = parse_json(container.metadata.get("model", ""), "its description of the model")
        values_are = container.metadata.get("values", "given")  # missing in older files
        origin = _unpack_origin(container.metadata.get("origin", "{}"))
        model = _unpack(about, dict(container.arrays), values_are, origin, verify=verify)
        if container.metadata["version"] == "1" and model.kind == "ALS":
            model = dataclasses.replace(model, parameters=_of_version_1(model.parameters))
    copies = {name: container.copies[name] for name in (*_FACTORS, "item_counts") if name in container.copies}
    return dataclasses.replace(
        model,
        copies=copies,
        written_by=container.metadata.get("written_by", "of unknown version"),
        version=int(container.metadata["version"]),
    )


def _of_version_1(parameters: dict[str, Any]) -> dict[str, Any]:
    """Convert the parameters of `ALS` from version 1, which had more parameters."""
    given = dict(parameters)
    for name in ("system_dtype", "finalize"):
        given.pop(name, None)
    users, items = as_pair("regularization", given.get("regularization"))
    scaling = {
        "exponent": given.pop("regularization_exponent", None),
        "bias_ratio": given.pop("bias_regularization", None),
        "counts": given.pop("regularization_counts", Regularization.counts),
        "features": given.pop("feature_regularization", Regularization.features),
    }
    if any(scaling[name] != getattr(Regularization, name) for name in scaling):
        given["regularization"] = construct(Regularization, {"users": users, "items": items} | scaling)
    settings: dict[str, Any] = {name: given.pop(name) for name in ("extrapolation", "refresh_users") if name in given}
    name = given.get("solver", "auto")
    if any(value != getattr(Solver, setting) for setting, value in settings.items()):
        rank = given.get("rank")
        automatic = "cg" if isinstance(rank, int) and rank > 32 else "cholesky"
        kind = NAMES.get(automatic if name == "auto" else name)
        if kind is None:
            raise corrupted(f"its solver is {name!r}")
        given["solver"] = construct(kind, settings)
    return given


def _unpack_origin(text: str) -> Origin:
    stored = parse_json(text, "its times of fitting and updates")
    if not isinstance(stored, dict) or not all(isinstance(time, str) for time in stored.values()):
        raise corrupted("its times of fitting and updates are invalid")
    try:
        return Origin.from_texts(stored)
    except ValueError as error:
        raise corrupted(f"its times of fitting and updates are invalid ({error})") from error


def _unpack(about: Any, arrays: Arrays, values_are: str, origin: Origin, *, verify: bool) -> StoredModel:
    expected = {"class", "parameters", "mean", "folded", "history", "interactions"}
    if not isinstance(about, dict) or about.keys() != expected or not isinstance(about["parameters"], dict):
        raise corrupted("its description of the model is incomplete")
    mean = about["mean"]
    if type(mean) not in (int, float) or not math.isfinite(mean):
        raise corrupted(f"its mean is {mean!r}")
    if not isinstance(about["folded"], bool):
        raise corrupted("its flag for folded-in users is missing")
    users, items = unpack_vocabulary(arrays, "users"), unpack_vocabulary(arrays, "items")
    try:
        _check_sizes(about, arrays, len(users), len(items))
    except ValueError as error:
        raise corrupted(str(error)) from error
    if any(name.startswith(f"{_MORE}drift.") for name in arrays):  # of an objective that was not stored
        raise has_drift()
    stored = about["interactions"]
    fitted = Factorization(
        users=users,
        items=items,
        user_factors=arrays["user_factors"],
        item_factors=arrays["item_factors"],
        user_biases=arrays["user_biases"],
        item_biases=arrays["item_biases"],
        item_counts=arrays["item_counts"],
        mean=float(mean),
        data=None if stored is None else _unpack_interactions(stored, arrays, users, items, verify=verify),
        values_are=values_are,
        origin=origin,
        is_folded=about["folded"],
        history=_unpack_history(about["history"]),
    )
    return StoredModel(
        kind=about["class"],
        parameters={
            name: unpack_value(value, name, arrays)
            for name, value in about["parameters"].items()
            if name not in _NOT_STORED
        },
        fitted=fitted,
        more={name.removeprefix(_MORE): array for name, array in arrays.items() if name.startswith(_MORE)},
    )


def _unpack_history(stored: Any) -> list[tuple[float, ...]] | None:
    if stored is None:
        return None
    if not isinstance(stored, list) or not all(isinstance(line, list) for line in stored):
        raise corrupted("its history is not a table")
    if not all(type(number) in (int, float) for line in stored for number in line):
        raise corrupted("its history has values that are not numbers")
    return [tuple(line) for line in stored]


def _check_sizes(about: dict[str, Any], arrays: Arrays, n_users: int, n_items: int) -> None:
    """Raise ValueError if factors, vocabularies and parameters are inconsistent."""
    missing = [name for name in (*_FACTORS, "item_counts") if name not in arrays]
    if missing:
        raise ValueError(f"{', '.join(missing)} are missing")
    P, Q, user_biases, item_biases = (arrays[name] for name in _FACTORS)
    if any(array.dtype not in (np.float32, np.float64) for array in (P, Q, user_biases, item_biases)):
        raise ValueError("its factors and biases are not all float32 or float64")
    rank = P.shape[1] if P.ndim == 2 else -1
    shapes = [array.shape for array in (P, Q, user_biases, item_biases)]
    if shapes != [(n_users, rank), (n_items, rank), (n_users,), (n_items,)]:
        raise ValueError(f"its factors and biases have the shapes {shapes} for {n_users} users and {n_items} items")
    counts = arrays["item_counts"]
    if counts.dtype != np.int64 or counts.shape != (n_items,) or (counts < 0).any():
        raise ValueError(f"its item_counts are invalid, or not of {n_items} items")
    if about["parameters"].get("rank") not in (None, rank):
        raise ValueError(f"its factors have rank {rank}, but its parameters rank {about['parameters']['rank']}")


def _pack_interactions(data: Interactions, arrays: Arrays) -> dict[str, Any]:
    """Add the columns to `arrays`, and return the other attributes for JSON.

    For interactions on disk, which are too large to copy, the file has the path of the folder and its digest.
    """
    if data.stored is not None:
        if data.item_titles is not None:
            _pack_titles(data.item_titles, arrays)
        return {
            "folder": str(data.stored.folder),
            "identifier": data.stored.identifier,
            "titles": data.item_titles is not None,
        }
    arrays["interactions.user_positions"] = data.user_positions
    arrays["interactions.item_positions"] = data.item_positions
    arrays["interactions.values"] = data.values
    if data.weights is not None:
        arrays["interactions.weights"] = data.weights
    times = data.timestamps
    if times is not None:
        arrays["interactions.timestamps"] = times.view(np.int64) if times.dtype.kind == "M" else times
    if data.item_titles is not None:
        _pack_titles(data.item_titles, arrays)
    return {
        "timestamps": None if times is None else str(times.dtype),
        "titles": data.item_titles is not None,
        "others": {name: getattr(data, name) for name in _other_fields()}
        | {"values": "given" if data.has_values else "counted"},
    }


def _pack_titles(titles: Mapping[Any, str], arrays: Arrays) -> None:
    ids = np.fromiter(titles, dtype=object, count=len(titles))
    arrays.update(pack_vocabulary(Vocabulary(ids), "titles.items"))
    arrays.update(pack_texts([str(title) for title in titles.values()], "titles.texts"))


_COLUMNS = (
    "users",
    "items",
    "user_positions",
    "item_positions",
    "values",
    "timestamps",
    "weights",
    "item_titles",
    "has_values",
)


def _other_fields() -> list[str]:
    """Return the fields of Interactions that are strings."""
    return [field.name for field in dataclasses.fields(Interactions) if field.name not in _COLUMNS]


def _unpack_interactions(
    about: Any, arrays: Arrays, users: Vocabulary, items: Vocabulary, *, verify: bool
) -> Interactions:
    """Restore interactions, and check that positions are in the vocabularies."""
    if isinstance(about, dict) and "folder" in about:
        return _open_interactions(about, arrays, users, items)
    if not isinstance(about, dict) or about.keys() != {"timestamps", "titles", "others"}:
        raise corrupted("its description of the interactions is incomplete")
    u, i = (
        need(arrays, "interactions.user_positions", np.int32),
        need(arrays, "interactions.item_positions", np.int32),
    )
    shape = (len(u),)
    for name, positions, count in (("user", u, len(users)), ("item", i, len(items))):
        if positions.shape != shape:
            raise corrupted(f"its interactions have {len(u):,} users and {len(i):,} items")
        if len(positions) and not (positions.min() >= 0 and positions.max() < count):
            raise corrupted(f"its interactions have {name}s at positions outside of 0 to {count - 1}")
    values = need(arrays, "interactions.values", np.float64, shape=shape)
    weights = None
    if "interactions.weights" in arrays:
        weights = need(arrays, "interactions.weights", np.float64, shape=shape)
    if verify:
        if weights is not None and (weights < 0).any():
            raise corrupted("its interactions have weights below 0")
        if find_repeat(u, i) is not None:
            raise corrupted("its interactions have repeated cells")
    others = about["others"]
    if not isinstance(others, dict) or not all(other is None or isinstance(other, str) for other in others.values()):
        raise corrupted("its description of the interactions is invalid")
    return Interactions(
        users=users,
        items=items,
        user_positions=u,
        item_positions=i,
        values=values,
        timestamps=_unpack_timestamps(about["timestamps"], arrays, shape, verify=verify),
        weights=weights,
        item_titles=_unpack_titles(arrays) if about["titles"] else None,
        has_values=_has_values(others.get("values"), values),
        **{name: others[name] for name in _other_fields() if name in others},
    )


def _open_interactions(about: dict[str, Any], arrays: Arrays, users: Vocabulary, items: Vocabulary) -> Interactions:
    """Map interactions on disk."""
    if about.keys() != {"folder", "identifier", "titles"} or not isinstance(about["folder"], str):
        raise corrupted("its reference to interactions on disk is incomplete")
    folder = Path(about["folder"])
    remedy = "move it back, or load the model where it is and save it with interactions=False"
    if not folder.is_dir():
        raise Fault(f"refers to its interactions in the folder {folder}, which does not exist: {remedy}")
    try:
        data = open_folder(folder)
    except DataError as error:
        raise Fault(f"refers to its interactions in a folder that cannot be opened: {error}") from None
    assert data.stored is not None
    if data.stored.identifier != about["identifier"] or data.users != users or data.items != items:
        raise Fault(f"refers to its interactions in the folder {folder}, which has other ones now: {remedy}")
    return data.with_same_storage(
        dataclasses.replace(
            data, users=users, items=items, item_titles=_unpack_titles(arrays) if about["titles"] else None
        )
    )


def _has_values(stored: str | None, values: NDArray[np.float64]) -> bool:
    """Whether values were given; for older files, whether they are not all 1."""
    return bool((values != 1).any()) if stored is None else stored == "given"


def _unpack_timestamps(dtype: Any, arrays: Arrays, shape: tuple[int, ...], *, verify: bool) -> NDArray[Any] | None:
    if dtype is None:
        return None
    if dtype not in ("int64", "float64", "datetime64[us]"):
        raise corrupted(f"its timestamps are of dtype {dtype!r}")
    stored = need(arrays, "interactions.timestamps", "float64" if dtype == "float64" else "int64", shape=shape)
    times: NDArray[Any] = stored.view(dtype)
    if verify and times.dtype.kind == "M" and np.isnat(times).any():
        raise corrupted("its interactions have missing timestamps (NaT)")
    return times


def _unpack_titles(arrays: Arrays) -> dict[Any, str]:
    ids, texts = unpack_vocabulary(arrays, "titles.items"), unpack_texts(arrays, "titles.texts")
    if len(ids) != len(texts):
        raise corrupted(f"it has {len(texts):,} titles for {len(ids):,} items")
    return dict(zip(ids, texts, strict=True))
