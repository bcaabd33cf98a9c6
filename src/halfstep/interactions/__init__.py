"""Who had to do with what: ids, values and times, checked once and then trusted everywhere else.

This is the only room that distrusts its input. ``interactions`` is the table itself, ``vocabulary`` its ids and
``orientation`` its pattern of cells; a ``ledger`` adds entries to it; ``reading`` and ``frames`` bring it in,
``columns``, ``ids`` and ``duplicates`` look at what comes.

A file goes through ``sources`` (which files), ``lines`` (plain text, its lines counted), ``tables`` (what DuckDB is
asked, and what its errors mean), ``engine`` and ``arrow`` (DuckDB's answer by chunks), ``gathering`` and ``strings``
(columns as arrays), and ``reader``, which leads it.
"""

from halfstep.interactions.duplicates import Duplicates
from halfstep.interactions.growing import Growing
from halfstep.interactions.interactions import Interactions, as_histories, as_interactions
from halfstep.interactions.ledger import Added, Ledger
from halfstep.interactions.lists import Lists, listed_for
from halfstep.interactions.orientation import Orientation
from halfstep.interactions.reading import read_interactions
from halfstep.interactions.vocabulary import Vocabulary

__all__ = [
    "Added", "Duplicates", "Growing", "Interactions", "Ledger", "Lists", "Orientation", "Vocabulary",
    "as_histories", "as_interactions", "listed_for", "read_interactions",
]  # fmt: skip
