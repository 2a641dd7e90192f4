"""``token2wave export``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import token2wave
from token2wave.integrations.onnx import OnnxClassifier

Cli = Callable[..., Any]
TEXTS = ["a great film", "awful", ""]


def test_a_model_becomes_an_onnx_file(run_cli: Cli, model: Path, workplace: Path) -> None:
    outcome = run_cli("export", model, "--to", "onnx", "--out", "reviews.onnx", "--json")
    n_bytes = Path("reviews.onnx").stat().st_size
    assert outcome.status == 0
    assert outcome.document == {"format": "onnx", "path": "reviews.onnx", "bytes": n_bytes}
    expected = token2wave.load(model).probabilities(TEXTS)
    actual = OnnxClassifier("reviews.onnx").probabilities(TEXTS)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)
    printed = run_cli("export", model, "--to", "onnx", "--out", "reviews.onnx").out
    assert "reviews.onnx: " in printed
    assert "ONNX graph of the whole classifier" in printed
    assert "OnnxClassifier('reviews.onnx').predict" in printed


def test_a_model_becomes_a_folder_for_transformers(run_cli: Cli, model: Path, workplace: Path) -> None:
    from token2wave.integrations.huggingface import load_from_hub

    for _ in range(2):  # the second replaces the first
        outcome = run_cli("export", model, "--to", "huggingface", "--out", "reviews", "--json")
        assert outcome.status == 0
    assert outcome.document["bytes"] == sum(path.stat().st_size for path in Path("reviews").iterdir())
    actual, expected = (
        each.probabilities(TEXTS) for each in (load_from_hub("reviews"), token2wave.load(model))
    )
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)
    Path("other").mkdir()
    Path("other", "mine.txt").write_text("mine")
    assert "other files" in run_cli("export", model, "--to", "huggingface", "--out", "other").error
    assert Path("other", "mine.txt").read_text() == "mine"


def test_wrong_output_or_format_fails_before_loading(
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
