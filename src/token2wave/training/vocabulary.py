"""Expands a trained model for new words and classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import DataError
from token2wave.features import Features, WordFeatures
from token2wave.inference.reference import EMBEDDING
from token2wave.models.wave_config import WaveConfig

Floats = NDArray[np.float32]
BIASES = ("head.bias", "context.head.bias", "linear_svm.bias")


def add_words(features: Features, texts: Sequence[str]) -> tuple[Features, NDArray[np.int64]]:
    """Add rows for the words and n-grams that are frequent enough in new texts.

    WordPiece features know every word and stay as they are.

    Returns:
        The features, and the new position of each old row, ``(V,)``.
    """
    unchanged = np.arange(features.n_rows)
    if not isinstance(features, WordFeatures):
        return features, unchanged
    try:
        new = WordFeatures.fit(texts, features.config).buckets
    except DataError:  # no text has a word, so training learns the empty text
        return features, unchanged
    buckets = np.union1d(features.buckets, new)
    places = np.searchsorted(buckets, features.buckets) + int(features.config.cls)
    first = np.zeros(int(features.config.cls), dtype=np.int64)  # [CLS] stays row 0
    return WordFeatures(features.config, buckets), np.concatenate([first, places])


def expand_vocabulary(
    config: WaveConfig, arrays: dict[str, Floats], n_rows: int, places: NDArray[np.int64], n_new_classes: int
) -> tuple[WaveConfig, dict[str, Floats]]:
    """Add rows and classes. The logits of known texts and classes do not change.

    A new row is zero. A new class has zero weights and the smallest bias of the others.

    Args:
        config: the network's shape.
        arrays: every parameter by name, float32.
        n_rows: rows after the expansion.
        places: ``(V,)``, the new position of each old row.
        n_new_classes: classes to add, after the others.
    """
    n_classes = config.n_classes + n_new_classes
    wide = config.replace(n_rows=n_rows, n_classes=n_classes)
    expanded = {}
    for name, shape in wide.parameter_shapes().items():
        old = arrays[name]
        new = np.zeros(shape, dtype=np.float32)
        if name == EMBEDDING:
            new[places, : old.shape[1]] = old
        else:
            new[tuple(map(slice, old.shape))] = old
        if n_new_classes and name == "linear_svm.weight":
            new[config.n_classes :] = old.mean()
        elif n_new_classes and name in BIASES:
            new[config.n_classes :] = old.min()
        expanded[name] = new
    return wide, expanded
