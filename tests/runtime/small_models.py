"""Small classifiers, and model files taken apart and put together again."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from token2wave.classifier import Classifier
from token2wave.features import WordConfig, WordFeatures, WordPieceConfig, WordPieceFeatures
from token2wave.models import WaveConfig, WaveNetwork

TEXTS = ["A good film. Good!", "a bad film", "it's bad", "", "unknown words"]
ENTRIES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", ".", "##s")


def word_classifier(seed: int = 0) -> Classifier:
    features = WordFeatures.fit(TEXTS, WordConfig(bits=12, min_count=1, cls=True))
    return _classifier(features, seed, phrase_width=3)


def wordpiece_classifier(seed: int = 0) -> Classifier:
    return _classifier(WordPieceFeatures(WordPieceConfig(max_tokens=9), ENTRIES), seed, variants="levels")


def _classifier(features: Any, seed: int, **settings: Any) -> Classifier:
    torch.manual_seed(seed)
    config = WaveConfig(
        n_rows=features.n_rows, n_classes=2, width=4, sentence_ends=features.sentence_ends, **settings
    )
    return Classifier(
        features, WaveNetwork(config), ("neg", "pos é"), {"seed": seed}, {"token2wave": "0.1.0"}
    )


def take_apart(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and body of a safetensors file; our own metadata decoded."""
    raw = path.read_bytes()
    n = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + n])
    header["__metadata__"]["token2wave"] = json.loads(header["__metadata__"]["token2wave"])
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
