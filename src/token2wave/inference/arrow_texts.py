"""Texts in Arrow arrays: the native core reads their bytes in place, without a Python string for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import InputError

NOT_UTF8 = "expected strings of UTF-8, found other bytes"


class Utf8(NamedTuple):
    """Joined texts: text ``i`` is ``data[offsets[i]:offsets[i + 1]]``."""

    data: Any
    offsets: NDArray[np.int64]


def is_arrow(texts: object) -> bool:
    """Whether this is an Arrow array, without importing ``pyarrow``."""
    return type(texts).__module__.split(".")[0] == "pyarrow" and hasattr(texts, "type")


def utf8_of(texts: Any) -> Iterator[Utf8]:
    """Yield the bytes of a ``pyarrow.Array`` or ``ChunkedArray`` of strings, chunk by chunk.

    The native core checks the bytes and offsets.

    Raises:
        InputError: an element is not a string.
    """
    import pyarrow
    from pyarrow import types

    _require_strings(texts)
    if not (types.is_string(texts.type) or types.is_large_string(texts.type)):
        texts = texts.cast(pyarrow.large_string())
    offset_type = np.dtype(np.int64 if types.is_large_string(texts.type) else np.int32)
    for chunk in texts.chunks if isinstance(texts, pyarrow.ChunkedArray) else [texts]:
        _, buffer, data = chunk.buffers()
        if len(chunk):
            offsets = np.frombuffer(buffer, offset_type, len(chunk) + 1, chunk.offset * offset_type.itemsize)
            yield Utf8(b"" if data is None else data, offsets.astype(np.int64))


def strings_of(texts: Any) -> list[str]:
    """Turn an Arrow array into a list of strings.

    Raises:
        InputError: an element is not a string.
        InputError: an element is not UTF-8.
    """
    _require_strings(texts)
    try:
        return list(texts.to_pylist())
    except ValueError as error:
        raise InputError(NOT_UTF8, location="texts") from error


def _require_strings(texts: Any) -> None:
    from pyarrow import compute, types

    if texts.null_count:
        missing = np.flatnonzero(compute.is_null(texts).to_numpy(zero_copy_only=False))
        hint = "fill it in (an empty string is allowed) or delete the row"
        raise InputError("the text is missing", location=f"texts[{missing[0]}]", hint=hint)
    value_type = texts.type.value_type if types.is_dictionary(texts.type) else texts.type
    if not any(test(value_type) for test in (types.is_string, types.is_large_string, types.is_string_view)):
        problem = f"expected strings, found values of type {str(value_type)[:60]}"
        raise InputError(problem, location="texts", hint="give the column of the texts")
