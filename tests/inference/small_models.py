"""Small classifiers, without torch where that will do, and model files taken apart and put together again."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from token2wave.classifier import Classifier
from token2wave.features import WordConfig, WordFeatures, WordPieceConfig, WordPieceFeatures
from token2wave.inference.compiled import compile_network
from token2wave.inference.model import Network
from token2wave.models import WaveConfig

TEXTS = ["A good film. Good!", "a bad film", "it's bad", "", "unknown words"]
HUGE = 3e38  # finite in float32
ENTRIES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", ".", "##s")


def shapes_that_compile(context_width: int) -> list[dict[str, Any]]:
    """Every combination of the choices that compile, with and without a phrase level."""
    choices = {
        "operation": ("interference", "modulation"),
        "variants": ("rows", "linear"),
        "restore": ("linear", "real", "magnitude"),
        "readout": ("text", "cls"),
        "context_width": (0, context_width),
        "linear_svm": (False, True),
    }
    every = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]
    return [
        shape
        for shape in every
        if (shape["operation"], shape["restore"], shape["readout"]) != ("interference", "real", "cls")
        and (shape["variants"] == "rows" or not shape["linear_svm"])
    ]


def word_classifier(seed: int = 0) -> Classifier:
    features = WordFeatures.fit(TEXTS, WordConfig(bits=12, min_count=1, cls=True))
    return _classifier(features, seed, context_width=3)


def wordpiece_classifier(seed: int = 0) -> Classifier:
    return _classifier(WordPieceFeatures(WordPieceConfig(max_tokens=9), ENTRIES), seed)


def torch_classifier(seed: int = 0) -> Classifier:
    """One that does not compile."""
    return _classifier(WordPieceFeatures(WordPieceConfig(max_tokens=9), ENTRIES), seed, variants="levels")


def _classifier(features: Any, seed: int, **settings: Any) -> Classifier:
    config = WaveConfig(
        n_rows=features.n_rows, n_classes=2, width=4, sentence_ends=features.sentence_ends, **settings
    )
    network = _network(config, seed)
    return Classifier(features, network, ("neg", "pos é"), {"seed": seed}, {"token2wave": "0.1.0"})


def _network(config: WaveConfig, seed: int) -> Network:
    if config.variants == "levels":
        import torch

        from token2wave.models import WaveNetwork

        torch.manual_seed(seed)
        return WaveNetwork(config)
    return compile_network(config, random_arrays(config, seed))


def random_arrays(config: WaveConfig, seed: int, spread: float = 0.3) -> dict[str, np.ndarray]:
    """Parameters of a network, all of one spread."""
    random = np.random.default_rng(seed)
    return {
        name: random.normal(0, spread, shape).astype(np.float32)
        for name, shape in config.parameter_shapes().items()
    }


def with_arrays(classifier: Classifier, changes: dict[str, np.ndarray]) -> Classifier:
    arrays = {**classifier.network.arrays(), **changes}
    return replace(classifier, network=compile_network(classifier.network.config, arrays))


def one_huge_row(classifier: Classifier, text: str) -> Classifier:
    """A model that overflows only for texts with a word."""
    embedding = classifier.network.arrays()["embedding.weight"].copy()
    features = classifier.features([text, ""])
    (row,) = set(features.take(np.array([0])).ids) - set(features.take(np.array([1])).ids)
    embedding[row] = np.where(np.arange(embedding.shape[1]) % 2, HUGE, -HUGE)
    return with_arrays(classifier, {"embedding.weight": embedding})


def take_apart(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and body of a safetensors file; our own metadata decoded, without the checksum, for editing."""
    raw = path.read_bytes()
    n = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + n])
    header["__metadata__"]["token2wave"] = json.loads(header["__metadata__"]["token2wave"])
    header["__metadata__"]["token2wave"].pop("checksum", None)
    return header, raw[8 + n :]


def put_together(path: Path, header: dict[str, Any], body: bytes) -> Path:
    metadata = header.get("__metadata__")
    if metadata and not isinstance(metadata.get("token2wave", ""), str):
        metadata = metadata | {"token2wave": json.dumps(metadata["token2wave"])}
        header = header | {"__metadata__": metadata}
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + body)
    return path


def edited(path: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """Change our metadata in a model file."""
    header, body = take_apart(path)
    edit(header["__metadata__"]["token2wave"])
    return put_together(path, header, body)
