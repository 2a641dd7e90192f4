"""Row groups of Parquet files, some rows at a time.

A text that stands in many rows may lie in a file once, so that a small file unpacks to a large one. Rows are
decoded a few at a time, and handed on together where they are small: what is held is at most
:data:`ROWS_DECODED` times the longest text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.data.file_segments import Segment, not_parquet, parquet_file
from token2wave.data.readers import position_of
from token2wave.data.rows import Limits, Rejected, Rows
from token2wave.errors import DataError

ROWS_DECODED = 256


def parquet_rows(
    segment: Segment, text_column: str, columns: Sequence[str] | None, limits: Limits, n_rows: int
) -> Iterator[Rows]:
    """Read row groups; see :func:`token2wave.data.stream.read_segment`.

    Raises:
        DataError: the file is not there or no Parquet, lacks a column, or the texts are none.
        MissingExtraError: pyarrow is not installed.
    """
    import pyarrow

    path = Path(segment.path)
    with parquet_file(path) as file:
        names = file.schema_arrow.names
        wanted = list(dict.fromkeys([text_column, *(names if columns is None else columns)]))
        for name in wanted:
            position_of(path, names, name)
        kind = file.schema_arrow.field(text_column).type
        if not _holds_strings(kind):
            raise DataError(
                f"expected strings, got values of type {str(kind)[:60]}",
                location=f"{segment.path}, column {text_column!r}",
                hint="name the column that holds the texts",
            )
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        groups = range(segment.first, len(sizes) if segment.last is None else segment.last)
        at, end = 1 + sum(sizes[: segment.first]), 1 + sum(sizes[: groups.stop])
        try:
            few = min(ROWS_DECODED, n_rows)
            batches = file.iter_batches(few, row_groups=list(groups), columns=wanted, use_threads=False)
            plain = (_with_plain_texts(batch, text_column) for batch in batches)
            for table in _joined(plain, n_rows, limits.bytes_at_once):
                yield _usable(table, text_column, np.arange(at, at + len(table), dtype=np.int64))
                at += len(table)
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            reason = f"{not_parquet(path, error).problem}; the rows from here on are lost"
            lost = [Rejected(at, reason, "", max(end - at, 1))]
            yield Rows(np.zeros(0, dtype=np.int64), [], None, lost)


def _joined(batches: Iterable[Any], n_rows: int, n_bytes: int) -> Iterator[Any]:
    """Batches as tables of about so many rows, or fewer where they are large."""
    import pyarrow

    waiting: list[Any] = []
    n_waiting = size = 0
    for batch in batches:
        waiting.append(batch)
        n_waiting, size = n_waiting + len(batch), size + batch.nbytes
        if n_waiting >= n_rows or size >= n_bytes:
            yield pyarrow.Table.from_batches(waiting).combine_chunks()
            waiting, n_waiting, size = [], 0, 0
    if waiting:
        yield pyarrow.Table.from_batches(waiting).combine_chunks()


def _with_plain_texts(batch: Any, text_column: str) -> Any:
    """A batch whose texts are strings, where they may have been references to strings."""
    import pyarrow

    place = batch.schema.get_field_index(text_column)
    texts = batch.column(place)
    if pyarrow.types.is_string(texts.type) or pyarrow.types.is_large_string(texts.type):
        return batch
    return batch.set_column(place, text_column, texts.cast(pyarrow.string()))


def _holds_strings(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return any(getattr(types, name)(kind) for name in ("is_string", "is_large_string", "is_null"))


def _usable(table: Any, text_column: str, places: NDArray[np.int64]) -> Rows:
    """The rows whose text is a string of UTF-8; the others are rejects."""
    import pyarrow
    from pyarrow import compute

    texts = table.column(text_column)
    reasons: dict[int, str] = {}
    if texts.null_count:
        missing = np.flatnonzero(compute.is_null(texts).to_numpy(zero_copy_only=False))
        reasons = dict.fromkeys(missing.tolist(), "the text is missing")
    try:
        texts.validate(full=True)  # Parquet promises UTF-8, and nobody has looked
    except pyarrow.ArrowInvalid:
        is_large = pyarrow.types.is_large_string(texts.type)
        for row, raw in enumerate(texts.cast(pyarrow.large_binary() if is_large else pyarrow.binary())):
            try:
                _ = None if raw.as_py() is None else raw.as_py().decode("utf-8")
            except UnicodeDecodeError as error:
                reasons[row] = f"expected UTF-8, got the byte 0x{raw.as_py()[error.start]:02x}"
    if not reasons:
        return Rows(places, None, table)
    rejected = [Rejected(int(places[row]), reason) for row, reason in sorted(reasons.items())]
    kept = np.ones(len(table), dtype=bool)
    kept[list(reasons)] = False
    return Rows(places[kept], None, table.filter(pyarrow.array(kept)), rejected)
