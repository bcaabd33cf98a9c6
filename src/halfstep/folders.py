"""Where the package keeps on a user's disk what can be had again: data sets, compiled kernels."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """``HALFSTEP_CACHE``, else the platform's usual place for caches.

    Raises
    ------
    OSError
        If the folder is in the home folder, and the user has none.
    """
    if chosen := os.environ.get("HALFSTEP_CACHE"):
        return expanded(chosen, "HALFSTEP_CACHE").absolute()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if xdg.is_absolute():  # the XDG specification has relative ones ignored
        return xdg / "halfstep"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else _home() / "AppData" / "Local") / "halfstep" / "Cache"
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "halfstep"
    return _home() / ".cache" / "halfstep"


def expanded(path: str, variable: str) -> Path:
    """Expand ``~`` and ``~name`` in the value of an environment variable; OSError if the home folder is unknown."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise FileNotFoundError(
            errno.ENOENT, f"{variable}={path}: there is no such home folder; give a path without ~"
        ) from error


def _home() -> Path:
    try:
        home = Path.home()
    except RuntimeError:
        home = Path()
    if not home.is_absolute() or os.environ.get("HOME") == "":  # this user has none
        raise FileNotFoundError(
            errno.ENOENT, "the user has no home folder: set HALFSTEP_CACHE to a folder for the cache"
        )
    return home
