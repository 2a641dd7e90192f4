"""Gradients over training, at [CLS], at the whole input and at the classifier (arXiv 2411.06989)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from paper.result_store import Result, ResultStore
from paper.studies.token_gradients import TokenGradients, token_gradients
from paper.study import Document, Drawing, Options, Study, Table
from paper.study_figures import SERIES, line_with_band, new_figure, styled
from paper.systems import System, available, encoder_system, transformer_system, wave_system
from token2wave.models import TextNetwork
from token2wave.models.encoder_sources import MINILM
from token2wave.training.callbacks import Callback
from token2wave.training.examples import Examples
from token2wave.training.loop import fit
from token2wave.training.schedule import n_batches
from token2wave.waves import segment_sum

if TYPE_CHECKING:
    from paper.study_data import StudyData
    from token2wave.models import Batch

BATCH, STEPS, BETWEEN = 32, 200, 20
PROBED_TEXTS = 128  # training texts whose gradients are taken, the same at every step
PLACES = {
    "cls": "at [CLS]",
    "input": "at the whole input",
    "classifier": "at the classifier",
}
PARTS = {"cls_magnitude": "magnitude", "cls_phase": "phase"}


def norms(found: TokenGradients) -> dict[str, float]:
    """Sizes of gradients, as Euclidean norms.

    The papers do not define theirs. This one is of each text's own loss, so that the size of the batch does
    not enter, and it counts every number of a gradient alike.

    Returns:
        ``cls``: norm at the [CLS] embedding, mean over texts; ``input``: norm over the embeddings of all of a
        text's tokens together, mean over texts; ``classifier``: norm at the classifier's weights, of the mean
        loss. For waves also ``cls_magnitude``, ``cls_phase``, ``input_magnitude``, ``input_phase``: of the
        parts, which sum to the gradient (their norms do not); and ``cls_cosine``: mean cosine between the
        parts.
    """
    result = {"classifier": float(found.classifier.norm())}
    parts = {"": found.tokens, "_magnitude": found.magnitude, "_phase": found.phase}
    first = found.offsets[:-1]
    for suffix, gradient in parts.items():
        if gradient is None:
            continue
        result[f"cls{suffix}"] = float(gradient[first].norm(dim=1).mean())
        squares = segment_sum(gradient.square().sum(dim=1, keepdim=True), found.offsets)
        result[f"input{suffix}"] = float(squares.sqrt().mean())
    if found.magnitude is not None and found.phase is not None:
        cosine = torch.nn.functional.cosine_similarity(found.magnitude[first], found.phase[first], dim=1)
        result["cls_cosine"] = float(cosine.mean())
    return {name: float(f"{value:.6g}") for name, value in result.items()}


def per_dimension(found: TokenGradients) -> NDArray[np.float64]:
    """Mean absolute gradient of each dimension of the [CLS] embedding over the texts, ``(D,)``."""
    result: NDArray[np.float64] = found.tokens[found.offsets[:-1]].abs().mean(dim=0).double().cpu().numpy()
    return result


@dataclass
class _Probe(Callback):
    """Takes gradients of the same texts every few steps."""

    texts: Examples
    steps: int
    taken: int = 0
    norms: list[dict[str, float]] = field(default_factory=list)
    dimensions: dict[str, list[float]] = field(default_factory=dict)

    def on_gradients(self, network: TextNetwork, batch: Batch) -> None:
        if self.taken % BETWEEN == 0 and self.taken <= self.steps:
            self.take(network)
        self.taken += 1

    def take(self, network: TextNetwork) -> None:
        """Take the gradients in batches, without dropout."""
        network.eval()
        parts = [
            token_gradients(network, some.features, torch.from_numpy(some.labels))
            for some in (
                self.texts.take(np.arange(first, min(first + BATCH, len(self.texts))))
                for first in range(0, len(self.texts), BATCH)
            )
        ]
        network.train()
        found = [norms(part) for part in parts]
        self.norms.append({name: float(np.mean([one[name] for one in found])) for name in found[0]})
        if self.taken in (0, self.steps // 2 // BETWEEN * BETWEEN, self.steps):
            mean = np.mean([per_dimension(part) for part in parts], axis=0)
            self.dimensions[str(self.taken)] = [float(f"{value:.4g}") for value in mean]


def systems() -> list[System]:
    """The papers' networks, trained as they state."""
    named = [
        wave_system("interference", bare=True),
        wave_system("modulation", bare=True),
        transformer_system(MINILM, bare=True),
        encoder_system(MINILM, epochs=4),
    ]
    return [
        replace(one, recipe=one.recipe.replace(batch_size=BATCH, epochs=1, warmup=0.0, decay="constant"))
        for one in named
    ]


def measure(store: ResultStore, options: Options) -> Document:
    """Train every system for some steps, and take gradients of the same texts on the way.

    Returns:
        ``steps`` and ``systems``: key to ``title`` and ``runs``, each with ``norms`` (name to a value a
        step) and ``dimensions`` (step to a value for each dimension of [CLS]).
    """
    steps, texts = (BETWEEN, BATCH) if options.quick else (STEPS, PROBED_TEXTS)
    data = options.load(train_rows=(steps + 1) * BATCH, test_rows=BATCH)
    chosen, left_out = available(systems())
    texts = min(texts, len(data.train))
    document: Document = {
        "data": data.name,
        "caveats": [*data.texts.caveats, *left_out],
        "steps": list(range(0, steps + 1, BETWEEN)),
        "texts": texts,
        "systems": {},
    }
    for system in chosen:
        seeds = options.seeds[:1] if options.quick or system.kind == "encoder" else options.seeds
        runs = [_one(store, data, system, seed, steps, texts) for seed in seeds]
        document["systems"][system.key] = {"title": system.title, "runs": runs}
    return document


def _one(store: ResultStore, data: StudyData, system: System, seed: int, steps: int, texts: int) -> Result:
    def compute() -> Result:
        store.callback_list.stage(f"gradients: {system.title}, seed {seed}", 0)
        cut = system.data(data)
        network = system.build(cut, seed, store.device)
        probe = _Probe(cut.train.take(np.arange(texts)), steps)
        callbacks = [*store.callbacks, probe]
        recipe = system.recipe.replace(epochs=-(-(steps + 1) // n_batches(len(cut.train), BATCH)))
        fit(network, cut.train, None, recipe, seed=seed, has_cls=True, callbacks=callbacks)
        names = probe.norms[0]
        return {
            "norms": {name: [one[name] for one in probe.norms] for name in names},
            "dimensions": probe.dimensions,
        }

    settings = {**system.settings(), "data": data.settings, "steps": steps, "texts": texts, "seed": seed}
    return store.compute(f"gradients/{data.name}/{system.key}-{seed}", settings, compute)


def _mean(system: dict[str, Any], name: str, step: int) -> float:
    return float(np.mean([run["norms"][name][step] for run in system["runs"]]))


def tables(document: Document) -> list[Table]:
    """Norms at the beginning and at the end, and the two parts of a wave's gradient."""
    last = document["steps"][-1]
    rows = []
    for system in document["systems"].values():
        cells = [f"{_mean(system, name, step):.3g}" for name in PLACES for step in (0, -1)]
        rows.append([system["title"], str(len(system["runs"])), *cells])
    head = ["system", "seeds"]
    head += [f"{title}, step {step}" for title in PLACES.values() for step in (0, last)]
    caption = (
        f"Euclidean norms of gradients (nats per unit), mean over {document['texts']} training texts of "
        f"{document['data']} and the seeds, at the first and the last step of batch {BATCH}; those at "
        f"the classifier are of the mean loss of {BATCH} texts."
    )
    parts = []
    for system in document["systems"].values():
        if "cls_phase" not in system["runs"][0]["norms"]:
            continue
        for place in ("cls", "input"):
            total, magnitude, phase = (
                _mean(system, f"{place}{part}", -1) for part in ("", "_magnitude", "_phase")
            )
            cosine = f"{_mean(system, 'cls_cosine', -1):+.2f}" if place == "cls" else ""
            parts.append(
                [system["title"], PLACES[place], f"{total:.3g}", f"{magnitude:.3g}", f"{phase:.3g}", cosine]
            )
    caption_of_parts = (
        f"What of a wave's gradient flows through the magnitudes, and what through the phases, at step "
        f"{last}. The two parts sum to the gradient; where they point against each other (a negative cosine) "
        "each may be longer than the sum."
    )
    head_of_parts = ["system", "place", "gradient", "through magnitude", "through phase", "their cosine"]
    return [Table(caption, head, rows), Table(caption_of_parts, head_of_parts, parts, n_names=2)]


def drawings(document: Document) -> dict[str, Drawing]:
    """Norms over training, the two parts of a wave's, and the distribution over dimensions."""
    steps = document["steps"]
    found = document["systems"]
    waves = {key: one for key, one in found.items() if "cls_phase" in one["runs"][0]["norms"]}
    with styled():
        figure, axes = new_figure(3, width=3.1, height=3.2)
        for axis, (name, title) in zip(axes, PLACES.items(), strict=True):
            for i, system in enumerate(found.values()):
                runs = [run["norms"][name] for run in system["runs"]]
                line_with_band(axis, steps, runs, system["title"], i)
            axis.set(xlabel=f"training steps ({BATCH} texts each)", yscale="log", title=title)
        axes[0].set_ylabel("norm of the gradient (nats per unit)")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        split, axes = new_figure(len(waves), width=3.4, height=2.9, sharey=True)
        for axis, system in zip(axes, waves.values(), strict=True):
            for i, (name, title) in enumerate({"cls": "gradient", **PARTS}.items()):
                line_with_band(axis, steps, [run["norms"][name] for run in system["runs"]], title, i)
            axis.set(xlabel=f"training steps ({BATCH} texts each)", yscale="log", title=system["title"])
        axes[0].set_ylabel("norm at [CLS] (nats per unit)")
        axes[0].legend()
        spread, axes = new_figure(len(found), width=2.5, height=2.9, sharey=True)
        for axis, system in zip(axes, found.values(), strict=True):
            for i, (step, values) in enumerate(system["runs"][0]["dimensions"].items()):
                ordered = np.sort(values)
                share = 100 * (np.arange(len(ordered)) + 0.5) / len(ordered)
                style = {**SERIES[i], "markevery": max(1, len(ordered) // 6)}
                axis.plot(np.maximum(ordered, 1e-12), share, label=f"step {step}", **style)
            axis.set(xscale="log", xlabel="mean |gradient| of a\ndimension of [CLS]")
            axis.set_title(system["title"].replace(", ", ",\n", 1), fontsize=8.5)
        axes[0].set_ylabel("dimensions below it (%)")
        axes[0].legend()
    about = f"the same {document['texts']} training texts of {document['data']}, in evaluation mode"
    return {
        "gradients": Drawing(
            figure,
            f"Euclidean norms of the gradient of a text's loss over training, for {about}. Lines are means "
            "of the seeds, bands reach from the lowest to the highest; the encoder has one seed.",
        ),
        "gradients-parts": Drawing(
            split,
            "The gradient at [CLS] of both Wave networks, and its parts through magnitude and phase, which "
            "sum to it as vectors.",
        ),
        "gradients-dimensions": Drawing(
            spread,
            f"How the gradient at [CLS] is distributed over its dimensions: cumulative share of dimensions "
            f"whose mean absolute gradient lies below a value, for {about}; first seed.",
        ),
    }


STUDY = Study(
    "gradients",
    "Gradients",
    "The second paper compares gradients at the [CLS] token, at the whole input and at the classifier over "
    "training. It does not say which norm; here it is the Euclidean norm of the gradient of each text's own "
    "loss. Waves carry it on two ways, through their magnitude and through their phase, and the two parts "
    "are told apart: the part through the magnitude is dL/dG dG/dw, and the rest has come through the phase.",
    measure,
    tables,
    drawings,
)
