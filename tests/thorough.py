"""Thorough runs, with all random examples, interruptions and combinations of parameters: ``make test-thorough``."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

THOROUGH = os.environ.get("HALFSTEP_TEST_THOROUGH") == "1"

only_thorough = pytest.mark.skipif(not THOROUGH, reason="takes long: make test-thorough")


def examples(usual: int, thorough: int | None = None) -> settings:
    """Return settings for a number of random examples, of which quick runs generate fewer.

    Parameters
    ----------
    usual : int
    thorough : int, optional
        The number in thorough runs, by default the same.
    """
    count = thorough if THOROUGH and thorough is not None else usual
    quick = settings.get_profile("quick").max_examples
    return settings(max_examples=min(count, quick) if settings().max_examples == quick else count)
