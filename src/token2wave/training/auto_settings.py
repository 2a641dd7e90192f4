"""What the size of the data changes of a preset; what a user has set stays as it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from token2wave.features import WordConfig
from token2wave.training.presets import Preset

LITTLE_TEXT = 2_000_000
"""With fewer characters than this time is short, and a larger network and more steps pay."""
FEW_TO_DROP_WORDS = 5_000
"""With fewer rows than this a word that occurs once is a feature, too: each word is precious."""
FEW_TO_BATCH = 1_000
"""With fewer rows than this batches are small and passes many: they are cheap."""
BATCH_SIZE = 8
MIN_STEPS, MAX_EPOCHS = 300, 60


def auto_settings(preset: Preset, texts: Sequence[str], named: Collection[str]) -> Preset:
    """Suit a preset to the training texts, by their characters first and then by their number.

    Args:
        preset: with the user's settings.
        texts: for training.
        named: full names of the settings that the user has given.
    """
    return for_few_rows(for_little_text(preset, sum(map(len, texts)), named), len(texts), named)


def for_little_text(preset: Preset, n_characters: int, named: Collection[str]) -> Preset:
    """Take the preset's own settings for little text.

    Args:
        preset: with the user's settings.
        n_characters: of all training texts.
        named: full names of the settings that the user has given.
    """
    if n_characters >= LITTLE_TEXT:
        return preset
    changes = {name: value for name, value in preset.for_little_text.items() if name not in named}
    return preset.with_settings(changes)


def for_few_rows(preset: Preset, n_rows: int, named: Collection[str]) -> Preset:
    """Keep rare words of few rows, and go over them often, in small batches.

    Args:
        preset: with the user's settings; one whose features are not words stays as it is.
        n_rows: training rows.
        named: full names of the settings that the user has given.
    """
    changes: dict[str, Any] = {}
    recipe = preset.recipe
    if not isinstance(preset.features, WordConfig):
        return preset
    if n_rows < FEW_TO_DROP_WORDS and "features.min_count" not in named:
        changes["features.min_count"] = 1
    if n_rows < FEW_TO_BATCH and not {"recipe.epochs", "recipe.batch_size"} & set(named):
        batch_size = min(recipe.batch_size, BATCH_SIZE)
        passes = -(-MIN_STEPS // -(-n_rows // batch_size))
        changes["recipe.batch_size"] = batch_size
        changes["recipe.epochs"] = max(recipe.epochs, min(passes, MAX_EPOCHS))
    return preset.with_settings(changes)
