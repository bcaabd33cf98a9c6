from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import halfstep as hs


def test_every_public_name_is_there() -> None:
    for name in hs.__all__:
        assert getattr(hs, name) is not None
    assert set(hs.__all__) == set(dir(hs))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = hs.nonsense


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(hs.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.asname
        for block in tree.body
        if isinstance(block, ast.If)
        for line in ast.walk(block)
        if isinstance(line, ast.ImportFrom)
        for alias in line.names
    }
    assert seen == set(hs.__all__) - {"__version__"}


def test_import_leaves_heavy_packages_alone() -> None:
    program = (
        "import halfstep, sys; print([m for m in ('numba', 'scipy', 'matplotlib', 'typer') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "[]"
