"""Draws line charts as inline SVG; the style sheet of the report colours them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from token2wave.reporting.html_report import escaped

WIDTH, HEIGHT = 420, 260  # CSS pixels on a large screen
LEFT, RIGHT, TOP, BOTTOM = 48, 410, 30, 220  # edges of the plot
MAX_MARKERS = 30  # points of a line; of more, they would hide it
N_TICKS = 6


@dataclass(frozen=True)
class Series:
    """Points of a chart, ascending in x.

    Attributes:
        name: for the key.
        points: x and y; a point whose y is None or not finite interrupts the line.
        style: a class of the style sheet: ``train``, ``validation`` or ``kept``.
        line: ``straight``, ``steps`` or ``none``.
    """

    name: str
    points: Sequence[tuple[float, float | None]]
    style: str
    line: str = "straight"


def key(series: Iterable[tuple[str, str]]) -> str:
    """Render the key of charts: the name and style of each series."""
    entries = (f'<li class="{style}">{escaped(name)}</li>' for name, style in series)
    return f'<ul class="key" aria-hidden="true">{"".join(entries)}</ul>'


def line_chart(
    series: Sequence[Series], x_label: str, y_label: str, about: str, marked: float | None = None
) -> str:
    """Draw a line chart; ``marked`` is an x that a vertical line marks. ``about`` describes it."""
    xs = [x for each in series for x, _ in each.points]
    ys = [y for each in series for _, y in each.points if y is not None and math.isfinite(y)] or [0.0, 1.0]
    x_low, x_high = min(xs) - 0.5, max(xs) + 0.5
    margin = 0.08 * (max(ys) - min(ys)) or 0.1 * abs(ys[0]) or 1.0
    y_low, y_high = min(ys) - margin, max(ys) + margin

    def place(x: float, y: float) -> tuple[str, str]:
        left = LEFT + (x - x_low) / (x_high - x_low) * (RIGHT - LEFT)
        top = BOTTOM - (y - y_low) / (y_high - y_low) * (BOTTOM - TOP)
        return f"{left:.1f}", f"{top:.1f}"

    grid, labels = "", [f'<text x="4" y="14">{escaped(y_label)}</text>']
    for tick, text in _ticks(y_low, y_high):
        _, top = place(x_low, tick)
        grid += f"M{LEFT} {top}H{RIGHT}"
        labels.append(f'<text x="{LEFT - 6}" y="{top}" dy=".35em" text-anchor="end">{text}</text>')
    for tick, text in _ticks(x_low, x_high, least=1):
        left, _ = place(tick, y_low)
        labels.append(f'<text x="{left}" y="{BOTTOM + 16}" text-anchor="middle">{text}</text>')
    middle = (LEFT + RIGHT) / 2
    labels.append(f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escaped(x_label)}</text>')
    drawn = [f'<path class="grid" d="{grid}"/>', f'<path class="axis" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>']
    if marked is not None:
        left, _ = place(marked, y_low)
        drawn.append(f'<path class="line kept" d="M{left} {TOP}V{BOTTOM}"/>')
    for each in series:
        path, marks, connected = "", "", False
        for x, y in each.points:
            if y is None or not math.isfinite(y):
                connected = False
                continue
            left, top = place(x, y)
            line = f"H{left}V{top}" if each.line == "steps" else f"L{left} {top}"
            path += line if connected else f"M{left} {top}"
            connected = True
            title = f"<title>{escaped(each.name)}, {escaped(x_label.split(' (')[0])} {x:g}: {y:.4g}</title>"
            marks += f'<circle cx="{left}" cy="{top}" r="3.5">{title}</circle>'
        if each.line == "steps":
            path += f"H{place(max(xs), y_low)[0]}"
        if each.line != "none":
            drawn.append(f'<path class="line {each.style}" d="{path}"/>')
        if len(each.points) <= MAX_MARKERS or each.line == "none":
            drawn.append(f'<g class="mark {each.style}">{marks}</g>')
    return (
        f'<svg role="img" aria-label="{escaped(about)}" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f"{''.join(drawn)}{''.join(labels)}</svg>"
    )


def _ticks(low: float, high: float, least: float = 0.0) -> list[tuple[float, str]]:
    """Choose round numbers between two limits, at most ``N_TICKS``, with their texts."""
    size = 10 ** math.floor(math.log10((high - low) / N_TICKS))
    step = max(
        least, next(size * factor for factor in (1, 2, 5, 10) if size * factor * N_TICKS >= high - low)
    )
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    numbers = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [(number * step, f"{number * step:.{digits}f}") for number in numbers]
