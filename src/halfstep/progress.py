"""What a long fit shows and says: a progress bar, and a word when it was interrupted."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


class FitInterruptedWarning(UserWarning):
    """A fit was stopped by Ctrl-C; the model is that of the last finished iteration."""


class _Bar(tqdm):  # type: ignore[type-arg]
    monitor_interval = 0  # no thread that outlives the bar


def progress_bar(show: bool | None, steps: int, name: str) -> tqdm[Any]:
    """A bar for `steps` of a fit; with ``show=None`` only on a terminal, and only once the fit has taken a second."""
    if show is None:
        return _Bar(total=steps, desc=name, leave=False, delay=1.0, disable=None)
    return _Bar(total=steps, desc=name, leave=False, disable=not show)
