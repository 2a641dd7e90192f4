"""Reads Parquet files: columns into memory, or row groups block by block.

A Parquet file stores a repeated text once, so a small file may unpack to a large one. Columns in memory are
read as dictionaries and counted before they are expanded. Blocks of row groups are decoded
:data:`ROWS_DECODED` rows at a time. Nothing reads the metadata of column chunks, since pyarrow ends the
process if their statistics are damaged.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from token2wave.data.lines import open_binary, require_plausible_size
from token2wave.data.rows import IN_MEMORY, Rejected, RowBlock, RowLimits, Segment
from token2wave.data.values import column_index, join_columns
from token2wave.errors import DataError, import_extra, locate

ROWS_CHUNK = 1 << 16
LIST_ROWS_CHUNK = 1 << 10  # fewer, since pyarrow cannot keep each of their strings once
ROWS_DECODED = 256
VALUE_BYTES = 64  # of a string in Python, beside its characters
_CONTAINERS = ("is_dictionary", "is_list", "is_large_list")
_SCALARS = ("is_string", "is_large_string", "is_integer", "is_floating", "is_boolean", "is_null")


def parquet_file(path: Path, stream: BinaryIO | None = None, **options: Any) -> Any:
    """Open a Parquet file, or a stream of it, with options of ``pyarrow.parquet.ParquetFile``.

    Raises:
        DataError: the file cannot be opened, or is not Parquet.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow = _import_pyarrow(path)
    from pyarrow import parquet

    if stream is None:
        open_binary(path).close()  # its error names the problem with the path
    try:
        return parquet.ParquetFile(path if stream is None else stream, **options)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise _not_parquet(path, error) from error


def parquet_columns(
    path: Path, names: Sequence[str] | None = None, *, with_others: bool = False
) -> dict[str, list[Any]]:
    """Read columns (all, if None) of texts, labels or numbers into memory, by name.

    ``with_others`` adds all other columns, whatever their type.

    Raises:
        DataError: the file cannot be read, lacks a column, has too many columns, unpacks to far more than it
            holds, or a column is of another type.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow = _import_pyarrow(path)
    with open_binary(path) as stream:
        try:
            n_packed = stream.seek(0, os.SEEK_END)
            metadata = parquet_file(path, stream).metadata
            if metadata.num_columns > IN_MEMORY.columns:
                raise DataError(
                    f"expected at most {IN_MEMORY.columns:,} columns, found {metadata.num_columns:,}",
                    location=os.fspath(path),
                    hint="write the columns of the texts and the labels alone",
                )
            leaves = [metadata.schema.column(i) for i in range(metadata.num_columns)]
            flat = [leaf for leaf in leaves if leaf.path == leaf.name and not leaf.max_repetition_level]
            strings = [leaf.name for leaf in flat if leaf.physical_type == "BYTE_ARRAY"]
            file = parquet_file(path, stream, metadata=metadata, read_dictionary=strings)
            header = file.schema_arrow.names
            names = header if names is None else names
            for name in names:
                column_index(path, header, name)
                _require_scalars(path, name, file.schema_arrow.field(name).type)
            if with_others:
                names = [name for name in header if header.count(name) == 1]
            n_rows = ROWS_CHUNK if {leaf.name for leaf in flat}.issuperset(names) else LIST_ROWS_CHUNK
            columns: dict[str, list[Any]] = {name: [] for name in names}
            n_unpacked = 0
            for batch in file.iter_batches(n_rows, columns=list(names), use_threads=False):
                arrays = [batch.column(name) for name in names]
                n_unpacked += sum(map(_n_bytes, arrays))
                require_plausible_size(path, n_unpacked, n_packed)
                for name, array in zip(names, arrays, strict=True):
                    if pyarrow.types.is_dictionary(array.type):  # slower to read out
                        array = array.dictionary_decode()
                    elif pyarrow.types.is_timestamp(array.type):  # Python's have no nanoseconds
                        array = array.cast("string")
                    columns[name] += array.to_pylist()
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise _not_parquet(path, error) from error
    return columns


def parquet_sample(path: Path, n_rows: int = ROWS_DECODED) -> dict[str, list[Any]]:
    """Read the names of the columns, and the values of each in the first rows.

    Raises:
        DataError: the file cannot be read, or is not Parquet.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow = _import_pyarrow(path)
    with parquet_file(path) as file:
        sample: dict[str, list[Any]] = {name: [] for name in file.schema_arrow.names}
        try:
            batch = next(file.iter_batches(n_rows, use_threads=False), None) if n_rows else None
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise _not_parquet(path, error) from error
    return sample if batch is None else sample | batch.to_pydict()


def parquet_blocks(
    segment: Segment,
    text_columns: Sequence[str],
    columns: Sequence[str] | None,
    limits: RowLimits,
    n_rows: int,
) -> Iterator[RowBlock]:
    """Read row groups block by block; see :func:`token2wave.data.reader.read_segment`."""
    path = Path(segment.path)
    pyarrow = _import_pyarrow(path)
    with parquet_file(path) as file:
        header = file.schema_arrow.names
        names = list(dict.fromkeys([*text_columns, *(header if columns is None else columns)]))
        for name in names:
            column_index(path, header, name)
        for name in text_columns:
            dtype = file.schema_arrow.field(name).type
            if not _holds_strings(dtype):
                raise DataError(
                    f"expected strings, found values of type {str(dtype)[:60]}",
                    location=locate(path, column=name),
                    hint="name the column that holds the texts",
                )
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        groups = range(segment.first, len(sizes) if segment.last is None else segment.last)
        at, end = 1 + sum(sizes[: segment.first]), 1 + sum(sizes[: groups.stop])
        try:
            batches = file.iter_batches(
                min(ROWS_DECODED, n_rows), row_groups=list(groups), columns=names, use_threads=False
            )
            plain = (_with_plain_texts(batch, text_columns, segment.pair) for batch in batches)
            text_column = ",".join(text_columns)
            for table in _join_batches(plain, n_rows, limits.block_bytes):
                yield _reject_bad_texts(table, text_column, np.arange(at, at + len(table), dtype=np.int64))
                at += len(table)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            reason = f"{_not_parquet(path, error).problem}; the rows from here on are lost"
            rejected = [Rejected(at, reason, "", max(end - at, 1))]
            yield RowBlock(np.zeros(0, dtype=np.int64), [], None, rejected)


def _import_pyarrow(path: Path) -> Any:
    with import_extra("parquet", f"reading {path}"):
        import pyarrow
    return pyarrow


def _not_parquet(path: Path, error: Exception) -> DataError:
    return DataError(
        f"not a readable Parquet file ({str(error)[:100]})",
        location=os.fspath(path),
        hint="write or copy the file again",
    )


def _n_bytes(array: Any) -> int:
    """About how many bytes the values of an array take in Python."""
    import pyarrow
    from pyarrow import compute

    n_bytes: int = VALUE_BYTES * len(array)
    if pyarrow.types.is_dictionary(array.type):
        lengths = compute.binary_length(array.dictionary.cast(pyarrow.large_binary()))
        return n_bytes + (compute.sum(lengths.take(array.indices)).as_py() or 0)
    if pyarrow.types.is_list(array.type) or pyarrow.types.is_large_list(array.type):
        return n_bytes + _n_bytes(array.flatten())
    return n_bytes + int(array.nbytes)


def _require_scalars(path: Path, name: str, dtype: Any) -> None:
    from pyarrow import types

    while any(getattr(types, predicate)(dtype) for predicate in _CONTAINERS):
        dtype = dtype.value_type
    if not any(getattr(types, scalar)(dtype) for scalar in _SCALARS):
        raise DataError(
            f"expected strings, numbers or lists of them, found values of type {str(dtype)[:60]}",
            location=locate(path, column=name),
            hint="name another column, or write the column as strings",
        )


def _join_batches(batches: Iterable[Any], n_rows: int, n_bytes: int) -> Iterator[Any]:
    """Join batches to tables of about so many rows, or fewer if they are large."""
    import pyarrow

    pending: list[Any] = []
    length = size = 0
    for batch in batches:
        pending.append(batch)
        length, size = length + len(batch), size + batch.nbytes
        if length >= n_rows or size >= n_bytes:
            yield pyarrow.Table.from_batches(pending).combine_chunks()
            pending, length, size = [], 0, 0
    if pending:
        yield pyarrow.Table.from_batches(pending).combine_chunks()


def _with_plain_texts(batch: Any, text_columns: Sequence[str], pair: bool) -> Any:
    """Replace a dictionary of texts by the texts, or add a column of the texts of several."""
    import pyarrow

    if len(text_columns) > 1:
        joined = join_columns([batch.column(name).to_pylist() for name in text_columns], pair)
        columns = [*batch.columns, pyarrow.array(joined, pyarrow.string())]
        return pyarrow.RecordBatch.from_arrays(columns, [*batch.schema.names, ",".join(text_columns)])
    (text_column,) = text_columns
    index = batch.schema.get_field_index(text_column)
    texts = batch.column(index)
    if pyarrow.types.is_string(texts.type) or pyarrow.types.is_large_string(texts.type):
        return batch
    return batch.set_column(index, text_column, texts.cast(pyarrow.string()))


def _holds_strings(dtype: Any) -> bool:
    from pyarrow import types

    dtype = dtype.value_type if types.is_dictionary(dtype) else dtype
    return any(getattr(types, name)(dtype) for name in ("is_string", "is_large_string", "is_null"))


def _reject_bad_texts(table: Any, text_column: str, places: NDArray[np.int64]) -> RowBlock:
    """Make a block of the rows whose text is valid UTF-8; the others are rejects."""
    import pyarrow
    from pyarrow import compute

    texts = table.column(text_column)
    reasons: dict[int, str] = {}
    if texts.null_count:
        missing = np.flatnonzero(compute.is_null(texts).to_numpy(zero_copy_only=False))
        reasons = dict.fromkeys(missing.tolist(), "the text is missing")
    try:
        texts.validate(full=True)  # Parquet promises UTF-8, but pyarrow has not checked it
    except pyarrow.ArrowInvalid:
        for row, raw in enumerate(texts.cast(pyarrow.large_binary()).to_pylist()):
            try:
                (raw or b"").decode("utf-8")
            except UnicodeDecodeError as error:
                reasons[row] = f"expected UTF-8, found the byte 0x{raw[error.start]:02x}"
    if not reasons:
        return RowBlock(places, None, table)
    rejected = [Rejected(int(places[row]), reason) for row, reason in sorted(reasons.items())]
    mask = np.ones(len(table), dtype=bool)
    mask[list(reasons)] = False
    return RowBlock(places[mask], None, table.filter(pyarrow.array(mask)), rejected)
