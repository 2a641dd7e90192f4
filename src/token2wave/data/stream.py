"""Read segments of any size, some rows at a time: memory does not grow with the input.

What cannot be read is set aside with its reason, and reading goes on behind it: of a billion rows some are
broken. Nothing that a file claims is believed: lines, fields and columns have limits, and what is compressed
is read as a stream.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import lzma
import os
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from token2wave.data.file_segments import SEPARATORS, Segment, parquet_file
from token2wave.data.lines import cannot_read, not_unicode, open_binary
from token2wave.data.parquet_stream import parquet_rows
from token2wave.data.readers import field_limit, position_of, split_labels
from token2wave.data.rows import ROWS_CHUNK, Limits, Rejected, Rows
from token2wave.data.values import Origin, checked_texts, is_unicode, shown
from token2wave.errors import DataError, MissingExtraError

SHOWN_OF_A_ROW = 200  # characters
BYTES_SKIPPED_CHUNK = 1 << 20
BYTES_BUFFERED = 1 << 13  # what is lost where a compressed stream breaks off
_BROKEN_STREAM = (EOFError, zlib.error, lzma.LZMAError, OSError)

Lines = Iterator[tuple[int, bytes | None]]  # place; None: longer than the limit


def read_segment(
    segment: Segment,
    text_column: str = "text",
    columns: Sequence[str] | None = None,
    limits: Limits | None = None,
    n_rows: int = ROWS_CHUNK,
) -> Iterator[Rows]:
    """Read the rows of a segment.

    Args:
        segment: which.
        text_column: every row must have a string there. A file of plain text or of fastText has it, with the
            text, and ``label`` (a list, in fastText).
        columns: what else is wanted; every column there is, if None.
        limits: what a row may take.
        n_rows: at most so many come at once.

    Yields:
        Rows with their rejects; a segment of which nothing can be read gives rejects alone.

    Raises:
        DataError: the file is not there, or lacks a column; a row's own faults are rejects.
        MissingExtraError: pyarrow is needed, for Parquet or .zst, and not installed.
    """
    limits = limits or Limits()
    if segment.kind == ".parquet":
        yield from parquet_rows(segment, text_column, columns, limits, n_rows)
        return
    reading: Callable[..., Iterator[_Found]]
    reading = _separated if segment.kind in SEPARATORS else _line_records
    wanted = None if columns is None else [text_column, *columns]
    with open_binary(Path(segment.path)) as raw:
        lines = _lines(segment, raw, limits)
        with closing(lines):
            found = _numbered_safely(segment, reading(segment, lines, text_column, wanted, limits))
            yield from _in_blocks(found, text_column, limits, n_rows)


# ---- rows of lines ----


class _Found(NamedTuple):
    """A row, or what is wrong with it."""

    at: int
    record: dict[str, Any] | None
    n_bytes: int
    rejected: Rejected | None = None


def _reject(at: int, reason: str, row: object, n_bytes: int = 0) -> _Found:
    beginning = row.decode("utf-8", "replace") if isinstance(row, bytes) else str(row)
    return _Found(at, None, n_bytes, Rejected(at, reason, beginning[:SHOWN_OF_A_ROW].rstrip("\r\n")))


def _in_blocks(found: Iterator[_Found], text_column: str, limits: Limits, n_rows: int) -> Iterator[Rows]:
    while True:
        places: list[int] = []
        records: list[dict[str, Any]] = []
        rejected: list[Rejected] = []
        n_bytes = 0
        with field_limit(limits.line_bytes):  # which belongs to the process; no one else runs in between
            for one in islice(found, n_rows):
                n_bytes += one.n_bytes
                if one.rejected is None and one.record is not None:
                    text = one.record.get(text_column)
                    if isinstance(text, str) and is_unicode(text):
                        places.append(one.at)
                        records.append(one.record)
                    else:
                        rejected.append(_no_text(one, text_column))
                elif one.rejected is not None:
                    rejected.append(one.rejected)
                if n_bytes >= limits.bytes_at_once:
                    break
        if not places and not rejected:
            return
        yield Rows(np.array(places, dtype=np.int64), records, None, rejected)


def _no_text(found: _Found, text_column: str) -> Rejected:
    """Why a row's value cannot be a text."""
    record = found.record or {}
    if text_column not in record:
        reason = f"there is no column {text_column!r}"
    else:
        try:
            checked_texts([record[text_column]], Origin("", text_column))
            reason = "the text cannot be used"
        except DataError as error:
            reason = error.problem
    return Rejected(found.at, reason, str(record)[:SHOWN_OF_A_ROW])


def _numbered_safely(segment: Segment, found: Iterator[_Found]) -> Iterator[_Found]:
    """The same rows; a stream that breaks off is a last reject."""
    at = segment.first
    try:
        for one in found:
            at = one.at
            yield one
    except _BROKEN_STREAM as error:
        if not segment.compression:
            raise cannot_read(Path(segment.path), cast("OSError", error)) from error
        what = "ends too early" if isinstance(error, EOFError) else f"is damaged ({str(error)[:100]})"
        yield _reject(at + 1, f"the compressed data {what}; nothing behind this can be read", "")


def _line_records(
    segment: Segment, lines: Lines, text_column: str, columns: Sequence[str] | None, limits: Limits
) -> Iterator[_Found]:
    """JSON objects, lines of fastText, or plain texts; a blank line is a row in plain text alone."""
    is_json = segment.kind in (".jsonl", ".ndjson")
    for at, line in lines:
        if line is None:
            yield _too_long(at, limits)
            continue
        if is_json and not line.strip():
            continue
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            yield _reject(at, not_unicode(line, error), line, len(line))
            continue
        if is_json:
            yield _json_object(at, text, len(line), columns, limits)
            continue
        text = text.removesuffix("\n").removesuffix("\r")
        labels, text = split_labels(text)
        if labels or text.strip() or segment.kind == ".txt":
            record = {text_column: text, **({"label": labels} if labels else {})}
            yield _Found(at, record, len(line))


def _json_object(at: int, line: str, n_bytes: int, columns: Sequence[str] | None, limits: Limits) -> _Found:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return _reject(at, f"not valid JSON ({str(error)[:100]})", line, n_bytes)
    if not isinstance(record, dict):
        return _reject(at, f"expected a JSON object, got {shown(record)}", line, n_bytes)
    if len(record) > limits.columns:
        return _reject(at, f"expected at most {limits.columns} keys, found {len(record)}", line, n_bytes)
    if columns is not None:
        record = {name: record[name] for name in columns if name in record}
    return _Found(at, record, n_bytes)


def _separated(
    segment: Segment, lines: Lines, text_column: str, columns: Sequence[str] | None, limits: Limits
) -> Iterator[_Found]:
    """CSV and TSV: a header, then rows as long as it."""
    broken: list[str] = []  # what was wrong with the lines of the present row

    def decoded() -> Iterator[str]:
        for _, line in lines:
            if line is None:
                broken.append(_too_long(0, limits).rejected.reason)  # type: ignore[union-attr]
                yield "\n"
                continue
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                broken.append(not_unicode(line, error))
                yield line.decode("utf-8", "replace")

    reader = csv.reader(decoded(), delimiter=SEPARATORS[segment.kind], strict=True)
    header = _header(segment, reader, broken, limits)
    positions = {name: header.index(name) for name in header if columns is None or name in columns}
    for name in [text_column, *(columns or ())]:
        position_of(Path(segment.path), header, name)
    for at, (fields, fault) in enumerate(_rows(reader, broken, len(header) == 1), start=1):
        if fault is None and len(fields) != len(header):
            fault = f"expected {len(header)} fields as in the header, found {len(fields)}"
        if fault is not None:
            yield _reject(at, fault, ",".join(fields))
            continue
        record = {name: fields[place] for name, place in positions.items()}
        yield _Found(at, record, sum(map(len, fields)))


def _header(segment: Segment, reader: Iterator[list[str]], broken: list[str], limits: Limits) -> list[str]:
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise DataError(f"not valid CSV ({error})", location=segment.path, hint="mend the header") from error
    problem = None
    if not header:
        problem = "expected a header with the names of the columns"
    elif broken:
        problem = f"the header cannot be read: {broken[0]}"
    elif len(header) > limits.columns:
        problem = f"expected at most {limits.columns} columns, found {len(header)}"
    if problem is not None or header is None:
        raise DataError(str(problem), location=segment.path, hint="mend the header")
    return header


def _rows(
    reader: Iterator[list[str]], broken: list[str], one_column: bool
) -> Iterator[tuple[list[str], str | None]]:
    """Fields of each row, and what is wrong with it; a blank line is a row where there is one column."""
    while True:
        broken.clear()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield [], f"not valid CSV ({error})"
            continue
        if fields or broken or one_column:
            yield fields or ([""] if one_column else []), broken[0] if broken else None


def _too_long(at: int, limits: Limits) -> _Found:
    return _reject(at, f"expected a line of at most {limits.line_bytes:,} bytes, found a longer one", "")


def _lines(
    segment: Segment, raw: BinaryIO, limits: Limits
) -> Generator[tuple[int, bytes | None], None, None]:
    """Lines with their places; None for one that is longer than the limit, of which no more is held."""
    stream = _decompressed(segment, raw)
    beginning = 0 if segment.counts_bytes else 1
    at = segment.first or beginning
    if segment.first:
        stream.seek(at - 1)  # a line that begins here is this segment's; one that is cut is the one before's
        at += _skip_line(stream) - 1
    while segment.last is None or at < segment.last:
        line = stream.readline(limits.line_bytes + 1)
        if not line:
            return
        n_bytes = len(line)
        if at == beginning:
            line = line.removeprefix(codecs.BOM_UTF8)
        if n_bytes > limits.line_bytes:
            n_bytes += 0 if line.endswith(b"\n") else _skip_line(stream)
            yield at, None
        else:
            yield at, line
        at += n_bytes if segment.counts_bytes else 1


def _skip_line(stream: BinaryIO) -> int:
    """Read on to the next line; the bytes that were skipped."""
    n_bytes = 0
    while part := stream.readline(BYTES_SKIPPED_CHUNK):
        n_bytes += len(part)
        if part.endswith(b"\n"):
            break
    return n_bytes


def _decompressed(segment: Segment, raw: BinaryIO) -> BinaryIO:
    if not segment.compression:
        return raw
    if segment.compression == ".zst":
        try:
            import pyarrow
        except ImportError as error:
            raise MissingExtraError("pyarrow", "train", purpose=f"reading {segment.path}") from error
        stream = pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, mode="r"), "zstd")
        return cast("BinaryIO", io.BufferedReader(stream, BYTES_BUFFERED))
    import bz2
    import gzip

    opened: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    return cast("BinaryIO", opened[segment.compression](raw, "rb"))


def file_size(segment: Segment) -> int:
    """Bytes of a segment on the disk, about, to tell how far one is."""
    if segment.counts_bytes and segment.last is not None:
        return segment.last - segment.first
    try:
        size = os.stat(segment.path).st_size
    except OSError as error:
        raise cannot_read(Path(segment.path), error) from error
    if segment.kind != ".parquet" or segment.last is None:
        return size
    with parquet_file(Path(segment.path)) as file:
        n_groups = int(file.metadata.num_row_groups)
    return size * (segment.last - segment.first) // max(n_groups, 1)
