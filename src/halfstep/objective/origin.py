"""When a model was fitted and updated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

FORMAT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Origin:
    """When a model was fitted and updated, in UTC and whole seconds; None if not recorded.

    Attributes
    ----------
    fitted : datetime or None
    updated : datetime or None
        The time of the last incremental update; None also if there was none.
    """

    fitted: datetime | None = None
    updated: datetime | None = None

    @classmethod
    def fitted_now(cls) -> Self:
        """Return the origin of a model that is fitted now."""
        return cls(fitted=_now())

    def updated_now(self) -> Self:
        """Return the origin of a model that is updated now."""
        return replace(self, updated=_now())

    def to_texts(self) -> dict[str, str]:
        """Return the recorded times as text."""
        return {name: time.strftime(FORMAT) for name, time in vars(self).items() if time is not None}

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> Self:
        """Return the origin from the result of `to_texts`; invalid times raise ValueError."""
        times = {name: datetime.strptime(text, FORMAT) for name, text in texts.items() if name in cls.__annotations__}
        return cls(**{name: time.replace(tzinfo=UTC) for name, time in times.items()})


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
