"""compare says which of two models is better, and update writes a model only if it is."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

import token2wave
from token2wave.errors import ConfigError
from token2wave.model_comparison import _more_rows, _verdict
from token2wave.paired_tests import Difference

TEXTS = ["good film", "bad film", "good cast", "bad plot"] * 20
LABELS = ["pos", "neg"] * 40


@pytest.fixture(scope="module")
def model():
    return token2wave.train(TEXTS, LABELS, preset="fast", epochs=2, baseline=False).classifier


def swap(model):
    """A model that is always wrong: its classes have each other's names."""
    return replace(model, label_names=model.label_names[::-1])


def test_verdicts_and_symmetry(model, tmp_path) -> None:
    path = tmp_path / "changed.csv"
    rows = [
        {"text": text, "label": label, "id": f"={i}"}
        for i, (text, label) in enumerate(zip(TEXTS, LABELS, strict=False))
    ]
    forth = token2wave.compare(swap(model), model, rows, out=path)
    back = token2wave.compare(model, swap(model), rows)
    assert (forth.verdict, back.verdict) == ("B is better", "A is better")
    assert forth.b_is_better
    assert forth.figures["gained"] == back.figures["lost"] == len(TEXTS)
    assert forth.figures["mcnemar_p"] == back.figures["mcnemar_p"] < 1e-9
    assert forth.figures["accuracy"]["interval"] == tuple(
        -end for end in back.figures["accuracy"]["interval"][::-1]
    )
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(TEXTS)
    assert {(row["change"], row["label"] == row["label_b"]) for row in table} == {("gained", True)}
    assert {row["id"] for row in table} == {f"'={i}" for i in range(len(TEXTS))}


def test_equal_models_and_one_row_cannot_be_told(model) -> None:
    result = token2wave.compare(model, model, TEXTS[:1], LABELS[:1])
    assert result.verdict == "cannot be told yet"
    assert result.figures["changed"] == 0
    assert result.figures["more_rows"] > 100
    many = token2wave.compare(model, model, TEXTS * 20, LABELS * 20)
    assert many.verdict == "no difference that matters"
    assert any("much like those of its training" in note for note in many.figures["caveats"])


def test_models_with_other_classes_get_their_texts_wrong(model) -> None:
    third = replace(model, label_names=("neg", "other"))
    result = token2wave.compare(model, third, TEXTS, LABELS)
    assert result.figures["accuracy"]["b"] < result.figures["accuracy"]["a"]
    assert any("Model B has no class 'pos'" in note for note in result.figures["caveats"])


def test_groups_are_resampled(model) -> None:
    rows = [{"text": t, "label": y, "film": "one"} for t, y in zip(TEXTS, LABELS, strict=True)]
    result = token2wave.compare(swap(model), model, rows, group_column="film")
    assert result.figures["groups"] == 1
    assert result.verdict == "cannot be told yet"


def test_a_multi_label_model_is_not_compared_with_another(model) -> None:
    sets = [[label] for label in LABELS]
    several = token2wave.train(TEXTS, sets, preset="fast", epochs=1, baseline=False).classifier
    with pytest.raises(ConfigError, match="one kind"):
        token2wave.compare(model, several, TEXTS, LABELS)
    assert "micro_f1" in token2wave.compare(several, several, TEXTS, sets).figures


def test_more_rows_shrink_the_interval_below_the_difference() -> None:
    assert _verdict(Difference(0.8, 0.81, (-0.01, 0.03)), 0.3) == "cannot be told yet"
    assert _verdict(Difference(0.8, 0.82, (0.001, 0.04)), 0.06) == "cannot be told yet"
    assert _more_rows(Difference(0.8, 0.81, (-0.01, 0.03)), 1000) == pytest.approx(
        1000 * (2.858**2 - 1), rel=0.05
    )
    assert np.isfinite(_more_rows(Difference(0, 0, (-1, 1)), 1))
