"""When a model was fitted and updated, and from which event log it has learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

FORMAT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Learned:
    """The position in an event log up to which a model has learned.

    Attributes
    ----------
    log : str
        The identifier of the log.
    offset : int
        The offset of the last event that the model has learned from.
    base : str
        A digest of the initial model file and the learning settings, which determine the model together with the
        log; "" if the model was fitted to all events up to the offset.
    """

    log: str
    offset: int
    base: str = ""


@dataclass(frozen=True)
class Origin:
    """When a model was fitted and updated, in UTC and whole seconds; None if not recorded.

    Attributes
    ----------
    fitted : datetime or None
    updated : datetime or None
        The time of the last incremental update; None also if there was none.
    learned : Learned or None
        How far the model has learned from an event log; None if it has not learned from one.
    """

    fitted: datetime | None = None
    updated: datetime | None = None
    learned: Learned | None = None

    @classmethod
    def fitted_now(cls) -> Self:
        """Return the origin of a model that is fitted now."""
        return cls(fitted=_now())

    def updated_now(self) -> Self:
        """Return the origin of a model that is updated now."""
        return replace(self, updated=_now())

    def to_texts(self) -> dict[str, str]:
        """Return what is recorded as text."""
        times = {"fitted": self.fitted, "updated": self.updated}
        texts = {name: time.strftime(FORMAT) for name, time in times.items() if time is not None}
        if self.learned is not None:
            texts |= {"log": self.learned.log, "offset": str(self.learned.offset), "base": self.learned.base}
        return texts

    @classmethod
    def from_texts(cls, texts: Mapping[str, str]) -> Self:
        """Return the origin from the result of `to_texts`; invalid texts raise ValueError."""
        times = {
            name: datetime.strptime(texts[name], FORMAT).replace(tzinfo=UTC)
            for name in ("fitted", "updated")
            if name in texts
        }
        learned = None
        if "log" in texts:
            learned = Learned(texts["log"], int(texts.get("offset", "")), texts.get("base", ""))
        return cls(learned=learned, **times)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
