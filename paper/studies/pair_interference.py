"""Which waves interfere constructively (eq. 5): those of pairs of tokens, and of the levels of one token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from paper.result_store import Result, ResultStore
from paper.study import Drawing, StudyData
from paper.study_figures import SERIES, new_figure, styled
from paper.systems import train_and_answer, wave_system
from token2wave.models import WaveNetwork, make_batch
from token2wave.models.wave_network import WaveLayer
from token2wave.waves import Wave, interference_term, wave

EXAMPLE = "The striker scored twice before the break. The central bank raised interest rates."
"""Two sentences on two topics, written for this figure."""
WIDTH = 128


def agreement(first: Wave, second: Wave) -> Tensor:
    """Interference term over the largest that the magnitudes allow, ``(...,)`` in [-1, 1].

    ``sum_d 2 G G' cos(alpha - alpha') / sum_d 2 G G'`` (eq. 5): 1 where the waves are in phase in all of
    their ``D`` dimensions, -1 where they are opposed in all; 0 without energy.

    Args:
        first: ``(..., D)``.
        second: of a shape that broadcasts with it.
    """
    term = interference_term(first, second).sum(dim=-1)
    largest = (2 * first.magnitude * second.magnitude).sum(dim=-1)
    return torch.where(largest > 0, term / torch.where(largest > 0, largest, 1), 0)


def pair_agreement(network: WaveNetwork, ids: np.ndarray[Any, Any]) -> Tensor:
    """Agreement of the first variant's wave of each token with the second's of each, ``(T, T)``.

    Args:
        network: of one layer with linear variants.
        ids: ``(T,)``, the rows of a text's tokens.
    """
    (layer,) = cast("list[WaveLayer]", list(network.layers))
    assert layer.variants is not None
    both = layer.variants(network.embedding(torch.from_numpy(ids.astype(np.int64))))
    offsets = torch.tensor([0, len(ids)])
    first, second = (wave(variant, offsets) for variant in both.chunk(2, dim=1))
    rows, columns = (Wave(*(part.unsqueeze(at) for part in each)) for each, at in ((first, 1), (second, 0)))
    return agreement(rows, columns)


def level_agreement(network: WaveNetwork, ids: np.ndarray[Any, Any], sentence_offsets: Tensor) -> Tensor:
    """Agreement of each token's wave at the level of its sentence with that of the text, ``(T,)``.

    Args:
        network: with the variants ``levels``.
        ids: ``(T,)``, the rows of a text's tokens.
        sentence_offsets: ``(S + 1,)`` int64.
    """
    tokens = network.embedding(torch.from_numpy(ids.astype(np.int64)))
    return agreement(wave(tokens, sentence_offsets), wave(tokens, torch.tensor([0, len(ids)])))


def measure_example(store: ResultStore, data: StudyData, width: int, epochs: int, seed: int) -> Result:
    """Train a network of pairs and one of levels, and compute the agreements of :data:`EXAMPLE`.

    Returns:
        ``tokens``; ``pairs``, ``(T, T)``; and ``levels``, ``(T,)``.
    """
    systems = {
        "pairs": wave_system("interference", width=width, readout="mean"),
        "levels": wave_system("interference", width=width, variants="levels"),
    }
    systems = {k: replace(s, recipe=s.recipe.replace(epochs=epochs)) for k, s in systems.items()}

    def compute() -> Result:
        networks = {}
        for name, system in systems.items():
            networks[name] = cast("WaveNetwork", system.build(data, seed, store.device))
            train_and_answer(store, lambda n=name: networks[n], system.recipe, data, seed)  # type: ignore[misc]
            networks[name] = networks[name].cpu().eval()
        features = data.features([EXAMPLE])
        sentences = make_batch(features, networks["levels"].config.sentence_ends).sentence_offsets
        with torch.no_grad():
            return {
                "tokens": [data.features.vocabulary[int(row)] for row in features.ids],
                "pairs": _rounded(pair_agreement(networks["pairs"], features.ids)),
                "levels": _rounded(level_agreement(networks["levels"], features.ids, sentences)),
            }

    networks_settings = {name: system.settings() for name, system in systems.items()}
    settings = {"networks": networks_settings, "data": data.settings, "seed": seed, "text": EXAMPLE}
    name = f"phase/{data.name}/example-{seed}"
    return store.compute(name, settings, compute, f"phase: waves of an example, {data.name}, seed {seed}")


def _rounded(values: Tensor) -> Any:
    return np.round(values.double().numpy(), 4).tolist()


def draw_example(example: Mapping[str, Any], data: str) -> Drawing:
    """Draw agreements of all pairs of tokens, and of the levels of each token."""
    tokens, pairs = example["tokens"], np.array(example["pairs"])
    places = np.arange(len(tokens))
    with styled():
        figure, (heat, dots) = new_figure(2, width=4.2, height=4.0)
        image = heat.imshow(pairs, cmap="cividis", aspect="auto")
        figure.colorbar(image, ax=heat, label="agreement", fraction=0.05)
        heat.set_xticks(places, tokens, rotation=90, fontsize=7)
        heat.set_yticks(places, tokens, fontsize=7)
        heat.grid(visible=False)
        heat.set(title="pairs of tokens", xlabel="second wave", ylabel="first wave")
        dots.plot(example["levels"], places, **SERIES[0] | {"linestyle": "none"})
        dots.set_yticks(places, tokens, fontsize=7)
        dots.set(title="sentence and text", xlabel="agreement", ylim=(len(tokens) - 0.5, -0.5))
    caption = (
        f"Interference (eq. 5) in an example after training on {data}, seed 0: interference term over the "
        "largest that the magnitudes allow, 1 where waves are in phase. Left: the first variant's wave of "
        "each token with the second's of each, in a network that averages the states of all tokens. Right: "
        "each token's wave at the level of its sentence with its wave at that of the text; [SEP] follows the "
        "last sentence and is one by itself."
    )
    return Drawing(figure, caption)
