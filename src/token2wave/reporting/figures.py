"""Draws the figures of a training report as PNG and SVG files, by matplotlib."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from token2wave.errors import import_extra
from token2wave.formatting import NOTHING, columns, percent, shorten
from token2wave.reporting.summary import describe_rows
from token2wave.training.result import Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

FIGURE_LABEL_COLUMNS = 24
MAX_CELLS_WITH_TEXT = 20  # classes; of more, a cell is too small for its numbers
MATRIX_INCHES = 9.5  # side of a matrix without text in its cells
MAX_MARKERS = 30  # epochs; of more, the curves have no markers

# The colours of the report's page on a light screen.
INK, MUTED, GRID, PAPER = "#1b2733", "#566472", "#dfe5ea", "#ffffff"
TRAIN, VALIDATION = "#0b4a86", "#b04a00"
RIGHT_CELL, WRONG_CELL = (11, 74, 134), (168, 60, 0)
DARK_CELL = 0.65  # opacity from which light text reads better
FALLBACK_FONTS = ("Noto Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans Arabic", "Arial Unicode MS")

FIGURES = tuple(
    f"{name}.{suffix}" for name in ("confusion", "learning", "search") for suffix in ("png", "svg")
)
"""All files that :func:`draw` may make."""


def draw(summary: Summary) -> dict[str, bytes]:
    """Draw the figures that the summary has data for, as PNG and SVG: the files' contents by name."""
    drawn: dict[str, Figure] = {}
    with plain_matplotlib():
        if summary.evaluation is not None and summary.evaluation["confusion"]:
            confusion = np.array(summary.evaluation["confusion"], dtype=np.int64)
            names = [score["label"] for score in summary.evaluation["classes"]]
            drawn["confusion"] = _confusion_figure(confusion, names, describe_rows(summary.evaluated_on))
        if summary.history:
            drawn["learning"] = _learning_figure(summary)
        if summary.search is not None and summary.search["trials"]:
            drawn["search"] = _search_figure(summary.search)
        return {
            f"{name}.{suffix}": _save(figure, suffix)
            for name, figure in drawn.items()
            for suffix in ("png", "svg")
        }


def require_matplotlib() -> None:
    """Check that matplotlib is installed.

    Raises:
        MissingExtraError: it is not.
    """
    with import_extra("figures", "drawing figures", "matplotlib"):
        import matplotlib  # noqa: F401


@contextmanager
def plain_matplotlib(font_size: int = 10, fallback_fonts: Sequence[str] = FALLBACK_FONTS) -> Iterator[None]:
    """Set up matplotlib so that figures are the same bytes everywhere, whatever the user's own settings.

    The fallback fonts are for letters that DejaVu Sans lacks; those that are not installed are left out.
    """
    require_matplotlib()
    import matplotlib
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    families = ["DejaVu Sans", *(font for font in fallback_fonts if font in installed)]
    with matplotlib.rc_context(), warnings.catch_warnings():
        # Labels in a script without an installed font are drawn as boxes, which the user cannot help.
        warnings.filterwarnings("ignore", message=r"(?s).*[Gg]lyph.*missing from")
        warnings.filterwarnings("ignore", message=r"(?s).*Matplotlib currently does not support")
        matplotlib.rcdefaults()
        matplotlib.rc("svg", hashsalt="token2wave", fonttype="none")
        matplotlib.rc("font", family=families, size=font_size)
        matplotlib.rc("text", color=INK, parse_math=False)
        matplotlib.rc("axes", edgecolor=MUTED, labelcolor=INK)
        matplotlib.rc("xtick", color=MUTED, labelcolor=INK)
        matplotlib.rc("ytick", color=MUTED, labelcolor=INK)
        yield


def _confusion_figure(confusion: NDArray[np.int64], label_names: Sequence[str], rows: str) -> Figure:
    """Draw a confusion matrix ``(C, C)``, the truth along the rows."""
    from matplotlib.figure import Figure

    n_classes = len(confusion)
    fractions = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)  # (C, C)
    opacity = np.sqrt(fractions)  # so that a rare confusion can be seen
    with_text = n_classes <= MAX_CELLS_WITH_TEXT
    cell = max(0.56, 1.1 - 0.06 * n_classes) if with_text else MATRIX_INCHES / n_classes  # inches
    side, bar, gap = max(cell * n_classes, 2.0), 0.4, 0.3
    figure = Figure(figsize=(side + gap + bar, side), dpi=150, facecolor=PAPER)
    axes = figure.add_axes((0, 0, side / (side + gap + bar), 1), facecolor="none")
    axes.imshow(_cells(opacity, np.eye(n_classes, dtype=bool)), interpolation="none", aspect="auto")
    step = 1 if with_text else max(1, math.ceil(8.5 / (72 * cell)))  # points a label
    ticks = range(0, n_classes, step)
    names = [shorten(label_names[i], FIGURE_LABEL_COLUMNS) or NOTHING for i in ticks]
    font = 9 if with_text else 7
    fits = all(columns(name) * 0.65 * font <= 72 * side / n_classes for name in names)
    slant: dict[str, Any] = {}
    if not fits:
        slant = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if with_text else {"rotation": 90}
    axes.set_xticks(ticks, names, fontsize=font, **slant)
    axes.set_yticks(ticks, names, fontsize=font)
    axes.set_xlabel(f"predicted label{'' if step == 1 else f' (one in {step} is named)'}", labelpad=8)
    axes.set_ylabel(f"true label of the {rows}", labelpad=8)
    if with_text:
        _write_cells(axes, confusion, fractions, opacity)
    scale = figure.add_axes((1 - bar / (side + gap + bar), 0, bar / (side + gap + bar), 1), facecolor="none")
    shades = np.sqrt(np.linspace(1, 0, 101))[:, None].repeat(2, axis=1)  # (101, 2)
    pixels = _cells(shades, np.array([[True, False]]).repeat(101, axis=0))
    scale.imshow(pixels, interpolation="none", aspect="auto", extent=(0, 2, 0, 100))
    scale.set_xticks([0.5, 1.5], ["right", "wrong"], fontsize=8, rotation=90)
    scale.yaxis.tick_right()
    scale.yaxis.set_label_position("right")
    scale.set_ylabel("texts with this true label (%)")
    return figure


def _cells(opacity: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Colour cells ``(R, C)`` as right or wrong, ``(R, C, 4)``; empty ones are transparent."""
    colours = np.where(right[..., None], np.array(RIGHT_CELL), np.array(WRONG_CELL))
    return np.concatenate([colours, np.rint(255 * opacity)[..., None]], axis=-1).astype(np.uint8)


def _write_cells(
    axes: Axes, confusion: NDArray[np.int64], fractions: NDArray[np.float64], opacity: NDArray[np.float64]
) -> None:
    """Write count and percentage of the row into every cell that is not empty."""
    n_classes = len(confusion)
    font = 10 if n_classes <= 8 else 8
    for i, j in np.argwhere(confusion):
        n = int(confusion[i, j])
        number = f"{n:,}" if n < 100_000 else f"{n / 1000:,.0f}k"
        axes.text(
            j,
            i,
            f"{number}\n{percent(fractions[i, j], 1 if n_classes <= 8 else 0)}",
            ha="center",
            va="center",
            fontsize=font if len(number) < 6 else font - 2,
            color=PAPER if opacity[i, j] >= DARK_CELL else INK,
        )
    edges = np.arange(n_classes + 1) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.8)
    axes.tick_params(which="minor", length=0)


def _learning_figure(summary: Summary) -> Figure:
    """Draw loss and accuracy of every epoch."""
    from matplotlib.figure import Figure

    epochs = [epoch["epoch"] for epoch in summary.history]
    figure = Figure(figsize=(5.6, 5.6), dpi=150, facecolor=PAPER, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    for axes, measure, scale, label in (
        (upper, "loss", 1, "cross-entropy (nats per text)"),
        (lower, "accuracy", 100, "accuracy (% of texts)"),
    ):
        for name, colour, line, marker, fill in (
            ("train", TRAIN, "-", "o", TRAIN),
            ("validation", VALIDATION, "--", "s", "none"),  # hollow, so that both can be seen where they meet
        ):
            values = np.array([epoch[f"{name}_{measure}"] for epoch in summary.history], dtype=float)
            values = np.where(np.isfinite(values), scale * values, np.nan)
            shape = marker if len(epochs) <= MAX_MARKERS else ""
            axes.plot(epochs, values, shape, linestyle=line, color=colour, markerfacecolor=fill, label=name)
        _style_axes(axes, label)
        if summary.best_epoch is not None:
            axes.axvline(summary.best_epoch, color=MUTED, linestyle=":", linewidth=1.4, label="epoch kept")
    lower.set_xlabel("epoch (passes over the training texts)")
    lower.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    upper.legend(frameon=False)
    return figure


def _search_figure(search: Mapping[str, Any]) -> Figure:
    """Draw the accuracy of every candidate of a search, and the best so far."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 3.0), dpi=150, facecolor=PAPER, layout="constrained")
    axes = figure.subplots()
    scores = [
        (trial["outcome"], trial["number"], 100 * trial["accuracy"])
        for trial in search["trials"]
        if trial["accuracy"] is not None
    ]
    best = [(number, score) for outcome, number, score in scores if outcome != "dropped"]
    dropped = [(number, score) for outcome, number, score in scores if outcome == "dropped"]
    last = search["trials"][-1]["number"]
    axes.step(*zip(*best, (last, best[-1][1]), strict=True), where="post", color=TRAIN)
    axes.plot(*zip(*best, strict=True), "o", color=TRAIN, label="best so far")
    if dropped:
        axes.plot(
            *zip(*dropped, strict=True),
            "s",
            color=VALIDATION,
            markerfacecolor="none",
            markersize=5,
            label="dropped",
        )
    _style_axes(axes, "validation accuracy (% of texts)")
    axes.set_xlabel("candidate")
    axes.set_xlim(0.5, last + 0.5)
    axes.legend(frameon=False)
    return figure


def _style_axes(axes: Axes, label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_facecolor("none")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color=GRID, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)


def _save(figure: Figure, suffix: str) -> bytes:
    """Write a figure as ``png`` or ``svg``, without the date or the name of the program."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # lays the figure out
    figure.set_layout_engine("none")
    box = figure.get_tightbbox().padded(0.15)
    if suffix == "svg":
        # Without a font, wide letters are measured as narrow boxes, but a browser has a font for them.
        texts = [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]
        wide = 0.06 * max((columns(text) - len(text) for text in texts), default=0)
        box = Bbox.from_extents(box.x0 - wide, box.y0 - wide, box.x1, box.y1)
    names = {"png": ("Software",), "svg": ("Date", "Creator", "Format", "Type")}[suffix]
    file = io.BytesIO()
    figure.savefig(file, format=suffix, metadata=dict.fromkeys(names), bbox_inches=box)
    return file.getvalue()
