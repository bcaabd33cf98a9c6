"""Plots of the gallery have the style of the library's own."""

from typing import Any

import matplotlib as mpl

from halfstep._support.plot_style import STYLE

SIZE = {"figure.figsize": (7.2, 3.6), "figure.constrained_layout.use": True, "axes.grid": True}


def set_style(gallery: dict[str, Any], name: str) -> None:
    """Set the style before each script."""
    mpl.rcdefaults()
    mpl.rcParams.update({**STYLE, **SIZE})
