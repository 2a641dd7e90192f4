"""``token2wave export``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import token2wave
from token2wave import cli_export
from token2wave.integrations.onnx import OnnxClassifier

Cli = Callable[..., Any]
TEXTS = ["a great film", "awful", ""]


def test_a_model_becomes_an_onnx_file(run_cli: Cli, model: Path, workplace: Path) -> None:
    outcome = run_cli("export", model, "--to", "onnx", "--out", "reviews.onnx", "--json")
    n_bytes = Path("reviews.onnx").stat().st_size
    assert outcome.status == 0
    assert outcome.document == {"format": "onnx", "path": "reviews.onnx", "bytes": n_bytes}
    expected = token2wave.load(model).probabilities(TEXTS)
    found = OnnxClassifier("reviews.onnx").probabilities(TEXTS)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    shown = run_cli("export", model, "--to", "onnx", "--out", "reviews.onnx").out
    assert "reviews.onnx: " in shown
    assert "ONNX graph of the whole classifier" in shown
    assert "OnnxClassifier('reviews.onnx').predict" in shown


def test_nothing_is_loaded_if_the_place_or_the_format_is_wrong(
    run_cli: Cli, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workplace / "folder").mkdir()
    missing = "missing.safetensors"  # would be the error if it were read
    assert "nowhere does not exist" in run_cli("export", missing, "--to", "onnx", "--out", "nowhere/a").error
    assert "found a folder" in run_cli("export", missing, "--to", "onnx", "--out", "folder").error
    wrong = run_cli("export", missing, "--to", "tar", "--out", "a").error
    assert "--to: expected one of onnx" in wrong
    assert "found 'tar'" in wrong
    assert "missing.safetensors" in run_cli("export", missing, "--to", "onnx", "--out", "a").error


def test_formats_are_imported_when_they_are_asked_for() -> None:
    for name, each in cli_export.FORMATS.items():
        assert each.meaning, name
        assert each.use.format(path="a file")
