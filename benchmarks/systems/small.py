"""Preset ``small``."""

from systems.token2wave_presets import PresetSystem

SYSTEM = PresetSystem(
    "small",
    "As `fast`: more attention than the rivals had, and validation and the second training are in its time. "
    "With more characters only its linear SVM is fitted again on all rows.",
)
