"""Small models of every kind that compiles, without data and without torch, in every storage."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from oov_models import char_ngrams
from small_models import random_arrays

from token2wave.classifier import Classifier
from token2wave.features import Features, WordConfig, WordFeatures, WordPieceConfig, WordPieceFeatures
from token2wave.inference.compiled import compile_network
from token2wave.models import WaveConfig
from token2wave.storage.encodings import as_delta_varint, as_float16, as_int8, as_lzma, quantised

# Words without a row, of which the models with an OOV table know character n-grams, but not of "zebra".
SPELLED = ["goodness", "filmic", "baddest"]
WORDS = [
    "a",
    "b",
    "good",
    "bad",
    "film",
    "films",
    "don't",
    "3.5",
    "!",
    ".",
    "é",
    "中",
    "👍",
    "x" * 70,
    "ภาษาไทย",
    "한국어",
]
ENTRIES = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "good",
    "bad",
    "film",
    "##s",
    "a",
    "##b",
    "b",
    ".",
    "!",
    "'",
    "3",
)
LABELS = ("neg", "pos é", "日本")
THRESHOLDS = (0.3, 0.5, 0.65)  # where a text may have several
STORAGES = ("plain", "float32", "float16", "int8", "lzma")  # plain: without gaps, too
STEP = 0.1
KINDS: dict[str, dict[str, Any]] = {
    "fast": {"variants": "rows", "readout": "text", "operation": "interference"},
    "fast modulation": {"variants": "rows", "readout": "text", "operation": "modulation"},
    "small": {
        "variants": "rows",
        "readout": "text",
        "operation": "interference",
        "context_width": 8,
        "context_radius": 2,
    },
    "trigrams": {"variants": "rows", "readout": "cls"},
    "cls": {"variants": "linear", "readout": "cls", "context_width": 8},
    "linear": {"variants": "linear", "readout": "text", "operation": "interference"},
    "real": {"variants": "rows", "readout": "text", "restore": "real", "context_width": 16},
    "magnitude": {"variants": "linear", "readout": "text", "restore": "magnitude"},
    "narrow": {"variants": "rows", "readout": "text", "width": 5, "context_width": 3},  # no such core
    "linear_svm": {"variants": "rows", "readout": "text", "context_width": 8, "linear_svm": True},
    "cls amplitudes": {"variants": "rows", "readout": "cls", "linear_svm": True},
    "several": {"variants": "rows", "readout": "text", "linear_svm": True, "multi_label": True},
    "oov": {"variants": "rows", "readout": "text", "context_width": 8, "linear_svm": True},
    "oov cls": {"variants": "rows", "readout": "cls", "linear_svm": True, "multi_label": True},
    "paper": {"variants": "linear", "readout": "cls"},
    "paper phrases": {"variants": "rows", "readout": "text", "context_width": 8, "context_radius": 1},
}
# With a window level, which not all backends have.
WINDOWS: dict[str, dict[str, Any]] = {
    "windows": {**KINDS["linear_svm"], "window_words": 4},
    "oov windows": {**KINDS["oov cls"], "window_words": 6},
}


@cache
def classifier_of(kind: str, storage: str = "plain", n_words: int = len(WORDS)) -> Classifier:
    """One of the kinds, with its parameters as a storage leaves them."""
    features, shape = _features(kind, n_words), {**KINDS, **WINDOWS}[kind]
    n_oov = len(features.oov_hashes) if isinstance(features, WordFeatures) else 0
    config = WaveConfig(features.n_rows, len(LABELS), n_oov=n_oov, **{"width": 8, **shape})
    network = compile_network(config, random_arrays(config, seed=1, spread=0.5))
    whole = Classifier(features, network, LABELS, {"seed": 1}, {"token2wave": "0.1.0"})
    if config.multi_label:
        whole = replace(whole, thresholds=THRESHOLDS)
    return in_storage(whole, storage)


def _features(kind: str, n_words: int) -> Features:
    if kind.startswith("paper"):
        return WordPieceFeatures(WordPieceConfig(max_tokens=9), ENTRIES)
    known = [" ".join(random.Random(0).choices(WORDS[:n_words], k=200))]
    ngrams = 3 if kind == "trigrams" else 2
    config = WordConfig(ngrams, bits=12, min_count=2, cls={**KINDS, **WINDOWS}[kind]["readout"] == "cls")
    features = WordFeatures.fit(known, config)
    if not kind.startswith("oov"):
        return features
    hashes = sorted({hashed for word in SPELLED for hashed in char_ngrams(word)})
    return features.with_oov(np.array(hashes, dtype=np.uint32))


def in_storage(classifier: Classifier, storage: str) -> Classifier:
    """The same model as a compressed file holds it; no row is dropped."""
    arrays, encoded = classifier.network.arrays(), {}
    if storage == "plain":
        return classifier
    if storage != "float32":
        encoded = {name: as_float16(array) for name, array in arrays.items()}
    if storage == "int8":
        encoded["embedding.weight"] = as_int8(arrays["embedding.weight"])
    if storage == "lzma":
        tables = arrays.keys() & {"embedding.weight", "oov.weight"}
        encoded |= {name: as_lzma(quantised(arrays[name], STEP), STEP) for name in tables}
    arrays = {name: encoded[name].decoded() if name in encoded else array for name, array in arrays.items()}
    if isinstance(classifier.features, WordFeatures):
        for name, array in classifier.features.arrays().items():
            encoded[f"features.{name}"] = as_delta_varint(array)
    return replace(classifier, network=compile_network(classifier.network.config, arrays), encoded=encoded)
