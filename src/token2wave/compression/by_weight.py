"""Compresses a model without its training texts: numbers become coarser, and the weakest become zero."""

from __future__ import annotations

from dataclasses import replace

from token2wave.classifier import Classifier
from token2wave.compression.encoder import ModelEncoder, final_size, prune_oov
from token2wave.features import WordFeatures
from token2wave.storage.encodings import as_delta_varint

MAX_BUCKETS = 1 / 3  # of the limit, for the words themselves, if the ones with rows of zeros are to stay


def compress_by_weights(classifier: Classifier, limit: int) -> Classifier | None:
    """Store a model in at most ``limit`` bytes, with the finest step that fits.

    All words stay known, so that novelty means the same, unless their numbers alone would fill the file.
    Where words are dropped, the model no longer measures novelty.

    Args:
        classifier: without a window level.
        limit: largest size of the model file, in bytes.

    Returns:
        The compressed model, or None if the size cannot be reached.

    Raises:
        ConfigError: the model has a window level.
        ModelFileError: this Python was built without LZMA.
    """
    classifier.require_no_windows("compress")
    encoder = ModelEncoder(prune_oov(classifier, limit))
    features, arrays = encoder.classifier.features, encoder.arrays
    may_keep = False
    if classifier.novelty_reference is not None and isinstance(features, WordFeatures):
        may_keep = len(as_delta_varint(features.buckets).parts[""]) <= MAX_BUCKETS * limit
    for keep_rows in (True, False) if may_keep else (False,):
        model = encoder.encode(features, arrays, "lzma", limit, keep_rows=keep_rows, quickly=True)
        if model is None:
            continue
        if model.features.n_rows < classifier.features.n_rows:
            model = replace(model, novelty_reference=None, drift_reference=None)
        return model if final_size(model.to_file()) <= limit else None
    return None
