"""Writes safetensors files with the same bytes as the library, array by array.

The library writes to a file with a random name, which a killed process leaves behind for good. Here the bytes
go to the path of the caller (:func:`token2wave.storage.atomic.atomic_write`), no array is copied, and a
checksum of the file is computed on the way.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

ALIGNMENT = 8  # of the first array
TYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BOOL": "?"}  # those that numpy has
TYPES |= {f"{letter}{8 * size}": f"<{letter.lower()}{size}" for letter in "IU" for size in (1, 2, 4, 8)}
ORDER = ("U64", "I64", "F64", "F32", "U32", "I32", "F16", "U16", "I16", "I8", "U8", "BOOL")
"""The order of the arrays by type; those of one type are ordered by name."""
NAMES = {np.dtype(code): name for name, code in TYPES.items()}


def write_arrays(path: Path, arrays: Arrays, metadata: Mapping[str, str]) -> int:
    """Overwrite a safetensors file with arrays of :data:`TYPES`, and return its CRC-32.

    Raises:
        OSError: the file cannot be written.
    """
    checksum = 0
    with path.open("wb") as file:
        for chunk in _chunks(arrays, metadata):
            file.write(chunk)
            checksum = zlib.crc32(chunk, checksum)
    return checksum


def size_of_arrays(arrays: Arrays, metadata: Mapping[str, str]) -> int:
    """Return the number of bytes that :func:`write_arrays` would write."""
    return sum(map(len, _chunks(arrays, metadata)))


def bytes_of(array: NDArray[Any]) -> memoryview:
    """Return the bytes of an array as they are in a file, row by row."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def _chunks(arrays: Arrays, metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    """Yield the header, then the arrays."""
    names = {name: NAMES[array.dtype.newbyteorder("<")] for name, array in arrays.items()}
    ordered = sorted(arrays, key=lambda name: (ORDER.index(names[name]), name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in ordered:
        begin, end = end, end + arrays[name].nbytes
        shape = list(arrays[name].shape)
        header[name] = {"dtype": names[name], "shape": shape, "data_offsets": [begin, end]}
    encoded = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % ALIGNMENT)
    yield len(encoded).to_bytes(8, "little") + encoded
    for name in ordered:
        yield bytes_of(arrays[name])
