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
Settings = Mapping[str, Any]
Parts = Mapping[str, Array]
Shape = tuple[int, ...]
DEAD_ZONE = 0.55  # numbers below this many steps become zero, because zeros cost next to nothing
MAX_FREE, MAX_PER_BYTE = 1 << 22, 16  # numbers of any stream, and of each byte: a small file stays small
MAX_LZMA_MEMORY = 1 << 24  # of the decompressor; a stream may ask for a dictionary of 8 MiB
MAX_VARINT_BYTES = 5
LZMA_EFFORTS: dict[str, dict[str, Any]] = {
    "full": {"preset": 6, "nice_len": 273},
    "half": {"preset": 6, "nice_len": 273, "depth": 4},  # about as short, in half the time
    "least": {"preset": 1},  # about a fifth longer, in a tenth of the time
}
CHUNK = 1 << 16  # numbers decoded at once; bounds the memory beside the array


@dataclass(frozen=True)
class EncodedArray:
    """An encoded array.

    Attributes:
        settings: plain data for decoding; ``kind`` is one of the encodings above.
        parts: arrays by the suffix of their names in the file.
    """

    settings: dict[str, Any]
    parts: dict[str, Array]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded array, read from settings and parts without decoding.

        Raises:
            ModelFileError: settings or parts do not fit the encoding.
        """
        suffixes = suffixes_of(self.settings)
        if tuple(self.parts) != suffixes:
            raise ModelFileError(f"expected the parts {suffixes} of an encoded array")
        return DECODERS[self.settings["kind"]][1](self.settings, self.parts)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the decoded array."""
        return np.dtype(np.uint32 if self.settings.get("kind") == "delta_varint" else np.float32)

    def decoded(self) -> Array:
        """Decode the array, float32 or uint32. Besides the array, it takes a few MiB.

        Raises:
            ModelFileError: settings or parts do not fit the encoding.
        """
        array = np.empty(self.shape, self.dtype)
        with np.errstate(all="ignore"):  # readers refuse numbers that are not finite
            DECODERS[self.settings["kind"]][2](self.settings, self.parts, array)
        return array


def suffixes_of(settings: Settings) -> tuple[str, ...]:
    """Return the suffixes of the parts of an encoded array.

    Raises:
        ModelFileError: the settings name no encoding.
    """
    encoding = settings.get("kind")
    if not isinstance(encoding, str) or encoding not in DECODERS:
        raise ModelFileError(f"expected storage of kind {', '.join(DECODERS)}, found {encoding!r}")
    return DECODERS[encoding][0]


def _require(condition: bool, expected: str) -> None:
    if not condition:
        raise ModelFileError(f"expected {expected}, found other data")


# ---- float16 ----


def as_float16(array: Array) -> EncodedArray:
    """Encode in half precision; numbers beyond its range become its largest."""
    largest = float(np.finfo(np.float16).max)
    return EncodedArray({"kind": "float16"}, {"": np.clip(array, -largest, largest).astype(np.float16)})


def _shape_of_float16(settings: Settings, parts: Parts) -> Shape:
    _require(parts[""].dtype == np.float16, "numbers in half precision")
    return parts[""].shape


def _decode_float16(settings: Settings, parts: Parts, array: Array) -> None:
    array[...] = parts[""]


# ---- int8 ----


def as_int8(array: Array) -> EncodedArray:
    """Encode a matrix ``(V, R)`` as integers from -127 to 127 and a float32 scale for each row."""
    scale = np.abs(array).max(axis=1) / 127
    divisor = np.where(scale > 0, scale, 1).astype(np.float32)
    # Clips only if the scale is subnormal, and so inexact.
    numbers = np.clip(np.rint(array / divisor[:, None]), -127, 127).astype(np.int8)
    return EncodedArray({"kind": "int8"}, {"": numbers, ".scale": scale.astype(np.float32)})


def _shape_of_int8(settings: Settings, parts: Parts) -> Shape:
    numbers, scale = parts[""], parts[".scale"]
    _require(numbers.dtype == np.int8 and numbers.ndim == 2, "a matrix of small whole numbers")
    _require(scale.dtype == np.float32 and scale.shape == numbers.shape[:1], "a scale for each row")
    return numbers.shape


def _decode_int8(settings: Settings, parts: Parts, array: Array) -> None:
    np.multiply(parts[""], parts[".scale"][:, None], out=array)


# ---- lzma ----


def quantised(array: Array, step: float) -> NDArray[np.int8]:
    """Round numbers to integers of steps, from -127 to 127."""
    sizes = np.floor(np.abs(array) / np.float32(step) + np.float32(1 - DEAD_ZONE))
    return (np.sign(array) * np.minimum(sizes, 127)).astype(np.int8)


def as_lzma(numbers: NDArray[np.int8], step: float, effort: str = "full") -> EncodedArray:
    """Encode a matrix ``(V, R)`` of integers of steps.

    A stream that is shorter than readers accept (a matrix of mostly zeros) is padded.
    """
    stream = compress_lzma(numbers, effort).ljust(-((MAX_FREE - numbers.size) // MAX_PER_BYTE), b"\0")
    settings = {"kind": "lzma", "shape": list(numbers.shape), "step": float(np.float32(step))}
    settings["crc32"] = zlib.crc32(numbers.tobytes())
    return EncodedArray(settings, {"": np.frombuffer(stream, dtype=np.uint8)})


def compress_lzma(numbers: NDArray[np.int8], effort: str = "full") -> bytes:
    """Compress by LZMA. The context of a number is its index modulo 16, which follows the columns."""
    lzma = _lzma()
    settings = {**LZMA_EFFORTS[effort], "lc": 0, "lp": 4, "pb": 0, "dict_size": 1 << 16}
    filters = [{"id": lzma.FILTER_LZMA1, **settings}]
    stream: bytes = lzma.compress(numbers.tobytes(), format=lzma.FORMAT_ALONE, filters=filters)
    return stream


def _shape_of_lzma(settings: Settings, parts: Parts) -> Shape:
    shape: Any = settings.get("shape")
    step: Any = settings.get("step")
    stream = parts[""]
    _require(stream.dtype == np.uint8 and stream.ndim == 1, "bytes")
    _require(isinstance(shape, list) and len(shape) == 2, "a shape of two numbers")
    _require(all(type(n) is int and 0 <= n < 1 << 31 for n in shape), "a shape within bounds")
    _require(type(step) in (int, float) and 0 < step < 1e30, "a positive step")
    fits = math.prod(shape) <= MAX_FREE + MAX_PER_BYTE * len(stream)
    _require(fits, f"a longer stream for so many numbers (at most {MAX_PER_BYTE} a byte)")
    return tuple(shape)


def _decode_lzma(settings: Settings, parts: Parts, array: Array) -> None:
    lzma, step = _lzma(), np.float32(settings["step"])
    reader = lzma.LZMADecompressor(format=lzma.FORMAT_ALONE, memlimit=MAX_LZMA_MEMORY)
    numbers, stream = array.reshape(-1), parts[""].data
    n_read, n_decoded, checksum = 0, 0, 0
    try:
        while n_decoded < len(numbers):
            fed = stream[n_read : n_read + CHUNK] if reader.needs_input else b""
            n_read += len(fed)
            unpacked = reader.decompress(fed, max_length=min(CHUNK, len(numbers) - n_decoded))
            _require(bool(unpacked) or n_read < len(stream), "an undamaged stream")
            checksum = zlib.crc32(unpacked, checksum)
            chunk = numbers[n_decoded : n_decoded + len(unpacked)]
            np.multiply(np.frombuffer(unpacked, dtype=np.int8), step, out=chunk)
            n_decoded += len(unpacked)
        # The stream must end here, unless it has no end mark.
        rest = b"" if reader.eof else reader.decompress(bytes(stream[n_read : n_read + CHUNK]), max_length=1)
    except (lzma.LZMAError, EOFError) as error:
        raise ModelFileError(f"expected a whole LZMA stream: {error}") from error
    _require(not rest and checksum == settings.get("crc32"), "an undamaged stream")


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


def _shape_of_delta_varint(settings: Settings, parts: Parts) -> Shape:
    stream = parts[""]
    _require(stream.dtype == np.uint8 and stream.ndim == 1, "bytes")
    _require(not len(stream) or stream[-1] < 128, "whole numbers")
    chunks = (stream[first : first + CHUNK] for first in range(0, len(stream), CHUNK))
    return (sum(int(np.count_nonzero(chunk < 128)) for chunk in chunks),)


def _decode_delta_varint(settings: Settings, parts: Parts, array: Array) -> None:
    stream, first, n_decoded, previous = parts[""], 0, 0, -1
    while first < len(stream):
        chunk = stream[first : first + CHUNK]
        ends = np.flatnonzero(chunk < 128)
        _require(len(ends) > 0, "numbers of at most five bytes")
        chunk = chunk[: ends[-1] + 1]
        starts = np.concatenate([[0], ends[:-1] + 1])
        lengths = ends - starts + 1
        _require(bool(lengths.max() <= MAX_VARINT_BYTES), "numbers of at most five bytes")
        index = np.arange(len(chunk)) - np.repeat(starts, lengths)
        deltas = np.add.reduceat((chunk & 127).astype(np.int64) << (7 * index), starts)
        numbers = previous + np.cumsum(deltas + 1)
        previous = numbers[-1]
        _require(bool(previous < 1 << 32), "numbers below 2^32")
        array[n_decoded : n_decoded + len(numbers)] = numbers
        first, n_decoded = first + len(chunk), n_decoded + len(numbers)


DECODERS: dict[str, tuple[tuple[str, ...], Callable[..., Shape], Callable[..., None]]] = {
    "float16": (("",), _shape_of_float16, _decode_float16),
    "int8": (("", ".scale"), _shape_of_int8, _decode_int8),
    "lzma": (("",), _shape_of_lzma, _decode_lzma),
    "delta_varint": (("",), _shape_of_delta_varint, _decode_delta_varint),
}
"""For each kind, the suffixes of its parts, the check that returns the shape, and the decoder."""
