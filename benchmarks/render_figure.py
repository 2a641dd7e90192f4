"""Accuracy against training time and file size, as figures."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from token2wave.formatting import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

# Colours that people with any colour vision tell apart (Okabe and Ito); the marks differ, too.
MARKS = {
    "token2wave": ("#0072B2", "o"),
    "fastText": ("#D55E00", "s"),
    "TF-IDF": ("#009E73", "^"),
    "padded": ("#CC79A7", "D"),
}
OTHER_MARK = ("#56B4E9", "v")
INK, MUTED, GRID = "#1b2733", "#566472", "#dfe5ea"
DISTANCES = (7, 13, 20, 28, 37, 47, 58, 70)  # points from a mark to its name
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (0.7, -0.7), (-0.7, 0.7), (-0.7, -0.7))
LEADER_FROM = 20  # a name this far from its mark is joined to it by a line
TICKS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 180, 600, 1800, 3600, 10_800, 36_000)  # seconds


def figure(document: dict[str, Any], data: str, path: Path) -> None:
    """Draw every system of a data set as a mark; the whiskers are the smallest and largest of its runs.

    Args:
        document: what ``benchmarks/compare.py`` wrote.
        data: name of the data set.
        path: an SVG or PNG file, by its suffix. The same document gives the same bytes.
    """
    with _drawing(path, data, (7.5, 4.6)) as (drawing, canvas):
        axes = drawing.add_subplot()
        marks = _marks(axes, document, data)
        _dress(axes, data)
        _time_ticks(axes)
        canvas.draw()
        _names(axes, marks)


def trade_figure(document: dict[str, Any], path: Path) -> None:
    """Draw what accuracy costs over all data sets: training time on the left, the model file on the right.

    Accuracy is the mean over the sets of the mean over runs; times and sizes are geometric means over the
    sets of the medians, as a set ten times as large would decide an ordinary mean alone.

    Args:
        document: what ``benchmarks/compare.py`` wrote.
        path: an SVG or PNG file, by its suffix. The same document gives the same bytes.
    """
    sets = document["medians"].values()
    systems = [
        system
        for system in document["systems"]
        if all(system in groups and groups[system]["runs"] for groups in sets)
    ]

    def over_sets(system: str, *keys: str) -> float:
        return statistics.geometric_mean(
            sum(groups[system]["figures"][key]["median"] for key in keys) for groups in sets
        )

    accuracy = {
        system: statistics.mean(
            statistics.mean(
                run["figures"]["accuracy"]
                for run in document["runs"]
                if run["error"] is None and (run["data"], run["system"]) == (data, system)
            )
            for data in document["medians"]
        )
        for system in systems
    }
    with _drawing(path, "trade", (9.5, 4.6)) as (drawing, canvas):
        panels = drawing.subplots(1, 2, sharey=True)
        for axes, keys in zip(
            panels, (("train_seconds", "preparation_seconds"), ("model_bytes",)), strict=True
        ):
            marks = []
            for system in systems:
                about = document["systems"][system]
                color, shape = MARKS.get(about["family"], OTHER_MARK)
                x, y = over_sets(system, *keys), 100 * accuracy[system]
                axes.plot([x], [y], shape, color=color, markersize=8, zorder=3)
                marks.append(_Mark(about["name"], x, y, y, y, about["family"] == "token2wave"))
            _dress(axes, f"mean of {len(document['medians'])} data sets" if axes is panels[0] else "")
            if axes is panels[0]:
                _time_ticks(axes)
            else:
                _size_ticks(axes)
            canvas.draw()
            _names(axes, marks)


@contextmanager
def _drawing(path: Path, salt: str, inches: tuple[float, float]) -> Iterator[tuple[Any, Any]]:
    """A figure and its canvas, saved at the end; matplotlib's settings are its own."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.hashsalt": salt, "font.size": 10})
        drawing = Figure(figsize=inches, layout="constrained")
        yield drawing, FigureCanvasAgg(drawing)  # names are placed by their sizes in pixels
        is_svg = path.suffix == ".svg"
        drawing.savefig(path, dpi=160, metadata={"Date": None} if is_svg else {"Software": None})


class _Mark(NamedTuple):
    """A system in the figure: its name, its place, how far its whisker reaches, and whether it is ours."""

    name: str
    x: float
    y: float
    low: float
    high: float
    ours: bool


def _marks(axes: Axes, document: dict[str, Any], data: str) -> list[_Mark]:
    """Draw the marks."""
    marks = []
    for system, group in document["medians"][data].items():
        if not group["runs"]:
            continue
        about = document["systems"][system]
        color, shape = MARKS.get(about["family"], OTHER_MARK)
        times, accuracy = group["figures"]["train_seconds"], group["figures"]["accuracy"]
        files = group["figures"]["preparation_seconds"]["median"]
        x, y = times["median"] + files, 100 * accuracy["median"]
        low, high = 100 * accuracy["min"], 100 * accuracy["max"]
        axes.errorbar(
            [x],
            [y],
            xerr=[[times["median"] - times["min"]], [times["max"] - times["median"]]],
            yerr=[[y - low], [high - y]],
            fmt=shape,
            color=color,
            markersize=8,
            elinewidth=1,
            zorder=3,
        )
        marks.append(_Mark(about["name"], x, y, low, high, about["family"] == "token2wave"))
    return marks


def _dress(axes: Axes, data: str) -> None:
    """Scales, titles and grid."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 2.5, high * 1.6)  # room for names
    axes.margins(y=0.12)
    axes.set_ylabel("test accuracy, %")
    axes.set_title(data, loc="left", color=INK)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED)
    for side, line in axes.spines.items():
        line.set_visible(side in ("left", "bottom"))
        line.set_color(MUTED)


def _time_ticks(axes: Axes) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: _tick(seconds)))
    axes.set_xlabel("training time, from texts in memory to a trained model")


def _size_ticks(axes: Axes) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.xaxis.set_major_locator(FixedLocator([n * 10**6 for n in (1, 3, 10, 30, 100, 300)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n_bytes, _: f"{n_bytes / 1e6:.0f} MB"))
    axes.set_xlabel("model file")


def _names(axes: Axes, marks: list[_Mark]) -> None:
    """Write each name beside its mark, at the nearest place where it covers nothing."""
    taken = [_around(axes, mark) for mark in marks]
    for mark in marks:
        x, y = mark.x, mark.y
        label = axes.annotate(
            mark.name,
            (x, y),
            xytext=(0, 0),
            textcoords="offset points",
            color=INK,
            fontsize=9,
            fontweight="bold" if mark.ours else "normal",
        )
        free = None
        for distance, direction in itertools.product(DISTANCES, DIRECTIONS):
            box = _placed(axes, label, distance, direction)
            inside = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1)
            inside = inside and axes.bbox.containsy(box.y0) and axes.bbox.containsy(box.y1)
            if inside and not any(box.overlaps(other) for other in taken):
                free = distance, direction, box
                break
        if free is None:
            free = DISTANCES[0], DIRECTIONS[0], _placed(axes, label, DISTANCES[0], DIRECTIONS[0])
        distance, direction, box = free
        _placed(axes, label, distance, direction)
        taken.append(box)
        if distance >= LEADER_FROM:
            axes.annotate(
                "",
                (x, y),
                xytext=(distance * direction[0], distance * direction[1]),
                textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 5},
            )


def _placed(axes: Axes, label: Annotation, distance: float, direction: tuple[float, float]) -> Bbox:
    """Put a name at a distance from its mark; the box that it takes, in pixels."""
    right, up = direction
    label.set_position((distance * right, distance * up))
    label.set_horizontalalignment("left" if right > 0 else "right" if right < 0 else "center")
    label.set_verticalalignment("bottom" if up > 0 else "top" if up < 0 else "center")
    return label.get_window_extent()


def _around(axes: Axes, mark: _Mark) -> Bbox:
    """The box of a mark with its whisker, in pixels."""
    from matplotlib.transforms import Bbox

    across, middle = axes.transData.transform((mark.x, mark.y))
    _, low = axes.transData.transform((mark.x, mark.low))
    _, high = axes.transData.transform((mark.x, mark.high))
    return Bbox.from_extents(across - 7, min(low, middle - 7), across + 7, max(high, middle + 7))


def _tick(seconds: float) -> str:
    """A round time without needless digits: ``1 min`` rather than ``1 min 0 s``."""
    return duration(seconds).replace(" 0 s", "").replace(" 0 min", "").replace(".0 s", " s")
