"""The site describes all public names."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

import halfstep as hs

API = Path(__file__).parent.parent / "docs" / "api"
INTERNAL = {"errors.warn_caller", "weights.uses_values", "weights.counts_events", "weights.per_observation"}


def test_all_public_names_are_in_the_reference() -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in API.glob("*.md"))
    listed = set(re.findall(r"^   ([\w.]+)$", pages, flags=re.MULTILINE))
    modules = {name: value for name in hs.__all__ if inspect.ismodule(value := getattr(hs, name))}
    public = set(hs.__all__) - set(modules) - {"__version__"}
    public |= {f"{name}.{each}" for name, module in modules.items() for each in public_names(module)}
    assert public - listed - INTERNAL == {"persistence.load"}  # hs.load
    assert {name for name in listed if not name.startswith(("spark.", "ray."))} <= public


def public_names(module: ModuleType) -> list[str]:
    own = [
        name
        for name, value in vars(module).items()
        if name[0] != "_" and getattr(value, "__module__", None) == module.__name__ and callable(value)
    ]
    return list(getattr(module, "__all__", own))
