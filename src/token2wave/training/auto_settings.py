"""Adapts a preset to the size of the data. Settings of the user stay as they are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from token2wave.features import WordConfig
from token2wave.training.presets import Preset

LITTLE_TEXT = 2_000_000
"""With fewer characters training is short, and a larger network and more steps pay off."""
FEW_TO_DROP_WORDS = 5_000
"""With fewer rows a word that occurs once is a feature, too."""
FEW_TO_BATCH = 1_000
"""With fewer rows batches are small and epochs many: they are cheap."""
BATCH_SIZE = 8
MIN_STEPS, MAX_EPOCHS = 300, 60


def auto_settings(preset: Preset, texts: Sequence[str], overrides: Collection[str]) -> Preset:
    """Adapt a preset to the number of characters and of texts.

    Args:
        preset: with the user's settings.
        texts: for training.
        overrides: full names of the settings that the user has given.
    """
    return for_few_rows(for_little_text(preset, sum(map(len, texts)), overrides), len(texts), overrides)


def for_little_text(preset: Preset, n_characters: int, overrides: Collection[str]) -> Preset:
    """Apply the preset's settings for little text.

    Args:
        preset: with the user's settings.
        n_characters: of all training texts.
        overrides: full names of the settings that the user has given.
    """
    if n_characters >= LITTLE_TEXT:
        return preset
    changes = {name: value for name, value in preset.for_little_text.items() if name not in overrides}
    return preset.with_settings(changes)


def for_few_rows(preset: Preset, n_rows: int, overrides: Collection[str]) -> Preset:
    """Keep rare words of few rows, and train many epochs in small batches.

    Args:
        preset: with the user's settings; one without word features stays as it is.
        n_rows: training rows.
        overrides: full names of the settings that the user has given.
    """
    changes: dict[str, Any] = {}
    recipe = preset.recipe
    if not isinstance(preset.features, WordConfig):
        return preset
    if n_rows < FEW_TO_DROP_WORDS and "features.min_count" not in overrides:
        changes["features.min_count"] = 1
    if n_rows < FEW_TO_BATCH and not {"recipe.epochs", "recipe.batch_size"} & set(overrides):
        batch_size = min(recipe.batch_size, BATCH_SIZE)
        passes = -(-MIN_STEPS // -(-n_rows // batch_size))
        changes["recipe.batch_size"] = batch_size
        changes["recipe.epochs"] = max(recipe.epochs, min(passes, MAX_EPOCHS))
    return preset.with_settings(changes)
