"""What all plots of the library share; the only file that imports Matplotlib."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

try:
    import matplotlib as mpl
    from matplotlib.figure import Figure as Figure
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("the plots need Matplotlib: pip install 'halfstep[plot]'", name="matplotlib") from error

INK, MUTED, FAINT = "#1f2d3a", "#64727f", "#dde3e8"
OURS, THEIRS, THIRD = "#1b7a86", "#c8773a", "#8fb8be"
UNDATED: Any = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}  # by kind of file
WIDTH, DPI = 8.4, 160  # inches, and pixels for each

STYLE: Any = {
    "font.size": 10.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12.5,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.titlepad": 12.0,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "lines.linewidth": 2.2,
    "lines.solid_capstyle": "round",
}


def new_figure(height: float, draw: Callable[[Figure], None]) -> Figure:
    """Make a figure of the house's width and style, and draw in it."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure)
    return figure


def as_png(height: float, draw: Callable[[Figure], None]) -> bytes:
    """Plot a figure and return the content of a png file."""
    return as_image(height, draw, "png")


def as_image(height: float, draw: Callable[[Figure], None], kind: str) -> bytes:
    """Plot a figure and return the content of a file; the same figure gives the same bytes."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": "halfstep"}):
        buffer = io.BytesIO()
        new_figure(height, draw).savefig(buffer, format=kind, dpi=DPI, metadata=UNDATED[kind])
    return buffer.getvalue()
