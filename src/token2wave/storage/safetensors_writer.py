"""Writing safetensors files: the bytes that the library would give, one array after the other.

The library itself writes to a file of a random name beside the one it is told, and renames it. A process that
is killed meanwhile leaves that behind for ever, and nobody can tell whose it is. Here the bytes go where the
caller says (:func:`token2wave.storage.atomic.atomic_write`), no array is copied, and a checksum of
everything falls off. Files are read with the library.
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
TYPES |= {f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)}
ORDER = ("U64", "I64", "F64", "F32", "U32", "I32", "F16", "U16", "I16", "I8", "U8", "BOOL")
"""Arrays of these types follow each other, those of one type by name."""
NAMES = {np.dtype(code): name for name, code in TYPES.items()}


def write_arrays(path: Path, arrays: Arrays, metadata: Mapping[str, str]) -> int:
    """Write a safetensors file.

    Args:
        path: of the file, which is written over.
        arrays: by name, of types in :data:`TYPES`.
        metadata: strings by name.

    Returns:
        The CRC-32 of the file.

    Raises:
        OSError: the place cannot be written to.
    """
    checksum = 0
    with path.open("wb") as file:
        for part in _parts(arrays, metadata):
            file.write(part)
            checksum = zlib.crc32(part, checksum)
    return checksum


def size_of_arrays(arrays: Arrays, metadata: Mapping[str, str]) -> int:
    """Bytes that :func:`write_arrays` would write."""
    return sum(map(len, _parts(arrays, metadata)))


def bytes_of(array: NDArray[Any]) -> memoryview:
    """The bytes of an array, row by row, as they lie in a file."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def _parts(arrays: Arrays, metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    """The header, then the arrays."""
    names = {name: NAMES[array.dtype.newbyteorder("<")] for name, array in arrays.items()}
    ordered = sorted(arrays, key=lambda name: (ORDER.index(names[name]), name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in ordered:
        begin, end = end, end + arrays[name].nbytes
        header[name] = {
            "dtype": names[name],
            "shape": list(arrays[name].shape),
            "data_offsets": [begin, end],
        }
    encoded = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % ALIGNMENT)
    yield len(encoded).to_bytes(8, "little") + encoded
    for name in ordered:
        yield bytes_of(arrays[name])
