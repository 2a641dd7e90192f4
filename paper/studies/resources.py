"""The papers' comparison of resources: time and memory of training at batch 64, each system by itself."""

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
from token2wave.models.bert_encoder import PretrainedEncoder
from token2wave.models.encoder_sources import BERT_BASE, MINILM
from token2wave.training.examples import Examples
from token2wave.training.recipe import Recipe
from token2wave.training.schedule import n_batches

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BATCH_SIZES = (64, 16)  # in full, as in the papers, and quick
BYTES_PER_NUMBER = 4
WARM_UP = (2, 1)  # steps that do not count, in full and quick: the first allocates the optimisers' moments
QUICK_ROWS, QUICK_TOKENS = 2000, 16


@dataclass(frozen=True)
class Entry:
    """One row of the comparison.

    Attributes:
        key: short name in files.
        title: what tables call it.
        kind: ``wave``, ``transformer`` or ``encoder``.
        recipe: how it is trained.
        steps: that count, in full and in a quick study.
        network: settings but for the sizes that the data decides.
        checkpoint: of an encoder.
        random: whether the encoder's weights are drawn at random.
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
        """What :func:`~paper.studies.resource_worker.measure_steps` takes, without the rows."""
        network: dict[str, Any] = {"kind": self.kind}
        if self.kind == "encoder":
            network |= {
                "checkpoint": self.checkpoint,
                "random": self.random,
                "n_classes": data.sizes["n_classes"],
            }
        else:
            network["settings"] = {**self.network, **data.sizes}
        return {"network": network, "recipe": self.recipe.to_dict(), "device": device}


def entries(batch_size: int = BATCH_SIZES[0]) -> list[Entry]:
    """The systems of the papers' Table 2, and the wave networks as the library trains them."""
    waves = [wave_system(operation) for operation in ("interference", "modulation")]
    modulation = waves[1]
    transformer = transformer_system(None)
    encoder = encoder_system(MINILM)

    def on_a_par(recipe: Recipe) -> Recipe:
        return recipe.replace(batch_size=batch_size, precision="float32", token_dropout=0.0)

    found = [
        Entry(wave.key, wave.title, "wave", on_a_par(wave.recipe), (20, 5), dict(wave.network))
        for wave in waves
    ]
    found.append(
        Entry(
            f"{modulation.key}-all-tokens",
            f"{modulation.title}, all tokens",
            "wave",
            on_a_par(modulation.recipe),
            (6, 2),
            {**modulation.network, "readout": "mean"},
        )
    )
    found += [
        Entry(
            "transformer",
            "Transformer, 1 layer, all tokens",
            "transformer",
            on_a_par(transformer.recipe),
            (6, 2),
            dict(transformer.network),
        ),
        Entry("minilm", MINILM, "encoder", on_a_par(encoder.recipe), (4, 2), checkpoint=MINILM),
        Entry(
            "bert-base",
            "BERT base, random weights",
            "encoder",
            on_a_par(encoder.recipe),
            (3, 1),
            checkpoint=BERT_BASE,
            random=True,
        ),
    ]
    found += [
        Entry(
            f"{wave.key}-library",
            f"{wave.title}, as trained here",
            "wave",
            wave.recipe.replace(batch_size=batch_size),
            (20, 5),
            dict(wave.network),
        )
        for wave in waves
    ]
    return found


def measure_resources(
    store: ResultStore, data: StudyData, quick: bool, compared: list[Entry] | None = None
) -> Document:
    """Train every system for some steps in a process of its own; time and memory.

    Args:
        store: keeps the measurements.
        data: cut into the WordPieces that waves and Transformers share.
        quick: fewer steps, at batch 16, of texts of at most :data:`QUICK_TOKENS` tokens.
        compared: other systems than :func:`entries`.

    Returns:
        ``systems``, each with what ``measure_steps`` of :mod:`paper.studies.resource_worker` gives
        and what follows from it, and ``skipped``, with the reasons.
    """
    batch_size = BATCH_SIZES[quick]
    compared = entries(batch_size) if compared is None else compared
    device = resolve_device(store.device)
    if quick:
        config = data.features.config
        short = WordPieceFeatures(config.replace(max_tokens=QUICK_TOKENS), data.features.vocabulary)
        data = data.encode_with(short)
    steps_per_epoch = n_batches(len(data.train), batch_size)
    document: Document = {
        "data": data.name,
        "train_rows": len(data.train),
        "steps_per_epoch": steps_per_epoch,
        "batch_size": batch_size,
        "device": device,
        "threads": n_threads(),
        "max_tokens": data.features.config.max_tokens,
        "caveats": list(data.texts.caveats),
        "systems": [],
        "skipped": [],
    }
    store.callback_list.stage(f"time and memory of training, {data.name}", len(compared))
    for entry in compared:
        named = {"key": entry.key, "title": entry.title}
        try:
            unit = _measure(store, data, entry, quick, device)
        except (MissingExtraError, FreshProcessError) as error:
            document["skipped"].append({**named, "reason": str(error)})
        else:
            document["systems"].append({**named, **unit, **_derived(unit, entry.recipe, steps_per_epoch)})
        store.callback_list.advance(1)
    return document


def _measure(store: ResultStore, data: StudyData, entry: Entry, quick: bool, device: str) -> Result:
    """What :func:`~paper.studies.resource_worker.measure_steps` gives for a system.

    Raises:
        MissingExtraError: a package that an encoder needs is not installed.
        FreshProcessError: it failed, e.g. because memory did not suffice.
    """
    if entry.checkpoint is not None:
        _ = PretrainedEncoder(entry.checkpoint).source  # raises where a package is missing
    steps, warm_up = entry.steps[quick], WARM_UP[quick]
    job = {**entry.job(data, device), "warm_up": warm_up}
    settings = {**job, "data": data.settings, "tokens": data.features.config.max_tokens}
    settings |= {"steps": steps, "threads": n_threads()}

    def compute() -> Result:
        with tempfile.TemporaryDirectory(prefix="token2wave-") as folder:
            path = Path(folder, "rows.npz")
            save_rows(some_rows(data.train, (steps + warm_up) * entry.recipe.batch_size), path)
            return call_in_fresh_process(measure_steps_alone, {**job, "rows": str(path)})

    return store.compute(f"resources/{data.name}/{entry.key}", settings, compute)


def some_rows(rows: Examples, wanted: int) -> Examples:
    """So many rows, drawn at random without repetition as far as there are enough."""
    order = np.random.default_rng(0).permutation(len(rows))
    return rows.take(np.resize(order, wanted))


def _derived(unit: Result, recipe: Recipe, steps_per_epoch: int) -> Document:
    """Figures that follow from what was measured."""
    seconds = unit["step_seconds"]
    median = statistics.median(seconds)
    total, without = unit["parameters"], unit["parameters_without_embedding"]
    known = unit["peak"] is not None and unit["baseline"] is not None
    return {
        "median_step_seconds": median,
        "mean_step_seconds": statistics.fmean(seconds),
        "epoch_seconds": statistics.fmean(seconds) * steps_per_epoch,  # long texts count, too
        "added": unit["peak"] - unit["baseline"] if known else None,
        "steady_state": steady_state_bytes(total, without, recipe.embedding_optimizer),
        "papers_figure": papers_bytes(total),
    }


def steady_state_bytes(parameters: int, without_embedding: int, embedding_optimizer: str = "adam") -> int:
    """Memory that training holds between forward and backward passes, in float32.

    Weights, gradients of everything but the embedding (whose gradient exists for a batch's rows alone), and
    Adam's two moments; SGD on the rows needs none for the embedding.

    Args:
        parameters: all.
        without_embedding: all but the embedding table.
        embedding_optimizer: ``adam`` or ``sgd``.
    """
    with_moments = parameters if embedding_optimizer == "adam" else without_embedding
    return BYTES_PER_NUMBER * (parameters + without_embedding + 2 * with_moments)


def papers_bytes(parameters: int) -> int:
    """Weights and two moments, 12 bytes a parameter: what the papers' figures of memory come close to."""
    return 3 * BYTES_PER_NUMBER * parameters


def measure(store: ResultStore, options: Options) -> Document:
    """Measure on the options' data set; a quick study reads 2,000 rows of it."""
    data = options.load(*((QUICK_ROWS, QUICK_ROWS) if options.quick else ()))
    return measure_resources(store, data, options.quick)


def tables(document: Document) -> list[Table]:
    """Time and memory of every system, and which were left out."""
    rows = [
        [
            found["title"],
            f"{found['parameters'] / 1e6:,.1f}",
            f"{found['parameters_without_embedding'] / 1e6:,.1f}",
            found["precision"],
            f"{1000 * found['median_step_seconds']:,.1f}",
            f"{found['epoch_seconds']:,.0f}",
            _gigabytes(found["added"]),
            _gigabytes(found["peak"]),
            _gigabytes(found["steady_state"]),
            _gigabytes(found["papers_figure"]),
        ]
        for found in document["systems"]
    ]
    skipped = "".join(f" Left out: {found['title']} ({found['reason']})." for found in document["skipped"])
    table = Table(
        f"Training on {document['data']} at batch {document['batch_size']}: the median step, an epoch of "
        f"{document['steps_per_epoch']:,} such steps, and memory in GB: at the peak beyond what the process "
        "held before the network was built, and with it; in the steady state (weights, gradients of all but "
        f"the embedding, two moments); and 12 bytes a parameter. {_machine(document)}{skipped}",
        [
            "system",
            "parameters, 10⁶",
            "without embedding",
            "precision",
            "ms per step",
            "s per epoch",
            "peak added",
            "peak",
            "steady state",
            "12 bytes each",
        ],
        rows,
    )
    return [table]


def drawings(document: Document) -> dict[str, Drawing]:
    """Seconds per epoch and memory, on logarithmic axes."""
    systems = document["systems"]
    if not systems:
        return {}
    with styled():
        figure, (time_axes, memory_axes) = new_figure(
            2, 1, width=4.4, height=0.9 + 0.32 * len(systems), sharey=True
        )
        _dots(time_axes, systems, "epoch_seconds", "", 0, lambda value: value)
        for series, (key, label) in enumerate(
            (
                ("added", "peak, beyond the process before"),
                ("steady_state", "steady state"),
                ("papers_figure", "12 bytes a parameter"),
            )
        ):
            _dots(memory_axes, systems, key, label, series, lambda value: value / 1e9)
        time_axes.set_yticks(range(len(systems)), [found["title"] for found in systems])
        time_axes.invert_yaxis()
        time_axes.set_xlabel("time of an epoch, s")
        memory_axes.set_xlabel("memory, GB")
        figure.legend(*memory_axes.get_legend_handles_labels(), loc="outside lower right", ncols=3)
    caption = (
        f"Training on {document['data']} at batch {document['batch_size']}, every system in a process of "
        f"its own: an epoch of {document['steps_per_epoch']:,} steps as long as the median of those "
        "measured, and memory. The peak is the most that was held during the steps, beyond what the "
        "process held before the network was built; the steady state is computed: weights, gradients of "
        "all but the embedding, and two moments. Rows “as trained here” have the library's precision and "
        f"token dropout, all others float32 and no token dropout. Logarithmic axes. {_machine(document)}"
    )
    return {"resources": Drawing(figure, caption)}


def _dots(
    ax: Axes, systems: list[Document], key: str, label: str, series: int, scaled: Callable[[float], float]
) -> None:
    known = [(scaled(found[key]), place) for place, found in enumerate(systems) if found[key] is not None]
    style = SERIES[series]
    if known:
        values, places = zip(*known, strict=True)
        filled = style["color"] if series == 0 else "none"
        ax.scatter(
            values, places, label=label, marker=style["marker"], color=style["color"], facecolor=filled, s=30
        )
        ax.set_xscale("log")
        ax.margins(x=0.1)
        plain_log_ticks(ax.xaxis, decades=1.5)


def _machine(document: Document) -> str:
    most = document["max_tokens"]
    return describe_machine(document, f", texts cut to {most} tokens" if most < 512 else "")


def _gigabytes(n_bytes: int | None) -> str:
    return "–" if n_bytes is None else f"{n_bytes / 1e9:,.2f}"


STUDY = Study(
    name="resources",
    title="Time and memory of training",
    about=(
        "The papers' Table 2 compares seconds per epoch and memory at batch 64. Here every system is "
        "trained for some steps by the library's own trainer on training rows drawn at random, in a process "
        "of its own, after steps that do not count. A step goes from one batch's gradients to the next "
        "one's: optimiser, making the batch, forward and backward. All compute in float32 and without token "
        "dropout, to be on an equal footing; the last rows are wave networks as the library trains them. "
        "The wave network computes its variants once for each distinct token of a batch and the state of "
        "[CLS] alone; one row computes every token's. The Transformer and the encoders compute all tokens, "
        "and get texts of similar length in a batch, which saves them most of the padding. BERT base has "
        "random weights: that changes neither time nor memory, but nothing could be said of its accuracy."
    ),
    measure=measure,
    tables=tables,
    drawings=drawings,
)
