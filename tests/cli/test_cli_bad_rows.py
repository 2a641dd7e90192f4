"""The option --skip-bad-rows of the commands."""

from __future__ import annotations

import csv
from pathlib import Path

from conftest import Cli

import token2wave

GOOD = [f"{text} {number},{label}" for number in range(20) for text, label in (("good", "a"), ("bad", "b"))]
OPTIONS = ["--preset", "fast", "--skip-bad-rows"]


def test_the_list_of_bad_rows(run_cli: Cli, workplace: Path) -> None:
    Path("a.csv").write_text("\n".join(["text,label", *GOOD[:2], "one,a,b", "=no label,", *GOOD[2:]]))
    Path("clean.csv").write_text("\n".join(["text,label", *GOOD]))
    note = "2 of 42 rows were skipped, 1 with another number of fields, 1 without a label"
    note += "; all are in a.bad-rows.csv"
    assert note in run_cli("train", "a.csv", *OPTIONS, "--out", "a.safetensors").out
    listed = Path("a.bad-rows.csv")
    with listed.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["file", "row", "line", "problem", "beginning"]
    assert [row[:3] for row in rows] == [["a.csv", "3", "4"], ["a.csv", "4", "5"]]
    assert rows[1][4] == "'=no label"  # no formula for a spreadsheet
    content = listed.read_bytes()
    listed.unlink()
    outcome = run_cli(
        "evaluate", "a.safetensors", "a.csv", "--skip-bad-rows", "--bad-rows", "b.csv", "--json"
    )
    assert outcome.document["caveats"] == [f"a.csv: {note}".replace("a.bad-rows", "b")]
    assert not listed.exists()
    assert Path("b.csv").read_bytes() == content
    assert (
        note in run_cli("update", "a.safetensors", "a.csv", "--skip-bad-rows", "--out", "b.safetensors").err
    )
    assert listed.read_bytes() == content
    classifier = token2wave.train("clean.csv", preset="fast").classifier
    assert classifier.predict("good 3") == token2wave.load("a.safetensors").predict("good 3")


def test_without_bad_rows_there_is_no_list(run_cli: Cli, workplace: Path) -> None:
    Path("clean.csv").write_text("\n".join(["text,label", *GOOD]))
    assert run_cli("train", "clean.csv", *OPTIONS, "--out", "a.safetensors").status == 0
    assert not list(workplace.glob("*bad-rows*"))
