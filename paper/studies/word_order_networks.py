"""The networks of the study of word order: each that can use it, beside the same network without that."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from paper.study import StudyData
from paper.systems import System, transformer_system, wave_system
from token2wave.models import Batch, TextNetwork, WaveNetwork

OPERATIONS = ("modulation", "interference")
SCALES = (0.1, 0.3, 1.0)  # of the initial embeddings; sinusoidal positions have amplitude 1
MULTIPLIED = "multiplied"
DEEP_SCALE = 0.3
HEADS, FEED_FORWARD = 4, 4  # heads; hidden dimensions of the feed-forward map for each of the width


@dataclass(frozen=True)
class OrderNetwork:
    """A network of the study.

    Attributes:
        key: short name in files, e.g. ``modulation-0.3-sinusoidal``.
        title: name in tables, without what tells it from its reference.
        order: what it can see of the order of words: ``none``, ``sinusoidal``, ``learned`` or ``neighbours``.
        reference: key of the same network without that; None for one that sees nothing of it.
        multiplied: whether embeddings are multiplied by the root of the width before positions are added.
    """

    key: str
    title: str
    order: str
    system: System
    reference: str | None = None
    multiplied: bool = False

    def settings(self) -> dict[str, Any]:
        """Everything that decides its results, as plain JSON data."""
        return {"system": self.system.settings(), "multiplied": self.multiplied}

    def build(self, data: StudyData, seed: int, device: str = "cpu") -> TextNetwork:
        """Make the network with initial weights that depend on the seed alone."""
        network = self.system.build(data, seed, device)
        return multiply_embeddings(cast("WaveNetwork", network)) if self.multiplied else network


class MultipliedNetwork(WaveNetwork):
    """Multiplies embeddings by ``sqrt(D)`` before positions are added (arXiv 1706.03762, section 3.4)."""

    def of_embedded(self, embedded: Tensor, batch: Batch, oov: Tensor | None = None) -> Tensor:
        """Compute logits ``(B, C)``; see :meth:`WaveNetwork.of_embedded`."""
        return super().of_embedded(embedded * math.sqrt(self.config.width), batch, oov)


def multiply_embeddings(network: WaveNetwork) -> MultipliedNetwork:
    """The network with the same weights and larger embeddings."""
    with torch.random.fork_rng(devices=[]):
        result = MultipliedNetwork(network.config)
    result.load_state_dict(network.state_dict())
    return result.to(network.embedding.weight.device)


def make_networks(width: int, epochs: int, operations: tuple[str, ...] = OPERATIONS) -> list[OrderNetwork]:
    """All networks, each after its reference.

    Args:
        width: dimensions of a token.
        epochs: of training.
        operations: of the networks of one layer. With a single one, multiplied embeddings and two layers
            are left out, to save time.
    """
    networks: list[OrderNetwork] = []

    def add(
        key: str, title: str, orders: tuple[str, str], systems: tuple[System, System], **more: Any
    ) -> None:
        without, with_order = (
            replace(system, recipe=system.recipe.replace(epochs=epochs)) for system in systems
        )
        reference = f"{key}-{orders[0]}"
        networks.append(OrderNetwork(reference, title, orders[0], without, **more))
        networks.append(OrderNetwork(f"{key}-{orders[1]}", title, orders[1], with_order, reference, **more))

    def waves(operation: str, scale: float, **settings: Any) -> tuple[System, System]:
        settings = {"width": width, "embedding_scale": scale, **settings}
        return (
            wave_system(operation, **settings),
            wave_system(operation, positions="sinusoidal", **settings),
        )

    for operation in operations:
        for scale in SCALES:
            title = f"{operation}, embeddings {scale:g}"
            add(f"{operation}-{scale:g}", title, ("none", "sinusoidal"), waves(operation, scale))
        if len(operations) > 1:
            title = f"{operation}, embeddings {SCALES[0]:g} · √D"
            systems = waves(operation, SCALES[0])
            add(f"{operation}-{MULTIPLIED}", title, ("none", "sinusoidal"), systems, multiplied=True)
    if len(operations) > 1:
        title = f"2 layers, embeddings {DEEP_SCALE:g}"
        systems = waves(OPERATIONS[0], DEEP_SCALE, layers=2, layer_norm="real")
        add("layers", title, ("none", "sinusoidal"), systems)
    plain = wave_system(OPERATIONS[0], width=width)
    context = wave_system(OPERATIONS[0], width=width, context_width=width)
    recipe = context.recipe.replace(epochs=epochs)
    networks.append(
        OrderNetwork(
            "context",
            "context branch",
            "neighbours",
            replace(context, recipe=recipe),
            f"{OPERATIONS[0]}-{plain.network.get('embedding_scale', SCALES[0]):g}-none",
        )
    )
    shape: dict[str, Any] = {"width": width, "heads": HEADS, "feed_forward": FEED_FORWARD * width}
    shape |= {"embedding_scale": SCALES[0]}  # the start of the papers' wave
    without, learned = (transformer_system(None, positions=kind, **shape) for kind in ("none", "learned"))
    add("transformer", "Transformer, 1 layer", ("none", "learned"), (without, learned))
    return networks
