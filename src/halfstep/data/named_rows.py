"""Names of rows in errors: ids instead of positions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from halfstep.errors import NumericalError


class Ids(Protocol):
    """Ids by position."""

    def __getitem__(self, position: int, /) -> Any:
        """Return the id at a position."""
        ...


@contextmanager
def naming_the_row(
    what: Literal["user", "item"], ids: Ids, positions: NDArray[np.integer] | None = None
) -> Iterator[None]:
    """Name the user or item of a `NumericalError`, which has the number of a row.

    If rows are only some of the ids, `positions` are those of the rows.
    """
    try:
        yield
    except NumericalError as error:
        if error.row is None:
            raise
        position = error.row if positions is None else int(positions[error.row])
        raise error.named(f"{what} {ids[position]!r}") from error
