"""Encodings that make arrays smaller in a model file, as specified in ``docs/format.md``.

* ``float16``: half precision.
* ``int8``: integers times a scale for each row.
* ``lzma``: integers times one step, compressed by LZMA with contexts that follow the columns.
* ``delta_varint``: increasing integers as differences, seven bits a byte.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ModelFileError

Array = NDArray[Any]
DEAD_ZONE = 0.55  # numbers below this many steps become zero, because zeros cost next to nothing
MAX_PER_BYTE = 64  # bytes that a byte may decompress to, so that a small file cannot fill the memory
MAX_VARINT_BYTES = 5


@dataclass(frozen=True)
class EncodedArray:
    """An encoded array.

    Attributes:
        settings: plain data for decoding; ``kind`` is one of the encodings above.
        parts: arrays by the suffix of their names in the file.
    """

    settings: dict[str, Any]
    parts: dict[str, Array]

    def decoded(self) -> Array:
        """Decode the array, float32 or uint32.

        Raises:
            ModelFileError: settings or parts do not fit the encoding.
        """
        encoding = self.settings.get("kind")
        if not isinstance(encoding, str) or encoding not in DECODERS:
            raise ModelFileError(f"expected storage of kind {', '.join(DECODERS)}, found {encoding!r}")
        suffixes, decode = DECODERS[encoding]
        if tuple(self.parts) != suffixes:
            raise ModelFileError(f"expected the parts {suffixes} of an array stored as {encoding}")
        return decode(self.settings, self.parts)


def _require(condition: bool, expected: str) -> None:
    if not condition:
        raise ModelFileError(f"expected {expected}, found other data")


# ---- float16 ----


def as_float16(array: Array) -> EncodedArray:
    """Encode in half precision; numbers beyond its range become its largest."""
    largest = float(np.finfo(np.float16).max)
    return EncodedArray({"kind": "float16"}, {"": np.clip(array, -largest, largest).astype(np.float16)})


def _from_float16(settings: Mapping[str, Any], parts: Mapping[str, Array]) -> Array:
    _require(parts[""].dtype == np.float16, "numbers in half precision")
    return np.asarray(parts[""], dtype=np.float32)


# ---- int8 ----


def as_int8(array: Array) -> EncodedArray:
    """Encode a matrix ``(V, R)`` as integers from -127 to 127 and a float32 scale for each row."""
    scale = np.abs(array).max(axis=1) / 127
    divisor = np.where(scale > 0, scale, 1).astype(np.float32)
    # Clips only if the scale is subnormal, and so inexact.
    numbers = np.clip(np.rint(array / divisor[:, None]), -127, 127).astype(np.int8)
    return EncodedArray({"kind": "int8"}, {"": numbers, ".scale": scale.astype(np.float32)})


def _from_int8(settings: Mapping[str, Any], parts: Mapping[str, Array]) -> Array:
    numbers, scale = parts[""], parts[".scale"]
    _require(numbers.dtype == np.int8 and numbers.ndim == 2, "a matrix of small whole numbers")
    _require(scale.dtype == np.float32 and scale.shape == numbers.shape[:1], "a scale for each row")
    return numbers * scale[:, None]


# ---- lzma ----


def quantised(array: Array, step: float) -> NDArray[np.int8]:
    """Round numbers to integers of steps, from -127 to 127."""
    sizes = np.floor(np.abs(array) / np.float32(step) + np.float32(1 - DEAD_ZONE))
    return (np.sign(array) * np.minimum(sizes, 127)).astype(np.int8)


def as_lzma(numbers: NDArray[np.int8], step: float) -> EncodedArray:
    """Encode a matrix ``(V, R)`` of integers of steps.

    A stream that is shorter than readers accept (a matrix of mostly zeros) is padded.
    """
    stream = compress_lzma(numbers).ljust(-(-numbers.size // MAX_PER_BYTE), b"\0")
    settings = {"kind": "lzma", "shape": list(numbers.shape), "step": float(np.float32(step))}
    settings["crc32"] = zlib.crc32(numbers.tobytes())
    return EncodedArray(settings, {"": np.frombuffer(stream, dtype=np.uint8)})


def compress_lzma(numbers: NDArray[np.int8]) -> bytes:
    """Compress by LZMA. The context of a number is its index modulo 16, which follows the columns."""
    lzma = _lzma()
    settings = {"preset": 6, "lc": 0, "lp": 4, "pb": 0, "dict_size": 1 << 16, "nice_len": 273}
    filters = [{"id": lzma.FILTER_LZMA1, **settings}]
    stream: bytes = lzma.compress(numbers.tobytes(), format=lzma.FORMAT_ALONE, filters=filters)
    return stream


def _from_lzma(settings: Mapping[str, Any], parts: Mapping[str, Array]) -> Array:
    shape: Any = settings.get("shape")
    step: Any = settings.get("step")
    stream = parts[""]
    _require(stream.dtype == np.uint8 and stream.ndim == 1, "bytes")
    _require(isinstance(shape, list) and len(shape) == 2, "a shape of two numbers")
    _require(all(type(n) is int and 0 <= n < 1 << 31 for n in shape), "a shape within bounds")
    _require(type(step) in (int, float) and 0 < step < 1e30, "a positive step")
    size = math.prod(shape)
    _require(size <= MAX_PER_BYTE * len(stream), "a stream of that size")
    lzma = _lzma()
    reader = lzma.LZMADecompressor(format=lzma.FORMAT_ALONE, memlimit=1 << 26)
    try:
        unpacked = reader.decompress(stream.tobytes(), max_length=size + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise ModelFileError(f"expected a whole LZMA stream: {error}") from error
    _require(len(unpacked) == size and zlib.crc32(unpacked) == settings.get("crc32"), "an undamaged stream")
    numbers = np.frombuffer(unpacked, dtype=np.int8).reshape(shape)
    return numbers * np.float32(step)


def _lzma() -> Any:
    """Import Python's module, which some builds lack."""
    try:
        import lzma
    except ImportError as error:
        raise ModelFileError(
            "tables stored as lzma need Python's module lzma, which this Python was built without",
            hint="use another Python, or compress with --storage int8",
        ) from error
    return lzma


# ---- delta_varint ----


def as_delta_varint(numbers: NDArray[np.uint32]) -> EncodedArray:
    """Encode increasing numbers ``(V,)`` as differences, in bytes of seven bits, low bits first."""
    signed = np.append(np.int64(-1), numbers.astype(np.int64))
    deltas = signed[1:] - signed[:-1] - 1
    index = np.arange(MAX_VARINT_BYTES)
    n_bytes = np.maximum((deltas[:, None] >= 1 << (7 * index)).sum(axis=1), 1)
    columns = (deltas[:, None] >> (7 * index) & 127).astype(np.uint8)
    columns |= ((index < n_bytes[:, None] - 1) * 128).astype(np.uint8)
    return EncodedArray({"kind": "delta_varint"}, {"": columns[index < n_bytes[:, None]]})


def _from_delta_varint(settings: Mapping[str, Any], parts: Mapping[str, Array]) -> Array:
    stream = parts[""]
    _require(stream.dtype == np.uint8 and stream.ndim == 1, "bytes")
    if not len(stream):
        return np.zeros(0, dtype=np.uint32)
    ends = np.flatnonzero(stream < 128)
    _require(len(ends) > 0 and ends[-1] == len(stream) - 1, "whole numbers")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    _require(bool(lengths.max() <= MAX_VARINT_BYTES), "numbers of at most five bytes")
    index = np.arange(len(stream)) - np.repeat(starts, lengths)
    deltas = np.add.reduceat((stream & 127).astype(np.int64) << (7 * index), starts)
    numbers = np.cumsum(deltas + 1) - 1
    _require(bool(numbers[-1] < 1 << 32), "numbers below 2^32")
    return numbers.astype(np.uint32)


Decoder = Callable[[Mapping[str, Any], Mapping[str, Array]], Array]
DECODERS: dict[str, tuple[tuple[str, ...], Decoder]] = {
    "float16": (("",), _from_float16),
    "int8": (("", ".scale"), _from_int8),
    "lzma": (("",), _from_lzma),
    "delta_varint": (("",), _from_delta_varint),
}
"""For each kind, the suffixes of its parts and the decoder."""
