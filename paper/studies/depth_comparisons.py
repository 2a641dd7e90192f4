"""The networks of the study of depth, and the difference of several layers to one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from paper.statistics import Lead, compare, stack_answers
from paper.study import Document
from paper.systems import System, wave_system

NORMED, COMPARED_DEPTH = "real", 4
DROPOUT = 0.1
"""Of states: on validation rows 0.5, the preset's, keeps four layers from learning within the epochs."""
NO_LOSS = 1.0  # points that several layers may lose to one and still count as trained


@dataclass(frozen=True)
class Shape:
    """A network of the study."""

    operation: str
    layers: int
    width: int
    layer_norm: str = NORMED
    dropout: float = DROPOUT

    @property
    def key(self) -> str:
        """Short name in files, e.g. ``modulation-4-128-real-0.1``."""
        return f"{self.operation}-{self.layers}-{self.width}-{self.layer_norm}-{self.dropout:g}"

    def system(self, epochs: int) -> System:
        """The papers' network of this shape, with the paper preset's recipe."""
        names = ("width", "layers", "layer_norm", "dropout")
        system = wave_system(self.operation, **{name: getattr(self, name) for name in names})
        return replace(system, recipe=system.recipe.replace(epochs=epochs))


def differences(document: Document) -> dict[str, Lead]:
    """Difference of each network of several layers to one layer of its width and operation, by key.

    Of one layer with either dropout, the network with the higher mean validation accuracy counts.
    """
    references: dict[tuple[str, int], Any] = {}
    several = []
    for network in document["networks"]:
        shape = shape_of(network)
        of_width = shape.operation, shape.width
        if shape.layers > 1:
            several.append((of_width, network))
        elif of_width not in references or _validation(network) > _validation(references[of_width]):
            references[of_width] = network
    pairs = [(network, references[of_width]) for of_width, network in several if of_width in references]
    n_texts = document["rows"]["test"]
    return {
        network["key"]: compare(
            stack_answers(network["runs"], n_texts),
            stack_answers(reference["runs"], n_texts),
            n_comparisons=len(pairs),
        )
        for network, reference in pairs
    }


def uses_of_lower_layers(document: Document) -> dict[str, Lead]:
    """What the trained networks of several layers lose without all layers but the last, by key."""
    networks = [network for network in document["networks"] if "right_of_last_layer" in network["runs"][0]]
    n_texts, uses = document["rows"]["test"], {}
    for network in networks:
        alone = [{"right": run["right_of_last_layer"]} for run in network["runs"]]
        answers = (stack_answers(runs, n_texts) for runs in (network["runs"], alone))
        uses[network["key"]] = compare(*answers, n_comparisons=len(networks))
    return uses


def _validation(network: Mapping[str, Any]) -> float:
    return float(np.mean([run["validation_accuracy"] for run in network["runs"]]))


def shape_of(network: Mapping[str, Any]) -> Shape:
    """The shape of a network of the document."""
    names = ("operation", "layers", "width", "layer_norm", "dropout")
    return Shape(**{name: network[name] for name in names})
