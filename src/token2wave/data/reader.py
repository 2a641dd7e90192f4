"""Reads the rows of a file of any format: block by block, or whole into memory.

A file read into memory is refused at its first broken row. A stream sets broken rows aside with the reason
and goes on, since of a billion rows some are broken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from token2wave.data.bad_rows import BadRows
from token2wave.data.formats import MAX_BEGINNING, ParsedRow, field_limit, parse_rows
from token2wave.data.lines import LOST, EncodingError, Fault, Lines, open_binary, plausible_lines, read_lines
from token2wave.data.parquet import parquet_blocks, parquet_columns
from token2wave.data.rows import (
    IN_MEMORY,
    ROWS_CHUNK,
    SEPARATORS,
    TEXT_FORMATS,
    WORKBOOKS,
    Rejected,
    RowBlock,
    RowLimits,
    Segment,
)
from token2wave.data.values import (
    Column,
    column_index,
    is_unicode,
    join_cells,
    join_columns,
    parse_texts,
)
from token2wave.data.workbooks import SheetReader
from token2wave.errors import DataError, locate


def read_segment(
    segment: Segment,
    text_column: str | Sequence[str] = "text",
    columns: Sequence[str] | None = None,
    limits: RowLimits | None = None,
    n_rows: int = ROWS_CHUNK,
) -> Iterator[RowBlock]:
    """Read a segment block by block; memory does not grow with the input.

    Args:
        segment: the segment.
        text_column: every row must have a string there. In plain text and fastText it is the text, and
            ``label`` the list of labels. The texts of several are in a column of their names, with commas.
        columns: the other columns to read; all, if None.
        limits: of a row.
        n_rows: of a block, at most.

    Raises:
        DataError: the file does not exist, or lacks a column. Broken rows are rejects in the blocks instead.
        MissingExtraError: pyarrow is needed, for Parquet or .zst, and not installed.
    """
    limits = limits or RowLimits()
    text_columns = [text_column] if isinstance(text_column, str) else text_column
    if segment.format == ".parquet":
        yield from parquet_blocks(segment, text_columns, columns, limits, n_rows)
        return
    names = None if columns is None else list(dict.fromkeys([*text_columns, *columns]))
    with open_binary(Path(segment.path)) as raw:
        lines = _open_lines(segment, raw, limits)
        blank_is_text = segment.format == ".txt"
        parsed = _parse_rows(segment, lines, text_columns, names, limits, blank_is_text)
        while (block := _next_block(parsed, ",".join(text_columns), limits, n_rows)) is not None:
            yield block


def _parse_rows(
    segment: Segment,
    lines: Lines | SheetReader,
    text_columns: Sequence[str],
    names: Sequence[str] | None,
    limits: RowLimits,
    blank_is_text: bool,
    all_columns: bool = False,
) -> Iterator[ParsedRow]:
    """Parse rows, and join the texts of several columns."""
    text_column, is_text = ",".join(text_columns), segment.format in TEXT_FORMATS
    first = text_column if is_text else text_columns[0]
    parsed = parse_rows(
        segment, lines, first, names, limits, blank_is_text=blank_is_text, all_columns=all_columns
    )
    if is_text or len(text_columns) == 1:
        yield from parsed
        return
    for at, line, record, size in parsed:
        if isinstance(record, dict) and not record.keys().isdisjoint(text_columns):
            record[text_column] = join_cells((record.get(name) for name in text_columns), segment.pair)
        yield at, line, record, size


def _open_lines(segment: Segment, raw: BinaryIO, limits: RowLimits) -> Lines | SheetReader:
    if segment.compression in WORKBOOKS:
        return SheetReader(Path(segment.path), raw)
    return read_lines(segment, raw, limits.line_bytes)


def _next_block(
    parsed: Iterator[ParsedRow], text_column: str, limits: RowLimits, n_rows: int
) -> RowBlock | None:
    places: list[int] = []
    records: list[dict[str, Any]] = []
    rejected: list[Rejected] = []
    n_bytes = 0
    with field_limit(limits.line_bytes):  # it belongs to the process, so only this block is read under it
        for at, _, record, size in parsed:
            n_bytes += size
            if isinstance(record, dict):
                text = record.get(text_column)
                if isinstance(text, str) and is_unicode(text):
                    places.append(at)
                    records.append(record)
                else:
                    rejected.append(_reject_without_text(at, record, text_column))
            elif record is not None:
                reason = f"{record.problem}; {record.hint}" if record.is_encoding else record.problem
                rejected.append(Rejected(at, reason, record.beginning[:MAX_BEGINNING].rstrip("\r\n")))
            if n_bytes >= limits.block_bytes or len(places) + len(rejected) >= n_rows:
                break
    if not places and not rejected:
        return None
    return RowBlock(np.array(places, dtype=np.int64), records, None, rejected)


def _reject_without_text(at: int, record: dict[str, Any], text_column: str) -> Rejected:
    reason = f"there is no column {text_column!r}"
    if text_column in record:
        try:
            parse_texts(Column([record[text_column]]))
        except DataError as error:
            reason = error.problem
    return Rejected(at, reason, str(record)[:MAX_BEGINNING])


def read_columns(
    segment: Segment,
    text_columns: Sequence[str],
    others: Sequence[str] = (),
    *,
    blank_is_text: bool = False,
    encoding_is_sure: bool = False,
    bad_rows: BadRows | None = None,
    table: dict[str, list[Any]] | None = None,
) -> list[Column]:
    """Read columns of a whole file into memory.

    Blank lines at the end are ignored. Elsewhere they are refused, since they are likely a fault. In CSV with
    one column a blank line is an empty text.

    In plain text and fastText the first column is the text, ``label`` the list of labels, and a blank line an
    empty text if ``blank_is_text``.

    Args:
        segment: the file.
        text_columns: the columns whose texts are joined; the first column of the result.
        others: the other columns.
        blank_is_text: see above.
        encoding_is_sure: whether a line in another encoding is a bad row, and not an EncodingError.
        bad_rows: takes the rows that cannot be read, and leaves them out; None: the first is an error.
        table: takes all columns of the file by name; None where a row of JSON lacks one.

    Raises:
        DataError: the file cannot be read, lacks a column or has no rows, or a row cannot be read.
        MissingExtraError: an optional package is needed and not installed.
    """
    path, limits = Path(segment.path), IN_MEMORY
    names = [",".join(text_columns), *others]
    if segment.format == ".parquet":
        columns = parquet_columns(path, [*text_columns, *others], with_others=table is not None)
        if table is not None:
            table.update(columns)
        texts = join_columns([columns[name] for name in text_columns], segment.pair)
        if not texts:
            raise _no_rows(path, "the file has no rows")
        values_of_columns = [texts, *(columns[name] for name in others)]
        return [
            Column(values, segment.path, name, bad_rows=bad_rows)
            for name, values in zip(names, values_of_columns, strict=True)
        ]
    is_csv, is_text = segment.format in SEPARATORS, segment.format in TEXT_FORMATS
    values: list[list[Any]] = [[] for _ in names]
    pairs = list(zip(names, values, strict=True))
    row, line_numbers = 0, list[int]()
    row_numbers: list[int] = []
    blank_lines: list[int] = []
    records: list[dict[str, Any]] = []
    bad = BadRows(segment.path, skip=None) if bad_rows is None else bad_rows
    with open_binary(path) as raw, field_limit(limits.line_bytes):
        lines = _open_lines(segment, raw, limits)
        if segment.compression and not isinstance(lines, SheetReader):
            lines = plausible_lines(lines, path, raw)
        needed = [*text_columns, *others] if is_csv else None
        rows = _parse_rows(segment, lines, text_columns, needed, limits, blank_is_text, table is not None)
        for _, line, record, _ in rows:
            if record is None:
                blank_lines.append(line)
                continue
            for blank_line in blank_lines:
                error = DataError(
                    "a blank line between rows",
                    location=locate(path, line=blank_line),
                    hint="delete the line",
                )
                bad.add(error, "blank", None, blank_line, "")
            blank_lines.clear()
            row += 1
            if isinstance(record, Fault):
                location = locate(path, row=row, line=line if is_csv else None)
                location = location if record.line is None else locate(path, line=record.line)
                if record.is_encoding and not encoding_is_sure:
                    raise EncodingError(record.problem, location=location, hint=record.hint)
                error = DataError(record.problem, location=location, hint=record.hint)
                if record.category == LOST:
                    raise error
                bad.add(error, record.category, row, line, record.beginning)
                continue
            try:
                if not is_text:
                    for name, _ in pairs:
                        if name not in record:
                            column_index(path, list(record), name, row)
            except DataError as error:
                bad.add(error, "without a column", row, line, str(record))
                continue
            line_numbers.append(line)
            row_numbers.append(row)
            for name, column in pairs:
                column.append(record.get(name, []))  # a line without labels
            if table is not None:
                records.append(record)
    if bad_rows is None:
        bad.require_few(row)
    if table is not None:
        joined = set() if len(text_columns) == 1 else {names[0]}
        header = dict.fromkeys(name for record in records for name in record if name not in joined)
        table.update({name: [record.get(name) for record in records] for name in header})
    if not row:
        raise _no_rows(path, "there is a header and no row below it" if is_csv else "the file is empty")
    return [
        Column(
            column,
            segment.path,
            None if is_text else name,
            line_numbers if is_csv else None,
            row_numbers if len(bad) else None,
            bad_rows,
        )
        for name, column in pairs
    ]


def _no_rows(path: Path, problem: str) -> DataError:
    return DataError(problem, location=str(path), hint="expected at least one row")
