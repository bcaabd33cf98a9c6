"""``cached_property`` without the lock that the one of `functools` has before Python 3.12.

All instances of a class share that lock, so that threads wait for each other although they use unrelated objects. If
a process forks while another thread computes the property, the lock stays locked in the child.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or sys.version_info >= (3, 12):
    from functools import cached_property
else:

    class cached_property:  # noqa: N801 - replaces that of functools
        """An attribute computed at the first access, possibly by several threads at the same time."""

        def __init__(self, function: Any) -> None:
            self.function, self.__doc__ = function, function.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            value = instance.__dict__[self.name] = self.function(instance)
            return value


__all__ = ["cached_property"]
