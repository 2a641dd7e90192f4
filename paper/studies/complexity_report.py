"""Tables and figures of the study of complexity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paper.study import Document, Drawing, Table
from paper.study_figures import SERIES, new_figure, plain_log_ticks, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GROWS = {"length": "tokens of a text, n", "width": "width, d", "texts": "texts in the batch"}
SYMBOLS = {"length": "n", "width": "d", "texts": "B"}
KINDS = {"step": "training step", "prediction": "prediction"}
FITTED = (
    "Exponents in the legends are fitted to sizes at or above the geometric mean of the least and the "
    "greatest size."
)


def tables(document: Document) -> list[Table]:
    """Exponents, sizes at the ends of the sweeps, operations, and where the terms of a count meet."""
    return [_exponents(document), _largest(document), _operations(document), _crossings(document)]


def _exponents(document: Document) -> Table:
    rows = []
    for sweep in document["sweeps"].values():
        for key, title in document["networks"].items():
            curve = sweep["curves"][key]
            rows.append(
                [
                    _where(sweep),
                    title,
                    _exponent(curve["step"]["fit"]),
                    _squared(curve["step"]["fit"]),
                    _exponent(curve["prediction"]["fit"]),
                    _squared(curve["prediction"]["fit"]),
                    _exponent(curve["flops_fit"], error=False),
                ]
            )
    memory = document["memory"]
    for key, curve in memory["curves"].items():
        title = document["networks"][key]
        fits = [curve[kind]["fit"] for kind in KINDS]
        if any(fits):
            cells = [text for fit in fits for text in (_exponent(fit), _squared(fit))]
            rows.append([f"memory: {_where(memory)}", title, *cells, ""])
    return Table(
        "Exponents of growth over sizes at or above the geometric mean of the least and the greatest, with "
        "the standard error of the fit, and what counted operations give over the same sizes.",
        ["what grows", "network", "step", "R²", "prediction", "R²", "FLOPs"],
        rows,
        n_names=2,
    )


def _largest(document: Document) -> Table:
    """Time and memory at the greatest length."""
    sweep, memory = document["sweeps"]["length"], document["memory"]
    rows = []
    for key, title in document["networks"].items():
        curve, added = sweep["curves"][key], memory["curves"].get(key)
        rows.append(
            [
                title,
                *(f"{1000 * curve[kind]['seconds'][-1]:,.1f}" for kind in KINDS),
                *(_megabytes(added and added[kind]["bytes"][-1]) for kind in KINDS),
            ]
        )
    return Table(
        f"Time at {_point(sweep, -1)}, and peak of memory beyond the network's own at {_point(memory, -1)}.",
        ["network", "step, ms", "prediction, ms", "step, MB", "prediction, MB"],
        rows,
    )


def _operations(document: Document) -> Table:
    networks = document["networks"]
    rows = [
        [
            f"{row['length']:,}",
            f"{row['width']:,}",
            *(_mega(row["networks"][key]) for key in networks),
            _mega(row["self_attention"]),
            _mega(row["papers_wave"]),
            _mega(row["papers_transformer"]),
            f"{row['networks']['transformer-all'] / row['networks']['wave-all']:.2f}",
            f"{row['papers_transformer'] / row['papers_wave']:.2f}",
        ]
        for row in document["flops"]
    ]
    return Table(
        "Millions of floating-point operations of one text's forward pass (a training step costs three times "
        "as many), by exact formulas, beside the papers' n d² and n² d without constants; and the "
        "Transformer's over the wave network's, all tokens, counted and by the papers. Self-attention is the "
        "Transformer's layer without its feed-forward network.",
        [
            "n",
            "d",
            *networks.values(),
            "Self-attention",
            "n d²",
            "n² d",
            "ratio counted",
            "ratio papers",
        ],
        rows,
        n_names=0,
    )


def _crossings(document: Document) -> Table:
    found = {row["width"]: row for row in document["flops"]}
    rows = [
        [f"{width:,}", f"{width:,}", f"{row['overtaking_attention']:,}", f"{row['overtaking']:,}"]
        for width, row in sorted(found.items())
    ]
    return Table(
        "Tokens of a text from which the n² d part costs more than the n d² part: by the papers' counts "
        "without constants, in self-attention alone, and in a Transformer layer.",
        ["d", "papers", "self-attention, 2 d", "Transformer, 6 d"],
        rows,
        n_names=0,
    )


def drawings(document: Document) -> dict[str, Drawing]:
    """Time against length, against width and batch, and memory against length."""
    sweeps = document["sweeps"]
    found = {
        "complexity-length": _times(document, [sweeps["length"], sweeps["length-narrow"]], "length"),
        "complexity-width-batch": _times(
            document, [sweeps["width"], sweeps["batch"]], "width, and against batch"
        ),
    }
    memory = document["memory"]
    if any(all(curve["step"]["bytes"]) for curve in memory["curves"].values()):
        found["complexity-memory"] = _memory(document)
    return found


def _times(document: Document, sweeps: list[Document], against: str) -> Drawing:
    with styled():
        figure, axes = new_figure(len(sweeps), 2, width=4.3, height=3.4)
        panels = [(sweep, kind) for kind in KINDS for sweep in sweeps]
        for ax, (sweep, kind) in zip(axes, panels, strict=True):
            for number, curve in enumerate(sweep["curves"].values()):
                least, most = ([1000 * value for value in curve[kind][end]] for end in ("least", "most"))
                color = SERIES[number]["color"]
                ax.fill_between(sweep["sizes"], least, most, color=color, alpha=0.18, linewidth=0)
            curves = {
                key: ([1000 * value for value in curve[kind]["seconds"]], curve[kind]["fit"])
                for key, curve in sweep["curves"].items()
            }
            _panel(ax, document, sweep, curves)
            ax.set_title(f"{KINDS[kind]}, {_rest(sweep)}")
            ax.set_ylabel("time, ms")
    caption = (
        f"Time of a training step (forward and backward, no optimiser) and of prediction against {against}, "
        f"one layer, generated texts of equal length without repeated tokens; medians of "
        f"{document['runs']} repetitions or, of what takes over a second, three; the band is from the "
        f"fastest to the slowest. {measured_on(document)} {FITTED}"
    )
    return Drawing(figure, caption)


def _memory(document: Document) -> Drawing:
    memory = document["memory"]
    with styled():
        figure, axes = new_figure(2, 1, width=4.3, height=3.4)
        for ax, kind in zip(axes, KINDS, strict=True):
            curves = {
                key: ([value / 1e6 for value in curve[kind]["bytes"]], curve[kind]["fit"])
                for key, curve in memory["curves"].items()
                if all(curve[kind]["bytes"])
            }
            _panel(ax, document, memory, curves)
            ax.set_title(f"{KINDS[kind]}, {_rest(memory)}")
            ax.set_ylabel("peak of memory, MB")
    caption = (
        "Most memory held during a training step and during prediction, beyond what was held before with the "
        "network in place (gradients are included), each point once in a process of its own. "
        f"{measured_on(document)} {FITTED}"
    )
    return Drawing(figure, caption)


def _panel(
    ax: Axes, document: Document, sweep: Document, curves: dict[str, tuple[list[float], Document | None]]
) -> None:
    """Draw curves on logarithmic axes, with exponents in the legend."""
    symbol = SYMBOLS[sweep["grows"]]
    for number, (key, title) in enumerate(document["networks"].items()):
        if key not in curves:
            continue
        values, fit = curves[key]
        power = "" if fit is None else f": ${symbol}^{{{fit['exponent']:.2f}}}$"
        ax.plot(sweep["sizes"], values, label=f"{title}{power}", **SERIES[number])
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks(sweep["sizes"], [f"{size}" for size in sweep["sizes"]], minor=False)
    ax.set_xticks([], minor=True)
    plain_log_ticks(ax.yaxis)
    ax.set_xlabel(GROWS[sweep["grows"]])
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * (high / low) ** 0.45)  # room for the legend
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="upper left")


def measured_on(document: Document, remark: str = "") -> str:
    """Sentence that says what was computed on, from a document's ``device`` and ``threads``."""
    threads = document["threads"]
    where = f"{threads} thread{'s' * (threads != 1)}" if document["device"] == "cpu" else "one GPU"
    return f"Measured on {where}{remark}."


def _where(sweep: Document) -> str:
    """E.g. ``n from 16 to 1,024 (d = 256, 4 texts)``."""
    sizes = sweep["sizes"]
    return f"{SYMBOLS[sweep['grows']]} from {sizes[0]:,} to {sizes[-1]:,} ({_rest(sweep)})"


def _point(sweep: Document, number: int) -> str:
    """One point of a sweep, e.g. ``n = 1,024, d = 256, 4 texts``."""
    return f"{SYMBOLS[sweep['grows']]} = {sweep['sizes'][number]:,}, {_rest(sweep)}"


def _rest(sweep: Document) -> str:
    """What does not grow."""
    rest: dict[str, int] = sweep["rest"]
    named = [f"{SYMBOLS[name]} = {rest[name]:,}" for name in ("length", "width") if name in rest]
    return ", ".join([*named, *([f"{rest['texts']} texts"] if "texts" in rest else [])])


def _exponent(fit: dict[str, Any] | None, *, error: bool = True) -> str:
    if fit is None:
        return "–"
    told = f" ± {fit['standard_error']:.2f}" if error and fit["standard_error"] is not None else ""
    return f"{fit['exponent']:.2f}{told}"


def _squared(fit: dict[str, Any] | None) -> str:
    return "–" if fit is None or fit["r_squared"] is None else f"{fit['r_squared']:.3f}"


def _megabytes(n_bytes: int | None) -> str:
    return "–" if n_bytes is None else f"{n_bytes / 1e6:,.1f}"


def _mega(operations: int) -> str:
    return f"{operations / 1e6:,.1f}"
