"""Parses lines of CSV, TSV, JSON lines, fastText and plain text into rows.

For every row a parser yields its place, the line it starts on, its values by column, and about how many bytes
it takes. A row that cannot be read is a :class:`Fault`; a blank line is None.
"""

from __future__ import annotations

import csv
import json
import re
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from token2wave.data.dialects import BACKSLASHES, MISSING, column_names, split_fields
from token2wave.data.fast_json import fast_object_decoder
from token2wave.data.lines import CARRIAGE_RETURNS, LOST, Fault, Lines, decode, decode_row
from token2wave.data.rows import JSON_FORMATS, SEPARATORS, RowLimits, Segment
from token2wave.data.values import column_index, quote
from token2wave.data.workbooks import SheetReader
from token2wave.errors import DataError, locate

MAX_BEGINNING = 200  # characters of a broken row that are shown
MAX_KNOWN_VALUES = 10_000  # a column of more different values is not one of labels
MIN_SWALLOWED_LINES = 10  # prose hardly has so many lines with the same number of commas
_SPACE = " \\t\\v\\f\\r\\0"  # what fastText splits on, inside a line
_LABEL = re.compile(rf"(?:^|(?<=[{_SPACE}]))__label__([^{_SPACE}]*)(?:[{_SPACE}]|$)")
_FIELD_LIMIT_LOCK = threading.Lock()  # csv's limit belongs to the process, so two reads must not interleave
_CSV_HINT = (
    'put double quotes around a field that holds a quote, and write the quote in it as ""; '
    "if quotes are plain characters, use --quoting none (quoting='none')"
)
_FIELDS_HINT = "put double quotes around a field that holds a delimiter or a line break"
_TSV_HINT = (
    "if fields with tabs or line breaks are in double quotes, use --quoting standard (quoting='standard')"
)
_JSON_HINT = 'write one object a line, such as {"text": "...", "label": "..."}'

Record = dict[str, Any]
ParsedRow = tuple[int, int, Record | Fault | None, int]


def parse_rows(
    segment: Segment,
    lines: Lines | SheetReader,
    text_column: str,
    columns: Collection[str] | None,
    limits: RowLimits,
    *,
    blank_is_text: bool,
    all_columns: bool = False,
) -> Iterator[ParsedRow]:
    """Parse the lines of a segment (:func:`token2wave.data.lines.read_lines`).

    Args:
        segment: the segment.
        lines: its lines.
        text_column: for the text of a line of fastText or plain text; its labels go to ``label``, as a list.
        columns: the columns to keep, which a table must have; all, if None.
        limits: of a row.
        blank_is_text: whether a blank line of fastText or plain text is an empty text.
        all_columns: whether to keep the other columns, too.

    Raises:
        DataError: CSV has no usable header, or lacks a column.
    """
    if segment.format in SEPARATORS:
        return _csv_rows(segment, lines, text_column, columns, limits, all_columns)

    selected = None if all_columns else columns

    def parse_json(text: str) -> Record | Fault | None:
        return _json_object(text, selected, limits) if text.strip() else None

    def parse_text(text: str) -> Record | Fault | None:
        if "\r__label__" in text:
            return Fault(*CARRIAGE_RETURNS, text[:MAX_BEGINNING])
        if not (blank_is_text or text.strip()):
            return None
        text = text.removesuffix("\n").removesuffix("\r")
        record: Record = {text_column: _LABEL.sub("", text)}
        if labels := _LABEL.findall(text):
            record["label"] = labels
        return record

    encoding, lines = segment.dialect.encoding, cast("Lines", lines)
    if segment.format not in JSON_FORMATS:
        return _line_rows(lines, encoding, parse_text)
    decode_object = fast_object_decoder()
    if decode_object is None:
        return _line_rows(lines, encoding, parse_json)

    def parse_quickly(line: bytes) -> Record | None:
        record = decode_object(line) if len(line) <= limits.json_values else None
        if record is None or len(record) > limits.columns:
            return None
        return record if selected is None else _select(record, selected)

    return _line_rows(lines, encoding, parse_json, parse_quickly)


@contextmanager
def field_limit(n_characters: int) -> Iterator[None]:
    """Let csv read fields of at most so many characters, and restore its limit afterwards."""
    with _FIELD_LIMIT_LOCK:
        previous = csv.field_size_limit(n_characters)
        try:
            yield
        finally:
            csv.field_size_limit(previous)


def _line_rows(
    lines: Lines,
    encoding: str,
    parse: Callable[[str], Record | Fault | None],
    parse_quickly: Callable[[bytes], Record | None] = lambda _: None,
) -> Iterator[ParsedRow]:
    """Parse files in which each row is a line.

    ``parse`` decides on the first line and on those that ``parse_quickly`` does not take.
    """
    for number, (at, line) in enumerate(lines, start=1):
        if number > 1 and isinstance(line, bytes) and (record := parse_quickly(line)) is not None:
            yield at, number, record, len(line)
            continue
        text = line if isinstance(line, Fault) else decode_row(line, number == 1 and at <= 1, encoding)
        if isinstance(text, Fault):
            yield at, number, text._replace(line=number), len(line)
        else:
            parsed = parse(text)
            yield at, number, parsed, 0 if parsed is None else len(line)


def _json_object(text: str, columns: Collection[str] | None, limits: RowLimits) -> Record | Fault:
    beginning = text[:MAX_BEGINNING]
    if len(text) > limits.json_values:  # a shorter one cannot have so many
        n_values = sum(map(text.count, ",[{"))  # before it is decoded
        if n_values > limits.json_values:
            problem = f"expected at most {limits.json_values:,} commas and brackets in a line of JSON"
            hint = "keep the text and the label of each row alone"
            return Fault(f"{problem}, found {n_values:,}", hint, beginning)
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Fault(f"not valid JSON ({str(error)[:100]})", _JSON_HINT, beginning)
    if not isinstance(record, dict):
        return Fault(f"expected a JSON object, found {quote(record)}", _JSON_HINT, beginning)
    if len(record) > limits.columns:
        return _too_many_columns(len(record), limits, beginning)
    return record if columns is None else _select(record, columns)


def _select(record: Record, columns: Collection[str]) -> Record:
    return {name: record[name] for name in columns if name in record}


def _csv_rows(
    segment: Segment,
    lines: Lines | SheetReader,
    text_column: str,
    columns: Collection[str] | None,
    limits: RowLimits,
    all_columns: bool,
) -> Iterator[ParsedRow]:
    """CSV and TSV as in RFC 4180: a header, and quotes around fields that hold quotes or line breaks."""
    faults: list[Fault] = []  # of the lines of the present row
    n_bytes, dialect = 0, segment.dialect

    def decoded() -> Iterator[str]:
        nonlocal n_bytes
        for number, (_, line) in enumerate(cast("Lines", lines), start=1):
            if number <= dialect.n_skipped:
                continue
            n_bytes += len(line)
            text = line if isinstance(line, Fault) else decode(line, dialect.encoding)
            if isinstance(text, Fault):
                faults.append(text._replace(line=number))
                yield "\n" if isinstance(line, Fault) else line.decode("utf-8", "replace")
            else:
                yield text

    delimiter = dialect.delimiter or SEPARATORS[segment.format]
    is_sheet = isinstance(lines, SheetReader)
    reader: Any = lines if is_sheet else split_fields(decoded(), delimiter, dialect.quoting)
    first_row = _first_row(segment, reader, faults, limits)
    header, pending = column_names(first_row, dialect), [] if dialect.has_header else [first_row]
    path = Path(segment.path)
    positions = [(name, column_index(path, header, name)) for name in columns or [text_column]]
    if columns is None or all_columns:
        positions = [(name, index) for index, name in enumerate(header) if header.index(name) == index]
    n_fields, row, line = (
        len(header),
        0,
        dialect.n_skipped + (reader.line_num if dialect.has_header else 0) + 1,
    )
    others = [i for i, name in enumerate(header) if name != text_column]
    swallowed = _SwallowedRows(delimiter, n_fields, others) if dialect.quoting == "auto" else None
    while True:
        fault = None
        try:
            fields = pending.pop() if pending else next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fields, fault = [], _csv_fault(error)
        if faults:
            fault = faults[0]
            faults.clear()
        if not fields and fault is None:
            if n_fields > 1:
                yield row, line, None, 0
                line = dialect.n_skipped + reader.line_num + 1
                continue
            fields = [""]
        row += 1
        if swallowed is not None and fault is None and len(fields) == n_fields:
            n_lines = dialect.n_skipped + reader.line_num - line + 1
            if n_lines == 1:
                swallowed.learn(fields)
            elif swallowed.holds_rows(fields):
                raise DataError(
                    f"a quote at the start of a field swallows {n_lines} lines that look like rows",
                    location=locate(segment.path, row=row, line=line),
                    hint="if quotes are plain characters, use --quoting none (quoting='none'); "
                    "if the field is one text, --quoting standard",
                )
        if fault is None and len(fields) == n_fields:
            if dialect.quoting in BACKSLASHES and MISSING in fields:
                fields = [None if field == MISSING else field for field in fields]
            record = {name: fields[index] for name, index in positions}
            if is_sheet:
                bad = {name: value for name, value in record.items() if isinstance(value, Fault)}
                fault = next((bad[name] for name in columns or bad if name in bad), None)
                record |= dict.fromkeys(bad)
            yield row, line, fault or record, n_bytes
        else:
            problem = f"expected {n_fields} fields as in the header, found {len(fields)}"
            hint = _TSV_HINT if dialect.quoting in ("none", "escapes") else _FIELDS_HINT
            fault = fault or Fault(problem, hint, category="with another number of fields")
            yield row, line, fault._replace(beginning=",".join(fields)[:MAX_BEGINNING]), n_bytes
        line, n_bytes = dialect.n_skipped + reader.line_num + 1, 0


class _SwallowedRows:
    """Recognises a field that a stray quote has stretched over lines that are rows of their own.

    A text of several lines may have commas, too. So each line must have the fields of a row, and the values
    of the other columns must be values that the column had before, as labels do. Many lines that all have
    the header's number of fields are enough, whatever their values.

    Args:
        delimiter: of fields.
        n_fields: of a row.
        columns: the indices of the columns that do not hold the text.
    """

    def __init__(self, delimiter: str, n_fields: int, columns: Sequence[int]) -> None:
        self.delimiter, self.n_fields, self.n_rows = delimiter, n_fields, 0
        self.values: dict[int, set[str]] = {column: set() for column in columns}

    def learn(self, fields: Sequence[str]) -> None:
        """Note the values of a row that is on one line."""
        self.n_rows += 1
        for column, values in self.values.items():
            values.add(fields[column])
            if len(values) > MAX_KNOWN_VALUES:
                del self.values[column]
                return

    def holds_rows(self, fields: Sequence[str]) -> bool:
        """Whether each line of a row of several lines looks like a row."""
        text = self.delimiter.join(fields).replace("\r\n", "\n")  # csv has removed the quotes
        lines = [line.split(self.delimiter) for line in text.split("\n")]
        if self.n_fields < 2 or any(len(line) != self.n_fields for line in lines):
            return False
        repeating = {i: values for i, values in self.values.items() if 2 * len(values) <= self.n_rows}
        is_known = all(line[i] in values for i, values in repeating.items() for line in lines)
        return len(lines) >= MIN_SWALLOWED_LINES or (bool(repeating) and is_known)


def _first_row(
    segment: Segment, reader: Iterator[list[str]], faults: list[Fault], limits: RowLimits
) -> list[str]:
    fault, row = None, None
    try:
        row = next(reader, None)
    except csv.Error as error:
        fault = _csv_fault(error)
    fault = faults[0] if faults else fault
    if row and len(row) > limits.columns:
        fault = fault or _too_many_columns(len(row), limits)
    if fault is not None:
        line = segment.dialect.n_skipped + 1
        raise DataError(fault.problem, location=locate(segment.path, line=line), hint=fault.hint)
    if not row:
        hint = "expected a header with the names of the columns, then at least one row"
        raise DataError("the file is empty", location=segment.path, hint=hint)
    return row


def _csv_fault(error: csv.Error) -> Fault:
    if "new-line character" in str(error):
        return Fault(*CARRIAGE_RETURNS)
    is_open = "unexpected end" in str(error)  # a quote has swallowed all that follows
    return Fault(f"not valid CSV ({error})", _CSV_HINT, category=LOST if is_open else "with broken quotes")


def _too_many_columns(n_columns: int, limits: RowLimits, beginning: str = "") -> Fault:
    problem = f"expected at most {limits.columns:,} columns, found {n_columns:,}"
    return Fault(problem, "keep the columns of the texts and the labels alone", beginning)
