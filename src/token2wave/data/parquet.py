"""Columns of a Parquet file in memory, and no more of them than its size makes likely.

A text that stands in a million rows lies in a Parquet file once, with a few bytes that say how often. So
columns are read with each text kept once, and counted before they are multiplied. Nothing is asked of a
file's column chunks: pyarrow ends the process where their statistics are damaged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from token2wave.data.file_segments import not_parquet
from token2wave.data.lines import open_binary, require_likely_size
from token2wave.errors import DataError, MissingExtraError, place

MAX_COLUMNS = 10_000
ROWS_CHUNK = 1 << 16
ROWS_OF_LISTS = 1 << 10  # fewer, since pyarrow cannot keep each of their strings once
BYTES_OF_A_VALUE = 64  # of a string in Python, beside its characters
_HOLDERS = ("is_dictionary", "is_list", "is_large_list")
_SCALARS = ("is_string", "is_large_string", "is_integer", "is_floating", "is_boolean", "is_null")


def parquet_columns(path: Path, choose: Callable[[Sequence[str]], Sequence[str]]) -> dict[str, list[object]]:
    """Read columns whose type can hold texts, labels or numbers.

    Args:
        path: the file.
        choose: names the columns to read, given all names.

    Returns:
        The values of each column, length ``N``, by name.

    Raises:
        DataError: the file cannot be read, has too many columns, unpacks to far more than it holds, or a
            column is of another type.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "train", purpose=f"reading {path}") from error
    with open_binary(path) as stream:
        try:
            n_packed = stream.seek(0, os.SEEK_END)
            about = parquet.read_metadata(stream)
            if about.num_columns > MAX_COLUMNS:
                raise DataError(
                    f"expected at most {MAX_COLUMNS:,} columns, found {about.num_columns:,}",
                    location=os.fspath(path),
                    hint="write the columns of the texts and the labels alone",
                )
            leaves = [about.schema.column(i) for i in range(about.num_columns)]
            flat = [leaf for leaf in leaves if leaf.path == leaf.name and not leaf.max_repetition_level]
            strings = [leaf.name for leaf in flat if leaf.physical_type == "BYTE_ARRAY"]
            file = parquet.ParquetFile(stream, metadata=about, read_dictionary=strings)
            names = choose(file.schema_arrow.names)
            for name in names:
                _require_usable(pyarrow, path, name, file.schema_arrow.field(name).type)
            are_flat = {leaf.name for leaf in flat}.issuperset(names)
            n_rows = ROWS_CHUNK if are_flat else ROWS_OF_LISTS
            columns: dict[str, list[object]] = {name: [] for name in names}
            n_unpacked = 0
            for batch in file.iter_batches(n_rows, columns=list(names), use_threads=False):
                n_unpacked += sum(_n_bytes(pyarrow, batch.column(name)) for name in names)
                require_likely_size(path, n_unpacked, n_packed)
                for name in names:
                    columns[name] += _plain(pyarrow, batch.column(name)).to_pylist()
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise not_parquet(path, error) from error
    return columns


def _n_bytes(pyarrow: Any, array: Any) -> int:
    """About so many bytes the values of an array take in Python."""
    from pyarrow import compute

    n_bytes: int = BYTES_OF_A_VALUE * len(array)
    if pyarrow.types.is_dictionary(array.type):
        lengths = compute.binary_length(array.dictionary.cast(pyarrow.large_binary()))
        return n_bytes + (compute.sum(lengths.take(array.indices)).as_py() or 0)
    if pyarrow.types.is_list(array.type) or pyarrow.types.is_large_list(array.type):
        return n_bytes + _n_bytes(pyarrow, array.flatten())
    return n_bytes + int(array.nbytes)


def _plain(pyarrow: Any, array: Any) -> Any:
    """The same values without a dictionary, which is quicker to read out."""
    return array.dictionary_decode() if pyarrow.types.is_dictionary(array.type) else array


def _require_usable(pyarrow: Any, path: Path, name: str, kind: Any) -> None:
    while any(getattr(pyarrow.types, holder)(kind) for holder in _HOLDERS):
        kind = kind.value_type
    if not any(getattr(pyarrow.types, scalar)(kind) for scalar in _SCALARS):
        raise DataError(
            f"expected strings, numbers or lists of them, got values of type {str(kind)[:60]}",
            location=place(path, column=name),
            hint="name another column, or write the column as strings",
        )
