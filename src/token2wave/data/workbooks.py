"""Reads the sheets of workbooks, .xlsx and .ods, as rows of cells.

openpyxl reads .xlsx, one row at a time. .ods is one file of XML, which the standard library reads. Faster
libraries make a full table first, so that one cell far outside the texts takes all memory.
"""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, time
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree

from token2wave.data.lines import Fault, require_plausible_size
from token2wave.data.rows import RowLimits
from token2wave.errors import DataError, Token2WaveError, import_extra

MAX_ROWS = 1 << 20  # of a sheet, in every spreadsheet program
MAX_COLUMNS = RowLimits.columns + 1
READ_BYTES = 1 << 20
ERROR_VALUES = frozenset(["#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A"])
_FORMULA = re.compile(rb"<(?:\w+:)?f[ />]")
_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"

Cells = list[str | Fault]
Sheet = tuple[str, Iterator[tuple[int, Cells]]]  # its name, and the number and cells of each row with values


class SheetReader:
    """Iterates over the rows of the first sheet with a table, as ``csv.reader`` does over those of a file.

    A table has two columns or more. Without one it is the first sheet with values.

    A cell without a value is an empty string, one that cannot be read is a fault, and a row without values is
    an empty list. All rows have the columns of the first row with values.

    Attributes:
        line_num: the number of the row last read, from 1.

    Raises:
        DataError: the workbook cannot be read, or unpacks to far more than texts do.
        MissingExtraError: it is .xlsx, and openpyxl is not installed.
    """

    def __init__(self, path: Path, raw: BinaryIO) -> None:
        self.line_num = 0
        self._rows = self._read(path, raw)

    def __iter__(self) -> Iterator[Cells]:
        return self

    def __next__(self) -> Cells:
        cells = next(self._rows)
        self.line_num += 1
        return cells

    def _read(self, path: Path, raw: BinaryIO) -> Iterator[Cells]:
        with _reading(path):
            _, rows = _find_table(path, raw)
            n_columns = 0
            for row, cells in rows:
                if not n_columns:
                    self.line_num, n_columns = row - 1, len(cells)
                yield from repeat([], row - self.line_num - 1)
                yield [*cells[:n_columns], *[""] * (n_columns - len(cells))]


def describe_sheets(path: Path) -> list[str]:
    """Return a note that says which sheet is read, if several have values."""
    with _reading(path), path.open("rb") as raw:
        names = [name for name, _ in _sheets(path, raw)]
        if len(names) < 2:
            return []
        table, _ = _find_table(path, raw)
    others = f"{len(names) - 1} more sheet" + "s" * (len(names) > 2)
    return [f"{path.name}: only the sheet {table!r} is read, not its {others} with values"]


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever a broken workbook raises into one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions that openpyxl leaves out
            yield
    except (Token2WaveError, GeneratorExit):
        raise
    except Exception as error:  # openpyxl promises nothing about files that are not as it expects
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:100]
        raise DataError(
            f"not a readable workbook ({reason})",
            location=os.fspath(path),
            hint="save it again, without a password, or save the sheet as CSV",
        ) from error


def _find_table(path: Path, raw: BinaryIO) -> Sheet:
    """The first sheet with two columns or more, as a sheet of remarks may come first; else the first."""
    for name, rows in _sheets(path, raw):
        first = next(rows)
        if len(first[1]) > 1:
            return name, chain([first], rows)
    return next(_sheets(path, raw), ("", iter(())))


def _sheets(path: Path, raw: BinaryIO) -> Iterator[Sheet]:
    """The sheets with values, in their order."""
    has_formulas = _check_archive(path, raw)
    for name, rows in (
        _ods_sheets(raw) if path.suffix.lower() == ".ods" else _xlsx_sheets(path, raw, has_formulas)
    ):
        first = next(rows, None)
        if first is not None:
            yield name, _limit_rows(path, first, rows)


def _limit_rows(
    path: Path, first: tuple[int, Cells], rows: Iterator[tuple[int, Cells]]
) -> Iterator[tuple[int, Cells]]:
    yield first
    for row, cells in rows:
        if row > MAX_ROWS:
            raise DataError(f"expected at most {MAX_ROWS:,} rows, found more", location=os.fspath(path))
        yield row, cells


def _check_archive(path: Path, raw: BinaryIO) -> bool:
    """Unpack all members once, to count their bytes; return whether there are formulas of .xlsx.

    The sizes that an archive states are not trusted.
    """
    has_formulas, n_unpacked = False, 0
    n_packed = raw.seek(0, os.SEEK_END)
    with zipfile.ZipFile(raw) as archive:
        for member in archive.infolist():
            end = b""
            with archive.open(member) as stream:
                while chunk := stream.read(READ_BYTES):
                    n_unpacked += len(chunk)
                    require_plausible_size(path, n_unpacked, n_packed)
                    has_formulas = has_formulas or _FORMULA.search(end + chunk) is not None
                    end = chunk[-16:]
    return has_formulas


# ---- .xlsx ----


def _xlsx_sheets(path: Path, raw: BinaryIO, has_formulas: bool) -> Iterator[Sheet]:
    with import_extra("excel", f"reading {path}"):
        import openpyxl
    book = openpyxl.load_workbook(raw, read_only=True, data_only=True)
    formulas = openpyxl.load_workbook(raw, read_only=True) if has_formulas else None
    for sheet in book.worksheets:
        if sheet.sheet_state == "visible":
            rows = _xlsx_values(sheet)
            yield (
                sheet.title,
                _xlsx_rows(rows, None if formulas is None else _xlsx_values(formulas[sheet.title])),
            )


def _xlsx_values(sheet: Any) -> Iterator[tuple[Any, ...]]:
    sheet.reset_dimensions()  # those that the file states may be wrong
    return sheet.iter_rows(values_only=True)  # type: ignore[no-any-return]


def _xlsx_rows(
    rows: Iterator[tuple[Any, ...]], formulas: Iterator[tuple[Any, ...]] | None
) -> Iterator[tuple[int, Cells]]:
    """The numbers and cells of rows with values; ``formulas`` has formulas in place of their results."""
    for number, values in enumerate(rows, start=1):
        sources = values if formulas is None else next(formulas)
        cells = [_xlsx_cell(*pair) for pair in islice(zip(values, sources, strict=True), MAX_COLUMNS)]
        while cells and not cells[-1]:
            cells.pop()
        if cells or number > MAX_ROWS:
            yield number, cells


def _xlsx_cell(value: Any, source: Any) -> str | Fault:
    """A cell as a spreadsheet program writes it to CSV, but dates and numbers in the style of Python."""
    if value is None:
        if source is None:
            return ""
        return Fault(
            "found a formula without a result", "open the workbook in a spreadsheet program, and save it"
        )
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime):
        return str(value.date() if value.time() == time() else value)
    if isinstance(value, str):
        if value in ERROR_VALUES:
            return Fault(f"found the error value {value}", "correct the formula, or replace it by its value")
        return re.sub(r"_x([0-9A-F]{4})_", _unescape, value) if "_x" in value else value
    return str(value)


def _unescape(match: re.Match[str]) -> str:
    """A character as Excel escapes it, such as the carriage return in ``_x000D_``."""
    code = int(match[1], 16)
    return match[0] if 0xD800 <= code < 0xE000 else chr(code)


# ---- .ods ----


def _ods_sheets(raw: BinaryIO) -> Iterator[Sheet]:
    with zipfile.ZipFile(raw) as archive, archive.open("content.xml") as stream:
        for _, element in ElementTree.iterparse(stream):
            if element.tag == f"{_TABLE}table":
                yield element.get(f"{_TABLE}name", ""), _ods_rows(element)
                element.clear()


def _ods_rows(table: ElementTree.Element) -> Iterator[tuple[int, Cells]]:
    number = 0
    for row in table.iter(f"{_TABLE}table-row"):
        cells: Cells = []
        for cell in row:
            if cell.tag in (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
                n_repeats = int(cell.get(f"{_TABLE}number-columns-repeated", "1"))
                cells += [_ods_cell(cell)] * min(n_repeats, MAX_COLUMNS - len(cells))
        while cells and not cells[-1]:
            cells.pop()
        n_repeats = int(row.get(f"{_TABLE}number-rows-repeated", "1"))
        if cells:
            yield from ((number + repeat, cells) for repeat in range(1, n_repeats + 1))
        number += n_repeats


def _ods_cell(cell: ElementTree.Element) -> str | Fault:
    text = "\n".join(map(_ods_text, cell.findall(f"{_TEXT}p")))
    if text in ERROR_VALUES or re.fullmatch(r"Err:\d+", text):
        return Fault(f"found the error value {text}", "correct the formula, or replace it by its value")
    value_type = cell.get(f"{_OFFICE}value-type")
    if value_type == "boolean":
        return cell.get(f"{_OFFICE}boolean-value", "").upper()
    if value_type == "date":
        return cell.get(f"{_OFFICE}date-value", "").removesuffix("T00:00:00").replace("T", " ")
    value = cell.get(f"{_OFFICE}value")  # the text may be rounded
    if value is None or value_type == "string":
        return text
    return str(int(number)) if (number := float(value)).is_integer() else str(number)


def _ods_text(paragraph: ElementTree.Element) -> str:
    """The text of a paragraph; runs of blanks, tabs and line breaks are elements."""
    parts = [paragraph.text or ""]
    for element in paragraph:
        if element.tag == f"{_TEXT}s":
            parts.append(" " * min(int(element.get(f"{_TEXT}c", "1")), READ_BYTES))
        elif element.tag == f"{_TEXT}tab":
            parts.append("\t")
        elif element.tag == f"{_TEXT}line-break":
            parts.append("\n")
        elif element.tag != f"{_OFFICE}annotation":
            parts.append(_ods_text(element))
        parts.append(element.tail or "")
    return "".join(parts)
