"""Tables and figures of what ``benchmarks/growth.py`` measured.

* :func:`table`: a study as a Markdown table of end points and slopes, with its setting below it.
* :func:`draw`: one figure a study, as SVG and PNG.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from token2wave.storage.atomic import atomic_write, make_folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1b2733", "#566472", "#dfe5ea"
# Okabe and Ito's colours, which people with any kind of colour vision can tell apart; without the yellow.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
PANEL_INCHES = (5.4, 4.2)
NOTHING = "–"


def table(document: dict[str, Any], name: str) -> str:
    """Markdown table of a study: for every curve its ends and the slope of each fitted line.

    Args:
        document: what ``growth.json`` holds.
        name: of the study.
    """
    study = document["studies"][name]
    within = _bounds_told(*study["within"])
    head = ["measured", "curve", "smallest", "largest", "slope", f"slope, {within}", "largest over smallest"]
    rows = [head, ["---"] * len(head)]
    for curve in study["curves"]:
        first, last = curve["points"][0], curve["points"][-1]
        ends = [_end(point, curve["unit"]) for point in (first, last)]
        fit = curve["fit_within"]
        cells = [_slope_told(curve["fit"]), _slope_told(fit), NOTHING]
        if fit is not None:
            cells[2] = f"{fit['largest_over_smallest']:.3g}"
            if fit["to"] < study["within"][1]:  # a curve that stopped
                cells[1] += f", to {fit['to']:,}"
        rows.append([curve["panel"], curve["name"], *ends, *cells])
    text = ["| " + " | ".join(row) + " |" for row in rows]
    text += ["", *notes(study)]
    return "\n".join(text) + "\n"


def _end(point: dict[str, Any], unit: str) -> str:
    end = f"{point['size']:,}: {quantity(point['median'], unit)}"
    speed = point.get("texts_per_second")
    return end if speed is None else f"{end}, {speed:,.0f} texts/s"


def notes(study: dict[str, Any]) -> list[str]:
    """What belongs below a study's table: the setting, why curves stop, and where the figures come from."""
    run = study["run"]
    lines = [
        f"Sizes are {study['size']}; slopes are of least-squares lines on a log-log plot, ± standard error; "
        f"the last two columns are for {_bounds_told(*study['within'])}."
    ]
    lines += study["setting"]
    for curve in study["curves"]:
        if curve["stopped"] is not None:
            stopped = curve["stopped"]
            lines.append(
                f"'{curve['name']}' ({curve['panel']}) ends before {stopped['size']:,}: {stopped['reason']}."
            )
    commit = (run["code"]["commit"] or "unknown")[:7] + (" with changes" if run["code"]["dirty"] else "")
    quick = " A quick run: few points, few repetitions." if run["quick"] else ""
    lines.append(
        f"`{run['command']}`, commit {commit}, {run['machine']['processor']}, {run['threads']} threads, "
        f"torch {run['versions']['torch']}; medians of up to {run['runs']} interleaved repetitions.{quick}"
    )
    return [f"- {line}" for line in lines]


def slopes_told(study: dict[str, Any]) -> list[str]:
    """One line of plain text for each curve, for the terminal."""
    lines = []
    for curve in study["curves"]:
        last, within = curve["points"][-1], curve["fit_within"]
        line = f"{curve['panel']}: {curve['name']}: slope {_slope_told(curve['fit'])}"
        if within is not None:
            bounds = _bounds_told(within["from"], within["to"])
            line += f"; {_slope_told(within)} for {bounds}, × {within['largest_over_smallest']:.3g}"
        lines.append(f"{line}; {last['size']:,}: {quantity(last['median'], curve['unit'])}")
    return lines


def _slope_told(fit: dict[str, Any] | None) -> str:
    if fit is None:
        return NOTHING
    error = fit["standard_error"]
    return f"{fit['slope']:.2f}" + ("" if error is None else f" ± {error:.2f}")


def _bounds_told(first: int, last: int) -> str:
    return f"{first:,} to {last:,}"


def quantity(value: float, unit: str) -> str:
    """A time or a size of memory as people write it."""
    units = {"bytes": (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)), "s": (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))}
    name, factor = next((known for known in units[unit] if value >= known[1]), units[unit][-1])
    scaled = value / factor
    return f"{scaled:,.0f} {name}" if scaled >= 100 else f"{scaled:.3g} {name}"


def draw(document: dict[str, Any], names: Sequence[str] | None = None) -> dict[str, bytes]:
    """Draw the studies of a document.

    Args:
        document: what ``growth.json`` holds.
        names: of the studies; all that the document has, if not given.

    Returns:
        Content by file name: ``growth-STUDY.svg`` and ``growth-STUDY.png``. The same document gives the same
        bytes.
    """
    drawn = {}
    with _plain_matplotlib():
        for name in document["studies"] if names is None else names:
            figure = _figure(document["studies"][name])
            for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
                file = io.BytesIO()
                figure.savefig(file, format=kind, metadata=metadata, dpi=150)
                drawn[f"growth-{name}.{kind}"] = file.getvalue()
    return drawn


def write_figures(document: dict[str, Any], folder: Path, names: Sequence[str] | None = None) -> list[Path]:
    """Write the files of :func:`draw` to a folder."""
    make_folder(folder)
    paths = []
    for file_name, content in draw(document, names).items():
        paths.append(folder / file_name)
        with atomic_write(paths[-1]) as aside:
            aside.write_bytes(content)
    return paths


@contextmanager
def _plain_matplotlib() -> Iterator[None]:
    """Matplotlib as it comes, whatever the user's own settings."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "svg.hashsalt": "token2wave",
                "svg.fonttype": "none",
                "font.family": ["DejaVu Sans"],
                "font.size": 9,
                "axes.edgecolor": MUTED,
                "axes.labelcolor": INK,
                "text.color": INK,
                "xtick.color": MUTED,
                "ytick.color": MUTED,
                "xtick.labelcolor": INK,
                "ytick.labelcolor": INK,
                "text.parse_math": False,
            }
        )
        yield


def _figure(study: dict[str, Any]) -> Figure:
    """Draw each panel of a study, the legend with the slopes above it."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(curve["panel"] for curve in study["curves"]))
    names = list(dict.fromkeys(curve["name"] for curve in study["curves"]))
    columns = min(2, len(panels))
    n_rows = -(-len(panels) // columns)
    figure = Figure(figsize=(PANEL_INCHES[0] * columns, PANEL_INCHES[1] * n_rows), layout="constrained")
    for place, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(n_rows, columns, place)
        curves = [curve for curve in study["curves"] if curve["panel"] == panel]
        _draw_panel(axes, curves, names)
        axes.set_title(panel, loc="left", fontsize=10)
        axes.set_xlabel(study["size"])
    figure.suptitle(study["title"] + (", quick run" if study["run"]["quick"] else ""))
    return figure


def _draw_panel(axes: Axes, curves: list[dict[str, Any]], names: list[str]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for curve in curves:
        style = names.index(curve["name"]) % len(COLOURS)
        points = curve["points"]
        fit = curve["fit_within"] or curve["fit"]
        slope = "one point"
        if fit is not None:
            slope = f"slope {fit['slope']:.2f} for {_bounds_told(fit['from'], fit['to'])}"
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
    axes.set_xscale("log", base=_base(curves))
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
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _size_told(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(framealpha=1, edgecolor="none", fontsize=8, loc="upper left")


def _base(curves: list[dict[str, Any]]) -> int:
    """Base of the logarithm whose whole powers the sizes are."""
    sizes = {point["size"] for curve in curves for point in curve["points"]}
    return 10 if sizes & {1_000, 10_000} else 2


def _size_told(value: float) -> str:
    for name, factor in (("M", 1e6), ("k", 1e3)):
        if value >= factor and value % (factor / 10) == 0:
            return f"{value / factor:g} {name}"
    return f"{value:,.0f}"
