"""The papers' comparison of resources: time and memory of training, each system in its own process."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from paper.result_store import Result, ResultStore, resolve_device
from paper.studies.complexity import describe_machine
from paper.studies.memory_measurement import FreshProcessError, call_in_fresh_process
from paper.studies.resource_worker import measure_steps_alone, save_rows
from paper.study import Document, Drawing, Options, Study, StudyData, Table
from paper.study_figures import SERIES, new_figure, plain_log_ticks, styled
from paper.systems import encoder_system, transformer_system, wave_system
from token2wave.core import n_threads
from token2wave.errors import MissingExtraError
from token2wave.features import WordPieceFeatures
from token2wave.models import PretrainedEncoder
from token2wave.models.encoder_sources import BERT_BASE, MINILM
from token2wave.training.examples import Examples
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import n_batches

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
class Entry:
    """One row of the comparison.

    Attributes:
        key: short name in files.
        title: its name in tables.
        kind: ``wave``, ``transformer`` or ``encoder``.
        recipe: of training.
        steps: counted steps, full and quick.
        network: settings without the sizes that the data decides.
        checkpoint: of an encoder.
        random: whether the encoder's weights are random.
    """

    key: str
    title: str
    kind: str
    recipe: Recipe
    steps: tuple[int, int]
    network: dict[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None
    random: bool = False

    def job(self, data: StudyData, device: str) -> dict[str, Any]:
        """Argument of :func:`~paper.studies.resource_worker.measure_steps`, without the rows."""
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
    modulation, transformer, encoder = waves[1], transformer_system(None), encoder_system(MINILM)

    def equalise(recipe: Recipe) -> Recipe:
        return recipe.replace(batch_size=batch_size, precision="float32", token_dropout=0.0)

    entries = [Entry(w.key, w.title, "wave", equalise(w.recipe), (20, 5), dict(w.network)) for w in waves]
    entries += [
        Entry(
            f"{modulation.key}-all-tokens",
            f"{modulation.title}, all tokens",
            "wave",
            equalise(modulation.recipe),
            (6, 2),
            {**modulation.network, "readout": "mean"},
        ),
        Entry(
            "transformer",
            "Transformer, 1 layer, all tokens",
            "transformer",
            equalise(transformer.recipe),
            (6, 2),
            dict(transformer.network),
        ),
        Entry("minilm", MINILM, "encoder", equalise(encoder.recipe), (4, 2), checkpoint=MINILM),
        Entry(
            "bert-base",
            "BERT base, random weights",
            "encoder",
            equalise(encoder.recipe),
            (3, 1),
            checkpoint=BERT_BASE,
            random=True,
        ),
    ]
    for wave in waves:
        recipe = wave.recipe.replace(batch_size=batch_size)
        title = f"{wave.title}, as trained here"
        entries.append(Entry(f"{wave.key}-library", title, "wave", recipe, (20, 5), dict(wave.network)))
    return entries


def measure(store: ResultStore, options: Options) -> Document:
    """Measure on the data set of the options; a quick study reads 2,000 rows of it."""
    data = options.load(*((QUICK_ROWS, QUICK_ROWS) if options.quick else ()))
    return measure_resources(store, data, options.quick)


def measure_resources(
    store: ResultStore, data: StudyData, quick: bool, entries: list[Entry] | None = None
) -> Document:
    """Train every system for some steps in its own process, and measure time and memory.

    Args:
        store: keeps the measurements.
        data: encoded as the WordPieces that waves and Transformers share.
        quick: fewer steps, at batch 16, with texts of at most :data:`QUICK_TOKENS` tokens.
        entries: other systems than :func:`make_entries`.

    Returns:
        ``systems``, each with the result of :func:`~paper.studies.resource_worker.measure_steps` and figures
        that follow from it, and ``skipped``, with the reasons.
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
    """Measure one system.

    Raises:
        MissingExtraError: the package of an encoder is not installed.
        FreshProcessError: it failed, e.g. out of memory.
    """
    if entry.checkpoint is not None:
        _ = PretrainedEncoder(entry.checkpoint).source  # raises if the package is missing
    steps, warm_up = entry.steps[quick], WARM_UP[quick]
    job = {**entry.job(data, device), "warm_up": warm_up}
    settings = {**job, "data": data.settings, "tokens": data.features.config.max_tokens}
    settings |= {"steps": steps, "threads": n_threads()}

    def compute() -> Result:
        with tempfile.TemporaryDirectory(prefix="token2wave-") as folder:
            path = Path(folder, "rows.npz")
            save_rows(sample_rows(data.train, (steps + warm_up) * entry.recipe.batch_size), path)
            return call_in_fresh_process(measure_steps_alone, {**job, "rows": str(path)})

    return store.compute(f"resources/{data.name}/{entry.key}", settings, compute)


def sample_rows(rows: Examples, n_rows: int) -> Examples:
    """Random rows, repeated only if there are too few."""
    return rows.take(np.resize(np.random.default_rng(0).permutation(len(rows)), n_rows))


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

    Args:
        parameters: all.
        without_embedding: all except the embedding table.
        embedding_optimizer: ``adam`` or ``sgd``.
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
        rows.append(
            [
                system["title"],
                *(f"{n / 1e6:,.1f}" for n in parameters),
                system["precision"],
                f"{1000 * system['median_step_seconds']:,.1f}",
                f"{system['epoch_seconds']:,.0f}",
                *("–" if n_bytes is None else f"{n_bytes / 1e9:,.2f}" for n_bytes in memory),
            ]
        )
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
        _draw_dots(time_axes, systems, "epoch_seconds", "", 0, lambda value: value)
        for series, (key, label) in enumerate(MEMORY.items()):
            _draw_dots(memory_axes, systems, key, label, series, lambda value: value / 1e9)
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


def _draw_dots(
    ax: Axes, systems: list[Document], key: str, label: str, series: int, scale: Callable[[float], float]
) -> None:
    points = [(scale(system[key]), row) for row, system in enumerate(systems) if system[key] is not None]
    style = SERIES[series]
    if points:
        values, rows = zip(*points, strict=True)
        face = style["color"] if series == 0 else "none"
        ax.scatter(
            values, rows, label=label, marker=style["marker"], color=style["color"], facecolor=face, s=30
        )
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
)
