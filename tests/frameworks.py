"""Frameworks that `make test-integrations` installs."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest


def need(package: str) -> None:
    """Skip a module if a package is not installed, or fail if HALFSTEP_TEST_INTEGRATIONS is "required"."""
    if find_spec(package) is None and os.environ.get("HALFSTEP_TEST_INTEGRATIONS") != "required":
        pytest.skip(f"{package} is not installed", allow_module_level=True)
