"""Workbooks and zip archives are read as the CSV file of the same rows."""

from __future__ import annotations

import csv
import datetime
import sys
import zipfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import openpyxl
import pytest

from token2wave.data import DataOptions, read_labelled, read_texts
from token2wave.data.file_segments import segments_of
from token2wave.data.reader import read_segment
from token2wave.errors import DataError, MissingExtraError

ROWS: list[tuple[Any, Any]] = [
    ("a lamp, green", "good"),
    ('says "hm"\nand goes; on', "bad"),
    (" caf\xe9 日本 \U0001f600 ", "good"),
    (123, "bad"),
    (None, "bad"),
    ("x <b> & _x0041 y", "good"),
]
NUMBERS = [("one", 1), ("two", 2.0), ("half", 0.5), ("yes", True)]


def write_xlsx(path: Path, *sheets: list[Any]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for number, rows in enumerate(sheets):
        sheet = book.create_sheet(f"S{number}")
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def ods_cell(value: Any) -> str:
    if value is None:
        return "<table:table-cell/>"
    kind = {bool: "boolean", int: "float", float: "float", datetime.date: "date"}.get(type(value), "string")
    name = kind if kind in ("boolean", "date") else "value"
    own = (
        ""
        if kind == "string"
        else f' office:{name}-value="{str(value).lower()}"'.replace("value-value", "value")
    )
    lines = escape(str(value)).replace("  ", ' <text:s text:c="1"/>').split("\n")
    paragraphs = "".join(f"<text:p>{line}</text:p>" for line in lines)
    return f'<table:table-cell office:value-type="{kind}"{own}>{paragraphs}</table:table-cell>'


def write_ods(path: Path, *sheets: list[Any], extra: str = "") -> Path:
    tables = ""
    for number, rows in enumerate(sheets):
        lines = "".join(f"<table:table-row>{''.join(map(ods_cell, row))}</table:table-row>" for row in rows)
        tables += f'<table:table table:name="S{number}">{lines}{extra}</table:table>'
    spaces = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "table", "text")
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "content.xml", f'<?xml version="1.0"?><office:document {spaces}>{tables}</office:document>'
        )
    return path


WRITERS = {".xlsx": write_xlsx, ".ods": write_ods}
FORMATS = pytest.mark.parametrize("suffix", WRITERS)


def failure(path: Path, options: DataOptions | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read_labelled(path, options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@FORMATS
def test_a_workbook_is_read_as_the_csv_file_of_its_rows(tmp_path: Path, suffix: str) -> None:
    path = WRITERS[suffix](tmp_path / f"a{suffix}", [("text", "label"), *ROWS])
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("text", "label"), *ROWS])
    expected, split = read_labelled(tmp_path / "a.csv", DataOptions(quoting="standard")), read_labelled(path)
    assert (split.texts, split.labels, split.notes) == (expected.texts, expected.labels, ())
    assert read_texts(path) == expected.texts
    (segment,) = segments_of([path])
    (block,) = read_segment(segment, "text", ["label"])
    assert block.values("text") == expected.texts


@FORMATS
def test_numbers_booleans_and_dates(tmp_path: Path, suffix: str) -> None:
    days = [(f"day {n}", datetime.date(2026, 1, 1 + n % 2)) for n in range(4)]
    path = WRITERS[suffix](tmp_path / f"a{suffix}", [("text", "label"), *NUMBERS])
    assert read_labelled(path).labels == ["1", "2", "0.5", "true"]
    path = WRITERS[suffix](path, [("text", "label"), *days])
    assert read_labelled(path).labels == ["2026-01-01", "2026-01-02"] * 2


@FORMATS
def test_columns_rows_and_sheets(tmp_path: Path, suffix: str) -> None:
    rows: list[Any] = [
        ("Review ", "Stars", None, "beyond"),
        *((f"x {n}", n % 2, None, None) for n in range(6)),
    ]
    path = WRITERS[suffix](tmp_path / f"a{suffix}", [], [(None,), *rows], [("other",)])
    split = read_labelled(path, DataOptions(text_column="review", label_column="stars"))
    assert split.labels == ["0", "1"] * 3
    assert split.notes == (f"a{suffix}: only the sheet 'S1' is read, not its 1 more sheet with values",)
    path = WRITERS[suffix](path, [("text", "label"), ("x", "a"), (), ("y", "b"), (), ()])
    assert f"a{suffix}, line 3: a blank line between rows" in failure(path)
    assert read_labelled(path, DataOptions(skip_bad_rows=True)).texts == ["x", "y"]
    assert "row 2 (line 3), column 'label': the label is empty" in failure(
        WRITERS[suffix](path, [("text", "label"), ("x", "a"), ("y", None)])
    )
    assert "the file is empty" in failure(WRITERS[suffix](path, []))
    path = WRITERS[suffix](path, [("lovely lamp", "good"), ("awful lamp", "bad")] * 3)
    options = DataOptions(text_column="1", label_column="2", header=False)
    assert read_labelled(path, options).labels == ["good", "bad"] * 3


@FORMATS
def test_a_sheet_of_remarks_before_the_table(tmp_path: Path, suffix: str) -> None:
    remarks: list[Any] = [("Export of the tickets",), ("as of October",)]
    table = [("text", "label"), *((f"x {n}", "ab"[n % 2]) for n in range(6))]
    path = WRITERS[suffix](tmp_path / f"a{suffix}", remarks, table)
    split = read_labelled(path)
    assert split.texts == [f"x {n}" for n in range(6)]
    assert split.notes == (f"a{suffix}: only the sheet 'S1' is read, not its 1 more sheet with values",)
    message = failure(WRITERS[suffix](path, remarks, remarks))
    assert "only the sheet 'S0' is read" in message
    assert "--delimiter" not in message


def test_a_missing_reader_of_workbooks_names_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_xlsx(tmp_path / "a.xlsx", [("text", "label"), ("x", "a")])
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'token2wave\[excel\]'"):
        read_labelled(path)


@FORMATS
def test_cells_without_a_value(tmp_path: Path, suffix: str) -> None:
    """A formula without a result, or an error, matters only in a column that is read."""
    bad = "#DIV/0!" if suffix == ".ods" else "=1/0"
    rows = [("text", "label", "other"), ("x", "a", bad), ("y", "b", None)]
    path = WRITERS[suffix](tmp_path / f"a{suffix}", rows)
    assert read_labelled(path).labels == ["a", "b"]
    message = failure(path, DataOptions(label_column="other"))
    assert (
        "row 1 (line 2): found " + ("the error value #DIV/0!" if suffix == ".ods" else "a formula") in message
    )


@FORMATS
def test_hostile_workbooks(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    for content in (b"", b"text,label\nx,a\n", b"\xd0\xcf\x11\xe0" * 100, b"PK\x03\x04" + bytes(100)):
        path.write_bytes(content)
        assert "not a readable workbook" in failure(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("content.xml", "<a>")
    assert "not a readable workbook" in failure(path)
    whole = WRITERS[suffix](path, [("text", "label"), *ROWS]).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "not a readable workbook" in failure(path)


def test_workbooks_that_unpack_to_much_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("token2wave.data.lines.MAX_UNPACKED_BYTES", 1 << 16)
    monkeypatch.setattr("token2wave.data.lines.MAX_UNPACKED_RATIO", 20)
    for suffix, write in WRITERS.items():
        path = write(
            tmp_path / f"a{suffix}", [("text", "label"), *((f"{n}" + "x" * 30_000, "a") for n in range(99))]
        )
        assert "expected at most 20 times" in failure(path)


def test_far_cells_and_repeats_take_no_memory(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["text", "label"])
    book.active.append(["x", "a"])
    book.active["XFD50000"] = "far"
    book.save(tmp_path / "a.xlsx")
    assert read_labelled(tmp_path / "a.xlsx").texts == ["x"]
    book.active["B50000"] = "far"
    book.save(tmp_path / "a.xlsx")
    assert "line 3: a blank line between rows" in failure(tmp_path / "a.xlsx")
    repeated = '<table:table-row table:number-rows-repeated="{}"><table:table-cell {}/></table:table-row>'
    blank = repeated.format(1 << 40, 'table:number-columns-repeated="1099511627776"')
    path = write_ods(tmp_path / "a.ods", [("text", "label"), ("x", "a"), ("y", "b")], extra=blank)
    assert read_labelled(path).texts == ["x", "y"]
    full = repeated.format(1 << 40, 'office:value="1" office:value-type="float"')
    path = write_ods(path, [("text", "label"), ("x", "a")], extra=full)
    assert "expected at most 1,048,576 rows" in failure(path)


def test_entities_that_grow_are_refused(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    with zipfile.ZipFile(tmp_path / "a.ods", "w") as archive:
        archive.writestr("content.xml", f'<!DOCTYPE a [<!ENTITY e0 "xxxxxxxxxx">{entities}]><a>&e11;</a>')
    assert "not a readable workbook" in failure(tmp_path / "a.ods")


def zipped(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__DOT__", "."), content)
    return path


@pytest.mark.parametrize("name", ["a.csv.zip", "a.zip"])
def test_a_zip_archive_of_one_file(tmp_path: Path, name: str) -> None:
    files = {
        "r__DOT__csv": "text;label\ngood lamp;a\nbad lamp;b\n",
        "__MACOSX/r__DOT__csv": "",
        "read__DOT__me": "",
    }
    split = read_labelled(zipped(tmp_path / name, **files))
    assert (split.texts, split.labels) == (["good lamp", "bad lamp"], ["a", "b"])
    lines = '{"text": "x", "label": "a"}\n{"text": "y", "label": "b"}\n'
    assert read_labelled(zipped(tmp_path / name, **{"deep/r.jsonl": lines})).texts == ["x", "y"]


def test_other_zip_archives(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    assert "found 2 among 'r.csv', 's.csv'" in failure(zipped(path, r__DOT__csv="", s__DOT__csv=""))
    assert "found 0 among 'a.pdf'" in failure(zipped(path, a__DOT__pdf=""))
    assert "found 0 among none" in failure(zipped(path))
    path.write_bytes(b"no archive")
    assert "not a readable zip archive" in failure(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("r.csv", "text,label\n" + "x,a\n" * 10_000)
    path.write_bytes(path.read_bytes().replace(b"x,a", b"y,a", 1))
    assert "the zip data is damaged" in failure(path)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("a.xls", "save it as .xlsx"),
        ("a.feather", "as Parquet"),
        ("a.sav", "as CSV"),
        ("a.json", "JSON lines"),
    ],
)
def test_other_formats_name_their_cure(tmp_path: Path, name: str, hint: str) -> None:
    (tmp_path / name).write_bytes(b"anything")
    assert hint in failure(tmp_path / name)
