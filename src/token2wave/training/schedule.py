"""Learning rates over the steps of a run, and weights of embedding rows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from token2wave.core import load_core
from token2wave.features import Ragged
from token2wave.training.recipe import Recipe


def n_batches(n_texts: int, batch_size: int) -> int:
    """Number of steps in an epoch; the last batch may be smaller."""
    return -(-n_texts // batch_size)


def rate_factor(step: int, n_steps: int, recipe: Recipe) -> float:
    """Factor of the peak learning rate in a step: linear warm-up, then the recipe's decay.

    Args:
        step: number of the step, from 0.
        n_steps: steps of the whole run.
        recipe: warm-up and decay.
    """
    warmup_steps = max(1, round(recipe.warmup * n_steps))
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, n_steps - warmup_steps))
    if recipe.decay == "linear":
        return 1 - progress
    if recipe.decay == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1.0


def row_weights(frequency: NDArray[np.int64], n_texts: int, power: float = 1.0) -> NDArray[np.float32]:
    """Weight rows by inverse document frequency, so that frequent features start small and change slowly.

    Training an embedding ``w = a v`` with a fixed weight ``a`` for each row equals starting ``w`` at ``a v``
    and scaling the row's learning rate, so the trained model holds plain embeddings.

    Args:
        frequency: ``(V,)``, number of training texts with each row of the embedding, ``df``.
        n_texts: training texts, ``N``.
        power: of the inverse document frequency.

    Returns:
        ``(V,)`` float32: ``log((N + 1) / (df + 1))`` over its largest value, at least 0.01, to the power; all
        ones where every row occurs in every text.
    """
    weights = np.log((n_texts + 1) / (frequency + 1))
    if weights.max() <= 0:
        return np.ones(len(frequency), dtype=np.float32)
    scaled: NDArray[np.float64] = np.maximum(weights / weights.max(), 0.01)
    return (scaled**power).astype(np.float32)


def document_frequency(
    features: Ragged, n_rows: int, labels: NDArray[np.int64] | None = None, n_classes: int = 0
) -> NDArray[np.int64]:
    """Texts in which each row occurs, ``(V,)``; with labels ``(N,)`` those of each class, ``(V, C)``."""
    frequency = np.zeros(n_rows if labels is None else (n_rows, n_classes), dtype=np.int64)
    native = load_core()
    if native is None:
        texts = np.repeat(np.arange(len(features)), features.lengths)
        texts, rows = np.divmod(np.unique(texts * np.int64(n_rows) + features.ids), n_rows)
        np.add.at(frequency, rows if labels is None else (rows, labels[texts]), 1)
        return frequency
    labels = np.zeros(0, dtype=np.int64) if labels is None else labels
    last_text = np.full(n_rows, -1, dtype=np.int64)
    native.document_frequency(features.ids, features.offsets, labels, frequency, last_text)
    return frequency
