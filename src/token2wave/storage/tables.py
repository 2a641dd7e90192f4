"""Writes tables that a spreadsheet program opens: CSV, TSV and .xlsx."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from token2wave.errors import ConfigError, import_extra
from token2wave.formatting import spreadsheet_cell
from token2wave.storage.atomic import atomic_write

SUFFIXES = (".csv", ".tsv", ".xlsx")


def require_table_name(path: Path) -> None:
    """Raise a ConfigError unless the name is that of a table; an extra must be there, too."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        problem = (
            f"expected a name that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}, found {path.name!r}"
        )
        raise ConfigError(problem, location=str(path), hint=f"for example {path.with_suffix('.csv').name}")
    if suffix == ".xlsx":
        with import_extra("excel", f"writing {path}"):
            import openpyxl  # noqa: F401


def write_table(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], delimiter: str = ","
) -> None:
    """Write a table whose cells a spreadsheet does not compute.

    CSV is UTF-8 with a byte order mark, without which spreadsheets misread it. Where cells are separated by
    semicolons, numbers have a decimal comma: both belong to the same countries.

    Raises:
        OutputError: the file cannot be written.
        MissingExtraError: it is .xlsx, and openpyxl is not installed.
    """
    suffix = path.suffix.lower()
    with atomic_write(path) as temporary:
        if suffix == ".xlsx":
            _write_workbook(temporary, header, rows)
            return
        delimiter = "\t" if suffix == ".tsv" else delimiter
        with temporary.open("w", encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter)
            for row in (header, *rows):
                writer.writerow([_csv_cell(cell, delimiter) for cell in row])


def _csv_cell(cell: object, delimiter: str) -> object:
    if isinstance(cell, float) and delimiter == ";":
        return str(cell).replace(".", ",")
    return spreadsheet_cell(cell)


def _write_workbook(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with import_extra("excel", f"writing {path}"):
        from openpyxl import Workbook
        from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    book = Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in (header, *rows):
        cells = (cell if isinstance(cell, int | float) else str(spreadsheet_cell(cell)) for cell in row)
        sheet.append(
            [ILLEGAL_CHARACTERS_RE.sub("", cell) if isinstance(cell, str) else cell for cell in cells]
        )
    with path.open("wb") as file:
        book.save(file)
