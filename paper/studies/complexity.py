"""Time and memory of wave networks and Transformers against length, width and batch, beside their FLOPs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from paper.result_store import Result, ResultStore, resolve_device
from paper.rivals.transformer import TransformerConfig, TransformerNetwork
from paper.studies import flops
from paper.studies.complexity_report import drawings, tables
from paper.studies.fresh_process import FreshProcessError, call_in_fresh_process
from paper.studies.peak_memory import peak_memory_of
from paper.studies.scaling import fit_exponent, interleaved_seconds, powers_of_two, upper_half
from paper.study import Document, Options, Study
from token2wave.core import n_threads
from token2wave.features import Ragged
from token2wave.models import Batch, TextNetwork, WaveConfig, WaveNetwork, make_batch
from token2wave.training.torch_memory import memory_kept

N_CLASSES = 4
HEAD_WIDTH = 64
NETWORKS = {
    "wave-cls": "Wave, [CLS] alone",
    "wave-all": "Wave, all tokens",
    "transformer-all": "Transformer, all tokens",
    "transformer-cls": "Transformer, [CLS] alone",
}


@dataclass(frozen=True)
class Point:
    """What is computed.

    Attributes:
        length: tokens of every text, ``n``.
        width: ``D``.
        texts: in the batch, ``B``.
    """

    length: int
    width: int
    texts: int


@dataclass(frozen=True)
class Sweep:
    """One size grows, the others stay.

    Attributes:
        key: short name.
        grows: the field of :class:`Point` that takes the sizes.
        sizes: increasing.
        rest: the other fields.
    """

    key: str
    grows: str
    sizes: tuple[int, ...]
    rest: Mapping[str, int]

    def points(self) -> list[Point]:
        """The points by increasing size."""
        return [Point(**{**self.rest, self.grows: size}) for size in self.sizes]


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        sweeps: of time.
        memory: lengths for the peak of memory, in a process for each point.
        memory_of: networks for the peak of memory.
        runs: repetitions; their median counts.
        shortest: seconds that a repetition should take, by calling more than once if need be.
    """

    sweeps: tuple[Sweep, ...]
    memory: Sweep
    memory_of: tuple[str, ...]
    runs: int
    shortest: float


FULL = Plan(
    (
        Sweep("length", "length", powers_of_two(16, 1024), {"width": 256, "texts": 4}),
        Sweep("length-narrow", "length", powers_of_two(16, 2048), {"width": 64, "texts": 4}),
        Sweep("width", "width", (64, 128, 192, 256, 384, 512, 768), {"length": 64, "texts": 4}),
        Sweep("batch", "texts", powers_of_two(1, 64), {"length": 32, "width": 256}),
    ),
    Sweep("memory", "length", (64, 256, 512, 1024), {"width": 256, "texts": 4}),
    tuple(NETWORKS),
    runs=7,
    shortest=0.03,
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
    shortest=0.01,
)


def measure(store: ResultStore, options: Options, plan: Plan | None = None) -> Document:
    """Measure all sweeps; no data set is needed, since the tokens are generated.

    Args:
        store: keeps the sweeps.
        options: whether it shall be quick.
        plan: other sizes than usual.
    """
    plan = plan or (QUICK if options.quick else FULL)
    device = resolve_device(store.device)
    document: Document = {
        "networks": NETWORKS,
        "device": device,
        "threads": n_threads(),
        "runs": plan.runs,
        "sweeps": {sweep.key: _measure_sweep(store, sweep, plan, device) for sweep in plan.sweeps},
        "memory": _measure_memory(store, plan.memory, plan.memory_of, device),
        "flops": _flops_table(),
    }
    return document


def _measure_sweep(store: ResultStore, sweep: Sweep, plan: Plan, device: str) -> Document:
    """Times of all networks at all sizes, and the lines through them."""

    def compute() -> Result:
        store.callback_list.stage(f"time against {sweep.key}", len(sweep.sizes))
        points = []
        for point in sweep.points():
            points.append(time_networks(point, plan.runs, plan.shortest, device))
            store.callback_list.advance(1)
        return {"points": points}

    settings = {**_settings(sweep, device), "runs": plan.runs, "shortest": plan.shortest}
    points = store.compute(f"complexity/{sweep.key}", settings, compute)["points"]
    curves: Document = {}
    for key in NETWORKS:
        counted = [forward_flops(key, point) * point.texts for point in sweep.points()]
        curves[key] = {"flops": counted, "flops_fit": fit_exponent(*upper_half(sweep.sizes, counted))}
        for kind in ("step", "prediction"):
            seconds = [point[kind][key] for point in points]
            medians = [statistics.median(found) for found in seconds]
            curves[key][kind] = {
                "seconds": medians,
                "least": [min(found) for found in seconds],
                "most": [max(found) for found in seconds],
                "fit": fit_exponent(*upper_half(sweep.sizes, medians)),
            }
    return {**_described(sweep), "curves": curves}


def _measure_memory(store: ResultStore, sweep: Sweep, networks: Sequence[str], device: str) -> Document:
    """Peaks of memory of all networks, each point in a fresh process; None where the system does not tell."""
    store.callback_list.stage("memory against length", len(sweep.sizes) * len(networks))
    curves: Document = {}
    for key in networks:
        found = []
        for point in sweep.points():
            argument = {"network": key, "device": device, **vars(point)}
            settings = {**argument, "threads": n_threads()}
            name = f"complexity/memory/{key}-{point.length}"
            compute = partial(call_in_fresh_process, memory_of_point, argument)
            try:
                found.append(store.compute(name, settings, compute))
            except FreshProcessError:  # e.g. for want of memory; the point stays empty
                found.append({"step": None, "prediction": None})
            store.callback_list.advance(1)
        curves[key] = {}
        for kind in ("step", "prediction"):
            added = [peaks[kind] for peaks in found]
            fit = None
            if all(added):
                fit = fit_exponent(*upper_half(sweep.sizes, added))
            curves[key][kind] = {"bytes": added, "fit": fit}
    return {**_described(sweep), "curves": curves}


def _described(sweep: Sweep) -> Document:
    return {"grows": sweep.grows, "sizes": list(sweep.sizes), "rest": dict(sweep.rest)}


def _settings(sweep: Sweep, device: str) -> Document:
    return {**_described(sweep), "networks": list(NETWORKS), "device": device, "threads": n_threads()}


def time_networks(point: Point, runs: int, shortest: float, device: str) -> Document:
    """Seconds of a training step and of prediction, of every network at one point.

    Returns:
        for ``step`` and ``prediction`` and each network the repetitions.
    """
    on_cpu = device == "cpu"
    keeping = memory_kept() if on_cpu else nullcontext()  # as in training
    with torch.random.fork_rng(devices=[] if on_cpu else None), keeping:
        torch.manual_seed(0)
        networks = {key: build(key, point).to(device) for key in NETWORKS}
        batch, labels = texts(point, device)
        steps = {key: partial(step, network, batch, labels) for key, network in networks.items()}
        found = {"step": interleaved_seconds(steps, runs, shortest)}
        for network in networks.values():
            network.zero_grad(set_to_none=True)
            network.eval()
        predictions = {key: partial(predict, network, batch) for key, network in networks.items()}
        return found | {"prediction": interleaved_seconds(predictions, runs, shortest)}


def memory_of_point(argument: Document) -> Document:
    """Memory that a step and a prediction add to that of the network, in bytes; for a fresh process.

    Args:
        argument: ``network``, ``device``, and the fields of a :class:`Point`.
    """
    key, device = argument["network"], argument["device"]
    point = Point(argument["length"], argument["width"], argument["texts"])
    small = Point(8, point.width, 1)
    step(build(key, small).to(device), *texts(small, device))  # libraries allocate what they do once
    network = build(key, point).to(device)
    batch, labels = texts(point, device)
    network.eval()
    predicted = peak_memory_of(lambda: predict(network, batch), device)
    network.train()
    stepped = peak_memory_of(lambda: step(network, batch, labels), device)
    return {"step": stepped.added, "prediction": predicted.added}


def build(key: str, point: Point) -> Any:
    """One of :data:`NETWORKS`, with as many rows as there are tokens, and random weights."""
    n_rows = point.length * point.texts
    if key.startswith("wave"):
        readout = "mean" if key == "wave-all" else "cls"
        return WaveNetwork(WaveConfig(n_rows, N_CLASSES, width=point.width, readout=readout))
    config = TransformerConfig(
        n_rows,
        N_CLASSES,
        width=point.width,
        heads=heads_of(point.width),
        feed_forward=4 * point.width,
        max_positions=point.length,
    )
    return TransformerNetwork(config, shortened=key == "transformer-cls")


def heads_of(width: int) -> int:
    """Heads of BERT's width, 64."""
    return max(1, width // HEAD_WIDTH)


def texts(point: Point, device: str) -> tuple[Batch, Tensor]:
    """Texts of one length without a token that occurs twice, so that sharing saves nothing; and labels."""
    ids = np.random.default_rng(0).permutation(point.length * point.texts).astype(np.int32)
    offsets = np.arange(point.texts + 1, dtype=np.int64) * point.length
    batch = make_batch(Ragged(ids, offsets, np.full(point.texts, point.length, dtype=np.int64)))
    on = torch.device(device)
    return batch.to(on), (torch.arange(point.texts) % N_CLASSES).to(on)


def step(network: Any, batch: Batch, labels: Tensor) -> None:
    """One forward and backward pass, without the optimiser."""
    network.zero_grad(set_to_none=True)
    F.cross_entropy(network(batch), labels).backward()  # type: ignore[no-untyped-call]
    _wait_for(batch)


def predict(network: TextNetwork, batch: Batch) -> None:
    """One forward pass as in prediction."""
    with torch.inference_mode():
        network(batch)
    _wait_for(batch)


def _wait_for(batch: Batch) -> None:
    if batch.rows.is_cuda:
        torch.cuda.synchronize()


def forward_flops(key: str, point: Point) -> int:
    """Floating-point operations of one text's forward pass; a step costs three times as many."""
    length, width = point.length, point.width
    if key.startswith("wave"):
        return flops.wave_flops(length, width, N_CLASSES, all_tokens=key == "wave-all")
    if key == "transformer-all":
        return flops.transformer_flops(length, width, 4 * width, N_CLASSES)
    return flops.shortened_transformer_flops(length, width, heads_of(width), 4 * width, N_CLASSES)


FLOPS_SIZES = ((45, 768), (512, 768), (4096, 768), (45, 256), (512, 256), (4096, 256))


def _flops_table() -> list[Document]:
    """Counts of one text's forward pass at sizes that matter, beside the papers' counts."""
    rows = []
    for length, width in FLOPS_SIZES:
        point = Point(length, width, 1)
        rows.append(
            {
                "length": length,
                "width": width,
                "networks": {key: forward_flops(key, point) for key in NETWORKS},
                "wave_elementwise": flops.wave_elementwise(length, width, all_tokens=True),
                "self_attention": flops.self_attention_flops(length, width),
                "papers_wave": flops.papers_wave(length, width),
                "papers_transformer": flops.papers_transformer(length, width),
                "overtaking": flops.overtaking_length(width, 4 * width),
                "overtaking_attention": flops.overtaking_length(width),
            }
        )
    return rows


STUDY = Study(
    name="complexity",
    title="Time and memory against length, width and batch",
    about=(
        "The papers give O(n d²) for the wave network and O(n² d) for the Transformer, n tokens of width d. "
        "The second leaves out the projections and the feed-forward network of a Transformer, which cost "
        "O(n d²) as well. Here one layer of each is timed on generated texts of equal length: a training "
        "step (forward and backward, without the optimiser, with dropout 0.1) and prediction; and "
        "operations are counted by exact formulas. “All tokens” computes every token's state, as the papers "
        "describe it (the wave network then reads out their mean). “[CLS] alone” computes no more of the "
        "layer than is read out, as this library does for either network. The wave network computes its "
        "variants once for each distinct token of a batch; no token occurs twice here, so that this saves "
        "nothing, while in real texts it does. The Transformer has heads of width 64, a feed-forward "
        "network of width 4 d, and learned positions. An exponent is the slope of the least-squares line "
        "through log time against log size, over sizes at or above the geometric mean of the least and the "
        "greatest."
    ),
    measure=measure,
    tables=tables,
    drawings=drawings,
)
