"""Results say in a few lines what they are, in the interpreter and in a notebook."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import token2wave

ROWS = [(f"a {word} film {i % 9}", word) for i in range(60) for word in ("good", "<b>bad</b>")]
SMALL: dict[str, Any] = {"preset": "fast", "epochs": 1, "settings": {"network.width": 8, "features.bits": 12}}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("results") / "model.safetensors"
    trained = token2wave.train(ROWS, out=path, **SMALL)
    return {
        "training": trained,
        "evaluation": token2wave.evaluate(trained.classifier, ROWS),
        "explanation": trained.classifier.explain("a good <b>bad</b> film\n"),
        "compression": token2wave.compress(path, path.parent / "small", data=ROWS),
        "summary": trained.summary,
    }


EXPECTED = {
    "training": (
        "TrainingResult: ",
        "of 120 rows were right",
        "<b>bad</b>, good",
        "parameters, model file",
        "rows repeat the text of an earlier row",
    ),
    "evaluation": ("EvaluationResult: ", "of 120 rows", "2: <b>bad</b>, good", "macro-F1"),
    "explanation": ("Explanation: ", "points by word", "film"),
    "compression": ("Compression: ", "B before, ", "same labels", "rows"),
    "summary": ("Summary: ", "120 rows, 2 classes", "Accuracy"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_results_are_short_and_escaped(results: dict[str, Any], name: str) -> None:
    text = repr(results[name])
    assert all(part in text for part in EXPECTED[name]), text
    assert len(text.splitlines()) <= 5
    assert len(text) < 700
    html = results[name]._repr_html_()
    assert "bad</b>" not in html
    assert all(html.count(f"<{tag}>") == html.count(f"</{tag}>") for tag in ("p", "table", "tr", "b"))


def test_a_classifier_is_one_line(results: dict[str, Any]) -> None:
    classifier = results["training"].classifier
    assert repr(classifier).startswith("<Classifier: 2 classes: <b>bad</b>, good; ")
    assert "% in training>" in repr(classifier)
    assert "\n" not in repr(classifier)


def test_accuracy_and_headline_are_the_measured_ones(results: dict[str, Any]) -> None:
    trained, evaluation = results["training"], results["evaluation"]
    assert trained.accuracy == trained.summary.accuracy
    assert f"{trained.accuracy:.1%}" in trained.headline
    assert evaluation.accuracy == evaluation.evaluation.accuracy == evaluation.figures["accuracy"]
    assert "; the most frequent class alone would give 50%" in evaluation.headline


@pytest.mark.parametrize(
    ("labels", "is_measured"),
    [(["a", "b"], False), (["a", "b"] * 4, True), ([["a"], ["b"], [], ["a", "b"]] * 4, True)],
)
def test_accuracy_is_a_number_even_of_few_rows(labels: list[Any], is_measured: bool, tmp_path: Path) -> None:
    texts = [f"text {i} {'a' if 'a' in label else 'b'}" for i, label in enumerate(labels)]
    result = token2wave.train(texts, labels, **SMALL)
    assert isinstance(result.accuracy, float)
    assert math.isnan(result.accuracy) != is_measured
    assert ("could not be measured" in result.headline) != is_measured
    assert result.headline in repr(result)
    assert f"{result.accuracy:.0%}"
