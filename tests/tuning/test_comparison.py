"""Comparisons of candidates: influences, standard errors, and cases with a known answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from token2wave.metrics import f1_of_decisions, macro_f1_of
from token2wave.training.loss import binary_cross_entropies
from token2wave.tuning.comparison import compare, evaluate_candidate

FIGURES = ("accuracy", "macro_f1", "micro_f1", "loss")


def logits_that_say(predicted, sure=4.0, n_classes=3):
    return np.where(np.arange(n_classes) == np.asarray(predicted)[:, None], sure, 0.0)


def score(predicted, labels, select_by="accuracy", weights=None, sure=4.0):
    return evaluate_candidate(logits_that_say(predicted, sure), np.asarray(labels), weights, select_by)


def test_the_error_of_accuracy_is_mcnemars():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 400)
    a, b = (np.where(random.random(400) < 0.8, labels, (labels + 1) % 3) for _ in range(2))
    comparison = compare([score(a, labels)], [score(b, labels)])
    won, lost = ((a == labels) & (b != labels)).sum(), ((a != labels) & (b == labels)).sum()
    assert comparison.gain == pytest.approx((won - lost) / 400)
    assert comparison.error == pytest.approx(np.sqrt(won + lost - (won - lost) ** 2 / 400) / 400)


@pytest.mark.parametrize(
    ("won", "lost", "is_better"), [(9, 0, True), (10, 5, True), (8, 6, False), (0, 0, False)]
)
def test_a_gain_counts_beyond_one_standard_error(won, lost, is_better):
    """Of 14 texts on which two models differ, 8 to 6 is chance: one standard error is 3.7 texts."""
    labels = np.zeros(200, dtype=np.int64)
    best = np.where(np.arange(200) < won, 1, 0)
    candidate = np.where(np.arange(200) >= 200 - lost, 1, 0)
    comparison = compare([score(candidate, labels)], [score(best, labels)])
    assert comparison.is_better == is_better


def test_loss_decides_where_the_figure_does_not_and_not_against_it():
    labels = np.arange(300) % 3
    right = labels.copy()
    right[:30] = (labels[:30] + 1) % 3
    timid, bold = score(right, labels, sure=0.5), score(right, labels, sure=2.0)
    comparison = compare([bold], [timid])
    assert (comparison.gain, comparison.error) == (0, 0)
    assert comparison.loss_gain > 2 * comparison.loss_error > 0
    assert comparison.is_better
    assert compare([timid], [bold]).is_hopeless
    worse = right.copy()
    worse[30:34] = (labels[30:34] + 1) % 3
    assert not compare([score(worse, labels, sure=2.0)], [timid]).is_better


def test_all_splits_count():
    """What chance gave on one split, the others take back."""
    labels = np.zeros(100, dtype=np.int64)
    none, nine = np.zeros(100, dtype=np.int64), np.where(np.arange(100) < 9, 1, 0)
    assert compare([score(none, labels)], [score(nine, labels)]).is_better
    comparison = compare(
        [score(none, labels), score(nine, labels)], [score(nine, labels), score(none, labels)]
    )
    assert comparison.gain == pytest.approx(0)
    assert not comparison.is_better
    halved = compare([score(none, labels)] * 4, [score(nine, labels)] * 4)
    assert halved.error == pytest.approx(compare([score(none, labels)], [score(nine, labels)]).error / 2)


@pytest.mark.parametrize("select_by", ["accuracy", "macro_f1", "loss"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_standard_error_equals_that_of_resampled_texts(select_by, weighted):
    random = np.random.default_rng(3)
    n = 600
    labels = random.choice(3, n, p=[0.6, 0.3, 0.1])
    weights = random.random(n).astype(np.float32) if weighted else None
    pair = [
        logits_that_say(np.where(random.random(n) < share, labels, random.integers(0, 3, n)), sure=1.0)
        for share in (0.7, 0.6)
    ]

    def difference(rows):
        kept = None if weights is None else weights[rows]
        a, b = (
            evaluate_candidate(logits[rows], labels[rows], kept, select_by).chosen.value for logits in pair
        )
        return a - b

    drawn = [difference(random.integers(0, n, n)) for _ in range(400)]
    comparison = compare(*([evaluate_candidate(logits, labels, weights, select_by)] for logits in pair))
    assert comparison.gain == pytest.approx(difference(np.arange(n)))
    assert comparison.error == pytest.approx(np.std(drawn), rel=0.15)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_influences_sum_to_zero_and_values_are_the_metrics(pairs):
    labels, predicted = (np.array(part, dtype=np.int64) for part in zip(*pairs, strict=True))
    logits = logits_that_say(predicted, n_classes=4)
    for select_by in FIGURES:
        scores = evaluate_candidate(logits, labels, None, select_by)
        assert scores.chosen.influences.sum() == pytest.approx(0, abs=1e-9)
    assert evaluate_candidate(logits, labels, None, "micro_f1").chosen.value == pytest.approx(
        (labels == predicted).mean()
    )
    assert evaluate_candidate(logits, labels, None, "macro_f1").chosen.value == pytest.approx(
        macro_f1_of(labels, predicted, 4)
    )
    assert evaluate_candidate(logits, labels, None, "accuracy").chosen.value == pytest.approx(
        (labels == predicted).mean()
    )


# Texts that may have several classes ----------------------------------------------------------------


def decisions(n, seed=5, wrong=(0.1, 0.2), n_classes=4):
    """True classes of texts, some of them without any, and logits of two models that are often right."""
    random = np.random.default_rng(seed)
    truth = random.random((n, n_classes)) < [0.5, 0.3, 0.1, 0.05]
    pair = [
        np.where(truth ^ (random.random(truth.shape) < share), 1.0, -1.0) * random.random(truth.shape)
        for share in wrong
    ]
    return truth, pair


@pytest.mark.parametrize("select_by", FIGURES)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_standard_error_with_several_classes_is_that_of_drawing_texts_anew(select_by, weighted):
    n, random = 600, np.random.default_rng(4)
    truth, pair = decisions(n)
    weights = random.random(n).astype(np.float32) if weighted else None

    def difference(rows):
        kept = None if weights is None else weights[rows]
        a, b = (
            evaluate_candidate(logits[rows], truth[rows], kept, select_by).chosen.value for logits in pair
        )
        return a - b

    drawn = [difference(random.integers(0, n, n)) for _ in range(400)]
    comparison = compare(*([evaluate_candidate(logits, truth, weights, select_by)] for logits in pair))
    assert comparison.gain == pytest.approx(difference(np.arange(n)))
    assert comparison.error == pytest.approx(np.std(drawn), rel=0.15)
    assert comparison.is_better


@given(st.integers(1, 40), st.integers(0, 1000), st.booleans())
def test_with_several_classes_values_are_the_metrics(n, seed, weighted):
    truth, (logits, _) = decisions(n, seed)
    weights = np.random.default_rng(seed).random(n) + 0.01 if weighted else None
    scores = {by: evaluate_candidate(logits, truth, weights, by) for by in FIGURES}
    for one in scores.values():
        assert one.chosen.influences.sum() == pytest.approx(0, abs=1e-9)
        assert one.accuracy == scores["accuracy"].chosen.value
    micro, macro = f1_of_decisions(truth, logits > 0, weights)
    assert scores["micro_f1"].chosen.value == pytest.approx(micro)
    assert scores["macro_f1"].chosen.value == pytest.approx(macro)
    right = (truth == (logits > 0)).all(axis=1)
    assert scores["accuracy"].chosen.value == pytest.approx(np.average(right, weights=weights))
    losses = binary_cross_entropies(logits, truth)
    assert scores["loss"].chosen.value == pytest.approx(-np.average(losses, weights=weights))


def test_a_class_more_on_a_text_counts_though_no_text_becomes_wholly_right():
    """Exact match would see no difference: each text keeps a wrong label."""
    truth = np.tile([True, True, False], (50, 1))
    worse, better = np.full((2, 50, 3), -1.0)
    better[:, 0] = 1
    better[:, 2] = worse[:, 2] = 1
    comparison = compare(
        [evaluate_candidate(better, truth, None, "micro_f1")],
        [evaluate_candidate(worse, truth, None, "micro_f1")],
    )
    assert comparison.is_better
    assert comparison.gain == pytest.approx(0.5)  # of 2 given and 2 that are right one hits
    assert compare(
        [evaluate_candidate(better, truth, None, "accuracy")],
        [evaluate_candidate(worse, truth, None, "accuracy")],
    ).gain == pytest.approx(0)


def test_texts_without_classes_that_are_given_none_have_no_f1():
    scores = evaluate_candidate(np.full((5, 3), -1.0), np.zeros((5, 3), dtype=bool), None, "micro_f1")
    assert (scores.chosen.value, scores.accuracy) == (0, 1)
