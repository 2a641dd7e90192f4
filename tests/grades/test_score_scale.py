"""Scales of scores: from probabilities of decisions to classes, scores and intervals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from token2wave.errors import ConfigError, DataError, ModelFileError
from token2wave.score_metrics import evaluate_scores
from token2wave.score_scale import ScoreScale
from token2wave.training.score_targets import (
    MAX_SCORE_CUTS,
    calibrate_scale,
    fit_scale,
    grade_notes,
    soft_decisions,
)

GRADES = ScoreScale("ordinal", (1.5, 2.5, 4.0), (1.0, 2.0, 3.0, 5.0), 1.0, 5.0)
DECISIONS = arrays(np.float64, (5, 3), elements=st.floats(0, 1, width=32))


def pool_adjacent_violators(values: np.ndarray) -> list[float]:
    """The textbook's isotonic regression, for a sequence that should not increase."""
    blocks: list[list[float]] = []  # mean, size
    for value in values.tolist():
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [[(a * n + b * m) / (n + m), n + m]]
    return [mean for mean, size in blocks for _ in range(int(size))]


@given(DECISIONS)
def test_class_probabilities_are_those_of_the_nearest_decisions_that_do_not_increase(decisions) -> None:
    classes = GRADES.class_probabilities(decisions)
    assert (classes >= 0).all()
    np.testing.assert_allclose(classes.sum(axis=1), 1, atol=1e-6)
    above = 1 - np.cumsum(classes.astype(np.float64), axis=1)[:, :-1]
    expected = [pool_adjacent_violators(row) for row in decisions]
    np.testing.assert_allclose(above, expected, atol=1e-6)


@given(DECISIONS, st.floats(0, 1, width=32))
def test_scores_lie_in_the_scale_and_rise_with_the_decisions(decisions, part) -> None:
    scale = replace(GRADES, slope=1.3, intercept=-0.5, interval_factor=1.0)
    low = scale.class_probabilities(decisions)
    high = scale.class_probabilities(decisions + part * (1 - decisions))
    for classes in (low, high):
        scores, bounds = scale.scores(classes), scale.intervals(classes)
        assert scores.dtype == np.float32
        assert bounds is not None
        assert ((bounds[:, 0] >= 1) & (bounds[:, 0] <= scores)).all()
        assert ((scores <= bounds[:, 1]) & (bounds[:, 1] <= 5)).all()
    assert (scale.scores(high) >= scale.scores(low) - 1e-5).all()
    assert (scale.decide(high) >= scale.decide(low)).all()


@given(arrays(np.float64, (4, 4), elements=st.integers(1, 100)))
def test_the_grade_has_the_least_expected_absolute_error(counts) -> None:
    classes = counts / counts.sum(axis=1, keepdims=True)
    levels = np.array(GRADES.levels)
    errors = classes @ np.abs(levels[:, None] - levels)
    chosen = errors[np.arange(4), GRADES.decide(classes)]
    np.testing.assert_allclose(chosen, errors.min(axis=1), atol=1e-9)


def test_soft_decisions_give_the_score_back() -> None:
    scores = np.array([1.0, 1.25, 2.0, 2.9, 4.2, 5.0])
    soft = soft_decisions(GRADES, scores)
    np.testing.assert_allclose(GRADES.scores(GRADES.class_probabilities(soft)), scores, atol=1e-6)


def test_class_logits_are_logarithms_of_the_probabilities() -> None:
    logits = np.array([[3.0, 0.5, -2.0], [-1000.0, 0.0, 1000.0]])
    classes = GRADES.class_probabilities(1 / (1 + np.exp(-np.clip(logits, -700, 700))))
    powers = np.exp(GRADES.class_logits(logits))
    np.testing.assert_allclose(powers / powers.sum(axis=1, keepdims=True), classes, atol=1e-6)


def test_a_scale_survives_json_and_a_damaged_one_is_refused() -> None:
    scale = replace(GRADES, interval_factor=1.5)
    values = json.loads(json.dumps(scale.to_dict()))
    assert ScoreScale.from_dict(values) == scale
    damages = {
        "cuts": [2.5, 1.5, 4.0],
        "levels": [1, 2, 3],
        "lowest": 2,
        "slope": -1,
        "target": "label",
        "highest": "5",
        "interval_factor": -1,
        "intercept": float("nan"),
        "other": 1,
    }
    for name, value in damages.items():
        with pytest.raises(ModelFileError, match="scale"):
            ScoreScale.from_dict({**values, name: value})


def test_grades_are_the_different_scores() -> None:
    scale = fit_scale("ordinal", np.array([5.0, 1, 3, 3, 2.5]))
    assert scale.levels == (1, 2.5, 3, 5)
    assert scale.class_names == ("1", "2.5", "3", "5")
    assert scale.classes_of([1, 2.5, 3, 5, 0, 9]).tolist() == [0, 1, 2, 3, 0, 3]


@given(arrays(np.float64, 300, elements=st.floats(-1e30, 1e30)))
def test_scores_are_cut_between_different_values(scores) -> None:
    if len(np.unique(scores)) < 3:
        with pytest.raises(DataError, match="at least three different scores"):
            fit_scale("score", scores)
        return
    scale = fit_scale("score", scores)
    assert 2 <= len(scale.cuts) <= MAX_SCORE_CUTS
    classes = scale.classes_of(scores)
    assert (np.bincount(classes, minlength=len(scale.levels)) > 0).all()
    assert len(set(scale.class_names)) == len(scale.levels)


def test_scores_are_cut_at_quantiles() -> None:
    scores = np.random.default_rng(0).lognormal(size=3400)
    counts = np.bincount(fit_scale("score", scores).classes_of(scores))
    assert len(counts) == MAX_SCORE_CUTS + 1
    assert counts.min() > 190
    assert counts.max() < 210


def test_too_many_grades_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"data.csv: expected at most 30 different grades, found 100; .*score"
    ):
        fit_scale("ordinal", np.arange(100.0), "data.csv")


def test_calibration_makes_scores_right_on_average_and_intervals_cover() -> None:
    random = np.random.default_rng(0)
    classes = random.dirichlet([1, 1, 1, 1], 4000)
    means = classes @ np.array(GRADES.levels)
    truth = 0.7 * means + 0.8 + random.normal(0, 0.3, 4000)
    scale = calibrate_scale(GRADES, classes[:2000], truth[:2000])
    scores, bounds = scale.scores(classes[2000:]), scale.intervals(classes[2000:])
    assert abs(float((scores - truth[2000:]).mean())) < 0.03
    assert scale.slope == pytest.approx(0.7, abs=0.05)
    assert bounds is not None
    covered = (bounds[:, 0] <= truth[2000:]) & (truth[2000:] <= bounds[:, 1])
    assert 0.77 < covered.mean() < 0.83
    assert GRADES.intervals(classes) is None
    assert calibrate_scale(GRADES, classes[:5], truth[:5]) == GRADES  # too few rows


def test_an_order_of_cuts_is_required() -> None:
    with pytest.raises(ConfigError, match="increasing"):
        ScoreScale("score", (1.0, 1.0), (0.5, 1.5, 2.5), 0.0, 3.0)


def test_figures_are_those_of_their_definitions() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(1)
    truth = random.integers(1, 6, 300).astype(float)
    predicted = np.round(truth + random.normal(0, 1.5, 300), 1)  # with ties
    grades = (truth - 1).astype(np.int64), np.clip(np.round(predicted) - 1, 0, 4).astype(np.int64)
    figures = evaluate_scores(truth, predicted, grades, np.stack([predicted - 1, predicted + 1], axis=1), 3.5)
    assert figures.spearman == pytest.approx(stats.spearmanr(truth, predicted)[0])
    assert figures.pearson == pytest.approx(stats.pearsonr(truth, predicted)[0])
    assert figures.kappa == pytest.approx(metrics.cohen_kappa_score(*grades, weights="quadratic"))
    assert figures.auc == pytest.approx(metrics.roc_auc_score(truth > 3.5, predicted))
    assert figures.mae == pytest.approx(metrics.mean_absolute_error(truth, predicted))
    assert figures.rmse == pytest.approx(metrics.mean_squared_error(truth, predicted) ** 0.5)
    assert figures.coverage == pytest.approx((np.abs(truth - predicted) <= 1).mean())
    for name, (low, high) in figures.intervals.items():
        assert low < getattr(figures, name) < high
    low, high = figures.intervals["spearman"]
    assert high - low == pytest.approx(4 * (1 - figures.spearman**2) / 300**0.5, rel=0.4)
    assert evaluate_scores(truth, predicted, grades, None, 3.5).intervals["mae"] == figures.intervals["mae"]


def test_figures_without_a_meaning_are_none() -> None:
    figures = evaluate_scores(np.array([2.0, 2.0]), np.array([1.0, 3.0]))
    assert (figures.spearman, figures.pearson, figures.auc, figures.cut) == (None, None, None, None)
    assert figures.mae == 1
    assert evaluate_scores(np.array([1.0, 2.0]), np.array([1.0, 3.0]), cut=9).auc is None


@pytest.mark.parametrize(
    ("labels", "proposes"),
    [("12345", True), ("123", True), ("12", False), ("01234", False), ("1245", False), ("abc", False)],
)
def test_whole_numbers_in_a_row_are_proposed_as_grades(labels: str, proposes: bool) -> None:
    assert bool(grade_notes([(label,) for label in labels])) == proposes
