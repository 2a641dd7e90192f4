"""Small models made without data and without torch, and ways to damage the files that hold them.

A recipe names a model: features, network, how its numbers are drawn and stored. An edit names one damage: a
list of its kind and its arguments. Both are plain data. An edit takes the bytes of a safetensors file, of a
model or of a packed state, and gives others; one that does not fit what it meets changes nothing.
"""

from __future__ import annotations

import json
import math
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import numpy as safetensors

from token2wave.classifier import Classifier
from token2wave.errors import ConfigError
from token2wave.features import Features, WordConfig, WordFeatures, WordPieceConfig, WordPieceFeatures
from token2wave.inference.compiled import compile_network
from token2wave.inference.model import FEATURE_PREFIX
from token2wave.inference.reference import EMBEDDING
from token2wave.models.wave_config import WaveConfig
from token2wave.storage.encodings import EncodedArray, as_float16, as_gaps, as_int8, as_packed, quantised

Recipe = dict[str, Any]
Edit = list[Any]
Arrays = dict[str, NDArray[Any]]

# Syllables of Hangul fall into letters: pieces that share a character.
ENTRIES = (
    *(
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "good",
        "bad",
        "film",
        "don",
        "strasse",
        "été",
        "中",
        "文",
    ),
    *("'", "’", ".", ",", "!", "?", "。", "-", "_", "👍", "\u0301", *"abefiosuwx35ωéßก\u1112"),
    *("##" + letter for letter in "abdefiosx5ωßา_'👍\u1112\u1100\u1161\u1173\u11ab\u11af"),
)
NUMBERS = ("ordinary", "ordinary", "ordinary", "large", "tiny", "zero", "mixed")


# ---- recipes ----


def random_recipe(chance: Random) -> Recipe:
    """Draw a model that is not damaged."""
    if chance.random() < 0.25:
        features = {
            "kind": "wordpiece",
            "lowercase": chance.random() < 0.7,
            "max_tokens": chance.choice((3, 4, 9, 512, 1 << 20)),
        }
    else:
        bits = chance.choice((10, 11, 12) * 8 + (16, 24))
        features = {
            "kind": "words",
            "bits": bits,
            "ngrams": chance.randint(1, 5),
            "cls": chance.random() < 0.5,
            "n_buckets": chance.choice((0, 1, 63, 64, 65, 200, 512, 1024, min(1 << bits, 4096))),
        }
        features["cls"] |= not features["n_buckets"]  # some row there must be
    while True:
        network = {
            "n_classes": chance.choice((2, 2, 3, 8, 17)),
            "width": chance.choice((8, 16, 5, 8, 16, 40)),
            "variants": chance.choice(("rows", "linear")),
            "operation": chance.choice(("interference", "modulation")),
            "restore": chance.choice(("linear", "linear", "real", "magnitude")),
            "readout": chance.choice(("text", "cls")),
            "context_width": chance.choice((0, 0, 8, 16, 3)),
            "context_radius": chance.choice((1, 2, 3) * 20 + (64, 130, 1024)),
        }
        with suppress(ConfigError):  # a combination that cannot be
            WaveConfig(n_rows=1, **network)
            if network["readout"] == "cls" and "cls" in features:  # as training demands
                features["cls"] = True
            return {
                "features": features,
                "network": network,
                "numbers": chance.choice(NUMBERS),
                "storage": chance.choice((None, None, "float16", "int8", "packed")),
                "seed": chance.randrange(1000),
            }


def is_ordinary(recipe: Recipe) -> bool:
    """Whether a model's numbers are such that two ways to compute must agree."""
    return bool(recipe["numbers"] == "ordinary")


def classifier_of(recipe: Recipe) -> Classifier:
    """Make the model that a recipe names."""
    random = np.random.default_rng(recipe["seed"])
    features = _features(recipe["features"], random)
    config = WaveConfig(n_rows=features.n_rows, **recipe["network"])
    arrays = {
        name: _numbers(name, shape, recipe["numbers"], random)
        for name, shape in config.parameter_shapes().items()
    }
    stored = _stored(features, arrays, recipe["storage"])
    arrays |= {name: array.decoded() for name, array in stored.items() if name in arrays}
    labels = tuple(f"class {i} é" for i in range(config.n_classes))
    return Classifier(features, compile_network(config, arrays), labels, {}, {"token2wave": "fuzz"}, stored)


@lru_cache(maxsize=256)
def _file_of(encoded: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        classifier_of(json.loads(encoded)).save(path)
        header, body = _apart(path.read_bytes())
        del header["__metadata__"]["token2wave"]["checksum"]  # else every damage would be found by it alone
        return _together(header, body)


def file_of(recipe: Recipe) -> bytes:
    """Bytes of the model file of a recipe."""
    return _file_of(json.dumps(recipe))


def _features(settings: dict[str, Any], random: np.random.Generator) -> Features:
    settings = dict(settings)
    if settings.pop("kind") == "wordpiece":
        return WordPieceFeatures(WordPieceConfig(**settings), ENTRIES)
    n_buckets = settings.pop("n_buckets")
    config = WordConfig(min_count=1, **settings)
    buckets = np.sort(random.choice(1 << config.bits, n_buckets, replace=False)).astype(np.uint32)
    return WordFeatures(config, buckets)


def _stored(features: Features, arrays: Arrays, kind: str | None) -> dict[str, EncodedArray]:
    """Arrays that the file holds in a smaller form."""
    if kind is None:
        return {}
    stored = {name: as_float16(array) for name, array in arrays.items() if name != EMBEDDING}
    rows = arrays[EMBEDDING]
    if kind == "packed":
        step = min(max(float(np.abs(rows).max(initial=0)) / 20, 1e-30), 1e29)
        stored[EMBEDDING] = as_packed(quantised(rows, step), step)
    else:
        stored[EMBEDDING] = as_int8(rows) if kind == "int8" else as_float16(rows)
    if isinstance(features, WordFeatures):
        stored[f"{FEATURE_PREFIX}buckets"] = as_gaps(features.buckets)
    return stored


def _numbers(
    name: str, shape: tuple[int, ...], kind: str, random: np.random.Generator
) -> NDArray[np.float32]:
    numbers = random.normal(size=shape)
    if name.endswith("norm.weight"):
        numbers = 1 + 0.1 * numbers
    elif name != EMBEDDING and len(shape) == 2:
        numbers /= math.sqrt(shape[1])
    size = np.ones(())
    if kind == "mixed":
        size = 10.0 ** random.choice([-45, -30, -10, 0, 10, 19, 30, 38], size=shape)
    elif kind != "ordinary":
        size = np.array({"large": 1e38, "tiny": 1e-42, "zero": 0.0}[kind])
    return np.clip(numbers * size, -3.4e38, 3.4e38).astype(np.float32)


# ---- edits ----

VALUES: tuple[Any, ...] = (
    *(0, -1, 1, 2, 3, 5, 7, 8, 9, 16, 24, 25, 31, 32, 64, 255, 256, 1024, 65_535, 65_536, 65_537, 1 << 20),
    *(
        (1 << 30) - 1,
        1 << 30,
        (1 << 31) - 1,
        1 << 31,
        (1 << 32) - 1,
        1 << 32,
        1 << 53,
        (1 << 63) - 1,
        1 << 63,
    ),
    *((1 << 64) - 1, 1 << 64, 10**30, -(1 << 31), -(1 << 63), -(10**30)),
    *(0.0, -0.0, 0.5, 0.99, 1.0, 8.0, 1e-300, 1e38, 1e39, 1e308, math.nan, math.inf, -math.inf),
    *(True, False, None, "", "8", "words", "wordpiece", "rows", "linear", "levels", "real", "magnitude"),
    *("float16", "int8", "packed", "gaps"),
    *("cls", "text", "mean", "sinusoidal", "interference", "modulation", "equation", "figure", "none"),
    *("\ud800", "\0", "é" * 300, [], [0], [1, 1], [-1], ["a"], ["a", "b"], [[]], {}, {"a": 1}, {"": None}),
)
TYPES = (
    "F64",
    "F32",
    "F16",
    "BF16",
    "F8_E4M3",
    "F8_E5M2",
    "F4",
    "I64",
    "I32",
    "I16",
    "I8",
    "U64",
    "U32",
    "U8",
    "BOOL",
)
NUMPY_TYPES = ("<f4", "<f8", "<f2", "<i8", "<i4", "<u8", "<u4", "<u2", "u1", "i1", "?")
FILLS = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    1e-45,
    1e-30,
    1e10,
    1.9e19,
    1e30,
    3.4e38,
    -3.4e38,
    math.inf,
    -math.inf,
    math.nan,
)
WHOLE_FILLS = (
    0,
    1,
    2,
    10,
    13,
    63,
    64,
    127,
    128,
    255,
    1023,
    1024,
    4095,
    (1 << 24) - 1,
    (1 << 31) - 1,
    (1 << 32) - 1,
)
NAMES = (
    EMBEDDING,
    "embedding.weight.scale",
    "head.bias",
    "features.buckets",
    "features.vocabulary",
    "features.more",
    "more",
    "",
)


def damaged(raw: bytes, edits: list[Edit]) -> bytes:
    """Apply edits one after the other; one that does not fit changes nothing."""
    for kind, *arguments in edits:
        with suppress(Exception):
            raw = EDITS[kind](raw, *arguments)
    return raw


def random_edits(chance: Random, whole: bytes, before: Sequence[Edit] = ()) -> list[Edit]:
    """Draw some edits of a file, mostly one.

    Args:
        chance: what draws.
        whole: the file, undamaged.
        before: edits that come before.
    """
    edits: list[Edit] = []
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        edits.append(_random_edit(chance, damaged(whole, [*before, *edits]), whole))
    return edits


def _random_edit(chance: Random, raw: bytes, whole: bytes) -> Edit:
    kind = chance.choice(tuple(EDITS) + ("set",) * 8 + ("fill",) * 8)
    try:
        header, _ = _apart(raw)
    except (ValueError, RecursionError):
        header, _ = _apart(whole)
    names = [name for name in header if name != "__metadata__"] + [chance.choice(NAMES)]
    name, header_end = chance.choice(names), 8 + int.from_bytes(whole[:8], "little")
    match kind:
        case "set":
            path = _random_path(chance, header)
            return [kind, path, _hostile_value(chance, header, path)]
        case "remove":
            return [kind, _random_path(chance, header)]
        case "rename":
            return [
                kind,
                _random_path(chance, header),
                chance.choice((*names, "token2wave", "width", "unheard of")),
            ]
        case "nest":
            return [kind, _random_path(chance, header), chance.choice((10, 500, 1000, 100_000))]
        case "metadata":
            return [
                kind,
                chance.choice(("", "{", "null", "[]", "1", '"x"', "{}", "NaN", '{"format_version": 1}')),
            ]
        case "fill":
            place = None if chance.random() < 0.3 else chance.randrange(1 << 16)
            whole_number = name.startswith(("features", "beginning", "end", "journal"))
            return [kind, name, place, chance.choice(WHOLE_FILLS if whole_number else FILLS)]
        case "retype" | "reinterpret":
            return [kind, name, chance.choice(NUMPY_TYPES if kind == "retype" else TYPES)]
        case "resize":
            shape = [chance.choice((0, 1, 2, 3, 5, 8, 16, 64, 200)) for _ in range(chance.randrange(4))]
            return [kind, name, shape]
        case "exchange" | "copy":
            return [kind, name, chance.choice(names)]
        case "drop" | "reverse" | "sort":
            return [kind, name]
        case "overwrite":
            in_header = chance.random() < 0.5
            place = chance.randrange(header_end if in_header else len(whole))
            return [kind, place, chance.randbytes(chance.choice((1, 1, 2, 4, 8))).hex()]
        case "flip":
            return [kind, chance.randrange(len(whole)), chance.randrange(8)]
        case "splice":
            n_removed = chance.choice((0, 1, 4, 100))
            return [
                kind,
                chance.randrange(len(whole)),
                n_removed,
                chance.randbytes(chance.randrange(9)).hex(),
            ]
        case _:  # cut
            return [kind, chance.randrange(len(whole) + 1)]


def _random_path(chance: Random, header: dict[str, Any]) -> list[str | int]:
    """Way to some value in a header, more often to a setting than to where an array lies."""
    ours = chance.random() < 0.7
    ways = [way for way in _paths(header) if (way[0] == "__metadata__") == ours] or [["__metadata__"]]
    if chance.random() < 0.5:  # settings rather than records
        ways = [way for way in ways if {"network", "features", "storage", "format_version"} & {*way}] or ways
    return chance.choice(ways)


def _hostile_value(chance: Random, header: dict[str, Any], path: list[str | int]) -> Any:
    """Another value for a place in a header, often of the type that stands there."""
    found: Any = header
    for key in path:
        found = found[key]
    alike = [value for value in VALUES if type(value) is type(found)]
    return chance.choice(alike if alike and chance.random() < 0.6 else VALUES)


def _paths(value: Any, depth: int = 6) -> Iterator[list[str | int]]:
    if isinstance(value, dict | list) and depth:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield [key]
            yield from ([key, *rest] for rest in _paths(inner, depth - 1))


# ---- what edits do ----


def _apart(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and body of a safetensors file, values of the metadata decoded where they are JSON."""
    n = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + n])
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__"), dict):
        raise ValueError("expected a header with metadata")
    for key, value in header["__metadata__"].items():
        with suppress(ValueError, TypeError, RecursionError):
            header["__metadata__"][key] = json.loads(value)
    return header, raw[8 + n :]


def _together(header: dict[str, Any], body: bytes) -> bytes:
    metadata = header.get("__metadata__")
    if isinstance(metadata, dict):
        metadata = {
            key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()
        }
        header = header | {"__metadata__": metadata}
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + body


def _in_header(raw: bytes, path: list[str | int], change: Callable[[Any, Any], None]) -> bytes:
    header, body = _apart(raw)
    place: Any = header
    for key in path[:-1]:
        place = place[key]
    change(place, path[-1])
    return _together(header, body)


def _set(raw: bytes, path: list[str | int], value: Any) -> bytes:
    return _in_header(raw, path, lambda place, key: place.__setitem__(key, value))


def _remove(raw: bytes, path: list[str | int]) -> bytes:
    return _in_header(raw, path, lambda place, key: place.__delitem__(key))


def _rename(raw: bytes, path: list[str | int], name: str) -> bytes:
    return _in_header(raw, path, lambda place, key: place.__setitem__(name, place.pop(key)))


def _nest(raw: bytes, path: list[str | int], depth: int) -> bytes:
    """Put a value so deep into lists that whoever reads it recursively must give up."""
    marker = "here it goes"
    marked = _set(raw, path, marker)
    header, body = _apart(marked)
    metadata = {key: json.dumps(value) for key, value in header["__metadata__"].items()}
    deep = {key: value.replace(f'"{marker}"', "[" * depth + "]" * depth) for key, value in metadata.items()}
    return _together(header | {"__metadata__": deep}, body)


def _metadata(raw: bytes, text: str) -> bytes:
    header, body = _apart(raw)
    return _together(header | {"__metadata__": dict.fromkeys(header["__metadata__"], text)}, body)


def _reinterpret(raw: bytes, name: str, kind: str) -> bytes:
    """Give an array's bytes another type, with as many numbers as that makes."""
    header, body = _apart(raw)
    first, last = header[name]["data_offsets"]
    bits = int(kind.split("_")[0].lstrip("BFUIOL") or 8)
    header[name] |= {"dtype": kind, "shape": [(last - first) * 8 // bits]}
    return _together(header, body)


def _of_arrays(change: Callable[..., None]) -> Callable[..., bytes]:
    """Make an edit of a function that changes a dictionary of arrays."""

    def edit(raw: bytes, *arguments: Any) -> bytes:
        header, _ = _apart(raw)
        arrays = {name: array.copy() for name, array in safetensors.load(raw).items()}
        with np.errstate(all="ignore"):
            change(arrays, *arguments)
        metadata = {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in header["__metadata__"].items()
        }
        whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        return safetensors.save(whole, metadata=metadata)

    return edit


def _fill(arrays: Arrays, name: str, place: int | None, value: float) -> None:
    flat = arrays[name].reshape(-1)
    flat[slice(None) if place is None else place % len(flat)] = np.array(value).astype(flat.dtype)


def _retype(arrays: Arrays, name: str, kind: str) -> None:
    arrays[name] = arrays[name].astype(kind)


def _resize(arrays: Arrays, name: str, shape: list[int]) -> None:
    arrays[name] = np.resize(arrays.get(name, np.zeros(1, np.float32)), shape)


def _exchange(arrays: Arrays, name: str, other: str) -> None:
    arrays[name], arrays[other] = arrays[other], arrays[name]


def _copy(arrays: Arrays, name: str, other: str) -> None:
    arrays[other] = arrays[name].copy()


def _drop(arrays: Arrays, name: str) -> None:
    del arrays[name]


def _reverse(arrays: Arrays, name: str) -> None:
    arrays[name] = arrays[name][::-1]


def _sort(arrays: Arrays, name: str) -> None:
    arrays[name].reshape(-1).sort()


def _overwrite(raw: bytes, place: int, replacement: str) -> bytes:
    new = bytes.fromhex(replacement)
    return raw[:place] + new + raw[place + len(new) :]


def _flip(raw: bytes, place: int, bit: int) -> bytes:
    return raw[:place] + bytes([raw[place] ^ 1 << bit]) + raw[place + 1 :]


def _splice(raw: bytes, place: int, n_removed: int, inserted: str) -> bytes:
    return raw[:place] + bytes.fromhex(inserted) + raw[place + n_removed :]


def _cut(raw: bytes, length: int) -> bytes:
    return raw[:length]


EDITS: dict[str, Callable[..., bytes]] = {
    "set": _set,
    "remove": _remove,
    "rename": _rename,
    "nest": _nest,
    "metadata": _metadata,
    "reinterpret": _reinterpret,
    "fill": _of_arrays(_fill),
    "retype": _of_arrays(_retype),
    "resize": _of_arrays(_resize),
    "exchange": _of_arrays(_exchange),
    "copy": _of_arrays(_copy),
    "drop": _of_arrays(_drop),
    "reverse": _of_arrays(_reverse),
    "sort": _of_arrays(_sort),
    "overwrite": _overwrite,
    "flip": _flip,
    "splice": _splice,
    "cut": _cut,
}
