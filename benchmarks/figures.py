"""Figures of what the benchmarks measured; the same document gives the same bytes."""

from __future__ import annotations

import io
import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from probabilities import COVERAGES, FALSE_ALARMS
from tables import (
    format_bounds,
    labels_needed,
    mean_curve,
    mean_over_runs,
    quantity,
    runs_by_preset,
    system_name,
    systems_by_speed,
)

from token2wave.formatting import count, duration
from token2wave.reporting.figures import GRID, INK, MUTED, plain_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox


# ---- accuracy, time and size ----

# Colours that people with any colour vision tell apart (Okabe and Ito); the marks differ, too.
MARKS = {
    "token2wave": ("#0072B2", "o"),
    "fastText": ("#D55E00", "s"),
    "TF-IDF": ("#009E73", "^"),
}
OTHER_MARK = ("#56B4E9", "v")
DISTANCES = (7, 13, 20, 28, 37, 47, 58, 70)  # points from a mark to its name
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (0.7, -0.7), (-0.7, 0.7), (-0.7, -0.7))
LEADER_FROM = 20  # a name this far from its mark is joined to it by a line
TICKS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 180, 600, 1800, 3600, 10_800, 36_000)  # seconds


def draw_classifiers(document: dict[str, Any], data: str, path: Path) -> None:
    """Draw every system of a data set as a mark; the whiskers are the smallest and largest of its runs."""
    with _drawing(path, data, (7.5, 4.6)) as (drawing, canvas):
        axes = drawing.add_subplot()
        marks = _draw_systems(axes, document, data)
        _style_scatter(axes, data)
        _time_ticks(axes)
        canvas.draw()
        _names(axes, marks)


def draw_trade(document: dict[str, Any], path: Path) -> None:
    """Draw what accuracy costs over all data sets: training time on the left, the model file on the right.

    Accuracy is the mean over the sets of the mean over runs; times and sizes are geometric means over the
    sets of the medians, as a set ten times as large would decide an ordinary mean alone.
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
            _style_scatter(axes, f"mean of {len(document['medians'])} data sets" if axes is panels[0] else "")
            if axes is panels[0]:
                _time_ticks(axes)
            else:
                _size_ticks(axes)
            canvas.draw()
            _names(axes, marks)


@contextmanager
def _drawing(
    path: Path, salt: str, inches: tuple[float, float], font_size: int = 10
) -> Iterator[tuple[Any, Any]]:
    """A figure and its canvas, saved at the end as SVG or PNG, whatever the user's settings of matplotlib."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.hashsalt": salt, "font.size": font_size})
        drawing = Figure(figsize=inches, layout="constrained")
        yield drawing, FigureCanvasAgg(drawing)  # names are placed by their sizes in pixels
        is_svg = path.suffix == ".svg"
        drawing.savefig(path, dpi=160, metadata={"Date": None} if is_svg else {"Software": None})


class _Mark(NamedTuple):
    """A system in the figure: name, position, ends of its whisker, and whether it is ours."""

    name: str
    x: float
    y: float
    low: float
    high: float
    ours: bool


def _draw_systems(axes: Axes, document: dict[str, Any], data: str) -> list[_Mark]:
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


def _style_scatter(axes: Axes, data: str) -> None:
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
    _fix_ticks(axes, TICKS, _tick)
    axes.set_xlabel("training time, from texts in memory to a trained model")


def _size_ticks(axes: Axes) -> None:
    _fix_ticks(axes, [n * 10**6 for n in (1, 3, 10, 30, 100, 300)], lambda n_bytes: f"{n_bytes / 1e6:.0f} MB")
    axes.set_xlabel("model file")


def _fix_ticks(axes: Axes, ticks: Sequence[float], form: Callable[[float], str]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: form(value)))


def _names(axes: Axes, marks: list[_Mark]) -> None:
    """Write each name beside its mark, at the nearest place where it covers nothing."""
    taken = [_around(axes, mark) for mark in marks]
    for mark in marks:
        weight = "bold" if mark.ours else "normal"
        style: Any = {"color": INK, "fontsize": 9, "fontweight": weight, "textcoords": "offset points"}
        label = axes.annotate(mark.name, (mark.x, mark.y), xytext=(0, 0), **style)
        for distance, direction in itertools.product(DISTANCES, DIRECTIONS):
            box = _place_name(label, distance, direction)
            inside = axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1)
            inside = inside and axes.bbox.containsy(box.y0) and axes.bbox.containsy(box.y1)
            if inside and not any(box.overlaps(other) for other in taken):
                break
        else:
            distance, direction = DISTANCES[0], DIRECTIONS[0]
            box = _place_name(label, distance, direction)
        taken.append(box)
        if distance >= LEADER_FROM:
            end = (distance * direction[0], distance * direction[1])
            line = {"arrowstyle": "-", "color": MUTED, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 5}
            axes.annotate("", (mark.x, mark.y), xytext=end, textcoords="offset points", arrowprops=line)


def _place_name(label: Annotation, distance: float, direction: tuple[float, float]) -> Bbox:
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


# ---- prediction ----


Panel = tuple[str, str, str]
PANELS: tuple[Panel, ...] = (
    ("texts_per_second", "texts a second", ""),
    ("latency_seconds", "one text", "s"),
    ("cold_start_seconds", "cold start", "s"),
)
"""Key, title and unit of the values of each panel."""


def draw_prediction(document: dict[str, Any], data: str, path: Path) -> None:
    """Draw the systems of a data set, a row each, in three panels; whiskers are the smallest and largest."""
    groups = document["medians"][data]
    systems = [system for system in systems_by_speed(groups) if groups[system]["runs"]]
    with _drawing(path, data, (9.5, 1.3 + 0.32 * len(systems)), font_size=9) as (drawing, _):
        drawing.suptitle(data, x=0.01, ha="left", color=INK, fontsize=11)
        panels = drawing.subplots(1, len(PANELS), sharey=True)
        for axes, panel in zip(panels, PANELS, strict=True):
            for row, system in enumerate(systems):
                _draw_prediction_mark(axes, document, system, groups[system], panel, row)
            _style_panel(axes, panel)
        panels[0].set_yticks(range(len(systems)))
        panels[0].set_yticklabels([system_name(document, system, groups[system]) for system in systems])
        panels[0].set_ylim(len(systems) - 0.4, -0.6)  # the first at the top
        for label, system in zip(panels[0].get_yticklabels(), systems, strict=True):
            label.set_fontweight("bold" if document["systems"][system]["native"] else "normal")
            label.set_color(INK)


def _draw_prediction_mark(
    axes: Axes, document: dict[str, Any], system: str, group: dict[str, Any], panel: Panel, row: int
) -> None:
    """Draw a system's mark, with its number beside it; without the native core it is hollow."""
    key, _, unit = panel
    values = group["figures"][key]
    color, shape = MARKS.get(document["models"][group["model"]]["family"], OTHER_MARK)
    middle = values["median"]
    axes.errorbar(
        [middle],
        [row],
        xerr=[[middle - values["min"]], [values["max"] - middle]],
        fmt=shape,
        color=color,
        markerfacecolor="white" if document["systems"][system]["native"] is False else color,
        markersize=7,
        elinewidth=1,
    )
    number = quantity(middle, unit) if unit else count(middle)
    style: Any = {"textcoords": "offset points", "va": "center", "color": INK, "fontsize": 8}
    axes.annotate(number, (values["max"], row), xytext=(7, 0), **style)


def _style_panel(axes: Axes, panel: Panel) -> None:
    """Scales, titles and grid."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    _, title, unit = panel
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    low, high = low / 1.3, max(high, 10 * low)
    axes.set_xlim(low, high * (high / low) ** 0.3)  # room for numbers
    axes.xaxis.set_major_locator(LogLocator())
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: quantity(value, unit) if unit else f"{value:,.0f}")
    )
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title(title, loc="left", color=INK, fontsize=9)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, left=False)
    for side, line in axes.spines.items():
        line.set_visible(side == "bottom")
        line.set_color(MUTED)


# ---- growth of cost ----

# Okabe and Ito's colours, which people with any kind of colour vision can tell apart; without the yellow.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
PANEL_INCHES = (5.4, 4.2)


def draw_growth(document: dict[str, Any], names: Sequence[str] | None = None) -> dict[str, bytes]:
    """Draw all or some studies of ``growth.json``: ``growth-STUDY.svg`` and ``.png``, by file name."""
    drawn = {}
    with plain_matplotlib(font_size=9, fallback_fonts=()):
        for name in document["studies"] if names is None else names:
            figure = _growth_figure(document["studies"][name])
            for suffix, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
                file = io.BytesIO()
                figure.savefig(file, format=suffix, metadata=metadata, dpi=150)
                drawn[f"growth-{name}.{suffix}"] = file.getvalue()
    return drawn


def _growth_figure(study: dict[str, Any]) -> Figure:
    """Draw each panel of a study, the legend with the slopes above it."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(curve["panel"] for curve in study["curves"]))
    names = list(dict.fromkeys(curve["name"] for curve in study["curves"]))
    columns = min(2, len(panels))
    n_rows = -(-len(panels) // columns)
    figure = Figure(figsize=(PANEL_INCHES[0] * columns, PANEL_INCHES[1] * n_rows), layout="constrained")
    for number, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(n_rows, columns, number)
        curves = [curve for curve in study["curves"] if curve["panel"] == panel]
        _draw_growth_panel(axes, curves, names)
        axes.set_title(panel, loc="left", fontsize=10)
        axes.set_xlabel(study["size"])
    figure.suptitle(study["title"] + (", quick run" if study["run"]["quick"] else ""))
    return figure


def _draw_growth_panel(axes: Axes, curves: list[dict[str, Any]], names: list[str]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for curve in curves:
        style = names.index(curve["name"]) % len(COLOURS)
        points = curve["points"]
        fit = curve["fit_within"] or curve["fit"]
        slope = "one point"
        if fit is not None:
            slope = f"slope {fit['slope']:.2f} for {format_bounds(fit['from'], fit['to'])}"
        axes.plot(
            [point["size"] for point in points],
            [point["median"] for point in points],
            color=COLOURS[style],
            marker=MARKERS[style],
            linestyle=LINES[style],
            markersize=4,
            linewidth=1.4,
            label=f"{curve['name']}: {slope}",
        )
    unit = curves[0]["unit"]
    axes.set_xscale("log", base=_log_base(curves))
    axes.set_ylabel("bytes" if unit == "bytes" else "time")
    # Memory of small sizes can come from what the process held already, and be zero everywhere.
    filled = [median for curve in curves for point in curve["points"] if (median := point["median"]) > 0]
    if filled:
        axes.set_yscale("log")
    lowest, highest = (min(filled), max(filled)) if filled else (1, 1)
    # A whole decade at least, or nearly flat lines would fill the panel with their noise.
    bottom, top = min(lowest, (lowest * highest / 10) ** 0.5), max(highest, (lowest * highest * 10) ** 0.5)
    bottom, top = bottom / 1.2, top * 1.2
    for_legend = 0.06 * len(curves) + 0.03  # share of the height
    axes.set_ylim(bottom, bottom * (top / bottom) ** (1 / (1 - for_legend)))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if top / bottom < 300 else (1,)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: quantity(value, unit)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _format_count(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(framealpha=1, edgecolor="none", fontsize=8, loc="upper left")


def _log_base(curves: list[dict[str, Any]]) -> int:
    """Base of the logarithm whose whole powers the sizes are."""
    sizes = {point["size"] for curve in curves for point in curve["points"]}
    return 10 if sizes & {1_000, 10_000} else 2


def _format_count(value: float) -> str:
    for name, factor in (("M", 1e6), ("k", 1e3)):
        if value >= factor and value % (factor / 10) == 0:
            return f"{value / factor:g} {name}"
    return f"{value:,.0f}"


# ---- probabilities and novelty ----

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#6b5b95")  # Okabe and Ito
FIRST = ("ag_news", "imdb")  # in the foreground


def draw_probabilities(document: dict[str, Any], path: Path) -> None:
    """Draw accuracy against coverage, and the ROC curves of novelty; the same document, the same bytes."""
    with _drawing(path, "probabilities", (9.5, 4.2)) as (drawing, _):
        left, right = drawing.subplots(1, 2)
        small = {data: runs for (data, preset), runs in runs_by_preset(document).items() if preset == "small"}
        alarms = [100 * rate for rate in FALSE_ALARMS]
        for (data, runs), color in zip(small.items(), COLORS, strict=False):
            accuracies = [
                100 * mean_over_runs(runs, "answered", i, "accuracy") for i in range(len(COVERAGES))
            ]
            style: Any = {"marker": "o", "markersize": 3, "linewidth": 2 if data in FIRST else 1}
            left.plot([100 * rate for rate in COVERAGES], accuracies, color=color, label=data, **style)
            for other in runs[0]["foreign"]:
                for length, line in (("whole", "-"), ("cut", "--")):
                    novelty = ("foreign", other, length)
                    rates = [100 * mean_over_runs(runs, *novelty, "found", i) for i in range(len(alarms))]
                    area = mean_over_runs(runs, *novelty, "area")
                    label = f"{data} model, {other} texts{', cut' if length == 'cut' else ''}: {area:.3f}"
                    right.plot(alarms, rates, line, color=color, label=label)
        left.invert_xaxis()
        left.set_xlabel("texts answered, the surest first, %")
        left.set_ylabel("accuracy, %")
        left.set_title("Abstention by probability", loc="left", color=INK)
        right.plot([0, 100], [0, 100], color=GRID, linewidth=1)
        right.set_xlabel("own test texts above the threshold, %")
        right.set_ylabel("foreign texts above it, %")
        right.set_title("Novelty (area under the curve)", loc="left", color=INK)
        for axes in (left, right):
            axes.grid(color=GRID, linewidth=0.8)
            axes.set_axisbelow(True)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize=8, loc="lower right")


# ---- what to label next ----


def draw_selection(document: dict[str, Any], path: Path) -> None:
    """Draw accuracy against the number of labels, chosen and random, a panel for each data set."""
    counts, sets = document["counts"], list(document["rows"])
    n_columns = min(len(sets), 4)
    n_rows = -(-len(sets) // n_columns)
    with _drawing(path, "selection", (2.7 * n_columns, 2.5 * n_rows), 9) as (drawing, _):
        panels = drawing.subplots(n_rows, n_columns, squeeze=False).flat
        for data, axes in zip(sets, panels, strict=False):
            curves = [mean_curve(document, data, strategy) for strategy in ("random", "mixture")]
            for strategy, curve, color, dash in zip(
                ("random", "mixture"), curves, (COLORS[1], COLORS[0]), ("--", "-"), strict=True
            ):
                runs = list(zip(*(run["accuracy"] for run in document["rows"][data][strategy]), strict=True))
                low, high = ([100 * bound(each) for each in runs] for bound in (min, max))
                axes.fill_between(counts, low, high, color=color, alpha=0.15, linewidth=0)
                label = "chosen" if strategy == "mixture" else strategy
                axes.plot(counts, [100 * each for each in curve], dash, color=color, label=label)
            target = curves[0][-1]
            needed = labels_needed(counts, curves[1], target)
            if needed is not None:
                axes.plot([needed, counts[-1]], [100 * target] * 2, color=MUTED, linewidth=0.8)
                axes.plot([needed], [100 * target], "o", color=COLORS[0], markersize=4)
                note = f"{needed:,.0f} labels"
                axes.annotate(note, (needed, 100 * target), (-4, 6), textcoords="offset points", ha="right")
            axes.set_title(data, loc="left", color=INK)
            axes.grid(color=GRID, linewidth=0.8)
            axes.set_axisbelow(True)
            axes.set_xlabel("labels")
        for axes in panels:
            axes.set_visible(False)
        first = drawing.axes[0]
        first.set_ylabel("test accuracy, %")
        first.legend(fontsize=8, loc="lower right")
