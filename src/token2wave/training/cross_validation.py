"""Branch weights where rows are few: cross-validation, each row judged by a network that has not seen it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from token2wave.training.auto_settings import FEW_TO_BATCH
from token2wave.training.calibration import branch_logits, fit_weights
from token2wave.training.examples import Examples

FOLDS = 5
CHAR_NGRAM_WEIGHT_FEW_ROWS = 1.0
"""Weight of the words' character n-grams: where few words are known, their spelling says most."""


def has_few_rows(examples: Examples) -> bool:
    """Whether a validation set is too small to weigh branches by, and each row has one label."""
    return len(examples) < FEW_TO_BATCH and not examples.n_unlabelled and not examples.multi_label


def cross_validate_branches(
    fit: Callable[[Examples], Any], examples: Examples, seed: int
) -> tuple[float, ...]:
    """Weigh the branches by all rows. A tenth of few rows is a handful of texts, too few to weigh by.

    Args:
        fit: trains on some of the examples; its result has ``network`` and ``features``.
        examples: ``N`` texts.
        seed: of the folds.
    """
    order = np.random.default_rng(seed).permutation(len(examples))
    order = order[np.argsort(examples.labels[order], kind="stable")]  # so that each fold has each class
    fold = np.empty(len(order), dtype=np.int64)
    fold[order] = np.arange(len(order)) % FOLDS
    logits = []
    for number in range(FOLDS):
        fitted = fit(examples.take(np.flatnonzero(fold != number)))
        rest = examples.take(np.flatnonzero(fold == number)).encode(fitted.features)
        logits.append(branch_logits(fitted.network, rest.features))
    rows = np.argsort(fold, kind="stable")
    weights = None if examples.weights is None else examples.weights[rows]
    return fit_weights(np.concatenate(logits, axis=1), examples.labels[rows], weights)
