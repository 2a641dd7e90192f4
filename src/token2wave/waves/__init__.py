"""The mathematics of waves, alone: pure functions on tensors, ragged throughout."""

from token2wave.waves.levels import context_waves, first_token_wave, text_wave
from token2wave.waves.operations import energy_shares, interference, interference_term, modulation
from token2wave.waves.representation import Wave, energy, global_semantics, root, wave, wave_from_polar
from token2wave.waves.segments import (
    gathered_segment_sum,
    neighbours_sum,
    others_sum,
    segment_ids,
    segment_mean,
    segment_sum,
    spread_to_rows,
)

__all__ = [
    "Wave",
    "context_waves",
    "energy",
    "energy_shares",
    "first_token_wave",
    "gathered_segment_sum",
    "global_semantics",
    "interference",
    "interference_term",
    "modulation",
    "neighbours_sum",
    "others_sum",
    "root",
    "segment_ids",
    "segment_mean",
    "segment_sum",
    "spread_to_rows",
    "text_wave",
    "wave",
    "wave_from_polar",
]
