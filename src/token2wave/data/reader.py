"""Reads the rows of a file of any format: block by block, or to its end into memory.

Reading a file into memory refuses the first row that cannot be read. Reading a stream sets such rows aside
with their reason and goes on: of a billion rows, some are broken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from token2wave.data.formats import MAX_BEGINNING, ParsedRow, field_limit, parse_rows
from token2wave.data.lines import Fault, likely_lines, open_binary, read_lines
from token2wave.data.parquet import parquet_columns, parquet_rows
from token2wave.data.rows import (
    IN_MEMORY,
    ROWS_CHUNK,
    SEPARATORS,
    TEXT_KINDS,
    Limits,
    Rejected,
    Rows,
    Segment,
)
from token2wave.data.values import Origin, checked_texts, column_index, is_unicode
from token2wave.errors import DataError, place


class Columns(NamedTuple):
    """The columns of a file in memory.

    Attributes:
        values: of each column that was asked for, length ``N``.
        lines: the line on which each row starts, where that is not the number of the row.
    """

    values: list[list[Any]]
    lines: list[int] | None = None


def read_segment(
    segment: Segment,
    text_column: str = "text",
    columns: Sequence[str] | None = None,
    limits: Limits | None = None,
    n_rows: int = ROWS_CHUNK,
) -> Iterator[Rows]:
    """Read a segment block by block; memory does not grow with the input.

    Args:
        segment: which.
        text_column: every row must have a string there. A file of plain text or of fastText has it, with the
            text, and ``label`` (a list, in fastText).
        columns: the other columns to read; all, if None.
        limits: what a row may take.
        n_rows: rows of a block, at most.

    Yields:
        Rows with their rejects; a segment of which nothing can be read gives rejects alone.

    Raises:
        DataError: the file is not there, or lacks a column. A broken row is a reject instead.
        MissingExtraError: pyarrow is needed, for Parquet or .zst, and not installed.
    """
    limits = limits or Limits()
    if segment.kind == ".parquet":
        yield from parquet_rows(segment, text_column, columns, limits, n_rows)
        return
    names = None if columns is None else list(dict.fromkeys([text_column, *columns]))
    with open_binary(Path(segment.path)) as raw:
        lines = read_lines(segment, raw, limits.line_bytes)
        blank_is_text = segment.kind == ".txt"
        parsed = parse_rows(segment, lines, text_column, names, limits, blank_is_text=blank_is_text)
        while (block := _next_block(segment, parsed, text_column, limits, n_rows)) is not None:
            yield block


def _next_block(
    segment: Segment, parsed: Iterator[ParsedRow], text_column: str, limits: Limits, n_rows: int
) -> Rows | None:
    places: list[int] = []
    records: list[dict[str, Any]] = []
    rejected: list[Rejected] = []
    n_bytes = 0
    with field_limit(limits.line_bytes):  # which belongs to the process; no one else runs in between
        for at, line, record, size in parsed:
            n_bytes += size
            if isinstance(record, dict):
                text = record.get(text_column)
                if isinstance(text, str) and is_unicode(text):
                    places.append(at)
                    records.append(record)
                else:
                    rejected.append(_no_text(segment, at, line, record, text_column))
            elif record is not None:
                rejected.append(Rejected(at, record.problem, record.beginning[:MAX_BEGINNING].rstrip("\r\n")))
            if n_bytes >= limits.bytes_at_once or len(places) + len(rejected) >= n_rows:
                break
    if not places and not rejected:
        return None
    return Rows(np.array(places, dtype=np.int64), records, None, rejected)


def _no_text(segment: Segment, at: int, line: int, record: dict[str, Any], text_column: str) -> Rejected:
    """A row whose value cannot be a text."""
    reason = f"there is no column {text_column!r}"
    if text_column in record:
        try:
            checked_texts([record[text_column]], Origin(segment.path))
        except DataError as error:
            reason = error.problem
    return Rejected(at, reason, str(record)[:MAX_BEGINNING])


def read_columns(segment: Segment, names: Sequence[str], *, blank_is_text: bool = False) -> Columns:
    """Read columns of a whole file into memory.

    Blank lines at the end are ignored. Elsewhere they are refused, since to skip them would shift the numbers
    of the rows after them; only in CSV with one column a blank line is an empty text.

    Args:
        segment: the file.
        names: of the columns; fastText and plain text have the text in the first, and a list of labels in
            ``label``.
        blank_is_text: whether a blank line of fastText or plain text is an empty text.

    Raises:
        DataError: the file cannot be read, lacks a column or has no rows, or a row cannot be read; names the
            row.
        MissingExtraError: pyarrow is needed and not installed.
    """
    path, limits = Path(segment.path), IN_MEMORY
    if segment.kind == ".parquet":
        columns = parquet_columns(path, names)
        if not columns[names[0]]:
            raise _empty(path, "the file has no rows")
        return Columns([columns[name] for name in names])
    is_csv = segment.kind in SEPARATORS
    values: list[list[Any]] = [[] for _ in names]
    pairs = list(zip(names, values, strict=True))
    line_numbers: list[int] = []
    blank: int | None = None
    kept = names if is_csv else None
    with open_binary(path) as raw, field_limit(limits.line_bytes):
        lines = read_lines(segment, raw, limits.line_bytes)
        lines = likely_lines(lines, path, raw) if segment.compression else lines
        for _, line, record, _ in parse_rows(
            segment, lines, names[0], kept, limits, blank_is_text=blank_is_text
        ):
            if record is None:
                blank = blank or line
                continue
            row = len(line_numbers) + 1
            if isinstance(record, Fault):
                row_location = place(path, row=row, line=line if is_csv else None)
                location = row_location if record.line is None else place(path, line=record.line)
                raise DataError(record.problem, location=location, hint=record.hint)
            if blank is not None:
                location = place(path, line=blank)
                raise DataError("a blank line between rows", location=location, hint="delete the line")
            line_numbers.append(line)
            for name, column in pairs:
                if name not in record:
                    if segment.kind not in TEXT_KINDS:
                        column_index(path, list(record), name, row)
                    record[name] = []  # a line without labels
                column.append(record[name])
    if not line_numbers:
        raise _empty(path, "there is a header and no row below it" if is_csv else "the file is empty")
    return Columns(values, line_numbers if is_csv else None)


def _empty(path: Path, problem: str) -> DataError:
    return DataError(problem, location=str(path), hint="expected at least one row")
