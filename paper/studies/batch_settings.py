"""The networks of the study of batches and lengths, and how each is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from paper.systems import System, transformer_system, wave_system

OPERATIONS = ("modulation", "interference")
SYSTEMS = {**{f"wave-{name}": f"Wave, {name}" for name in OPERATIONS}, "transformer": "Transformer, 1 layer"}
BATCHES, REFERENCE_BATCH, LARGEST_BATCH = (64, 1024, 8, 32, 128, 256), 64, 1024
SCALED = (256, 1024)  # batches whose rate grows as well
RULES = {"constant": 0.0, "square root": 0.5, "linear": 1.0}
"""How the rate grows with the batch: its power of the batch over :data:`REFERENCE_BATCH`."""
LENGTHS = (512, 128, 32, 64, 256)
TRANSFORMER_LENGTHS = (512, 128, 32)
WIDTH, HEADS = 128, 4


@dataclass(frozen=True)
class Setting:
    """A network of the study, and how it is trained; ``length`` 0 leaves the texts as they are."""

    system: str
    batch: int = REFERENCE_BATCH
    rule: str = "constant"
    length: int = 0

    @property
    def key(self) -> str:
        """Short name in files, e.g. ``wave-modulation-64-constant-0``."""
        return f"{self.system}-{self.batch}-{self.rule.replace(' ', '-')}-{self.length}"

    @property
    def rate_factor(self) -> float:
        """Learning rate over the papers'."""
        return float((self.batch / REFERENCE_BATCH) ** RULES[self.rule])

    def to_train(self, width: int, epochs: int) -> System:
        """The network with its recipe: a constant rate, and nothing that the papers do not state."""
        if self.system == "transformer":
            shape: dict[str, Any] = {"heads": HEADS, "feed_forward": 4 * width, "embedding_scale": 0.1}
            system = transformer_system(None, unregularised=True, width=width, **shape)
        else:
            system = wave_system(self.system.removeprefix("wave-"), unregularised=True, width=width)
        recipe = system.recipe.with_lr_factor(self.rate_factor)
        return replace(system, recipe=recipe.replace(epochs=epochs, batch_size=self.batch))


def batch_settings(quick: bool = False) -> list[Setting]:
    """Networks that differ in the batch, in the order in which they are trained: what tells most, first."""
    if quick:
        return [
            Setting("wave-modulation", batch, rule)
            for batch, rule in ((64, "constant"), (16, "constant"), (128, "constant"), (128, "linear"))
        ]
    waves = [f"wave-{operation}" for operation in OPERATIONS]
    settings = [Setting(system, batch) for batch in BATCHES[:2] for system in SYSTEMS]
    settings += [Setting(system, LARGEST_BATCH, rule) for rule in RULES for system in waves]
    settings.append(Setting("transformer", LARGEST_BATCH, "square root"))
    settings += [Setting(system, batch) for batch in BATCHES for system in waves]
    settings += [Setting(system, batch, rule) for batch in SCALED for rule in RULES for system in waves]
    return list(dict.fromkeys(settings))


def length_settings(quick: bool = False) -> list[Setting]:
    """Networks that differ in the length of the texts."""
    if quick:
        return [Setting("wave-modulation", length=length) for length in (16, 5)]
    return [
        Setting(system, length=length)
        for length in LENGTHS
        for system in SYSTEMS
        if system != "transformer" or length in TRANSFORMER_LENGTHS
    ]
