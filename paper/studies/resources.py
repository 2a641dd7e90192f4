"""The papers' comparison of resources: time and memory of training, each system in its own process."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from paper.result_store import Result, ResultStore, resolve_device
from paper.rivals.transformer import TransformerConfig, TransformerNetwork
from paper.studies.complexity import describe_machine
from paper.studies.memory_measurement import (
    FreshProcessError,
    call_in_fresh_process,
    current_memory,
    limit_memory,
    measure_peak,
)
from paper.studies.resources_claims import judge
from paper.study import Document, Drawing, Options, Study, StudyData, Table
from paper.study_figures import SERIES, new_figure, plain_log_ticks, styled
from paper.systems import System, encoder_system, transformer_system, wave_system
from token2wave.core import n_threads
from token2wave.errors import MissingExtraError
from token2wave.features import WordPieceFeatures
from token2wave.models import Batch, PretrainedEncoder, TextNetwork, WaveConfig, WaveNetwork
from token2wave.models.encoder_sources import BERT_BASE, MINILM
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.examples import Examples
from token2wave.training.presets import preset_named
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import n_batches
from token2wave.training.torch_trainer import TorchTrainer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BATCH_SIZES = (64, 16)  # full, as in the papers, and quick
BYTES_PER_NUMBER = 4
WARM_UP = (2, 1)  # uncounted steps, full and quick: the first allocates the optimiser's moments
QUICK_ROWS, QUICK_TOKENS = 2000, 16
MEMORY = {
    "added": "peak, beyond the process before",
    "steady_state": "steady state",
    "papers_figure": "12 bytes a parameter",
}


@dataclass(frozen=True)
class Entry(System):
    """A system with its counted steps, full and quick; ``random`` gives an encoder random weights."""

    steps: tuple[int, int] = (1, 1)
    random: bool = False

    def job(self, data: StudyData, device: str) -> dict[str, Any]:
        """Argument of :func:`measure_steps`, without ``warm_up``."""
        network: dict[str, Any] = {"kind": self.kind}
        if self.kind == "encoder":
            network |= {"checkpoint": self.checkpoint, "random": self.random}
            network["n_classes"] = data.sizes["n_classes"]
        else:
            network["settings"] = {**self.network, **data.sizes}
        return {"network": network, "recipe": self.recipe.to_dict(), "device": device}


def make_entries(batch_size: int = BATCH_SIZES[0]) -> list[Entry]:
    """The systems of the papers' Table 2, and the wave networks as the library trains them."""
    waves = [wave_system(operation) for operation in ("interference", "modulation")]
    transformer, encoder = transformer_system(None), encoder_system(MINILM)

    def entry(system: System, steps: tuple[int, int], **changes: Any) -> Entry:
        recipe = system.recipe.replace(batch_size=batch_size, precision="float32", token_dropout=0.0)
        return Entry(**{**vars(system), "recipe": recipe, **changes}, steps=steps)

    all_tokens = {"key": f"{waves[1].key}-all-tokens", "title": f"{waves[1].title}, all tokens"}
    random = {"title": "BERT base, random weights", "checkpoint": BERT_BASE, "random": True}
    entries = [
        *(entry(wave, (20, 5)) for wave in waves),
        entry(waves[1], (6, 2), **all_tokens, network={**waves[1].network, "readout": "mean"}),
        entry(transformer, (6, 2), key="transformer", title="Transformer, 1 layer, all tokens"),
        entry(encoder, (4, 2), key="minilm", title=MINILM),
        entry(encoder, (3, 1), key="bert-base", **random),
    ]
    for wave in waves:
        as_trained = {"key": f"{wave.key}-library", "title": f"{wave.title}, as trained here"}
        recipe = wave.recipe.replace(batch_size=batch_size, precision=preset_named("paper").recipe.precision)
        entries.append(entry(wave, (20, 5), recipe=recipe, **as_trained))
    return entries


def measure(store: ResultStore, options: Options) -> Document:
    """Measure on the data set of the options; a quick study reads 2,000 rows of it."""
    data = options.load(*((QUICK_ROWS, QUICK_ROWS) if options.quick else ()))
    return measure_resources(store, data, options.quick)


def measure_resources(
    store: ResultStore, data: StudyData, quick: bool, entries: list[Entry] | None = None
) -> Document:
    """Train every system for some steps in its own process, and measure time and memory.

    Returns:
        ``systems``, each with the result of :func:`measure_steps` and figures that follow from it, and
        ``skipped``, with the reasons.
    """
    batch_size, device = BATCH_SIZES[quick], resolve_device(store.device)
    entries = make_entries(batch_size) if entries is None else entries
    if quick:
        config = data.features.config.replace(max_tokens=QUICK_TOKENS)
        data = data.encode_with(WordPieceFeatures(config, data.features.vocabulary))
    steps_per_epoch = n_batches(len(data.train), batch_size)
    systems, skipped = [], []
    store.callback_list.stage(f"time and memory of training, {data.name}", len(entries))
    for entry in entries:
        named = {"key": entry.key, "title": entry.title}
        try:
            result = _measure_entry(store, data, entry, quick, device)
        except (MissingExtraError, FreshProcessError) as error:
            skipped.append({**named, "reason": str(error)})
        else:
            systems.append({**named, **result, **_derive(result, entry.recipe, steps_per_epoch)})
        store.callback_list.advance(1)
    return {
        "data": data.name,
        "train_rows": len(data.train),
        "steps_per_epoch": steps_per_epoch,
        "batch_size": batch_size,
        "device": device,
        "threads": n_threads(),
        "max_tokens": data.features.config.max_tokens,
        "caveats": list(data.texts.caveats),
        "systems": systems,
        "skipped": skipped,
    }


def _measure_entry(store: ResultStore, data: StudyData, entry: Entry, quick: bool, device: str) -> Result:
    if entry.checkpoint is not None:
        _ = PretrainedEncoder(entry.checkpoint).source  # raises if the package is missing
    steps, warm_up = entry.steps[quick], WARM_UP[quick]
    job = {**entry.job(data, device), "warm_up": warm_up}
    settings = {**job, "data": data.settings, "tokens": data.features.config.max_tokens}
    settings |= {"steps": steps, "threads": n_threads()}

    def compute() -> Result:
        rows = sample_rows(data.train, (steps + warm_up) * entry.recipe.batch_size)
        return call_in_fresh_process(measure_steps_alone, job, rows)

    return store.compute(f"resources/{data.name}/{entry.key}", settings, compute)


def measure_steps_alone(job: dict[str, Any], rows: Examples) -> dict[str, Any]:
    """:func:`measure_steps` for a fresh process, which fails before it leaves others without memory."""
    if job["device"] == "cpu":  # CUDA reserves far more addresses than it fills
        limit_memory()
    return measure_steps(job, rows)


def measure_steps(job: dict[str, Any], rows: Examples) -> dict[str, Any]:
    """Train for some steps as the library does, and measure them.

    Args:
        job: from :meth:`Entry.job`, with ``warm_up``, the number of steps that do not count, at least one.
        rows: a batch for each step.

    Returns:
        ``step_seconds`` of those that count, batches made and optimiser included; ``parameters`` and
        ``parameters_without_embedding``; ``precision``; ``tokens_per_text``; and in bytes, each None where
        the system does not tell, ``baseline`` before the network was built, and ``peak`` during the steps.
    """
    device, recipe = job["device"], Recipe.from_dict(job["recipe"])
    if device == "cuda":
        torch.zeros(1, device=device)
    if job["network"]["kind"] == "encoder":  # whose package takes memory as well
        for name in ("AutoConfig", "AutoModel", "BertModel"):
            getattr(import_module("transformers"), name)
    baseline = current_memory(device)
    network = build(job["network"]).to(device)
    # A checkpoint may have fewer rows than the vocabulary that cut the texts.
    np.minimum(rows.features.ids, network.config.n_rows - 1, out=rows.features.ids)
    trainer = TorchTrainer(network, rows, recipe, 0, has_cls=True)
    clock = _StepClock(device)
    try:
        used = measure_peak(lambda: trainer.epoch(CallbackList([clock])), device)
    finally:
        trainer.close()
    parameters = network.parameter_count()
    return {
        "step_seconds": np.diff(clock.moments)[job["warm_up"] - 1 :].tolist(),
        "parameters": parameters.total,
        "parameters_without_embedding": parameters.without_embedding,
        "precision": trainer.precision,
        "tokens_per_text": float(rows.features.lengths.mean()),
        "baseline": baseline,
        "peak": used.peak,
    }


def build(job: dict[str, Any]) -> Any:
    """Make the network of a job, with random weights or a checkpoint's."""
    if job["kind"] == "encoder":
        return PretrainedEncoder(job["checkpoint"]).network(job["n_classes"], 0, random=job["random"])
    torch.manual_seed(0)
    if job["kind"] == "wave":
        return WaveNetwork(WaveConfig.from_dict(job["settings"]))
    return TransformerNetwork(TransformerConfig.from_dict(job["settings"]), shortened=False)


class _StepClock(Callback):
    """Notes when each step has its gradients: between two such moments lies one whole step."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.moments: list[float] = []

    def on_gradients(self, network: TextNetwork, batch: Batch) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.moments.append(time.perf_counter())


def sample_rows(rows: Examples, n_rows: int) -> Examples:
    """Random rows without their texts, repeated only if there are too few."""
    chosen = rows.take(np.resize(np.random.default_rng(0).permutation(len(rows)), n_rows))
    return Examples(chosen.features, chosen.labels)


def _derive(result: Result, recipe: Recipe, steps_per_epoch: int) -> Document:
    """Figures that follow from the measured ones."""
    seconds, total = result["step_seconds"], result["parameters"]
    known = result["peak"] is not None and result["baseline"] is not None
    return {
        "median_step_seconds": statistics.median(seconds),
        "mean_step_seconds": statistics.fmean(seconds),
        "epoch_seconds": statistics.fmean(seconds) * steps_per_epoch,  # the mean counts long texts
        "added": result["peak"] - result["baseline"] if known else None,
        "steady_state": steady_state_bytes(
            total, result["parameters_without_embedding"], recipe.embedding_optimizer
        ),
        "papers_figure": papers_bytes(total),
    }


def steady_state_bytes(parameters: int, without_embedding: int, embedding_optimizer: str = "adam") -> int:
    """Memory between forward and backward passes of training, in float32.

    Weights, gradients of everything except the embedding (only the rows of a batch have one), and Adam's two
    moments; SGD on the embedding needs none for it.
    """
    with_moments = parameters if embedding_optimizer == "adam" else without_embedding
    return BYTES_PER_NUMBER * (parameters + without_embedding + 2 * with_moments)


def papers_bytes(parameters: int) -> int:
    """Weights and two moments, 12 bytes a parameter: close to the papers' figures of memory."""
    return 3 * BYTES_PER_NUMBER * parameters


def tables(document: Document) -> list[Table]:
    """Time and memory of every system, and which were left out."""
    rows = []
    for system in document["systems"]:
        parameters = (system["parameters"], system["parameters_without_embedding"])
        memory = (system[key] for key in ("added", "peak", "steady_state", "papers_figure"))
        row = [system["title"], *(f"{n / 1e6:,.1f}" for n in parameters), system["precision"]]
        row += [f"{1000 * system['median_step_seconds']:,.1f}", f"{system['epoch_seconds']:,.0f}"]
        rows.append([*row, *("–" if n_bytes is None else f"{n_bytes / 1e9:,.2f}" for n_bytes in memory)])
    skipped = "".join(f" Left out: {system['title']} ({system['reason']})." for system in document["skipped"])
    head = ["system", "parameters, 10⁶", "without embedding", "precision", "ms per step", "s per epoch"]
    head += ["peak added", "peak", "steady state", "12 bytes each"]
    caption = (
        f"Training on {document['data']} at batch {document['batch_size']}: the median step, an epoch of "
        f"{document['steps_per_epoch']:,} steps, and memory in GB: at the peak beyond what the process "
        "held before the network was built, and with it; in the steady state (weights, gradients of all "
        f"but the embedding, two moments); and 12 bytes a parameter. {_describe_machine(document)}{skipped}"
    )
    return [Table(caption, head, rows)]


def drawings(document: Document) -> dict[str, Drawing]:
    """Seconds per epoch and memory, on logarithmic axes."""
    systems = document["systems"]
    if not systems:
        return {}
    with styled():
        height = 0.9 + 0.32 * len(systems)
        figure, (time_axes, memory_axes) = new_figure(2, 1, width=4.4, height=height, sharey=True)
        _draw_dots(time_axes, systems, "epoch_seconds", "", 0, 1)
        for series, (key, label) in enumerate(MEMORY.items()):
            _draw_dots(memory_axes, systems, key, label, series, 1e9)
        time_axes.set_yticks(range(len(systems)), [system["title"] for system in systems])
        time_axes.invert_yaxis()
        time_axes.set_xlabel("time of an epoch, s")
        memory_axes.set_xlabel("memory, GB")
        figure.legend(*memory_axes.get_legend_handles_labels(), loc="outside lower right", ncols=3)
    caption = (
        f"Training on {document['data']} at batch {document['batch_size']}, every system in its own "
        f"process: an epoch of {document['steps_per_epoch']:,} steps of the mean measured time, and "
        "memory. The peak is the most held during the steps, beyond what the process held before the "
        "network was built; the steady state is computed: weights, gradients of all but the embedding, "
        "and two moments. Rows “as trained here” have the library's precision and token dropout, all "
        f"others float32 and no token dropout. Logarithmic axes. {_describe_machine(document)}"
    )
    return {"resources": Drawing(figure, caption)}


def _draw_dots(ax: Axes, systems: list[Document], key: str, label: str, series: int, unit: float) -> None:
    points = [(system[key] / unit, row) for row, system in enumerate(systems) if system[key] is not None]
    if points:
        style = {name: SERIES[series][name] for name in ("color", "marker")}
        face = style["color"] if series == 0 else "none"
        values, rows = zip(*points, strict=True)
        ax.scatter(values, rows, label=label, facecolor=face, s=30, **style)
        ax.set_xscale("log")
        ax.margins(x=0.1)
        plain_log_ticks(ax.xaxis, decades=1.5)


def _describe_machine(document: Document) -> str:
    max_tokens = document["max_tokens"]
    return describe_machine(document, f", texts cut to {max_tokens} tokens" if max_tokens < 512 else "")


STUDY = Study(
    "resources",
    "Time and memory of training",
    "The papers' Table 2 compares seconds per epoch and memory at batch 64. Here the library's own "
    "trainer trains every system for some steps on random training rows, in its own process, after "
    "uncounted steps. A step spans one batch's gradients to the next one's: optimiser, making the batch, "
    "forward and backward. All systems compute in float32 without token dropout, on an equal footing; the "
    "last rows are wave networks as the library trains them. The wave network computes its variants once "
    "for each distinct token of a batch and only the state of [CLS]; one row computes every token's. The "
    "Transformer and the encoders compute all tokens, and get texts of similar length in a batch, which "
    "saves most of the padding. BERT base has random weights, which changes neither time nor memory, but "
    "says nothing of its accuracy.",
    measure,
    tables,
    drawings,
    judge,
)
