"""``cached_property`` without the lock that `functools` gives it before Python 3.12.

That lock is one for all instances of a class, so that two threads wait for each other over unrelated objects; and if
a process forks while one of its threads computes such a property, it stays locked in the child for good.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or sys.version_info >= (3, 12):
    from functools import cached_property
else:

    class cached_property:  # noqa: N801 - takes the place of the one of functools
        """Compute an attribute when it is first looked up; threads that do so at once compute it each."""

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
