"""CSV that people open in spreadsheets: Python and the page neutralise the same cells."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import token2wave
from token2wave.formatting import spreadsheet_cell
from token2wave.integrations.trackers import CLASS_METRICS, _class_csv

NODE = shutil.which("node")
FORMULAS = (
    *(
        "=1+1",
        "=cmd|'/C calc'!A0",
        "-1+1|@SUM(A1)",
        "+49 170 12345",
        "@SUM(A1)",
        "-",
        "+",
        "--1",
        "-1e",
        "=",
        "+.e1",
    ),
    *("\t=1+1", "\r=1+1", "\n=1+1", "\x1b]0;pwned\x07", "\x00a", "\x7f=1", "\x85=1", "\t1", "\t", "-١"),
    *("\uff1d1+1", "\uff0b1+1", "\uff0d1+1", "\uff20SUM(A1)", "-Infinity", "+nan", "-0x1F", "-1 "),
)
PLAIN = ("", "a", "1", "-1.5", "+3", "-1e-05", "-.5", "+2.", "a=1", " =1", "'=1", "é", "1-1", "\ud83d\ude00")


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_cell_that_could_be_a_formula_gets_an_apostrophe(cell: str) -> None:
    assert spreadsheet_cell(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", [*PLAIN, -1.5, -3, None])
def test_texts_and_numbers_stay_as_they_are(cell: object) -> None:
    assert spreadsheet_cell(cell) == cell


@pytest.mark.skipif(NODE is None, reason="node, which runs the page's script, is not installed")
def test_the_page_does_the_same() -> None:
    assert NODE is not None
    path = json.dumps(str(Path(token2wave.__file__).parent / "serving" / "page" / "table.js"))
    cells = [cell for cell in (*FORMULAS, *PLAIN) if not cell.startswith("\ud83d")]
    script = f"import {{ csvLine }} from {path}; process.stdout.write(csvLine({json.dumps(cells)}));"
    command = [NODE, "--input-type=module", "-e", script]
    line = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.decode()
    (row,) = csv.reader(io.StringIO(line, newline=""))
    assert row == [spreadsheet_cell(cell) for cell in cells]


def test_the_table_of_classes_for_mlflow() -> None:
    scores = [{"label": label, **dict.fromkeys(CLASS_METRICS, 0.5), "support": 3} for label in FORMULAS]
    summary: Any = SimpleNamespace(evaluation={"classes": scores})
    rows = list(csv.reader(io.StringIO(_class_csv(summary), newline="")))
    assert [row[0] for row in rows[1:]] == [f"'{label}" for label in FORMULAS]
    assert rows[1][1:] == ["0.5", "0.5", "0.5", "3"]
