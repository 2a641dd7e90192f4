"""Draw the figures of ``docs/mathematics.md`` into ``docs/figures``, with the functions of ``waves``.

    python tools/draw_mathematics.py            # writes them in place
    python tools/draw_mathematics.py --check    # exit status 1 if one is missing or out of date

The same versions give the same bytes. ``--check`` compares what is drawn, not how it is written: every number
of a path, to a tenth of a point.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from token2wave.waves import (
    Wave,
    energy_shares,
    global_semantics,
    interference,
    modulation,
    neighbours_sum,
    root,
    text_wave,
    wave,
)

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from paper.study_figures import INK, MUTED, SERIES, new_figure, render_figure, styled  # noqa: E402

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIGURES = ROOT / "docs" / "figures"
BLUE, ORANGE, GREEN = (SERIES[i]["color"] for i in range(3))
COLOURS = (BLUE, ORANGE, GREEN)
WORDS = ("the", "kettle", "leaks")
ROW = (0.5, -1.1, 1.6)
"""One dimension of the three tokens' embeddings."""


def _token_waves(values: tuple[float, ...]) -> Wave:
    column = torch.tensor(values, dtype=torch.float64)[:, None]  # (T, 1)
    return wave(column, torch.tensor([0, len(values)]))


def _plane(axes: Axes, reach: float, title: str) -> None:
    """A complex plane: equal scales, axes through the origin."""
    axes.set(xlim=(-reach, reach), ylim=(-0.25 * reach, reach), aspect="equal", title=title)
    axes.set(xlabel="real part", ylabel="imaginary part")
    axes.axhline(0, color=MUTED, linewidth=0.8)
    axes.axvline(0, color=MUTED, linewidth=0.8)


def _arrow(axes: Axes, end: complex, colour: str, label: str, start: complex = 0j) -> None:
    axes.annotate(
        "",
        xy=(end.real, end.imag),
        xytext=(start.real, start.imag),
        arrowprops={
            "arrowstyle": "-|>",
            "color": colour,
            "linewidth": 1.6,
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )
    axes.annotate(
        label, (end.real, end.imag), xytext=(4, 4), textcoords="offset points", color=colour, fontsize=9
    )


def token() -> Figure:
    """Three tokens of a text, in one dimension: one magnitude, three phases, and shares of the energy."""
    with styled():
        figure, (plane, bars) = new_figure(2, width=3.9, height=2.9, width_ratios=[1.5, 1])
        found = _token_waves(ROW)
        column, offsets = torch.tensor(ROW, dtype=torch.float64)[:, None], torch.tensor([0, len(ROW)])
        magnitude = float(global_semantics(column, offsets))
        _plane(plane, 1.25 * magnitude, "tokens of a text as waves, in one dimension")
        angles = torch.linspace(0, torch.pi, 100)
        plane.plot(
            magnitude * angles.cos(), magnitude * angles.sin(), color=MUTED, linewidth=0.9, linestyle=":"
        )
        for word, z, colour in zip(WORDS, found.complex.flatten().tolist(), COLOURS, strict=True):
            plane.plot([z.real, z.real], [0, z.imag], color=colour, linewidth=0.9, linestyle="--")
            plane.plot([z.real], [0], color=colour, marker="o", linestyle="none")
            _arrow(plane, z, colour, word)
        plane.annotate("$G$", (-0.76 * magnitude, 0.72 * magnitude), color=MUTED)
        shares = energy_shares(column, torch.full_like(column, magnitude)).flatten().tolist()
        bars.barh(range(len(WORDS)), shares, color=COLOURS)
        bars.set_yticks(range(len(WORDS)), WORDS)
        bars.invert_yaxis()
        bars.set(title=r"share of the energy, $\cos^2\alpha$", xlim=(0, 1))
        for i, share in enumerate(shares):
            bars.annotate(f"{share:.0%}", (share, i), xytext=(4, -3), textcoords="offset points", color=INK)
    return figure


def operations() -> Figure:
    """Two variants of one token: their sum, and their product."""
    with styled():
        figure, (left, right) = new_figure(2, width=3.7, height=3.3)
        first, second = (Wave(torch.tensor(re), torch.tensor(im)) for re, im in ((1.0, 0.7), (-0.3, 1.1)))
        z, z_ = complex(first.complex), complex(second.complex)
        total = complex(interference(first, second).complex)
        product = complex(modulation(first, second).complex)
        for axes, title in ((left, "interference: waves add"), (right, "modulation: waves multiply")):
            _plane(axes, 2.1, title)
            _arrow(axes, z, BLUE, "$Z$")
            _arrow(axes, z_, ORANGE, "$Z'$")
        left.plot([z.real, total.real], [z.imag, total.imag], color=ORANGE, linewidth=0.9, linestyle="--")
        left.plot([z_.real, total.real], [z_.imag, total.imag], color=BLUE, linewidth=0.9, linestyle="--")
        _arrow(left, total, GREEN, "$Z + Z'$")
        _arrow(right, product, GREEN, "$ZZ'$")
        right.annotate("phases add,\nmagnitudes multiply", (-2.0, 1.7), color=MUTED, fontsize=8)
    return figure


def text() -> Figure:
    """A text as one wave: the mean of its tokens and their standard deviation."""
    with styled():
        figure, (plane,) = new_figure(width=5.2, height=3.0)
        values = (0.2, 0.9, 1.3, 1.7, 2.4)
        index = torch.arange(len(values))
        found = text_wave(
            torch.tensor(values, dtype=torch.float64)[:, None], index, torch.tensor([0, len(values)])
        )
        z = complex(found.complex.flatten()[0])
        plane.set(
            xlim=(-0.15, 2.7), ylim=(-0.3, 1.3), aspect="equal", title="a text as one wave, in one dimension"
        )
        plane.set(xlabel="real part: the mean", ylabel="imaginary part:\nthe standard deviation")
        plane.axhline(0, color=MUTED, linewidth=0.8)
        plane.plot(
            values, [0] * len(values), color=ORANGE, marker="o", linestyle="none", label="tokens, $w_j$"
        )
        plane.plot([z.real, z.real], [0, z.imag], color=BLUE, linewidth=0.9, linestyle="--")
        plane.plot(
            [z.real - z.imag, z.real + z.imag],
            [-0.12, -0.12],
            color=MUTED,
            marker="|",
            label="mean ± deviation",
        )
        _arrow(plane, z, BLUE, "text")
        plane.annotate("root mean square", (0.2, 0.42), color=BLUE, rotation=22, fontsize=8)
        plane.legend(loc="upper right")
    return figure


def phrase() -> Figure:
    """The phrase level: a token's two magnitudes come from its neighbours on either side."""
    with styled():
        figure, (axes,) = new_figure(width=6.4, height=2.4)
        words = ["this", "is", "not", "a", "good", "film", "to", "be", "seen"]
        values = torch.tensor([0.3, 0.2, 1.4, 0.1, 1.2, 0.6, 0.1, 0.2, 0.7], dtype=torch.float64)
        offsets, radius, here = torch.tensor([0, len(words)]), 3, 4
        sums = {
            side: float(root(neighbours_sum(values[:, None].square(), offsets, radius, side=side))[here])
            for side in ("left", "right")
        }
        colours = [
            BLUE if here - radius <= i < here else ORANGE if here < i <= here + radius else MUTED
            for i in range(len(words))
        ]
        colours[here] = GREEN
        axes.bar(range(len(words)), values, color=colours, width=0.6)
        axes.set_xticks(range(len(words)), words)
        axes.set(ylabel="$|h_j|$", ylim=(0, 2.4), title=f"the word 'good' and its windows of radius {radius}")
        for side, middle, colour in (("left", here - 2, BLUE), ("right", here + 2, ORANGE)):
            axes.annotate(
                "",
                xy=(middle - 1.4, 1.75),
                xytext=(middle + 1.4, 1.75),
                arrowprops={"arrowstyle": "|-|,widthA=0.3,widthB=0.3", "color": colour},
            )
            axes.annotate(
                rf"$s^{{\mathrm{{{side}}}}} = {sums[side]:.2f}$",
                (middle, 1.95),
                ha="center",
                color=colour,
                fontsize=9,
            )
        axes.grid(axis="x", visible=False)
    return figure


def compiled() -> Figure:
    """What a trained network of one layer compiles to: a table, a sum, a small network."""
    with styled():
        figure, (axes,) = new_figure(width=7.2, height=2.7)
        axes.set(xlim=(0, 10), ylim=(0, 4))
        axes.set_axis_off()
        for i, (word, kept) in enumerate(
            zip(("art", "film", "good", "honest", "not", "..."), (0, 1, 1, 0, 1, 0), strict=True)
        ):
            y = 3.2 - 0.55 * i
            colour = BLUE if kept else MUTED
            axes.annotate(word, (0.2, y), color=colour, va="center")
            for k in range(6):
                fill = colour if kept else "none"
                x = 1.2 + 0.3 * k
                axes.fill(
                    [x, x + 0.25, x + 0.25, x], [y - 0.2, y - 0.2, y + 0.2, y + 0.2], facecolor=fill,
                    edgecolor=colour, linewidth=0.8, alpha=0.35 if kept else 1,
                )  # fmt: skip
            if kept:
                _arrow(axes, complex(4.2, 1.9), BLUE, "", start=complex(3.1, y))
        boxes = ((4.3, "sums of\n$w$ and $w^2$"), (6.3, "Re, Im,\nnorm, head"), (8.4, "logits"))
        for x, words in boxes:
            axes.annotate(
                words, (x + 0.1, 1.9), va="center", color=INK,
                bbox={"boxstyle": "round,pad=0.5", "facecolor": "none", "edgecolor": GREEN},
            )  # fmt: skip
        for start, end in ((5.65, 6.15), (7.6, 8.2)):
            _arrow(axes, complex(end, 1.9), GREEN, "", start=complex(start, 1.9))
        axes.annotate("table: one row a vocabulary entry", (0.2, 3.75), color=MUTED, fontsize=8)
        axes.annotate("additions: $O(n\\,d)$", (4.2, 0.75), color=MUTED, fontsize=8)
        axes.annotate("once a text: $O(d^2)$", (6.3, 0.75), color=MUTED, fontsize=8)
    return figure


DRAWN: dict[str, Callable[[], Figure]] = {
    "mathematics-token": token,
    "mathematics-operations": operations,
    "mathematics-text": text,
    "mathematics-phrase": phrase,
    "mathematics-compiled": compiled,
}


def numbers(svg: str) -> list[float]:
    """The numbers of all paths, in points."""
    paths = " ".join(re.findall(r' d="([^"]*)"', svg))
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", paths)]


def are_alike(drawn: str, kept: str) -> bool:
    """Whether two figures show the same, to a tenth of a point."""
    first, second = numbers(drawn), numbers(kept)
    return len(first) == len(second) and all(abs(a - b) < 0.1 for a, b in zip(first, second, strict=True))


def main() -> int:
    """Draw or check all figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for name, draw in DRAWN.items():
        content = render_figure(name, draw())[f"{name}.svg"]
        path = FIGURES / f"{name}.svg"
        if not path.exists() or not are_alike(content.decode(), path.read_text()):
            stale.append(path.name)
        if not check:
            path.write_bytes(content)
    print("out of date: " + ", ".join(stale) if check and stale else "all figures are up to date")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
