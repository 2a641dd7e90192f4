"""Applies decisions about rows: writes a cleaned copy of the data, which itself stays as it is."""

from __future__ import annotations

import csv
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from token2wave.data import TextSplit
from token2wave.data.rows import JSON_FORMATS, SEPARATORS, TEXT_FORMATS
from token2wave.data.text_files import read_table
from token2wave.data.texts import SourceTable
from token2wave.data.values import column_index, quote
from token2wave.errors import DataError, import_extra, locate
from token2wave.options import TextOptions
from token2wave.storage.atomic import atomic_write

DECISIONS = ("keep", "change", "drop")
COLUMNS = ("row", "decision", "label", "fingerprint")

Decisions = Mapping[int, tuple[str, ...] | None]
"""New labels by index of the row; None drops it."""


def fingerprint(text: str) -> str:
    """A checksum of a text, by which decisions recognise their rows: CRC-32 of its UTF-8, 8 hex digits."""
    return f"{zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}"


def read_decisions(
    path: Path, rows: TextSplit, label_names: Sequence[str], separator: str | None = None
) -> Decisions:
    """Read a table of decisions with the columns row, decision, label and fingerprint.

    Args:
        path: a table, as the Review tab writes it.
        rows: the rows decided on.
        label_names: the classes; a label may be another one.
        separator: of several labels in one string; they may also be a JSON list.

    Raises:
        DataError: it cannot be read, or a decision is none or does not fit its row; names the row.
    """
    table = read_table(path, TextOptions("decision"))
    for name in COLUMNS:
        column_index(path, list(table.columns), name)
    index_of_row = {rows.row(index): index for index in range(len(rows))}
    decisions: dict[int, tuple[str, ...] | None] = {}
    decided: dict[int, int] = {}
    cells = zip(*(table.columns[name] for name in COLUMNS), strict=True)
    for line, (row, decision, label, checksum) in enumerate(cells, start=1):
        number, location = str(row).strip().removesuffix(".0"), locate(path, row=line)
        index = index_of_row.get(int(number)) if re.fullmatch(r"[0-9]{1,15}", number) else None
        if index is None:
            problem = f"expected the number of a row of {rows.source}, found {quote(row)}"
            raise DataError(problem, location=location, hint="give the data that was audited")
        if decided.setdefault(index, line) != line:
            problem = f"expected one decision for row {number}, found another in row {decided[index]}"
            raise DataError(problem, location=location, hint="keep one of them")
        if decision not in DECISIONS:
            problem = f"expected keep, change or drop, found {quote(decision)}"
            raise DataError(problem, location=location, hint="correct the decision")
        if str(checksum).strip().lower().zfill(8) != fingerprint(rows.texts[index]):
            problem = f"row {number} of {rows.source} has another text than the row decided on"
            hint = "give the data that was audited, or audit this data and decide again"
            raise DataError(problem, location=location, hint=hint)
        if decision == "drop":
            decisions[index] = None
        elif decision == "change":
            decisions[index] = _parse_labels(label, rows.multi_label, label_names, separator, location)
    return decisions


def _parse_labels(
    value: object, multi_label: bool, label_names: Sequence[str], separator: str | None, location: str
) -> tuple[str, ...]:
    text = "" if value is None else str(value).strip()
    if text.startswith("'") and text not in label_names:  # which keeps spreadsheets from computing it
        text = text.removeprefix("'")
    if not multi_label:
        if text:
            return (text,)
        raise DataError("expected a label to change to, found none", location=location, hint="fill it in")
    if text.startswith("["):
        try:
            labels = json.loads(text)
        except ValueError as error:
            raise DataError("not a JSON list of labels", location=location, hint="correct it") from error
    else:
        labels = text.split(separator) if separator else [text]
    return tuple(dict.fromkeys(name for label in labels if (name := str(label).strip())))


def cleaned_name(rows: TextSplit) -> str:
    """The name of the cleaned copy, in the format of the data where we write it."""
    segment = None if rows.table is None else rows.table.segment
    if segment is None:
        return "cleaned.jsonl"
    if segment.compression == ".xlsx":
        return "cleaned.xlsx"
    is_odd = segment.format == ".tsv" and segment.dialect.quoting not in ("none", "auto", "standard")
    return f"cleaned{'.csv' if is_odd else segment.format}"


def write_cleaned(path: Path, rows: TextSplit, decisions: Decisions, separator: str | None = None) -> str:
    """Write a copy of rows with decisions applied, with all columns, and say in a sentence what was done.

    Cells are written as they are, so that texts stay the same; do not open a copy of foreign texts in a
    spreadsheet.

    Raises:
        OutputError: the file cannot be written.
    """
    table = rows.table
    assert table is not None
    spellings = _spellings(rows, table)
    values = list(table.columns[table.label_column])
    for index, labels in decisions.items():
        if labels is not None and labels != rows.label_sets[index]:
            values[index] = _spell(labels, values[index], spellings, rows.multi_label, separator)
    indices = [index for index in range(len(rows)) if decisions.get(index, ()) is not None]
    cleaned = SourceTable(
        {**table.columns, table.label_column: values}, table.text_columns, table.label_column, table.segment
    ).take(indices)
    numbers = [rows.row(index) - 1 for index in indices]
    with atomic_write(path) as temporary:
        if path.suffix == ".parquet":
            _write_parquet(temporary, cleaned, numbers)
        elif path.suffix == ".xlsx":
            _write_workbook(temporary, cleaned)
        else:
            _write_lines(temporary, cleaned, path.suffix)
    n_dropped = len(rows) - len(indices)
    n_changed = sum(labels is not None for labels in decisions.values())
    return f"{n_dropped:,} rows dropped, {n_changed:,} labels changed, {len(indices):,} rows written."


def _spellings(rows: TextSplit, table: SourceTable) -> dict[str, object]:
    """How the data most often writes each label, such as the number of a class."""
    counts: dict[str, Counter[str]] = {}
    values: dict[str, object] = {}
    for labels, value in zip(rows.label_sets, table.columns[table.label_column], strict=True):
        cells = value if isinstance(value, list | tuple) else [value]
        if len(labels) == len(cells):
            for label, cell in zip(labels, cells, strict=True):
                counts.setdefault(label, Counter())[repr(cell)] += 1
                values[repr(cell)] = cell
    return {label: values[count.most_common(1)[0][0]] for label, count in counts.items()}


def _spell(
    labels: Sequence[str],
    old: object,
    spellings: Mapping[str, object],
    multi_label: bool,
    separator: str | None,
) -> object:
    """Write new labels as the old ones are written."""
    cells = [spellings.get(label, label) for label in labels]
    if isinstance(old, list | tuple) or (multi_label and separator is None):
        return cells
    return (separator or ",").join(map(str, cells)) if multi_label else cells[0]


def _write_lines(path: Path, table: SourceTable, suffix: str) -> None:
    """Write CSV, TSV, JSON lines or lines of fastText, in the encoding of the source."""
    dialect = None if table.segment is None else table.segment.dialect
    encoding = "utf-8" if dialect is None else dialect.encoding
    with path.open("w", encoding=encoding, errors="surrogatepass", newline="") as file:
        records = zip(*table.columns.values(), strict=True)
        names = list(table.columns)
        if suffix in JSON_FORMATS:
            for record in records:
                line = json.dumps(dict(zip(names, record, strict=True)), ensure_ascii=False, default=str)
                file.write(f"{line}\n")
        elif suffix in TEXT_FORMATS:
            for text, labels in zip(table.columns["text"], table.columns["label"], strict=True):
                of_row = labels if isinstance(labels, list | tuple) else [labels]
                file.write(
                    "".join(f"__label__{label} " for label in of_row if label is not None) + f"{text}\n"
                )
        else:
            assert dialect is not None
            delimiter = dialect.delimiter if suffix == ".tsv" or dialect.delimiter != "\t" else ","
            delimiter = delimiter or SEPARATORS[suffix]
            rows: Iterable[Sequence[object]] = [names, *records] if dialect.has_header else records
            if dialect.quoting == "none":
                file.writelines(f"{delimiter.join(map(_text, row))}\n" for row in rows)
            else:
                csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _write_workbook(path: Path, table: SourceTable) -> None:
    """Write .xlsx whose cells are texts, so that none is computed."""
    with import_extra("excel", f"writing {path}"):
        from openpyxl import Workbook
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
    book = Workbook(write_only=True)
    sheet = book.create_sheet()

    def cell(value: object) -> Any:
        written = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("", _text(value)))
        written.data_type = "s"
        return written

    for row in (list(table.columns), *zip(*table.columns.values(), strict=True)):
        sheet.append(list(map(cell, row)))
    with path.open("wb") as file:
        book.save(file)


def _write_parquet(path: Path, table: SourceTable, numbers: Sequence[int]) -> None:
    """Write the rows of these numbers, from 0, with new labels; the types of columns stay."""
    assert table.segment is not None
    with import_extra("parquet", f"writing {path}"):
        import pyarrow
        from pyarrow import parquet
    old = parquet.read_table(table.segment.path).take(pyarrow.array(numbers, pyarrow.int64()))
    place = old.schema.get_field_index(table.label_column)
    values = table.columns[table.label_column]
    try:
        labels = pyarrow.array(values, old.schema.field(place).type)
    except (pyarrow.ArrowException, TypeError, ValueError):  # e.g. a new label is no number
        labels = pyarrow.array([value if isinstance(value, list) else str(value) for value in values])
    parquet.write_table(old.set_column(place, table.label_column, labels), path)
