"""Room in a trained model for words and classes that it does not know yet."""

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


def with_words_of(features: Features, texts: Sequence[str]) -> tuple[Features, NDArray[np.int64]]:
    """Add rows for the words and n-grams of texts that are frequent enough in them to be rows.

    Args:
        features: of a trained model. Those with a vocabulary know every word already, and stay as they are.
        texts: ``N`` strings.

    Returns:
        The features, and where each of the old rows is now, ``(V,)``.
    """
    before = np.arange(features.n_rows)
    if not isinstance(features, WordFeatures):
        return features, before
    try:
        found = WordFeatures.fit(texts, features.config).buckets
    except DataError:  # no text has a word: they teach what the empty text is
        return features, before
    buckets = np.union1d(features.buckets, found)
    places = np.searchsorted(buckets, features.buckets) + int(features.config.cls)
    first = np.zeros(int(features.config.cls), dtype=np.int64)  # [CLS] stays row 0
    return WordFeatures(features.config, buckets), np.concatenate([first, places])


def expand_vocabulary(
    config: WaveConfig, arrays: dict[str, Floats], n_rows: int, places: NDArray[np.int64], n_new_classes: int
) -> tuple[WaveConfig, dict[str, Floats]]:
    """Make room for more rows and classes. What the network says of known texts and classes stays as it is.

    A new row is zero: a token without amplitude. A new class has weights of zero, and what speaks against the
    least likely of the others speaks against it.

    Args:
        config: the network's shape.
        arrays: every parameter by name, float32.
        n_rows: rows that there are to be.
        places: ``(V,)``, where each of the old rows is to be.
        n_new_classes: classes to add, after the others.
    """
    n_classes = config.n_classes + n_new_classes
    wide = config.replace(n_rows=n_rows, n_classes=n_classes)
    found = {}
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
        found[name] = new
    return wide, found
