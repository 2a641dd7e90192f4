"""What the presets change where rows are few: each word is precious, and passes are cheap."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from token2wave.features import WordConfig
from token2wave.presets import Preset
from token2wave.training.calibration import fit_weights, level_logits
from token2wave.training.preparation import Labelled

FEW_TO_DROP_WORDS = 5_000
"""With fewer rows than this a word that occurs once is a feature, too."""
FEW_TO_BATCH = 1_000
"""With fewer rows than this batches are small and passes many."""
BATCH_SIZE = 8
FEWEST_STEPS, MOST_EPOCHS = 300, 60
FOLDS = 5
SUBWORD_SHARE_OF_FEW = 1.0
"""Of the words' character n-grams: where few words are known, how they are spelled says most."""


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


def is_few(labelled: Labelled) -> bool:
    """Whether rows held back are too few to weigh levels by, and each row has one label."""
    return len(labelled) < FEW_TO_BATCH and not labelled.n_unlabelled and labelled.labels.ndim == 1


def out_of_fold_weights(fit: Callable[[Labelled], Any], labelled: Labelled, seed: int) -> tuple[float, ...]:
    """Weights of the levels by all rows, each judged by a network that has not learnt from it.

    The tenth that is held back of few rows is a handful of texts, which say next to nothing of the weights.

    Args:
        fit: trains on some of the texts; what it gives has ``network`` and ``features``.
        labelled: ``N`` texts.
        seed: of the folds.
    """
    order = np.random.default_rng(seed).permutation(len(labelled))
    order = order[np.argsort(labelled.labels[order], kind="stable")]  # so that each fold has each class
    fold = np.empty(len(order), dtype=np.int64)
    fold[order] = np.arange(len(order)) % FOLDS
    levels = []
    for number in range(FOLDS):
        fitted = fit(labelled.take(np.flatnonzero(fold != number)))
        held_back = labelled.take(np.flatnonzero(fold == number))
        levels.append(level_logits(fitted.network, fitted.features(held_back.texts)))
    rows = np.argsort(fold, kind="stable")
    weights = None if labelled.weights is None else labelled.weights[rows]
    return fit_weights(np.concatenate(levels, axis=1), labelled.labels[rows], weights)
