"""Small models made from a recipe, without data and without torch.

A recipe is plain data: features, network, how numbers are drawn and how arrays are stored.
"""

from __future__ import annotations

import json
import math
import tempfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuzzing.damage import join_file, split_file
from fuzzing.texts import PASSAGES, RUNS, WORDS
from token2wave.classifier import Classifier
from token2wave.errors import ConfigError
from token2wave.features import Features, WordConfig, WordFeatures, WordPieceConfig, WordPieceFeatures
from token2wave.features.text import char_ngram_hashes, spelled_tokens
from token2wave.features.words import OOV_NGRAMS
from token2wave.inference.compiled import compile_network
from token2wave.inference.reference import EMBEDDING, OOV
from token2wave.models.wave_config import WaveConfig
from token2wave.storage.encodings import (
    EncodedArray,
    as_delta_varint,
    as_float16,
    as_int8,
    as_lzma,
    quantised,
)
from token2wave.storage.model_file import FEATURE_PREFIX

Recipe = dict[str, Any]
Arrays = dict[str, NDArray[Any]]

# Hangul syllables decompose into letters, so that pieces share a character.
VOCABULARY = (
    *"[PAD] [UNK] [CLS] [SEP] [MASK] good bad film don strasse été 中 文".split(),
    *("'", "’", ".", ",", "!", "?", "。", "-", "_", "👍", "\u0301", *"abefiosuwx35ωéßก\u1112"),
    *("##" + letter for letter in "abdefiosx5ωßา_'👍\u1112\u1100\u1161\u1173\u11ab\u11af"),
)
NUMBERS = ("ordinary", "ordinary", "ordinary", "large", "tiny", "zero", "mixed")


def random_recipe(rng: Random) -> Recipe:
    """Draw a recipe."""
    if rng.random() < 0.25:
        features = {
            "kind": "wordpiece",
            "lowercase": rng.random() < 0.7,
            "max_tokens": rng.choice((3, 4, 9, 512, 1 << 20)),
        }
    else:
        bits = rng.choice((10, 11, 12) * 8 + (16, 24))
        features = {
            "kind": "words",
            "bits": bits,
            "ngrams": rng.randint(1, 5),
            "cls": rng.random() < 0.5,
            "n_buckets": rng.choice((0, 1, 63, 64, 65, 200, 512, 1024, min(1 << bits, 4096))),
            "n_oov": rng.choice((0, 0, 0, 0, 1, 40, 400, 4000)),
        }
        features["cls"] |= not features["n_buckets"]  # the embedding needs a row
    while True:
        network = {
            "n_classes": rng.choice((2, 2, 3, 8, 17)),
            "width": rng.choice((8, 16, 5, 8, 16, 40)),
            "variants": rng.choice(("rows", "linear")),
            "operation": rng.choice(("interference", "modulation")),
            "restore": rng.choice(("linear", "linear", "real", "magnitude")),
            "readout": rng.choice(("text", "cls")),
            "context_width": rng.choice((0, 0, 8, 16, 3)),
            "context_radius": rng.choice((1, 2, 3) * 20 + (64, 130, 1024)),
            "linear_svm": rng.random() < 0.4,
        }
        with suppress(ConfigError):  # combinations that are not allowed
            WaveConfig(n_rows=1, n_oov=features.get("n_oov", 0), **network)
            if network["readout"] == "cls" and "cls" in features:  # as training does
                features["cls"] = True
            return {
                "features": features,
                "network": network,
                "numbers": rng.choice(NUMBERS),
                "storage": rng.choice((None, None, "float16", "int8", "lzma")),
                "seed": rng.randrange(1000),
            }


def has_ordinary_numbers(recipe: Recipe) -> bool:
    """Whether the native core and numpy must agree on the model."""
    return bool(recipe["numbers"] == "ordinary")


def classifier_of(recipe: Recipe) -> Classifier:
    """Make the model of a recipe."""
    random = np.random.default_rng(recipe["seed"])
    features = _features(recipe["features"], random)
    n_oov = len(features.oov_hashes) if isinstance(features, WordFeatures) else 0
    config = WaveConfig(n_rows=features.n_rows, n_oov=n_oov, **recipe["network"])
    arrays = {
        name: _numbers(name, shape, recipe["numbers"], random)
        for name, shape in config.parameter_shapes().items()
    }
    encoded = _encode_arrays(features, arrays, recipe["storage"])
    arrays |= {name: array.decoded() for name, array in encoded.items() if name in arrays}
    labels = tuple(f"class {i} é" for i in range(config.n_classes))
    return Classifier(features, compile_network(config, arrays), labels, {}, {"token2wave": "fuzz"}, encoded)


@lru_cache(maxsize=256)
def _model_bytes(recipe: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        classifier_of(json.loads(recipe)).save(path)
        header, body = split_file(path.read_bytes())
        del header["__metadata__"]["token2wave"]["checksum"]  # so that damage gets past it
        return join_file(header, body)


def model_bytes(recipe: Recipe) -> bytes:
    """Bytes of the model file of a recipe."""
    return _model_bytes(json.dumps(recipe))


def _features(settings: dict[str, Any], random: np.random.Generator) -> Features:
    settings = dict(settings)
    if settings.pop("kind") == "wordpiece":
        return WordPieceFeatures(WordPieceConfig(**settings), VOCABULARY)
    n_buckets, n_oov = settings.pop("n_buckets"), settings.pop("n_oov", 0)
    config = WordConfig(min_count=1, **settings)
    buckets = np.sort(random.choice(1 << config.bits, n_buckets, replace=False)).astype(np.uint32)
    return WordFeatures(config, buckets, _oov_hashes(n_oov, random))


def _oov_hashes(n_entries: int, random: np.random.Generator) -> NDArray[np.uint32]:
    """Entries of an OOV table: words and character n-grams of the fuzzed texts, then any hashes."""
    if not n_entries:
        return np.zeros(0, dtype=np.uint32)
    hashes, letters, offsets = spelled_tokens([*WORDS, *PASSAGES, *RUNS])
    grams, _ = char_ngram_hashes(letters, offsets[:-1], offsets[1:], *OOV_NGRAMS)
    extremes = np.array([0, -1], dtype=np.int64).view(np.uint64)
    pool = np.unique(np.concatenate([hashes, grams, extremes]) >> np.uint64(32)).astype(np.uint32)
    entries = random.permutation(pool)[:n_entries]
    others = random.integers(0, 1 << 32, n_entries - len(entries), dtype=np.uint32)
    return np.unique(np.concatenate([entries, others]))


def _encode_arrays(features: Features, arrays: Arrays, kind: str | None) -> dict[str, EncodedArray]:
    """The arrays that the file stores in a smaller encoding."""
    if kind is None:
        return {}
    tables = {EMBEDDING, OOV} & arrays.keys()
    encoded = {name: as_float16(array) for name, array in arrays.items() if name not in tables}
    for name in tables:
        rows = arrays[name]
        if kind == "lzma":
            step = min(max(float(np.abs(rows).max(initial=0)) / 20, 1e-30), 1e29)
            encoded[name] = as_lzma(quantised(rows, step), step)
        else:
            encoded[name] = as_int8(rows) if kind == "int8" else as_float16(rows)
    if isinstance(features, WordFeatures):
        for name, array in features.arrays().items():
            encoded[f"{FEATURE_PREFIX}{name}"] = as_delta_varint(array)
    return encoded


def _numbers(
    name: str, shape: tuple[int, ...], kind: str, random: np.random.Generator
) -> NDArray[np.float32]:
    numbers = random.normal(size=shape)
    if name.endswith("norm.weight"):
        numbers = 1 + 0.1 * numbers
    elif name not in (EMBEDDING, OOV) and len(shape) == 2:
        numbers /= math.sqrt(shape[1])
    size = np.ones(())
    if kind == "mixed":
        size = 10.0 ** random.choice([-45, -30, -10, 0, 10, 19, 30, 38], size=shape)
    elif kind != "ordinary":
        size = np.array({"large": 1e38, "tiny": 1e-42, "zero": 0.0}[kind])
    return np.clip(numbers * size, -3.4e38, 3.4e38).astype(np.float32)
