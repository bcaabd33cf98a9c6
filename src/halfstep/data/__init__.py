"""Interactions of users and items: ids, values and times, checked once and trusted everywhere else.

This is the only package that validates tables. ``interactions`` is the table itself, ``vocabulary`` its ids,
``orientation`` its pattern of observed cells in compressed rows, ``lists`` the same for lists of items. ``ledger``
adds interactions incrementally, in arrays of ``growing``.

Input is converted by ``columnar`` (tables of any kind as columns), ``frames`` (dataframes), ``sparse`` (SciPy
matrices) and ``titles``. ``roles`` decides which column is used for what; ``columns``, ``ids`` and ``duplicates``
check the content.

``reading`` reads files. ``sources`` finds them, ``lines`` decodes text and counts its lines, and ``tables`` opens
each file and translates the errors of DuckDB. ``expressions`` and ``instants`` are the queries, ``engine`` and
``arrow`` run them chunk by chunk, ``gathering`` and ``strings`` collect the chunks in arrays, and ``reader``
coordinates these. ``adjacency`` reads files of adjacency lists.
"""

from halfstep.data.csr import Orientation
from halfstep.data.duplicates import Duplicates
from halfstep.data.files.adjacency_lists import read_adjacency_lists
from halfstep.data.files.interaction_files import read_interactions
from halfstep.data.growable import Growing
from halfstep.data.interactions import Interactions, as_histories, as_interactions
from halfstep.data.item_lists import Lists, listed_for
from halfstep.data.overlay import Added, Ledger
from halfstep.data.vocabulary import Vocabulary

__all__ = [
    "Added",
    "Duplicates",
    "Growing",
    "Interactions",
    "Ledger",
    "Lists",
    "Orientation",
    "Vocabulary",
    "as_histories",
    "as_interactions",
    "listed_for",
    "read_adjacency_lists",
    "read_interactions",
]
