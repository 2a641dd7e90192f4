"""The networks for two texts that a study compares: their shape, their start and how they are trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from paper.pair_data import PairTask
from paper.pair_network import PairNetwork
from paper.studies.ablation_network import ablate
from paper.systems import System, build_network, transformer_system, wave_system
from token2wave.models import WaveNetwork

WIDTH, HEADS, EPOCHS = 128, 4, 7
START_SCALE = 0.1  # standard deviation of the token embeddings that all networks start from
DROPOUT = 0.5  # preset paper's, of what the head sees
OPERATIONS = ("modulation", "interference")
TWINS, TRANSFORMERS = ("real-means", "magnitudes-alone"), ("transformer-cls", "transformer-mean")
NETWORKS = {
    **{f"wave-{operation}": f"Wave, {operation}" for operation in OPERATIONS},
    "real-means": "real twin, averages",
    "magnitudes-alone": "real twin, magnitudes alone",
    "transformer-cls": "Transformer, [CLS]",
    "transformer-mean": "Transformer, mean over tokens",
}


@dataclass(frozen=True)
class PairSystem:
    """A network of single texts that encodes both texts of a pair; ``ablation`` makes it a real twin."""

    key: str
    system: System
    ablation: str | None = None

    def build(self, task: PairTask, seed: int) -> PairNetwork:
        """Make the network; equal seeds start from equal token embeddings and an equal head."""
        settings = {**self.system.network, "n_rows": task.n_rows, "n_classes": 2}
        encoder = build_network(self.system.kind, settings, seed)
        if self.ablation is not None:
            assert isinstance(encoder, WaveNetwork)
            ablate(encoder, self.ablation)
        return PairNetwork(encoder, len(task.label_names) or 1, dropout=DROPOUT, seed=seed)


def make_systems(width: int = WIDTH, epochs: int = EPOCHS) -> list[PairSystem]:
    """All networks, in the order of :data:`NETWORKS`."""
    shape: Any = {"width": width, "dropout": 0.0, "embedding_scale": START_SCALE}
    waves = {operation: wave_system(operation, **shape) for operation in OPERATIONS}
    systems = [PairSystem(f"wave-{operation}", system) for operation, system in waves.items()]
    systems += [PairSystem(twin, waves[OPERATIONS[0]], twin) for twin in TWINS]
    for key in TRANSFORMERS:
        shape |= {"heads": HEADS, "feed_forward": 4 * width, "readout": key.removeprefix("transformer-")}
        systems.append(PairSystem(key, transformer_system(None, **shape)))
    recipe = waves[OPERATIONS[0]].recipe.replace(epochs=epochs, token_dropout=0.0)
    return [replace(each, system=replace(each.system, recipe=recipe)) for each in systems]
