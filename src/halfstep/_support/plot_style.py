"""The style of all plots."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

try:
    import matplotlib as mpl
    from matplotlib.figure import Figure as Figure
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "plots require Matplotlib: run pip install 'halfstep[plot]'", name="matplotlib"
    ) from error

INK, MUTED, FAINT = "#1f2d3a", "#64727f", "#dde3e8"
OURS, THEIRS, THIRD = "#1b7a86", "#b5652a", "#8fb8be"
UNDATED: Any = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}  # by format
WIDTH, NARROW, DPI = 8.4, 4.4, 160  # inches; NARROW is for phones
BOLD_LETTER = 0.107  # average width of a letter of a title in inches

STYLE: Any = {
    "font.size": 10.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.titlesize": 12.5,
    "figure.titleweight": "bold",
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


def new_figure(height: float, plot_in: Callable[[Figure], None], width: float = WIDTH) -> Figure:
    """Return a figure in the style of all plots, `height` and `width` in inches, plotted by `plot_in`."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        plot_in(figure)
    return figure


def as_image(height: float, plot_in: Callable[[Figure], None], kind: str, width: float = WIDTH) -> bytes:
    """Plot a figure and return the content of a file; the same figure gives the same bytes."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": "halfstep"}):
        buffer = io.BytesIO()
        new_figure(height, plot_in, width).savefig(buffer, format=kind, dpi=DPI, metadata=UNDATED[kind])
    return buffer.getvalue()


def is_narrow(figure: Figure) -> bool:
    """Return whether the figure is for a phone."""
    return bool(figure.get_figwidth() < WIDTH)


def set_title(figure: Figure, text: str) -> None:
    """Set the title of a figure, and wrap it if necessary."""
    letters = int(figure.get_figwidth() / BOLD_LETTER)
    figure.suptitle(textwrap.fill(text, letters), x=0.01, ha="left")


def put_legend(figure: Figure, handles: Sequence[Any], labels: Sequence[str], columns: int | None = None) -> None:
    """Put a legend below the figure, by default in three columns, or two in a narrow figure."""
    if columns is None:
        columns = 2 if is_narrow(figure) else 3
    figure.legend(
        handles, labels, loc="outside lower left", ncols=columns, frameon=False, handletextpad=0.5, columnspacing=1.5
    )
