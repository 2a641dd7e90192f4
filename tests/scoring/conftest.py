"""Tiny models, and an engine without processes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from scoring_data import SMALL, run_here, texts_and_labels, write_jsonl

import token2wave
from token2wave.scoring import local_engine


def train(folder: Path, rows: list[dict[str, Any]]) -> Path:
    write_jsonl(folder / "rows.jsonl", rows)
    model = folder / "model.safetensors"
    token2wave.train(folder / "rows.jsonl", out=model, preset="fast", epochs=1, settings=SMALL)
    return model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of three classes; no test may change it."""
    texts, labels = texts_and_labels(300)
    rows = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
    return train(tmp_path_factory.mktemp("model"), rows)


@pytest.fixture(scope="session")
def multi_label_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that gives a text any number of labels."""
    texts, labels = texts_and_labels(300)
    long_labels = [["long"] * (len(text) > 60) for text in texts]
    rows = [
        {"text": text, "label": [label, *more][: i % 3]}
        for i, (text, label, more) in enumerate(zip(texts, labels, long_labels, strict=True))
    ]
    return train(tmp_path_factory.mktemp("multi_label"), rows)


@pytest.fixture
def score_here(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``token2wave.score`` without worker processes."""
    monkeypatch.setattr(local_engine, "run", run_here)
    return token2wave.score
