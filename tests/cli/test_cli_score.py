"""The command ``score``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_helpers import ROWS

Cli = Callable[..., Any]


@pytest.fixture
def pages(workplace: Path) -> Path:
    path = workplace / "pages.jsonl"
    rows = [json.dumps({"n": n, "text": text}) for n, (text, _) in enumerate(ROWS)]
    path.write_text("\n".join([*rows, "{"]) + "\n")
    return path


def test_score_and_resume(run_cli: Cli, model: Path, pages: Path, workplace: Path) -> None:
    arguments = ("score", model, pages, "--output", "out", "--format", "jsonl", "--keep", "label == 'pos'")
    done = run_cli(*arguments, "--columns", "n", "--top-k", "2", "--workers", "1")
    assert done.status == 0, done.err
    n_written = len((workplace / "out/parts/part-000000-0000.jsonl").read_text().splitlines())
    lines = done.out.splitlines()
    assert lines[0].split()[:3] == ["rows", "read", str(len(ROWS) + 1)]
    assert lines[1].split()[:2] == ["written", str(n_written)]
    assert lines[2].split() == ["left", "out", str(len(ROWS) - n_written), "by", "--keep"]
    assert lines[3].split()[:2] == ["rejected", "1"]
    row = json.loads((workplace / "out/parts/part-000000-0000.jsonl").read_text().splitlines()[0])
    assert row.keys() == {"n", "label", "confidence", "known", "top"}
    again = run_cli(*arguments, "--columns", "n", "--top-k", "2", "--json")
    assert again.document["n_written"] == n_written
    assert "a second" not in again.out


def test_errors_are_one_line(run_cli: Cli, model: Path, pages: Path) -> None:
    error = run_cli("score", model, pages, "--output", "out", "--keep", "label = 'pos'").error
    assert error.startswith("error: --keep, character 7: ")
    assert "use ==" in error
    assert "there is no such file" in run_cli("score", model, "nothing.jsonl", "--output", "out").error
    assert "part_size" in run_cli("score", model, pages, "--output", "out", "--part-size", "1").error
