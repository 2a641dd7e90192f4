"""Tables' and figures' common words, and the figures, of the ablation study."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paper.studies.ablation_variants import OPERATIONS, WIDTHS, WITHOUT_OPERATION
from paper.study import Document, Drawing
from paper.study_figures import INK, MUTED, SERIES, line_with_band, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROW_HEIGHT = 0.2  # inches that a variant takes in the dot plot
FAR_BELOW = 12.0  # points below the median, from which a mean is written rather than drawn to scale


def setting(document: Document) -> str:
    """Sentences on data and training that captions share."""
    rows = document["rows"]
    return (
        f"{document['data']}: {rows['train']:,} training, {rows['validation']:,} validation and "
        f"{rows['test']:,} test rows; {document['epochs']} epochs, weights of the best one by validation "
        f"accuracy; width {document['width']}, if not said otherwise; seeds "
        f"{', '.join(map(str, document['seeds']))}."
    )


def drawings(document: Document) -> dict[str, Drawing]:
    """Test accuracy of every variant, by question; and against the width."""
    level = f"{100 * document['level']:.0f} %"
    return {
        "ablations": Drawing(
            _dot_plot(document),
            "Test accuracy of variants that differ in one thing from a reference, by question. "
            f"{setting(document)} Bars are {level} confidence intervals over seeds (Student's t), cut off at "
            "the frame where they are longer. Circles are networks with modulation, squares with "
            "interference, diamonds have no operation; the vertical lines are the two references; an arrow "
            "is a mean far below the others, written beside it. Widths have a figure of their own.",
        ),
        "ablations-width": Drawing(
            _width_plot(document),
            f"Test accuracy against the width. {setting(document)} Lines are means over seeds, "
            "bands reach from the lowest to the highest.",
        ),
    }


def _dot_plot(document: Document) -> Figure:
    """A row a variant, under the names of the questions."""
    shown = [variant for variant in document["variants"] if variant["question"] != "Width"]
    questions = list(dict.fromkeys(variant["question"] for variant in shown))
    n_rows = len(shown) + 1.2 * len(questions)
    frame = _frame(shown)
    with styled():
        figure, (axes,) = new_figure(width=6.4, height=0.9 + ROW_HEIGHT * n_rows)
        place, ticks, labels = 0.0, [], []
        for question in questions:
            axes.text(
                -0.01,
                place,
                question,
                transform=axes.get_yaxis_transform(),
                ha="right",
                va="center",
                weight="bold",
            )
            place += 0.9
            for variant in shown:
                if variant["question"] == question:
                    _dot(axes, place, variant, frame[0])
                    ticks.append(place)
                    labels.append(variant["title"])
                    place += 1
            place += 0.3
        for line, operation in enumerate(OPERATIONS):
            for variant in shown:
                if variant["key"] == operation:
                    style = SERIES[line]
                    axes.axvline(
                        100 * variant["test"]["mean"],
                        color=style["color"],
                        linestyle=style["linestyle"],
                        linewidth=1,
                        zorder=1,
                        label=f"reference, {operation}",
                    )
        axes.set_yticks(ticks, labels)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="test accuracy (%)", ylim=(place - 0.6, -0.7), xlim=frame)
        figure.legend(loc="outside upper right", ncols=2)
    return figure


def _dot(axes: Axes, place: float, variant: Mapping[str, Any], low: float) -> None:
    """A variant's mean and its interval; the mean as a number where it lies below the frame's lower limit."""
    by_operation = dict(zip(OPERATIONS, ((SERIES[0]["color"], "o"), (SERIES[1]["color"], "s")), strict=True))
    color, marker = by_operation[variant["operation"]]
    if variant["key"] in WITHOUT_OPERATION:
        color, marker = MUTED, "D"
    half_width, mean = variant["test"]["half_width"], 100 * variant["test"]["mean"]
    if mean < low:  # an arrow to the left, and the number
        axes.annotate(
            f"{mean:.1f} %",
            (low, place),
            (26, 0),
            textcoords="offset points",
            arrowprops={"arrowstyle": "->", "color": color},
            color=color,
            va="center",
            fontsize=8,
        )
        return
    axes.errorbar(
        mean,
        place,
        xerr=None if half_width is None else 100 * half_width,
        color=color,
        marker=marker,
        markersize=4.5,
        capsize=2,
        elinewidth=1,
        linestyle="none",
        zorder=3,
    )


def _frame(shown: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Limits that hold the means, but for those far below the others, and of long intervals a part."""
    every = [(100 * variant["test"]["mean"], 100 * (variant["test"]["half_width"] or 0)) for variant in shown]
    middle = statistics.median(mean for mean, _ in every)
    held = [(mean, half_width) for mean, half_width in every if mean >= middle - FAR_BELOW]
    span = max(max(held)[0] - min(held)[0], 1.0)
    low = min(mean - min(half_width, span / 3) for mean, half_width in held)
    high = max(mean + min(half_width, span / 3) for mean, half_width in held)
    return max(0.0, low - 0.03 * span), min(100.0, high + 0.03 * span)


def _width_plot(document: Document) -> Figure:
    """A line for each operation."""
    with styled():
        figure, (axes,) = new_figure(width=4.6, height=3.2)
        for series, operation in enumerate(OPERATIONS):
            line = sorted(
                (
                    variant
                    for variant in document["variants"]
                    if variant["operation"] == operation
                    and (variant["question"] == "Width" or variant["key"] == operation)
                ),
                key=lambda variant: int(variant["width"]),
            )
            by_seed = zip(
                *([100 * run["test_accuracy"] for run in point["runs"]] for point in line), strict=True
            )
            line_with_band(axes, [point["width"] for point in line], list(by_seed), operation, series)
        measured = sorted({variant["width"] for variant in document["variants"]})
        axes.set_xscale("log", base=2)
        axes.set_xticks([width for width in WIDTHS if width in measured], minor=False)
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.set(xlabel="width (dimensions of a token, log scale)", ylabel="test accuracy (%)")
        axes.legend()
    return figure
