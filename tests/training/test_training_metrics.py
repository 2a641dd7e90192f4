"""Scores against scikit-learn's."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from token2wave import metrics
from token2wave.metrics import (
    UNKNOWN_LABELS,
    EvaluatedText,
    answer_surest,
    evaluate_predictions,
    evaluated_texts,
)

NAMES = ("a", "b", "c", "d")
indices = st.integers(0, 3)


@settings(deadline=None, max_examples=80)
@given(rows=st.lists(st.tuples(indices, indices), min_size=1, max_size=30))
def test_scores_equal_scikit_learn(rows):
    truth, predicted = np.array(rows, dtype=np.int64).T
    scores = evaluate_predictions(truth, predicted, NAMES)
    assert scores.rows == len(rows)
    assert scores.accuracy == pytest.approx(accuracy_score(truth, predicted))
    # Left to itself, scikit-learn averages over the classes that occur, and so do we.
    assert scores.macro_f1 == pytest.approx(f1_score(truth, predicted, average="macro", zero_division=0))
    expected = precision_recall_fscore_support(truth, predicted, labels=range(4), zero_division=0)
    for i, score in enumerate(scores.classes):
        found = (score.precision, score.recall, score.f1, score.support)
        assert found == pytest.approx(tuple(column[i] for column in expected))
        assert score.label == NAMES[i]
    assert np.array_equal(scores.confusion, confusion_matrix(truth, predicted, labels=range(4)))


def test_by_hand_with_an_absent_class():
    scores = evaluate_predictions(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), ("x", "y", "never"))
    assert scores.accuracy == 0.75
    assert scores.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert scores.confusion == ((1, 1, 0), (0, 2, 0), (0, 0, 0))
    never = scores.classes[2]
    assert (never.precision, never.recall, never.f1, never.support) == (0.0, 0.0, 0.0, 0)


def test_very_many_classes_have_scores_and_no_matrix(monkeypatch):
    truth, predicted = np.array([0, 0, 1, 3]), np.array([0, 1, 1, 2])
    few = evaluate_predictions(truth, predicted, NAMES)
    monkeypatch.setattr(metrics, "MAX_CONFUSION_CLASSES", 3)
    many = evaluate_predictions(truth, predicted, NAMES)
    assert len(few.confusion) == 4
    assert many == replace(few, confusion=())


def test_no_rows_at_all():
    none = np.zeros(0, dtype=np.int64)
    scores = evaluate_predictions(none, none, NAMES)
    assert (scores.rows, scores.accuracy, scores.macro_f1) == (0, 0.0, 0.0)


def test_scores_are_plain_data():
    scores = evaluate_predictions(np.array([0, 1]), np.array([1, 1]), ("x", "y"))
    assert json.loads(json.dumps(scores.to_dict()))["confusion"] == [[0, 1], [0, 1]]


def test_the_surest_texts_are_answered():
    shares = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.45, 0.55]])
    truth = np.array([0, 1, 1, 0])
    half, most, every = answer_surest(shares, truth, (0.5, 0.75, 1.0))
    assert (half.coverage, half.threshold, half.accuracy) == (0.5, 0.8, 1.0)
    assert (most.coverage, most.threshold, most.accuracy) == (0.75, 0.6, pytest.approx(2 / 3))
    assert (every.coverage, every.threshold, every.accuracy) == (1.0, 0.55, 0.5)
    (tied,) = answer_surest(np.full((4, 2), 0.5), truth, (0.25,))
    assert (tied.coverage, tied.accuracy) == (1.0, 0.5)
    assert answer_surest(np.zeros((0, 2)), np.zeros(0, dtype=np.int64)) == ()
    scores = evaluate_predictions(truth, shares.argmax(axis=1), ("a", "b"), shares)
    assert half in scores.answered
    assert scores.calibration_error == pytest.approx((0.1 + 0.2 + 0.6 + 0.55) / 4)


def test_texts_are_some_of_each_pair_of_labels(monkeypatch):
    """Wrong predictions come first, the surest at the top; then right ones, the least sure at the top."""
    monkeypatch.setattr("token2wave.metrics.MAX_TEXTS_OF_CELL", 5)
    texts = [f"text {i}" for i in range(9)]
    truth, predicted = np.array([0, 0, 0, 0, 0, 0, 0, 1, 2]), np.array([0, 1, 1, 1, 1, 1, 1, 0, 1])
    probabilities = np.full((9, 2), 0.5)
    probabilities[1:7, 1] = [0.6, 0.9, 0.7, 0.8, 0.95, 0.65]
    chosen = evaluated_texts(texts, truth, predicted, ("a", "b"), probabilities, np.arange(9) + 10)
    assert [each.row for each in chosen] == [16, 13, 15, 14, 17, 18, 19, 11]  # row 12 is the sixth
    assert chosen[0] == EvaluatedText(16, "text 5", "a", "b", 0.95)
    assert (chosen[-2].label, chosen[-1].label, chosen[-1].predicted) == (UNKNOWN_LABELS, "a", "a")
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4]])
    right = evaluated_texts(["x", "y"], np.zeros(2, int), np.zeros(2, int), ("a", "b"), probabilities, None)
    assert [each.text for each in right] == ["y", "x"]


def test_words_are_of_the_predicted_label_against_the_true_one(monkeypatch):
    monkeypatch.setattr("token2wave.metrics.MAX_CHARACTERS", 0)  # so that each has the least
    asked = []

    def explain(*question):
        asked.append(question)
        return [("x" * 299, 1.5), ("yz", -2.0), ("w", 0.0)]

    names, probabilities = ("a", "b"), np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    truth, predicted = np.array([1, 0, 2]), np.array([0, 0, 1])
    chosen = evaluated_texts(["x", "y", "z"], truth, predicted, names, probabilities, None, explain)
    assert asked == [(0, 0, 1), (2, 1, None), (1, 0, None)]  # no class: nothing to compare with
    assert chosen[0].words == (("x" * 299, 1.5), ("y\N{HORIZONTAL ELLIPSIS}", -2.0))
    truth = np.array([[True, False, True]])
    asked.clear()
    evaluated_texts(["x"], truth, np.array([[False, True]]), names, np.array([[0.1, 0.9]]), None, explain)
    assert sorted(asked) == [(0, 0, None), (0, 1, None)]  # a label without a class has no effects


def test_texts_are_bounded_and_each_pair_has_its_surest_first(monkeypatch):
    monkeypatch.setattr("token2wave.metrics.MAX_TEXTS", 2)
    probabilities = np.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3]])
    truth, predicted = np.array([0, 0, 1]), np.array([1, 1, 0])
    chosen = evaluated_texts(["x\n" * 900, "", "z"], truth, predicted, ("a", "b"), probabilities, None)
    assert [(each.row, each.label) for each in chosen] == [(None, "a"), (None, "b")]
    assert chosen[0].text == ("x " * 599 + "x\N{HORIZONTAL ELLIPSIS}")


def test_multi_label_texts_are_those_of_wrong_decisions():
    truth = np.array([[True, False, False], [False, True, True]])
    predicted = np.array([[True, True], [False, True]])
    probabilities = np.array([[0.9, 0.75], [0.4, 0.8]])
    chosen = evaluated_texts(["x", "y"], truth, predicted, ("a", "b"), probabilities, np.arange(2))
    assert chosen == (
        EvaluatedText(2, "y", UNKNOWN_LABELS, None, 1.0),
        EvaluatedText(1, "x", None, "b", 0.75),
    )
