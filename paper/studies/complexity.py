"""Time and memory of wave networks and Transformers against length, width and batch, beside their FLOPs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from paper.result_store import Result, ResultStore, resolve_device
from paper.rivals.transformer import TransformerConfig, TransformerNetwork
from paper.studies import flops
from paper.studies.complexity_claims import judge
from paper.studies.memory_measurement import FreshProcessError, call_in_fresh_process, measure_peak
from paper.studies.timing import fit_exponent, powers_of_two, time_interleaved, upper_half
from paper.study import Document, Drawing, Options, Study, Table
from paper.study_figures import SERIES, new_figure, plain_log_ticks, styled
from token2wave.core import n_threads
from token2wave.features import Ragged
from token2wave.models import Batch, TextNetwork, WaveConfig, WaveNetwork, make_batch
from token2wave.training.torch_memory import keep_freed_memory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_CLASSES = 4
HEAD_WIDTH = 64  # of BERT
NETWORKS = {
    "wave-cls": "Wave, [CLS] alone",
    "wave-all": "Wave, all tokens",
    "transformer-all": "Transformer, all tokens",
    "transformer-cls": "Transformer, [CLS] alone",
}
WORK = {"step": "training step", "prediction": "prediction"}
GROWS = {"length": "tokens of a text, n", "width": "width, d", "texts": "texts in the batch"}
SYMBOLS = {"length": "n", "width": "d", "texts": "B"}
FLOPS_SIZES = ((45, 768), (512, 768), (4096, 768), (45, 256), (512, 256), (4096, 256))
WIDE_LENGTHS = (*powers_of_two(16, 2048), 3072, 4096, 6144, 8192)  # four above the crossing, at 1,536
FITTED = (
    "Exponents in the legends are fitted to sizes at or above the geometric mean of the smallest and the "
    "largest size."
)


@dataclass(frozen=True)
class Point:
    """Sizes of a computation: ``length`` tokens a text (``n``), ``width`` (``D``), ``texts`` in the batch."""

    length: int
    width: int
    texts: int


@dataclass(frozen=True)
class Sweep:
    """One field of :class:`Point` grows through the sizes, the others stay."""

    key: str
    grows: str
    sizes: tuple[int, ...]
    rest: Mapping[str, int]

    def points(self) -> list[Point]:
        """The points by increasing size."""
        return [Point(**{**self.rest, self.grows: size}) for size in self.sizes]

    def to_dict(self) -> Document:
        """The sweep in a document."""
        return {"grows": self.grows, "sizes": list(self.sizes), "rest": dict(self.rest)}


@dataclass(frozen=True)
class Plan:
    """Sweeps of time and of the peak of memory; repetitions, and their least seconds, by several calls."""

    sweeps: tuple[Sweep, ...]
    memory: Sweep
    memory_networks: tuple[str, ...]
    runs: int
    min_seconds: float


FULL = Plan(
    (
        Sweep("length", "length", WIDE_LENGTHS, {"width": 256, "texts": 2}),
        Sweep("length-narrow", "length", powers_of_two(16, 8192), {"width": 64, "texts": 2}),
        Sweep("width", "width", (64, 128, 192, 256, 384, 512, 768), {"length": 64, "texts": 4}),
        Sweep("batch", "texts", powers_of_two(1, 64), {"length": 32, "width": 256}),
    ),
    Sweep("memory", "length", (64, 256, 512, 1024), {"width": 256, "texts": 4}),
    tuple(NETWORKS),
    runs=7,
    min_seconds=0.03,
)
QUICK = Plan(
    (
        Sweep("length", "length", (16, 64, 128, 256), {"width": 128, "texts": 2}),
        Sweep("length-narrow", "length", (16, 128, 256, 512), {"width": 64, "texts": 2}),
        Sweep("width", "width", (64, 128, 192, 256), {"length": 32, "texts": 2}),
        Sweep("batch", "texts", (1, 4, 8, 16), {"length": 32, "width": 128}),
    ),
    Sweep("memory", "length", (128, 512), {"width": 64, "texts": 2}),
    ("wave-all", "transformer-all"),
    runs=3,
    min_seconds=0.01,
)


def measure(store: ResultStore, options: Options, plan: Plan | None = None) -> Document:
    """Measure all sweeps of a plan on generated tokens."""
    plan = plan or (QUICK if options.quick else FULL)
    device = resolve_device(store.device)
    return {
        "networks": NETWORKS,
        "device": device,
        "threads": n_threads(),
        "runs": plan.runs,
        "sweeps": {sweep.key: _measure_sweep(store, sweep, plan, device) for sweep in plan.sweeps},
        "memory": _measure_memory(store, plan.memory, plan.memory_networks, device),
        "flops": _count_flops(),
    }


def _measure_sweep(store: ResultStore, sweep: Sweep, plan: Plan, device: str) -> Document:
    """Times of all networks at all sizes, and the fitted lines."""

    def compute() -> Result:
        store.callback_list.stage(f"time against {sweep.key}", len(sweep.sizes))
        points = []
        for point in sweep.points():
            points.append(time_networks(point, plan.runs, plan.min_seconds, device))
            store.callback_list.advance(1)
        return {"points": points}

    settings = {**sweep.to_dict(), "networks": list(NETWORKS), "device": device, "threads": n_threads()}
    settings |= {"runs": plan.runs, "min_seconds": plan.min_seconds}
    points = store.compute(f"complexity/{sweep.key}", settings, compute)["points"]
    curves: Document = {}
    for key in NETWORKS:
        counts = [forward_flops(key, point) * point.texts for point in sweep.points()]
        curves[key] = {"flops": counts, "flops_fit": fit_exponent(*upper_half(sweep.sizes, counts))}
        for work in WORK:
            seconds = [point[work][key] for point in points]
            medians = [statistics.median(runs) for runs in seconds]
            curves[key][work] = {
                "seconds": medians,
                "least": [min(runs) for runs in seconds],
                "most": [max(runs) for runs in seconds],
                "fit": fit_exponent(*upper_half(sweep.sizes, medians)),
            }
    return {**sweep.to_dict(), "curves": curves}


def _measure_memory(store: ResultStore, sweep: Sweep, networks: Sequence[str], device: str) -> Document:
    """Peaks of memory of all networks, each point in a fresh process; None where the system reports none."""
    store.callback_list.stage("memory against length", len(sweep.sizes) * len(networks))
    curves: Document = {}
    for key in networks:
        peaks = []
        for point in sweep.points():
            argument = {"network": key, "device": device, **vars(point)}
            compute = partial(call_in_fresh_process, measure_memory_of_point, argument)
            name, settings = f"complexity/memory/{key}-{point.length}", {**argument, "threads": n_threads()}
            try:
                peaks.append(store.compute(name, settings, compute))
            except FreshProcessError:  # e.g. out of memory; the point stays empty
                peaks.append({"step": None, "prediction": None})
            store.callback_list.advance(1)
        curves[key] = {}
        for work in WORK:
            added = [peak[work] for peak in peaks]
            fit = fit_exponent(*upper_half(sweep.sizes, added)) if all(added) else None
            curves[key][work] = {"bytes": added, "fit": fit}
    return {**sweep.to_dict(), "curves": curves}


def time_networks(point: Point, runs: int, min_seconds: float, device: str) -> Document:
    """Seconds of each repetition, for ``step`` and ``prediction`` and every network."""
    on_cpu = device == "cpu"
    keeping = keep_freed_memory() if on_cpu else nullcontext()  # as in training
    with torch.random.fork_rng(devices=[] if on_cpu else None), keeping:
        torch.manual_seed(0)
        networks = {key: build(key, point).to(device) for key in NETWORKS}
        batch, labels = make_texts(point, device)
        steps = {key: partial(step, network, batch, labels) for key, network in networks.items()}
        seconds = {"step": time_interleaved(steps, runs, min_seconds)}
        for network in networks.values():
            network.zero_grad(set_to_none=True)
            network.eval()
        predictions = {key: partial(predict, network, batch) for key, network in networks.items()}
        return seconds | {"prediction": time_interleaved(predictions, runs, min_seconds)}


def measure_memory_of_point(argument: Document) -> Document:
    """Bytes that a step and a prediction add to the memory of a network, for a fresh process."""
    key, device = argument["network"], argument["device"]
    point = Point(argument["length"], argument["width"], argument["texts"])
    small = Point(8, point.width, 1)
    step(build(key, small).to(device), *make_texts(small, device))  # warm-up: libraries allocate once
    network = build(key, point).to(device)
    batch, labels = make_texts(point, device)
    network.eval()
    prediction = measure_peak(lambda: predict(network, batch), device)
    network.train()
    training = measure_peak(lambda: step(network, batch, labels), device)
    return {"step": training.added, "prediction": prediction.added}


def build(key: str, point: Point) -> Any:
    """Make one of :data:`NETWORKS` with an embedding row for each token and random weights."""
    n_rows = point.length * point.texts
    if key.startswith("wave"):
        readout = "mean" if key == "wave-all" else "cls"
        return WaveNetwork(WaveConfig(n_rows, N_CLASSES, width=point.width, readout=readout))
    width, n_heads = point.width, _n_heads(point.width)
    config = TransformerConfig(n_rows, N_CLASSES, width, 1, n_heads, 4 * width, max_positions=point.length)
    return TransformerNetwork(config, shortened=key == "transformer-cls")


def _n_heads(width: int) -> int:
    return max(1, width // HEAD_WIDTH)


def make_texts(point: Point, device: str) -> tuple[Batch, Tensor]:
    """Texts of one length in which no token occurs twice, so that sharing saves nothing; and labels."""
    ids = np.random.default_rng(0).permutation(point.length * point.texts).astype(np.int32)
    offsets = np.arange(point.texts + 1, dtype=np.int64) * point.length
    batch = make_batch(Ragged(ids, offsets, np.full(point.texts, point.length, dtype=np.int64)))
    return batch.to(torch.device(device)), (torch.arange(point.texts) % N_CLASSES).to(device)


def step(network: Any, batch: Batch, labels: Tensor) -> None:
    """One forward and backward pass, without the optimiser."""
    network.zero_grad(set_to_none=True)
    F.cross_entropy(network(batch), labels).backward()  # type: ignore[no-untyped-call]
    _synchronise(batch)


def predict(network: TextNetwork, batch: Batch) -> None:
    """One forward pass as in prediction."""
    with torch.inference_mode():
        network(batch)
    _synchronise(batch)


def _synchronise(batch: Batch) -> None:
    if batch.rows.is_cuda:
        torch.cuda.synchronize()


def forward_flops(key: str, point: Point) -> int:
    """Floating-point operations of one text's forward pass; a step costs three times as many."""
    length, width = point.length, point.width
    if key.startswith("wave"):
        return flops.wave_flops(length, width, N_CLASSES, all_tokens=key == "wave-all")
    if key == "transformer-all":
        return flops.transformer_flops(length, width, 4 * width, N_CLASSES)
    return flops.shortened_transformer_flops(length, width, _n_heads(width), 4 * width, N_CLASSES)


def _count_flops() -> list[Document]:
    """Operations of one text's forward pass, beside the papers' counts."""
    return [
        {
            "length": length,
            "width": width,
            "networks": {key: forward_flops(key, Point(length, width, 1)) for key in NETWORKS},
            "wave_elementwise": flops.wave_elementwise(length, width, all_tokens=True),
            "self_attention": flops.self_attention_flops(length, width),
            "papers_wave": flops.papers_wave(length, width),
            "papers_transformer": flops.papers_transformer(length, width),
            "overtaking": flops.overtaking_length(width, 4 * width),
            "overtaking_attention": flops.overtaking_length(width),
        }
        for length, width in FLOPS_SIZES
    ]


def tables(document: Document) -> list[Table]:
    """Exponents, sizes at the ends of the sweeps, operations, and where the terms of a count meet."""
    networks, memory = document["networks"], document["memory"]
    exponents = []
    for sweep in document["sweeps"].values():
        for key, title in networks.items():
            curve = sweep["curves"][key]
            cells = [cell for work in WORK for cell in _format_fit(curve[work]["fit"])]
            exponents.append([_range(sweep), title, *cells, f"{curve['flops_fit']['exponent']:.2f}"])
    for key, curve in memory["curves"].items():
        fits = [curve[work]["fit"] for work in WORK]
        if any(fits):
            cells = [cell for fit in fits for cell in _format_fit(fit)]
            exponents.append([f"memory: {_range(memory)}", networks[key], *cells, ""])
    longest = document["sweeps"]["length"]
    largest = []
    for key, title in networks.items():
        curve, added = longest["curves"][key], memory["curves"].get(key)
        times = [f"{1000 * curve[work]['seconds'][-1]:,.1f}" for work in WORK]
        peaks = [added and added[work]["bytes"][-1] for work in WORK]
        largest.append([title, *times, *("–" if peak is None else f"{peak / 1e6:,.1f}" for peak in peaks)])
    operations = []
    for row in document["flops"]:
        counted, papers = row["networks"], (row["papers_wave"], row["papers_transformer"])
        ratios = counted["transformer-all"] / counted["wave-all"], papers[1] / papers[0]
        cells = [f"{n / 1e6:,.1f}" for n in (*counted.values(), row["self_attention"], *papers)]
        cells += [f"{ratio:.2f}" for ratio in ratios]
        operations.append([f"{row['length']:,}", f"{row['width']:,}", *cells])
    by_width = {row["width"]: row for row in document["flops"]}
    crossings = [
        [f"{n:,}" for n in (width, width, row["overtaking_attention"], row["overtaking"])]
        for width, row in sorted(by_width.items())
    ]
    return [
        Table(
            "Exponents of growth over sizes at or above the geometric mean of the smallest and the "
            "largest, with the standard error of the fit, beside those of counted operations over the "
            "same sizes.",
            ["what grows", "network", "step", "R²", "prediction", "R²", "FLOPs"],
            exponents,
            n_names=2,
        ),
        Table(
            f"Time at {_last_point(longest)}, and peak of memory beyond the network's own at "
            f"{_last_point(memory)}.",
            ["network", "step, ms", "prediction, ms", "step, MB", "prediction, MB"],
            largest,
        ),
        Table(
            "Millions of floating-point operations of one text's forward pass (a training step costs "
            "three times as many), by exact formulas, beside the papers' n d² and n² d without constants; "
            "and the ratio of the Transformer to the wave network, all tokens, counted and by the papers. "
            "Self-attention is the Transformer's layer without its feed-forward network.",
            ["n", "d", *networks.values(), "Self-attention", "n d²", "n² d", "ratio counted", "ratio papers"],
            operations,
            n_names=0,
        ),
        Table(
            "Number of tokens from which the n² d part costs more than the n d² part: by the papers' counts "
            "without constants, in self-attention alone, and in a Transformer layer.",
            ["d", "papers", "self-attention, 2 d", "Transformer, 6 d"],
            crossings,
            n_names=0,
        ),
    ]


def drawings(document: Document) -> dict[str, Drawing]:
    """Time against length, against width and batch, and memory against length."""
    sweeps, memory = document["sweeps"], document["memory"]
    result = {
        "complexity-length": _draw_times(document, [sweeps["length"], sweeps["length-narrow"]], "length"),
        "complexity-width-batch": _draw_times(
            document, [sweeps["width"], sweeps["batch"]], "width, and against batch"
        ),
    }
    if any(all(curve["step"]["bytes"]) for curve in memory["curves"].values()):
        result["complexity-memory"] = _draw_memory(document)
    return result


def _draw_times(document: Document, sweeps: list[Document], against: str) -> Drawing:
    with styled():
        figure, axes = new_figure(len(sweeps), 2, width=4.3, height=3.4)
        panels = [(sweep, work) for work in WORK for sweep in sweeps]
        for ax, (sweep, work) in zip(axes, panels, strict=True):
            milliseconds = {}
            for number, (key, curve) in enumerate(sweep["curves"].items()):
                milliseconds[key], least, most = (
                    [1000 * value for value in curve[work][name]] for name in ("seconds", "least", "most")
                )
                color = SERIES[number]["color"]
                ax.fill_between(sweep["sizes"], least, most, color=color, alpha=0.18, linewidth=0)
            _draw_panel(ax, document, sweep, work, milliseconds)
            ax.set_ylabel("time, ms")
    return Drawing(
        figure,
        "Time of a training step (forward and backward, no optimiser) and of prediction against "
        f"{against}, one layer, generated texts of equal length without repeated tokens; medians of "
        f"{document['runs']} repetitions, or three for work over a second; the band spans the fastest to "
        f"the slowest. {describe_machine(document)} {FITTED}",
    )


def _draw_memory(document: Document) -> Drawing:
    memory = document["memory"]
    with styled():
        figure, axes = new_figure(2, 1, width=4.3, height=3.4)
        for ax, work in zip(axes, WORK, strict=True):
            megabytes = {
                key: [value / 1e6 for value in curve[work]["bytes"]]
                for key, curve in memory["curves"].items()
                if all(curve[work]["bytes"])
            }
            _draw_panel(ax, document, memory, work, megabytes)
            ax.set_ylabel("peak of memory, MB")
    return Drawing(
        figure,
        "Peak of memory during a training step and during prediction, beyond what was held before with the "
        "network in place (gradients are included), each point once in its own process. "
        f"{describe_machine(document)} {FITTED}",
    )


def _draw_panel(
    ax: Axes, document: Document, sweep: Document, work: str, curves: dict[str, list[float]]
) -> None:
    """Draw curves on logarithmic axes, with exponents in the legend."""
    for number, (key, title) in enumerate(document["networks"].items()):
        if key in curves:
            fit = sweep["curves"][key][work]["fit"]
            power = "" if fit is None else f": ${SYMBOLS[sweep['grows']]}^{{{fit['exponent']:.2f}}}$"
            ax.plot(sweep["sizes"], curves[key], label=f"{title}{power}", **SERIES[number])
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    labelled = sweep["sizes"][:1]
    for size in sweep["sizes"]:
        if size >= labelled[-1] * (4 if len(sweep["sizes"]) > 8 else 2):
            labelled.append(size)
    ax.set_xticks(labelled, [f"{size:,}" for size in labelled], minor=False)
    ax.set_xticks([], minor=True)
    plain_log_ticks(ax.yaxis)
    ax.set_xlabel(GROWS[sweep["grows"]])
    ax.set_title(f"{WORK[work]}, {_describe_rest(sweep)}")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high * (high / low) ** 0.45)  # room for the legend
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="upper left")


def describe_machine(document: Document, remark: str = "") -> str:
    """Sentence on the device, from a document's ``device`` and ``threads``."""
    threads = document["threads"]
    where = f"{threads} thread{'s' * (threads != 1)}" if document["device"] == "cpu" else "one GPU"
    return f"Measured on {where}{remark}."


def _range(sweep: Document) -> str:
    """E.g. ``n from 16 to 1,024 (d = 256, 4 texts)``."""
    sizes = sweep["sizes"]
    return f"{SYMBOLS[sweep['grows']]} from {sizes[0]:,} to {sizes[-1]:,} ({_describe_rest(sweep)})"


def _last_point(sweep: Document) -> str:
    """E.g. ``n = 1,024, d = 256, 4 texts``."""
    return f"{SYMBOLS[sweep['grows']]} = {sweep['sizes'][-1]:,}, {_describe_rest(sweep)}"


def _describe_rest(sweep: Document) -> str:
    """The sizes that do not grow."""
    rest: dict[str, int] = sweep["rest"]
    named = [f"{SYMBOLS[name]} = {rest[name]:,}" for name in ("length", "width") if name in rest]
    return ", ".join([*named, *([f"{rest['texts']} texts"] if "texts" in rest else [])])


def _format_fit(fit: dict[str, Any] | None) -> list[str]:
    """Exponent with its standard error, and the coefficient of determination."""
    if fit is None:
        return ["–", "–"]
    error, r_squared = fit["standard_error"], fit["r_squared"]
    exponent = f"{fit['exponent']:.2f}" + ("" if error is None else f" ± {error:.2f}")
    return [exponent, "–" if r_squared is None else f"{r_squared:.3f}"]


STUDY = Study(
    "complexity",
    "Time and memory against length, width and batch",
    "The papers give O(n d²) for the wave network and O(n² d) for the Transformer, n tokens of width d. "
    "The second omits the projections and the feed-forward network of a Transformer, which cost O(n d²) "
    "as well. Here one layer of each is timed on generated texts of equal length: a training step "
    "(forward and backward, without the optimiser, with dropout 0.1) and prediction; operations are "
    "counted by exact formulas. “All tokens” computes every token's state, as the papers describe (the "
    "wave network then reads out their mean). “[CLS] alone” computes only what is read out, as this "
    "library does for either network. The wave network computes its variants once for each distinct token "
    "of a batch; here no token occurs twice, so this saves nothing, while in real texts it does. The "
    "Transformer has heads of width 64, a feed-forward network of width 4 d, and learned positions. An "
    "exponent is the slope of the least-squares line through log time against log size, over sizes at or "
    "above the geometric mean of the smallest and the largest.",
    measure,
    tables,
    drawings,
    judge,
)
