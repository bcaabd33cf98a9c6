"""Where the package keeps on a user's disk what can be had again: data sets, compiled kernels."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """``HALFSTEP_CACHE``, else the platform's usual place for caches."""
    if chosen := os.environ.get("HALFSTEP_CACHE"):
        return Path(chosen).expanduser().absolute()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if xdg.is_absolute():  # the XDG specification has relative ones ignored
        return xdg / "halfstep"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "halfstep" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "halfstep"
    return Path.home() / ".cache" / "halfstep"
