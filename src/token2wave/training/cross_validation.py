"""The weights of the levels where rows are few: all rows decide, each held back once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from token2wave.training.auto_settings import FEW_TO_BATCH
from token2wave.training.calibration import branch_logits, fit_weights
from token2wave.training.preparation import Labelled

FOLDS = 5
CHAR_NGRAM_WEIGHT_FEW_ROWS = 1.0
"""Of the words' character n-grams: where few words are known, how they are spelled says most."""


def has_few_rows(labelled: Labelled) -> bool:
    """Whether rows held back are too few to weigh levels by, and each row has one label."""
    return len(labelled) < FEW_TO_BATCH and not labelled.n_unlabelled and labelled.labels.ndim == 1


def cross_validate_branches(
    fit: Callable[[Labelled], Any], labelled: Labelled, seed: int
) -> tuple[float, ...]:
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
        held_out = labelled.take(np.flatnonzero(fold == number))
        levels.append(branch_logits(fitted.network, fitted.features(held_out.texts)))
    rows = np.argsort(fold, kind="stable")
    weights = None if labelled.weights is None else labelled.weights[rows]
    return fit_weights(np.concatenate(levels, axis=1), labelled.labels[rows], weights)
