"""Columns of ids as Arrow arrays: distinct ids, their blocks, and their storage in files of the working folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from halfstep.data import Vocabulary
from halfstep.data.kernels.strings import hash_strings
from halfstep.errors import DataError

_MIX = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # SplitMix64 (Steele et al., OOPSLA 2014)


def distinct_ids(column: pa.ChunkedArray, name: str) -> tuple[pa.Array, NDArray[np.int32]]:
    """Return the distinct ids of a column in the order of first appearance, and the number of each row's id.

    Ids are int64 or strings afterwards.

    Raises
    ------
    DataError
        If an id is missing, or of another type.
    """
    encoded = pc.dictionary_encode(_as_ids(column, name).combine_chunks())
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.dictionary, encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)


def _as_ids(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if column.null_count:
        raise DataError(f"the {name} ids have missing values: remove rows without {name} ids")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.large_string())
    if pa.types.is_integer(kind):
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise DataError(f"the {name} ids exceed 64-bit integers ({error}): convert them to strings") from error
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        try:  # integers become floats in a table that has had missing values
            return column.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise DataError(
                f"the {name} ids are of type {kind}, but are not all integers: convert them to strings"
            ) from error
    raise DataError(f"the {name} ids are of type {kind}: convert them to integers or strings")


def blocks_of(ids: pa.Array, n_blocks: int) -> NDArray[np.uint16]:
    """Return the block of each id, a function of the id alone."""
    hashes = np.empty(len(ids), np.uint64)
    if pa.types.is_integer(ids.type):
        with np.errstate(over="ignore"):
            hashes[...] = ids.to_numpy().view(np.uint64)
            hashes ^= hashes >> np.uint64(30)
            hashes *= _MIX[0]
            hashes ^= hashes >> np.uint64(27)
            hashes *= _MIX[1]
            hashes ^= hashes >> np.uint64(31)
    else:
        offsets, data = _buffers(ids)
        hash_strings(data, offsets, hashes)
    return (hashes % np.uint64(n_blocks)).astype(np.uint16)


def ascending(arrays: Sequence[pa.Array]) -> tuple[pa.Array, NDArray[np.int32]]:
    """Return the distinct ids of several arrays, ascending, and the position of each element of all arrays."""
    if len({array.type for array in arrays}) > 1:
        raise DataError("some ids in the table are integers, and others strings: convert all ids to strings")
    encoded = pc.dictionary_encode(pa.concat_arrays(arrays))
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    positions = np.empty(len(order), np.int32)
    positions[order] = np.arange(len(order), dtype=np.int32)
    return encoded.dictionary.take(pa.array(order)), positions[encoded.indices.to_numpy()]


def positions_in(ids: pa.Array, known: pa.Array) -> NDArray[np.int32]:
    """Return the position of each id in other ids, all of which must be there."""
    positions: NDArray[np.int32] = pc.index_in(ids, known).to_numpy(zero_copy_only=False).astype(np.int32)
    return positions


def to_arrays(ids: pa.Array, name: str) -> dict[str, NDArray[Any]]:
    """Return ids as arrays for a file, as `halfstep.data.packed_ids` does."""
    if pa.types.is_integer(ids.type):
        return {f"{name}.integers": ids.to_numpy()}
    offsets, data = _buffers(ids)
    return {f"{name}.utf8": data[offsets[0] : offsets[-1]], f"{name}.ends": offsets[1:] - offsets[0]}


def from_arrays(arrays: Mapping[str, NDArray[Any]], name: str) -> pa.Array:
    """Return the ids from `to_arrays`."""
    if f"{name}.integers" in arrays:
        return pa.array(arrays[f"{name}.integers"])
    ends = arrays[f"{name}.ends"]
    offsets = np.concatenate([[0], ends]).astype(np.int64)
    buffers = pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(arrays[f"{name}.utf8"]))
    return pa.LargeStringArray.from_buffers(len(ends), *buffers)


def as_vocabulary(ids: pa.Array) -> Vocabulary:
    """Return distinct ids as a vocabulary."""
    if pa.types.is_integer(ids.type):
        return Vocabulary.of_distinct(ids.to_numpy().copy())
    return Vocabulary.of_distinct(np.array([*ids.to_pylist(), None], dtype=object)[:-1])


def _buffers(ids: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return the offsets and the bytes of strings, as `halfstep.data.kernels.strings` describes them."""
    _, offsets, data = ids.buffers()
    starts = np.frombuffer(offsets, np.int64, len(ids) + 1, 8 * ids.offset)
    content = np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    starts.flags.writeable = content.flags.writeable = False  # a single signature of the kernel
    return starts, content
