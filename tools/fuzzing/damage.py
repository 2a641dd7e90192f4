"""Damage to safetensors files, of a model or of a packed state.

An edit is plain data: its kind and its arguments. An edit that does not fit the file changes nothing.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import numpy as safetensors

Edit = list[Any]
Arrays = dict[str, NDArray[Any]]

VALUES: tuple[Any, ...] = (
    *(0, -1, 1, 2, 3, 5, 7, 8, 9, 16, 24, 25, 31, 32, 64, 255, 256, 1024, 65_535, 65_536, 65_537, 1 << 20),
    *((1 << n) - offset for n in (30, 31, 32, 63, 64) for offset in (0, 1)),
    *(1 << 53, 10**30, -(1 << 31), -(1 << 63), -(10**30)),
    *(0.0, -0.0, 0.5, 0.99, 1.0, 8.0, 1e-300, 1e38, 1e39, 1e308, math.nan, math.inf, -math.inf),
    *(True, False, None, "", "8", "words", "wordpiece", "rows", "linear", "levels", "real", "magnitude"),
    *"float16 int8 lzma delta_varint".split(),
    *"cls text mean sinusoidal interference modulation equation figure none".split(),
    *("\ud800", "\0", "é" * 300, [], [0], [1, 1], [-1], ["a"], ["a", "b"], [[]], {}, {"a": 1}, {"": None}),
)
SETTINGS = {"network", "features", "storage", "format_version"}
DTYPES = "F64 F32 F16 BF16 F8_E4M3 F8_E5M2 F4 I64 I32 I16 I8 U64 U32 U8 BOOL".split()
NUMPY_DTYPES = "<f4 <f8 <f2 <i8 <i4 <u8 <u4 <u2 u1 i1 ?".split()
FILLS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-30, 1e10, 1.9e19, 1e30, 3.4e38, -3.4e38)
FILLS = (*FILLS, math.inf, -math.inf, math.nan)
INTEGER_FILLS = (0, 1, 2, 10, 13, 63, 64, 127, 128, 255, 1023, 1024, 4095, (1 << 24) - 1, (1 << 31) - 1)
INTEGER_FILLS = (*INTEGER_FILLS, (1 << 32) - 1)
INTEGER_ARRAYS = ("features", "start", "end", "journal", "oov_")
ARRAY_NAMES = (
    "embedding.weight",
    "embedding.weight.scale",
    "head.bias",
    "features.buckets",
    "features.oov_hashes",
    "oov.weight",
)
ARRAY_NAMES = (*ARRAY_NAMES, "features.vocabulary", "features.more", "more", "")


def apply_edits(raw: bytes, edits: list[Edit]) -> bytes:
    """Apply edits one after the other."""
    for kind, *arguments in edits:
        with suppress(Exception):
            raw = EDITS[kind](raw, *arguments)
    return raw


def random_edits(rng: Random, whole: bytes, previous: Sequence[Edit] = ()) -> list[Edit]:
    """Draw edits of a file, in most cases one.

    Args:
        rng: source of randomness.
        whole: bytes of the undamaged file.
        previous: edits that are applied first.
    """
    edits: list[Edit] = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        edits.append(_random_edit(rng, apply_edits(whole, [*previous, *edits]), whole))
    return edits


def _random_edit(rng: Random, raw: bytes, whole: bytes) -> Edit:
    kind = rng.choice(tuple(EDITS) + ("set",) * 8 + ("fill",) * 8)
    try:
        header, _ = split_file(raw)
    except (ValueError, RecursionError):
        header, _ = split_file(whole)
    names = [name for name in header if name != "__metadata__"] + [rng.choice(ARRAY_NAMES)]
    name, header_end = rng.choice(names), 8 + int.from_bytes(whole[:8], "little")
    match kind:
        case "set":
            path = _random_path(rng, header)
            return [kind, path, _hostile_value(rng, header, path)]
        case "remove":
            return [kind, _random_path(rng, header)]
        case "rename":
            return [
                kind,
                _random_path(rng, header),
                rng.choice((*names, "token2wave", "width", "unheard of")),
            ]
        case "nest":
            return [kind, _random_path(rng, header), rng.choice((10, 500, 1000, 100_000))]
        case "metadata":
            return [
                kind,
                rng.choice(("", "{", "null", "[]", "1", '"x"', "{}", "NaN", '{"format_version": 1}')),
            ]
        case "fill":
            index = None if rng.random() < 0.3 else rng.randrange(1 << 16)
            is_integer = name.startswith(INTEGER_ARRAYS)
            return [kind, name, index, rng.choice(INTEGER_FILLS if is_integer else FILLS)]
        case "retype" | "reinterpret":
            return [kind, name, rng.choice(NUMPY_DTYPES if kind == "retype" else DTYPES)]
        case "resize":
            shape = [rng.choice((0, 1, 2, 3, 5, 8, 16, 64, 200)) for _ in range(rng.randrange(4))]
            return [kind, name, shape]
        case "exchange" | "copy":
            return [kind, name, rng.choice(names)]
        case "drop" | "reverse" | "sort":
            return [kind, name]
        case "overwrite":
            in_header = rng.random() < 0.5
            place = rng.randrange(header_end if in_header else len(whole))
            return [kind, place, rng.randbytes(rng.choice((1, 1, 2, 4, 8))).hex()]
        case "flip":
            return [kind, rng.randrange(len(whole)), rng.randrange(8)]
        case "splice":
            n_removed = rng.choice((0, 1, 4, 100))
            return [
                kind,
                rng.randrange(len(whole)),
                n_removed,
                rng.randbytes(rng.randrange(9)).hex(),
            ]
        case _:  # cut
            return [kind, rng.randrange(len(whole) + 1)]


def _random_path(rng: Random, header: dict[str, Any]) -> list[str | int]:
    """Path to a value of a header; settings are more likely than offsets of arrays."""
    in_metadata = rng.random() < 0.7
    paths = [path for path in _paths(header) if (path[0] == "__metadata__") == in_metadata]
    paths = paths or [["__metadata__"]]
    if rng.random() < 0.5:  # prefer settings to records
        paths = [path for path in paths if SETTINGS & {*path}] or paths
    return rng.choice(paths)


def _hostile_value(rng: Random, header: dict[str, Any], path: list[str | int]) -> Any:
    """Another value for a path in a header, often of the same type."""
    current: Any = header
    for key in path:
        current = current[key]
    same_type = [value for value in VALUES if type(value) is type(current)]
    return rng.choice(same_type if same_type and rng.random() < 0.6 else VALUES)


def _paths(value: Any, depth: int = 6) -> Iterator[list[str | int]]:
    if isinstance(value, dict | list) and depth:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield [key]
            yield from ([key, *rest] for rest in _paths(inner, depth - 1))


# ---- edits ----


def split_file(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """Split a safetensors file into header and body; JSON values of the metadata are decoded."""
    n = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + n])
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__"), dict):
        raise ValueError("expected a header with metadata")
    for key, value in header["__metadata__"].items():
        with suppress(ValueError, TypeError, RecursionError):
            header["__metadata__"][key] = json.loads(value)
    return header, raw[8 + n :]


def join_file(header: dict[str, Any], body: bytes) -> bytes:
    """Make a safetensors file of header and body; the way back from :func:`split_file`."""
    metadata = header.get("__metadata__")
    if isinstance(metadata, dict):
        metadata = {
            key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()
        }
        header = header | {"__metadata__": metadata}
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + body


def _in_header(raw: bytes, path: list[str | int], change: Callable[[Any, Any], None]) -> bytes:
    header, body = split_file(raw)
    place: Any = header
    for key in path[:-1]:
        place = place[key]
    change(place, path[-1])
    return join_file(header, body)


def _set(raw: bytes, path: list[str | int], value: Any) -> bytes:
    return _in_header(raw, path, lambda place, key: place.__setitem__(key, value))


def _remove(raw: bytes, path: list[str | int]) -> bytes:
    return _in_header(raw, path, lambda place, key: place.__delitem__(key))


def _rename(raw: bytes, path: list[str | int], name: str) -> bytes:
    return _in_header(raw, path, lambda place, key: place.__setitem__(name, place.pop(key)))


def _nest(raw: bytes, path: list[str | int], depth: int) -> bytes:
    """Nest a value in lists, too deep for a recursive reader."""
    marker = "here it goes"
    marked = _set(raw, path, marker)
    header, body = split_file(marked)
    metadata = {key: json.dumps(value) for key, value in header["__metadata__"].items()}
    deep = {key: value.replace(f'"{marker}"', "[" * depth + "]" * depth) for key, value in metadata.items()}
    return join_file(header | {"__metadata__": deep}, body)


def _metadata(raw: bytes, text: str) -> bytes:
    header, body = split_file(raw)
    return join_file(header | {"__metadata__": dict.fromkeys(header["__metadata__"], text)}, body)


def _reinterpret(raw: bytes, name: str, kind: str) -> bytes:
    """Give an array's bytes another dtype."""
    header, body = split_file(raw)
    first, last = header[name]["data_offsets"]
    bits = int(kind.split("_")[0].lstrip("BFUIOL") or 8)
    header[name] |= {"dtype": kind, "shape": [(last - first) * 8 // bits]}
    return join_file(header, body)


def _of_arrays(change: Callable[..., None]) -> Callable[..., bytes]:
    """Make an edit of a function that changes the arrays in place."""

    def edit(raw: bytes, *arguments: Any) -> bytes:
        header, _ = split_file(raw)
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
