"""Gradients over training, at [CLS], at the whole input and at the classifier (arXiv 2411.06989)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from paper.result_store import Result, ResultStore
from paper.studies.gradients_claims import judge
from paper.study import Document, Drawing, Options, Study, StudyData, Table
from paper.study_figures import SERIES, line_with_band, new_figure, styled
from paper.systems import (
    System,
    available,
    encoder_system,
    probe_training,
    transformer_system,
    wave_system,
)
from token2wave.features import Ragged
from token2wave.models import TextNetwork, WaveNetwork, make_batch
from token2wave.models.encoder_sources import MINILM
from token2wave.models.wave_network import WaveLayer
from token2wave.waves import Wave, first_token_wave, global_semantics, segment_ids, segment_sum

if TYPE_CHECKING:
    from token2wave.models import Batch

BATCH, STEPS, INTERVAL = 32, 200, 20
N_TEXTS = 128  # training texts whose gradients are computed, the same at every step
PLACES = {"cls": "at [CLS]", "input": "at the whole input", "classifier": "at the classifier"}
COMPONENTS = {"cls": "gradient", "cls_magnitude": "magnitude", "cls_phase": "phase"}


class TokenGradients(NamedTuple):
    """Gradients of each text's own cross-entropy, of ``B`` texts with ``T`` tokens.

    Attributes:
        tokens: ``(T, D)``, at the embedding of every occurrence of a token.
        magnitude: ``(T, D)``, the part that flows through the magnitudes; None except for waves.
        phase: ``(T, D)``, the part that flows through the phases; both sum to ``tokens``.
        classifier: ``(C, D)``, of the mean cross-entropy, at the weights of the classifier.
        offsets: ``(B + 1,)`` int64, the texts.
    """

    tokens: Tensor
    magnitude: Tensor | None
    phase: Tensor | None
    classifier: Tensor
    offsets: Tensor


def token_gradients(network: TextNetwork, features: Ragged, labels: Tensor) -> TokenGradients:
    """Compute the gradients of ``B`` texts with ``(B,)`` int64 labels; the network stays as it is."""
    weight = network.embedding.weight
    batch, labels = make_batch(features).of_every_token().to(weight.device), labels.to(weight.device)
    tokens = weight.detach().index_select(0, batch.rows).requires_grad_()
    with torch.enable_grad():
        if isinstance(network, WaveNetwork) and _is_papers_network(network):
            return _wave_gradients(network, tokens, batch, labels)
        losses = F.cross_entropy(network.of_embedded(tokens, batch), labels, reduction="none")
        at_tokens, at_head = torch.autograd.grad(losses.sum(), [tokens, network.head.weight])
    return TokenGradients(at_tokens, None, None, at_head / len(labels), batch.offsets)


def _is_papers_network(network: WaveNetwork) -> bool:
    """Whether it has one wave layer with two linear variants, read out at [CLS]."""
    config = network.config
    shape = (config.positions, config.context_width, config.layers, config.variants, config.readout)
    return shape == ("none", 0, 1, "linear", "cls")


def _wave_gradients(network: WaveNetwork, tokens: Tensor, batch: Batch, labels: Tensor) -> TokenGradients:
    """Total gradient, and its part through the magnitudes.

    With ``Z = G exp(i alpha)``, ``dL/dG = dL/dRe cos(alpha) + dL/dIm sin(alpha)`` and ``dG/dw_j = w_j / G``;
    the rest of the gradient at ``w_j`` flows through the phase. No term has a singularity.
    """
    layer = cast("WaveLayer", network.layers[0])
    linear = layer.variants
    assert linear is not None
    variants = linear(tokens)  # (T, 2 D)
    real, imaginary = first_token_wave(variants, batch.index, batch.offsets)  # (B, 2 D), both variants
    first, second = (Wave(*halves) for halves in zip(real.chunk(2, 1), imaginary.chunk(2, 1), strict=True))
    state = network.norm(layer.restore(layer.operation(first, second)))
    losses = F.cross_entropy(network.head(network.dropout(state)), labels, reduction="none")
    at_variants, at_real, at_imaginary, at_head = torch.autograd.grad(
        losses.sum(), [variants, real, imaginary, network.head.weight]
    )
    with torch.no_grad():
        magnitude = global_semantics(variants, batch.offsets)  # (B, 2 D)
        divisor = torch.where(magnitude > 0, magnitude, 1)
        at_magnitude = (at_real * real + at_imaginary * imaginary) / divisor  # dL/dG: cos = Re / G
        text = segment_ids(batch.offsets, variants.shape[0])
        through_magnitude = (at_magnitude / divisor).index_select(0, text) * variants  # (T, 2 D)
        total, magnitude_part = at_variants @ linear.weight, through_magnitude @ linear.weight
    at_head = at_head / len(labels)
    return TokenGradients(total, magnitude_part, total - magnitude_part, at_head, batch.offsets)


def gradient_norms(gradients: TokenGradients) -> dict[str, float]:
    """Euclidean norms of gradients of each text's own loss, so that the batch size does not matter.

    At the [CLS] embedding and over all embeddings of a text, mean over texts; at the classifier's weights, of
    the mean loss. For waves also those of the parts, and the mean cosine between the parts at [CLS].
    """
    norms = {"classifier": float(gradients.classifier.norm())}
    first = gradients.offsets[:-1]
    parts = {"": gradients.tokens, "_magnitude": gradients.magnitude, "_phase": gradients.phase}
    for suffix, gradient in parts.items():
        if gradient is not None:
            norms[f"cls{suffix}"] = float(gradient[first].norm(dim=1).mean())
            squares = segment_sum(gradient.square().sum(dim=1, keepdim=True), gradients.offsets)
            norms[f"input{suffix}"] = float(squares.sqrt().mean())
    if gradients.magnitude is not None and gradients.phase is not None:
        cosine = F.cosine_similarity(gradients.magnitude[first], gradients.phase[first], dim=1)
        norms["cls_cosine"] = float(cosine.mean())
    return {name: float(f"{value:.6g}") for name, value in norms.items()}


def dimension_gradients(gradients: TokenGradients) -> NDArray[np.float64]:
    """Mean absolute gradient of each dimension of the [CLS] embedding over the texts, ``(D,)``."""
    mean = gradients.tokens[gradients.offsets[:-1]].abs().mean(dim=0)
    return cast("NDArray[np.float64]", mean.double().cpu().numpy())


def measure(store: ResultStore, options: Options) -> Document:
    """Train every system for some steps, with gradients of the same texts on the way.

    Each run has ``norms``, a value a step, and ``dimensions``, by step a value for each dimension of [CLS].
    """
    steps, n_texts = (INTERVAL, BATCH) if options.quick else (STEPS, N_TEXTS)
    data = options.load(train_rows=(steps + 1) * BATCH, test_rows=BATCH)
    compared = [wave_system(operation, unregularised=True) for operation in ("interference", "modulation")]
    compared.append(transformer_system(MINILM, unregularised=True))
    if not options.quick:
        compared.append(encoder_system(MINILM, epochs=4))
    systems, left_out = available(compared)
    n_texts = min(n_texts, len(data.train))
    document: Document = {
        "data": data.name,
        "caveats": [*data.texts.caveats, *left_out],
        "steps": list(range(0, steps + 1, INTERVAL)),
        "texts": n_texts,
        "systems": {},
    }
    for system in systems:
        recipe = system.recipe.replace(batch_size=BATCH, epochs=1, warmup=0.0, decay="constant")
        seeds = options.seeds[:1] if options.quick or system.kind == "encoder" else options.seeds
        system = replace(system, recipe=recipe)
        runs = [_measure_system(store, data, system, seed, steps, n_texts) for seed in seeds]
        document["systems"][system.key] = {"title": system.title, "runs": runs}
    return document


def _measure_system(
    store: ResultStore, data: StudyData, system: System, seed: int, steps: int, n_texts: int
) -> Result:
    def compute() -> Result:
        encoded = system.encode(data)
        texts = encoded.train.take(np.arange(n_texts))
        dimensions: dict[str, list[float]] = {}

        def probe(network: TextNetwork, step: int) -> dict[str, float]:
            """Mean over batches of the same texts, without dropout."""
            batches = []
            for first in range(0, n_texts, BATCH):
                rows = texts.take(np.arange(first, min(first + BATCH, n_texts)))
                batches.append(token_gradients(network, rows.features, torch.from_numpy(rows.labels)))
            if step in (0, steps // 2 // INTERVAL * INTERVAL, steps):
                mean = np.mean([dimension_gradients(batch) for batch in batches], axis=0)
                dimensions[str(step)] = [float(f"{value:.4g}") for value in mean]
            norms = [gradient_norms(batch) for batch in batches]
            return {name: float(np.mean([batch[name] for batch in norms])) for name in norms[0]}

        norms = probe_training(store, system, encoded, seed, steps, INTERVAL, probe)
        return {"norms": {key: [step[key] for step in norms] for key in norms[0]}, "dimensions": dimensions}

    settings = {**system.settings(), "data": data.settings, "steps": steps, "texts": n_texts, "seed": seed}
    name = f"gradients/{data.name}/{system.key}-{seed}"
    return store.compute(name, settings, compute, f"gradients: {system.title}, seed {seed}")


def _mean(system: dict[str, Any], name: str, step: int) -> float:
    return float(np.mean([run["norms"][name][step] for run in system["runs"]]))


def _waves(document: Document) -> list[dict[str, Any]]:
    return [system for system in document["systems"].values() if "cls_phase" in system["runs"][0]["norms"]]


def tables(document: Document) -> list[Table]:
    """Norms at the beginning and at the end, and the two parts of a wave's gradient."""
    last = document["steps"][-1]
    rows = []
    for system in document["systems"].values():
        norms = [f"{_mean(system, place, step):.3g}" for place in PLACES for step in (0, -1)]
        rows.append([system["title"], str(len(system["runs"])), *norms])
    components = []
    for system in _waves(document):
        for place in ("cls", "input"):
            norms = [f"{_mean(system, place + name, -1):.3g}" for name in ("", "_magnitude", "_phase")]
            cosine = f"{_mean(system, 'cls_cosine', -1):+.2f}" if place == "cls" else ""
            components.append([system["title"], PLACES[place], *norms, cosine])
    columns = [f"{title}, step {step}" for title in PLACES.values() for step in (0, last)]
    return [
        Table(
            f"Euclidean norms of gradients (nats per unit), mean over {document['texts']} training texts "
            f"of {document['data']} and the seeds, at the first and the last step of batch {BATCH}; those "
            f"at the classifier are of the mean loss of {BATCH} texts.",
            ["system", "seeds", *columns],
            rows,
        ),
        Table(
            f"Parts of a wave's gradient through the magnitudes and through the phases, at step {last}. "
            "They sum to the gradient; where they point against each other (a negative cosine) each may "
            "be longer than the sum.",
            ["system", "place", "gradient", "through magnitude", "through phase", "their cosine"],
            components,
            n_names=2,
        ),
    ]


def drawings(document: Document) -> dict[str, Drawing]:
    """Norms over training, the two parts of a wave's gradient, and the distribution over dimensions."""
    steps, systems, waves = document["steps"], list(document["systems"].values()), _waves(document)
    steps_label = f"training steps ({BATCH} texts each)"
    with styled():
        figure, axes = new_figure(3, width=3.1, height=3.2)
        for axis, (name, title) in zip(axes, PLACES.items(), strict=True):
            for i, system in enumerate(systems):
                runs = [run["norms"][name] for run in system["runs"]]
                line_with_band(axis, steps, runs, system["title"], i)
            axis.set(xlabel=steps_label, yscale="log", title=title)
        axes[0].set_ylabel("norm of the gradient (nats per unit)")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        split, axes = new_figure(len(waves), width=3.4, height=2.9, sharey=True)
        for axis, system in zip(axes, waves, strict=True):
            for i, (name, title) in enumerate(COMPONENTS.items()):
                line_with_band(axis, steps, [run["norms"][name] for run in system["runs"]], title, i)
            axis.set(xlabel=steps_label, yscale="log", title=system["title"])
        axes[0].set_ylabel("norm at [CLS] (nats per unit)")
        axes[0].legend()
        spread, axes = new_figure(len(systems), width=2.5, height=2.9, sharey=True)
        for axis, system in zip(axes, systems, strict=True):
            for i, (step, values) in enumerate(system["runs"][0]["dimensions"].items()):
                ordered = np.sort(values)
                cumulative = 100 * (np.arange(len(ordered)) + 0.5) / len(ordered)
                style = {**SERIES[i], "markevery": max(1, len(ordered) // 6)}
                axis.plot(np.maximum(ordered, 1e-12), cumulative, label=f"step {step}", **style)
            axis.set(xscale="log", xlabel="mean |gradient| of a\ndimension of [CLS]")
            axis.set_title(system["title"].replace(", ", ",\n", 1), fontsize=8.5)
        axes[0].set_ylabel("dimensions below it (%)")
        axes[0].legend()
    about = f"the same {document['texts']} training texts of {document['data']}, in evaluation mode"
    return {
        "gradients": Drawing(
            figure,
            f"Euclidean norms of the gradient of a text's loss over training, for {about}. Lines are means "
            "of the seeds, bands span the lowest to the highest; the encoder has one seed.",
        ),
        "gradients-parts": Drawing(
            split,
            "The gradient at [CLS] of both Wave networks, and its parts through magnitude and phase, "
            "which sum to it as vectors.",
        ),
        "gradients-dimensions": Drawing(
            spread,
            "Distribution of the gradient at [CLS] over its dimensions: percentage of dimensions whose mean "
            f"absolute gradient lies below a value, for {about}; first seed.",
        ),
    }


STUDY = Study(
    "gradients",
    "Gradients",
    "The second paper compares gradients at the [CLS] token, at the whole input and at the classifier "
    "over training, in a norm that it does not name. Here it is the Euclidean norm of the gradient of "
    "each text's own loss. A wave Z = G exp(i alpha) has two parts of the gradient, which sum to it "
    "exactly: through its magnitude, dL/dG dG/dw, and through its phase, the rest.",
    measure,
    tables,
    drawings,
    judge,
)
