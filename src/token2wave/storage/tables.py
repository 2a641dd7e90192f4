"""Writes tables that a spreadsheet program opens: CSV, TSV and .xlsx."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from token2wave.errors import ConfigError, import_extra
from token2wave.formatting import spreadsheet_cell
from token2wave.storage.atomic import atomic_write

SUFFIXES = (".csv", ".tsv", ".xlsx")
MAX_ROWS = 1 << 20  # of a sheet


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
    path: Path,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    delimiter: str = ",",
    choices: Sequence[Sequence[object]] = (),
) -> None:
    """Write a table whose cells a spreadsheet does not compute.

    ``choices`` are the rows of a second sheet of .xlsx, ``labels``. The first column, below its header, is
    offered where the column ``label`` is filled in.

    CSV is UTF-8 with a byte order mark, without which spreadsheets misread it. Where cells are separated by
    semicolons, numbers have a decimal comma: both belong to the same countries.

    Raises:
        OutputError: the file cannot be written.
        MissingExtraError: it is .xlsx, and openpyxl is not installed.
    """
    suffix = path.suffix.lower()
    with atomic_write(path) as temporary:
        if suffix == ".xlsx":
            _write_workbook(temporary, header, rows, choices)
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


def _write_workbook(
    path: Path,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    choices: Sequence[Sequence[object]],
) -> None:
    with import_extra("excel", f"writing {path}"):
        from openpyxl import Workbook
        from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
        from openpyxl.utils import get_column_letter
        from openpyxl.worksheet.datavalidation import DataValidation

    book = Workbook(write_only=True)

    def text_of(cell: object) -> str:
        """Without what XML cannot hold."""
        text = ILLEGAL_CHARACTERS_RE.sub("", str(spreadsheet_cell(cell)))
        return re.sub("[\ufffe\uffff]", "", text).encode("utf-8", "backslashreplace").decode()

    def add_sheet(title: str | None, rows: Iterable[Sequence[object]]) -> Any:
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append([cell if isinstance(cell, int | float) else text_of(cell) for cell in row])
        return sheet

    sheet = add_sheet(None, (header, *rows))
    if choices:
        add_sheet("labels", choices)
        offer = DataValidation("list", formula1=f"labels!$A$2:$A${len(choices)}")
        letter = get_column_letter(header.index("label") + 1)
        offer.add(f"{letter}2:{letter}{MAX_ROWS}")
        sheet.data_validations.append(offer)
    with path.open("wb") as file:
        book.save(file)
