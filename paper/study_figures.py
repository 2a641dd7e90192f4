"""The style of all figures of studies: readable in print, in greyscale, and by the colour-blind."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1b2733", "#566472", "#dfe5ea"
# Dark to light, so that they differ in greyscale; line and marker tell them apart as well.
SERIES: tuple[dict[str, Any], ...] = (
    {"color": "#0b3c6f", "linestyle": "-", "marker": "o"},
    {"color": "#c2410c", "linestyle": "--", "marker": "s"},
    {"color": "#2a8c6a", "linestyle": "-.", "marker": "^"},
    {"color": "#8a6bbf", "linestyle": ":", "marker": "D"},
    {"color": "#b8860b", "linestyle": (0, (5, 1, 1, 1, 1, 1)), "marker": "v"},
    {"color": "#7d8791", "linestyle": (0, (1, 1)), "marker": "P"},
)
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "path",
    "svg.hashsalt": "token2wave",
}
DOTS_PER_INCH = 300  # what print asks for


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style of the studies while the block runs."""
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        yield


def new_figure(
    columns: int = 1, rows: int = 1, *, width: float = 3.6, height: float = 2.8, **settings: Any
) -> tuple[Figure, list[Axes]]:
    """Make a figure without a window, and its axes in reading order; call it inside :func:`styled`.

    ``width`` and ``height`` are those of one axes, in inches; ``settings`` are those of ``Figure.subplots``.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height * rows))
    axes = figure.subplots(rows, columns, squeeze=False, **settings)
    return figure, list(axes.flat)


def line_with_band(axes: Axes, x: ArrayLike, runs: Sequence[ArrayLike], label: str, series: int) -> None:
    """Draw the mean of several runs of ``(N,)`` values, and their span as a band, in a style of `SERIES`."""
    values = np.array(runs, dtype=float)  # (S, N)
    style = SERIES[series % len(SERIES)]
    every = max(1, values.shape[1] // 10)
    axes.plot(x, values.mean(axis=0), label=label, markevery=every, **style)
    if len(values) > 1:
        axes.fill_between(
            x, values.min(axis=0), values.max(axis=0), color=style["color"], alpha=0.18, linewidth=0
        )


def plain_log_ticks(axis: Axis, decades: float = 3) -> None:
    """Label a drawn logarithmic axis: 1, 2 and 5 of every decade, or powers of ten from ``decades`` on."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axis.get_view_interval()
    steps = (1, 2, 5) if high < low * 10**decades else (1,)
    axis.set_major_locator(LogLocator(10, subs=steps, numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_locator(NullLocator())


def render_figure(name: str, figure: Figure) -> dict[str, bytes]:
    """A figure as SVG and as PNG, by file name; the same figure gives the same bytes."""
    files = {}
    with styled():
        for ending, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            stream = io.BytesIO()
            figure.savefig(stream, format=ending, dpi=DOTS_PER_INCH, metadata=metadata)
            files[f"{name}.{ending}"] = stream.getvalue()
    files[f"{name}.svg"] = _shorten(files[f"{name}.svg"])
    return files


def _shorten(svg: bytes) -> bytes:
    """Remove the indentation of an SVG, and digits below a hundredth of a point."""
    return re.sub(rb"\n +", b"\n", re.sub(rb' (?:d|x|y)="[^"]*"', lambda match: _round(match[0]), svg))


def _round(coordinates: bytes) -> bytes:
    return re.sub(rb"\d+\.\d{3,}", lambda match: b"%.2f" % float(match[0]), coordinates)
