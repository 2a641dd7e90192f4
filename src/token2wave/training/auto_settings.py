"""Adapts a preset to the size of the data. The user's settings stay as they are.

``overrides`` are the full names of these settings.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from token2wave.features import WordConfig
from token2wave.features.hashed_texts import HashedTexts
from token2wave.features.hashing import count_buckets
from token2wave.features.normalisation import unicode_table
from token2wave.features.text import SINGLE, NormalTexts
from token2wave.training.presets import Preset

LITTLE_TEXT = 2_000_000
"""With fewer characters training is short, so a larger network and more steps pay off."""
FEW_TO_DROP_WORDS = 5_000
"""With fewer rows a word that occurs once is a feature, too."""
MANY_RARE_WORDS = 0.08
"""So it is if at least this fraction of all words occur once, as where words have many forms."""
LETTERS_OF_A_WORD = 5
MAX_TEXTS_TO_SEE, MAX_CHARACTERS_TO_SEE = 1_000, 1_000
FEW_TO_BATCH = 1_000
"""With fewer rows batches are small and epochs many: they are cheap."""
FEW_TO_CROSS_VALIDATE, LITTLE_TO_CROSS_VALIDATE = 8_000, 1_000_000
"""With fewer rows, and fewer characters, folds choose instead of validation rows, in some ten seconds."""
BATCH_SIZE = 8
MIN_STEPS, MAX_EPOCHS = 300, 60
LONG_TEXTS = 150
"""Mean characters from which the context branch learns enough from excerpts of much text."""
MANY_CLASSES = 1_000
"""With more classes the linear SVM, whose work and table grow with classes times features, is left out."""

ENOUGH_ROWS = 40
"""Of each of many classes: from as many, the waves learn nearly what the linear SVM does."""


def auto_settings(
    preset: Preset, texts: Sequence[str], overrides: Collection[str], n_classes: int = 0
) -> Preset:
    """Adapt a preset to the number of training texts, of their characters, and of classes."""
    n_characters = spaced_characters(sum(map(len, texts)), texts)
    preset = for_little_text(preset, n_characters, overrides)
    preset = for_long_texts(preset, n_characters, len(texts), overrides)
    preset = for_rare_words(for_few_rows(preset, len(texts), overrides), texts, overrides)
    return for_many_classes(preset, n_classes, overrides)


def spaced_characters(n_characters: int, texts: Sequence[str]) -> int:
    """Count characters as if the texts had blanks between words.

    A letter of a script without blanks is a token, so it is as much work as a word, and counts as much.

    Args:
        n_characters: of all texts.
        texts: all texts, or some of them; at most :data:`MAX_TEXTS_TO_SEE` are read.
    """
    some = texts[:: -(-len(texts) // MAX_TEXTS_TO_SEE) or 1]
    classes = unicode_table().classes[
        NormalTexts.of([text[:MAX_CHARACTERS_TO_SEE] for text in some]).code_points
    ]
    unspaced = float(np.mean(classes >= SINGLE)) if len(classes) else 0.0
    return round(n_characters * (1 + (LETTERS_OF_A_WORD - 1) * unspaced))


def for_little_text(preset: Preset, n_characters: int, overrides: Collection[str]) -> Preset:
    """Apply the preset's settings for little text."""
    if n_characters >= LITTLE_TEXT:
        return preset
    return _with_changes(preset, preset.for_little_text, overrides)


def for_long_texts(preset: Preset, n_characters: int, n_rows: int, overrides: Collection[str]) -> Preset:
    """Apply the preset's settings for much data of long texts."""
    if n_characters < max(LITTLE_TEXT, LONG_TEXTS * n_rows):
        return preset
    return _with_changes(preset, preset.for_long_texts, overrides)


def for_many_classes(preset: Preset, n_classes: int, overrides: Collection[str]) -> Preset:
    """Apply the preset's settings for many classes."""
    if n_classes <= MANY_CLASSES:
        return preset
    return _with_changes(preset, preset.for_many_classes, overrides)


def few_rows_of_many_classes(preset: Preset, n_classes: int, n_rows: int) -> tuple[str, ...]:
    """Say what is lost without the linear SVM, if the classes are many and have few rows; else nothing."""
    has_svm = preset.network.get("linear_svm", False)
    if (
        n_classes <= MANY_CLASSES
        or has_svm
        or not preset.for_many_classes
        or n_rows >= ENOUGH_ROWS * n_classes
    ):
        return ()
    return (
        f"With more than {MANY_CLASSES:,} classes the linear SVM is left out, and the waves alone learn "
        f"little from fewer than {ENOUGH_ROWS} rows a class: here are {n_rows / n_classes:.1f}. "
        "--set network.linear_svm=true trains it; its table has a number for each feature and class.",
    )


def for_few_rows(preset: Preset, n_rows: int, overrides: Collection[str]) -> Preset:
    """Use rare words of few rows, and train many epochs in small batches, if the features are words."""
    changes: dict[str, Any] = {}
    recipe = preset.recipe
    if not isinstance(preset.features, WordConfig):
        return preset
    if n_rows < FEW_TO_DROP_WORDS and "features.min_count" not in overrides:
        changes["features.min_count"] = 1
    if n_rows < FEW_TO_BATCH and not {"recipe.epochs", "recipe.batch_size"} & set(overrides):
        batch_size = min(recipe.batch_size, BATCH_SIZE)
        passes = -(-MIN_STEPS // -(-max(n_rows, 1) // batch_size))
        changes["recipe.batch_size"] = batch_size
        changes["recipe.epochs"] = max(recipe.epochs, min(passes, MAX_EPOCHS))
    return preset.with_settings(changes)


def for_rare_words(preset: Preset, texts: Sequence[str], overrides: Collection[str]) -> Preset:
    """Use rare words where they are many, if the features are words."""
    config = preset.features
    if not isinstance(config, WordConfig) or config.min_count == 1:
        return preset
    counts = np.zeros(1 << config.bits, dtype=np.uint32)
    for hashes, _ in HashedTexts.of(texts).token_chunks():
        count_buckets((hashes >> np.uint64(64 - config.bits)).astype(np.uint32), counts)
    if np.count_nonzero(counts == 1) < MANY_RARE_WORDS * counts.sum(dtype=np.int64):
        return preset
    return _with_changes(preset, {"features.min_count": 1}, overrides)


def _with_changes(preset: Preset, changes: Mapping[str, Any], overrides: Collection[str]) -> Preset:
    """Change what the user has not set."""
    return preset.with_settings({name: value for name, value in changes.items() if name not in overrides})
