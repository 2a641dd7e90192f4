"""Texts that Arrow holds: their bytes go to the native core as they lie, without a Python string for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Utf8(NamedTuple):
    """Some texts, one behind the other: text ``i`` is ``data[offsets[i]:offsets[i + 1]]``."""

    data: Any
    offsets: NDArray[np.int64]


def is_arrow(texts: object) -> bool:
    """Whether these are texts of Arrow; says so without importing it."""
    kind = type(texts)
    return kind.__module__.split(".")[0] == "pyarrow" and hasattr(texts, "type")


def utf8_of(texts: Any) -> Iterator[Utf8]:
    """Give the bytes of a ``pyarrow.Array`` or ``ChunkedArray`` of strings, chunk by chunk.

    Whether they are UTF-8, and the offsets in bounds, is for the core to see, which reads them all anyway.

    Raises:
        TypeError: an element is no string.
    """
    import pyarrow
    from pyarrow import compute, types

    if texts.null_count:
        missing = np.flatnonzero(compute.is_null(texts).to_numpy(zero_copy_only=False))
        raise TypeError(f"expected strings, found NoneType at texts[{missing[0]}]")
    kind = texts.type.value_type if types.is_dictionary(texts.type) else texts.type
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)):
        raise TypeError(f"expected strings, found values of type {str(kind)[:60]}")
    if not (types.is_string(texts.type) or types.is_large_string(texts.type)):
        texts = texts.cast(pyarrow.large_string())
    wide = np.dtype(np.int64 if types.is_large_string(texts.type) else np.int32)
    for chunk in texts.chunks if isinstance(texts, pyarrow.ChunkedArray) else [texts]:
        _, offsets, data = chunk.buffers()
        if not len(chunk):
            continue
        found = np.frombuffer(offsets, wide, len(chunk) + 1, chunk.offset * wide.itemsize)
        yield Utf8(b"" if data is None else data, found.astype(np.int64))
