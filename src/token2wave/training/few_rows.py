"""What the presets change where rows are few: each word is precious, and passes are cheap."""

from __future__ import annotations

from collections.abc import Collection

from token2wave.features import WordConfig
from token2wave.presets import Preset

FEW_TO_DROP_WORDS = 5_000
"""With fewer rows than this a word that occurs once is a feature, too."""
FEW_TO_BATCH = 1_000
"""With fewer rows than this batches are small and passes many."""
BATCH_SIZE = 8
FEWEST_STEPS, MOST_EPOCHS = 300, 60


def for_few_rows(preset: Preset, n_rows: int, named: Collection[str]) -> Preset:
    """Suit an everyday preset to few rows; what the user has named stays as it is.

    Args:
        preset: with the user's settings.
        n_rows: training rows.
        named: full names of the settings that the user has given.
    """
    changes: dict[str, object] = {}
    recipe = preset.recipe
    if not isinstance(preset.features, WordConfig):
        return preset
    if n_rows < FEW_TO_DROP_WORDS and "features.min_count" not in named:
        changes["features.min_count"] = 1
    if n_rows < FEW_TO_BATCH and not {"recipe.epochs", "recipe.batch_size"} & set(named):
        batch_size = min(recipe.batch_size, BATCH_SIZE)
        passes = -(-FEWEST_STEPS // -(-n_rows // batch_size))
        changes["recipe.batch_size"] = batch_size
        changes["recipe.epochs"] = max(recipe.epochs, min(passes, MOST_EPOCHS))
    return preset.with_settings(changes)
