"""``token2wave export --to html``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from token2wave.cli import export_command

Cli = Callable[..., Any]


def test_a_model_becomes_a_page(
    run_cli: Cli, model: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("examples.txt").write_text("a great film\nawful <b>\n", encoding="utf-8")
    command = ("export", model, "--to", "html", "--out", "reviews.html", "--examples", "examples.txt")
    outcome = run_cli(*command, "--json")
    assert outcome.status == 0
    assert outcome.document == {
        "format": "html",
        "path": "reviews.html",
        "bytes": Path("reviews.html").stat().st_size,
    }
    page = Path("reviews.html").read_text("utf-8")
    assert "<title>reviews</title>" in page
    assert '"examples":["a great film","awful \\u003cb>"]' in page
    printed = run_cli(*command).out
    assert "reviews.html: " in printed
    assert "Open reviews.html in a browser" in printed
    assert "--max-size" not in printed
    monkeypatch.setattr(export_command, "LARGE_PAGE", 1000)
    assert "train the model with --max-size 1MB" in run_cli(*command).out


def test_other_formats_refuse_examples(run_cli: Cli, workplace: Path) -> None:
    outcome = run_cli("export", "missing", "--to", "onnx", "--out", "a", "--examples", "examples.txt")
    assert "--examples: only the format html has examples" in outcome.error


def test_missing_examples_are_an_error(run_cli: Cli, model: Path, workplace: Path) -> None:
    outcome = run_cli("export", model, "--to", "html", "--out", "a.html", "--examples", "nowhere.txt")
    assert "nowhere.txt" in outcome.error
    assert not Path("a.html").exists()
