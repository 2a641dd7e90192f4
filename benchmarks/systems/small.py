"""Preset ``small``."""

from systems.token2wave_presets import PresetSystem

SYSTEM = PresetSystem(
    "small",
    "As `fast`: more attention than the rivals had, and validation and the second training are in its time. "
    "With more characters its amplitudes alone are found again from all rows.",
)
