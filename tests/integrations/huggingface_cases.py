"""Classifiers of every kind, with random weights or briefly trained, for the tests of ``transformers``."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import token2wave
from token2wave.classifier import Classifier
from token2wave.data import TextDataset, TextSplit, load_splits
from token2wave.features import WordConfig, WordFeatures, WordPieceConfig, WordPieceFeatures
from token2wave.inference.loading import build_network
from token2wave.models import WaveConfig

sys.path.insert(0, str(Path(__file__).parent.parent / "inference"))

from oov_models import char_ngrams

TEXTS = ["A good film. Good!", "a bad film", "it's bad", "", "unknown words", "not good. not bad!"]
NAMES = ("neg", "neu é|*", "pos")
ENTRIES = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "good", "bad", "film", ".", "##s", "not", "a")
WITHOUT_PAD = tuple(entry for entry in ENTRIES if entry != "[PAD]")
ROWS = {"variants": "rows", "readout": "text", "operation": "interference"}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "small": ("words", {**ROWS, "context_width": 8, "linear_svm": True}),
    "fast": ("words", {**ROWS, "linear_svm": True}),
    "several labels": ("words", {**ROWS, "context_width": 8, "linear_svm": True, "multi_label": True}),
    "oov": ("words with oov", {**ROWS, "context_width": 8, "linear_svm": True}),
    "paper": ("wordpiece", {}),
    "no pad": ("wordpiece without pad", {"restore": "magnitude"}),
    "layers": ("wordpiece", {"layers": 2, "positions": "sinusoidal", "residual": "figure"}),
    "norms": ("wordpiece", {"layers": 2, "layer_norm": "wave", "feed_forward": 5, "activation": "gelu"}),
    "levels": ("wordpiece", {"variants": "levels", "readout": "mean"}),
    "cls words": ("words with cls", {"readout": "cls", "restore": "real", "context_width": 8}),
}


def features_of(kind: str) -> Any:
    if kind.startswith("wordpiece"):
        entries = WITHOUT_PAD if kind.endswith("without pad") else ENTRIES
        return WordPieceFeatures(WordPieceConfig(max_tokens=9), entries)
    if kind.endswith("oov"):
        features = WordFeatures.fit(TEXTS[:4], WordConfig(bits=12, min_count=1))
        hashes = sorted(
            {hashed for word in ("unknowns", "knotted") for hashed in list(char_ngrams(word))[::4]}
        )
        return features.with_oov(np.array(hashes, dtype=np.uint32))
    return WordFeatures.fit(TEXTS, WordConfig(bits=12, min_count=1, cls=kind.endswith("cls")))


def random_classifier(kind: str, seed: int = 0) -> Classifier:
    """A classifier with random weights, compiled if its network compiles."""
    features_kind, settings = KINDS[kind]
    features = features_of(features_kind)
    ends = features.sentence_ends if settings.get("variants") == "levels" else ()
    n_oov = len(getattr(features, "oov_hashes", ()))
    config = WaveConfig(
        n_rows=features.n_rows, n_classes=len(NAMES), width=8, sentence_ends=ends, n_oov=n_oov, **settings
    )
    random = np.random.default_rng(seed)
    arrays = {
        name: random.normal(0, 0.4, shape).astype(np.float32)
        for name, shape in config.parameter_shapes().items()
    }
    thresholds = (0.25, 0.5, 0.75) if config.multi_label else ()
    network = build_network(config, arrays, "cpu")
    return Classifier(
        features, network, NAMES, {"seed": seed}, {"token2wave": "0.1.0"}, thresholds=thresholds
    )


@cache
def corpus(n_texts: int = 360) -> TextDataset:
    """Texts of three classes of the built-in corpus."""
    train = load_splits("debian-sections").train
    chosen = [i for i, label in enumerate(train.labels) if label in ("games", "science", "mail")][:n_texts]
    train_split = TextSplit([train.texts[i] for i in chosen], [train.labels[i] for i in chosen], "corpus")
    return TextDataset("corpus", train_split, None, None, None, ())


@cache
def trained(kind: str) -> Classifier:
    """A classifier that was trained briefly on the built-in corpus."""
    data, preset, settings = corpus(), kind, {}
    if kind == "several labels":
        train = data.train
        labels = [
            [label] * (len(text) % 3 > 0) for text, label in zip(train.texts, train.labels, strict=True)
        ]
        data = TextDataset("corpus", TextSplit(train.texts, labels, "corpus"), None, None, None, ())
        preset = "small"
    if kind == "paper":
        settings = {"network.width": 32, "features.vocabulary_size": 400, "features.max_tokens": 40}
    return token2wave.train(data, preset=preset, epochs=1, settings=settings).classifier
