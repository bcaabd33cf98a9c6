"""Interactions of users and items: ids, values and timestamps, validated once and trusted elsewhere.

This is the only package that validates tables. ``interactions`` is the table and ``vocabulary`` its ids.
``observed_cells`` has the positions of its rows, and ``csr`` observed cells, and lists of items, in compressed rows.
``growable`` adds interactions incrementally. ``conversions`` makes interactions of what models accept.

``tables`` converts input to columns, dataframes through ``frames``. ``sparse`` and ``user_item_matrix`` read SciPy
matrices. ``column_roles`` selects the column of each role; ``columns``, ``id_columns``, ``duplicates`` and ``titles``
validate them. ``files`` reads files, in memory or into folders, whose format ``on_disk`` has. ``packed_ids`` converts
ids to arrays of numbers. ``splits`` makes training and test sets, and ``side_information`` encodes features.
"""

from halfstep.data.conversions import as_histories, as_interactions, interactions_to_fit
from halfstep.data.csr import IndexLists, Orientation, listed_for
from halfstep.data.duplicates import Duplicates
from halfstep.data.files.adjacency_lists import read_adjacency_lists
from halfstep.data.files.interaction_files import read_interactions
from halfstep.data.growable import Added, GrowableInteractions
from halfstep.data.growable_array import GrowableArray
from halfstep.data.interactions import Interactions
from halfstep.data.vocabulary import Vocabulary

__all__ = [
    "Added",
    "Duplicates",
    "GrowableArray",
    "GrowableInteractions",
    "IndexLists",
    "Interactions",
    "Orientation",
    "Vocabulary",
    "as_histories",
    "as_interactions",
    "interactions_to_fit",
    "listed_for",
    "read_adjacency_lists",
    "read_interactions",
]
