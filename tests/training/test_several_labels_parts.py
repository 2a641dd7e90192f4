"""Amplitudes, calibration, thresholds, metrics and the baseline of several labels, against slow twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from several_labels import NAMES, mixed_texts
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import accuracy_score, f1_score, hamming_loss, precision_recall_fscore_support
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

from token2wave.core import load_core
from token2wave.data import encode_label_sets
from token2wave.features import WordConfig, fit_features
from token2wave.metrics import calibration_error_of_decisions, evaluate_decisions, f1_of_decisions
from token2wave.training import linear_svm as module
from token2wave.training.baseline import train_baseline
from token2wave.training.calibration import DOUBT, PRIOR, fit_weights
from token2wave.training.examples import Examples
from token2wave.training.linear_svm import PRIOR_TEXTS, LinearSVM, target_frequency
from token2wave.training.thresholds import POOLED, choose_thresholds
from token2wave.training.weighting import positive_weights

WORDS_ALONE = WordConfig(ngrams=1, bits=14, min_count=1)


def problem_of(n_texts: int = 200, positive: np.ndarray | None = None) -> LinearSVM:
    texts = mixed_texts(n_texts, 0)
    features, found = fit_features(texts.texts, WORDS_ALONE)
    targets = encode_label_sets(texts, NAMES).astype(np.float32)
    examples = Examples(found, targets.argmax(axis=1), None, targets, positive)
    return LinearSVM(examples, features, len(NAMES), seed=0, multi_label=True)


# ---- amplitudes ----


def test_texts_of_each_class_are_counted_with_and_without_the_core(monkeypatch):
    problem = problem_of()
    features, targets, n_rows = problem.train.features, problem.targets, len(problem.information)
    expected, found = np.zeros((n_rows, len(NAMES)), int), np.zeros(n_rows, int)
    for text in range(len(targets)):
        for row in set(features.ids[features.offsets[text] : features.offsets[text + 1]].tolist()):
            found[row] += 1
            expected[row] += targets[text] > 0.5
    for native in ("1", "0"):
        monkeypatch.setenv("TOKEN2WAVE_NATIVE", native)
        frequency, occurring = target_frequency(features, targets, n_rows)
        np.testing.assert_array_equal(frequency, expected)
        np.testing.assert_array_equal(occurring, found)


def test_energy_is_information_about_every_class():
    """By the definition, in a loop: the divergence of each decision, summed."""
    problem = problem_of()
    frequency, found = target_frequency(problem.train.features, problem.targets, len(problem.information))
    usual = problem.targets.mean(axis=0)
    expected = np.zeros(len(found))
    for row in range(len(found)):
        for label, share in enumerate(usual.tolist()):
            p = (frequency[row, label] + PRIOR_TEXTS * share) / (found[row] + PRIOR_TEXTS)
            expected[row] += p * np.log(p / share) + (1 - p) * np.log((1 - p) / (1 - share))
    expected /= (expected * found).sum() / found.sum()
    np.testing.assert_allclose(problem.information, expected, rtol=1e-3, atol=1e-5)
    assert problem.information.max() > 3 * problem.information.min()


def test_a_class_that_all_or_none_have_tells_nothing():
    problem = problem_of()
    with_two = np.concatenate([problem.targets, np.ones((200, 1)), np.zeros((200, 1))], axis=1)
    examples = Examples(problem.train.features, with_two.argmax(axis=1), None, with_two.astype(np.float32))
    texts = mixed_texts(200, 0).texts
    features, _ = fit_features(texts, WORDS_ALONE)
    more = LinearSVM(examples, features, len(NAMES) + 2, seed=0, multi_label=True)
    np.testing.assert_allclose(more.information, problem.information, rtol=1e-5)
    found = more.compiled(more.solve(0.0)).logits(examples.features)
    assert (found[:, -2] > 0).all()
    assert (found[:, -1] < 0).all()


@pytest.mark.skipif(load_core() is None, reason="the native core is not built")
@pytest.mark.parametrize("positive", [None, np.array([5, 1, 0.2, 1, 2], np.float32)])
def test_native_linear_svm_are_those_of_the_slow_twin(monkeypatch, positive):
    monkeypatch.setattr(module, "TOLERANCE", 1e-3)
    monkeypatch.setattr(module, "MAX_PASSES", 2000)
    monkeypatch.setattr(module, "MAX_VISITS", 10**9)
    problem = problem_of(60, positive)
    native = problem.solve(0.0)
    monkeypatch.setenv("TOKEN2WAVE_NATIVE", "0")
    slow = problem.solve(0.0)
    np.testing.assert_allclose(native.rows, slow.rows, atol=5e-3)
    np.testing.assert_allclose(native.bias, slow.bias, atol=5e-3)


@pytest.mark.skipif(load_core() is None, reason="the native core is not built")
def test_each_class_is_solved_against_the_rest(monkeypatch):
    """The minimum of the definition, which plain gradient descent finds too; weights count as said."""
    monkeypatch.setattr(module, "TOLERANCE", 1e-3)
    monkeypatch.setattr(module, "MAX_PASSES", 2000)
    monkeypatch.setattr(module, "MAX_VISITS", 10**9)
    positive = np.array([5, 1, 0.2, 1, 2], np.float32)
    problem = problem_of(80, positive)
    found = problem.solve(0.0)
    features = problem.train.features
    x = np.zeros((80, len(problem.information)))
    for text in range(80):
        for row in features.ids[features.offsets[text] : features.offsets[text + 1]]:
            x[text, row] += np.sqrt(problem.information[row] / features.lengths[text])
    x = np.concatenate([x, np.ones((80, 1))], axis=1)
    signs = np.where(problem.targets > 0.5, 1.0, -1.0)
    costs = np.where(signs > 0, positive, 1.0)
    weights = np.zeros((x.shape[1], len(NAMES)))

    def value(weights):
        return (weights**2).sum(axis=0) / 2 + (costs * np.maximum(1 - signs * (x @ weights), 0) ** 2).sum(
            axis=0
        )

    step = 1 / (1 + 2 * 5 * np.linalg.norm(x, 2) ** 2)
    for _ in range(20_000):
        slack = costs * signs * np.maximum(1 - signs * (x @ weights), 0)
        weights -= step * (weights - 2 * x.T @ slack)
    own = np.concatenate([found.rows / np.sqrt(problem.information)[:, None], found.bias[None]])
    np.testing.assert_allclose(value(own), value(weights), rtol=1e-3)


# ---- calibration ----


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000))
def test_weights_are_the_minimum_that_gradient_descent_finds(seed):
    random = np.random.default_rng(seed)
    levels = random.normal(0, 2, (2, 200, 3))
    chances = 1 / (1 + np.exp(-(0.5 * levels[0] + 1.2 * levels[1] - 1)))
    truth = (random.random(chances.shape) < chances).astype(np.float32)
    counts = random.uniform(0.1, 3, 200).astype(np.float32)
    found = fit_weights(levels, truth, counts)
    weights = torch.ones(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe"
    )
    scaled = torch.from_numpy(counts * (200 / counts.sum(dtype=np.float64)))

    def closure():
        optimizer.zero_grad()
        logits = torch.tensordot(weights, torch.from_numpy(levels), 1)
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, torch.from_numpy(truth).double(), reduction="none"
        )
        loss = (scaled * losses.sum(dim=1)).sum() + PRIOR * ((weights - 1) ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert found == pytest.approx(weights.detach().numpy(), abs=1e-4)


def test_levels_that_are_worse_than_chance_are_doubted():
    assert fit_weights(np.full((1, 30, 2), 3.0), np.zeros((30, 2), np.float32)) == (DOUBT,)


# ---- thresholds ----


def f1_with_pool(threshold, label, shares, classes, counts):
    """By the definition, in a loop over all decisions."""
    right = given = support = all_right = all_given = all_support = 0.0
    for text in range(len(shares)):
        for k in range(shares.shape[1]):
            chosen = shares[text, k] >= threshold
            all_right += counts[text] * (chosen and classes[text, k])
            all_given += counts[text] * chosen
            all_support += counts[text] * classes[text, k]
            if k == label:
                right += counts[text] * (chosen and classes[text, k])
                given += counts[text] * chosen
                support += counts[text] * classes[text, k]
    pool = POOLED / all_support
    return 2 * (right + pool * all_right) / (given + support + pool * (all_given + all_support))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.booleans())
def test_no_threshold_is_better_than_the_one_chosen(seed, weighted):
    random = np.random.default_rng(seed)
    shares = random.choice(np.linspace(0.05, 0.95, 10), (12, 3)).astype(np.float32)
    classes = random.random((12, 3)) < shares
    classes[:, 2] = False
    classes[0, 0] = True
    counts = random.uniform(0, 2, 12).astype(np.float32) if weighted else np.ones(12, np.float32)
    found = choose_thresholds(shares, classes, counts if weighted else None)
    assert found[2] == 0.5  # nothing to choose by
    for label in range(2):
        if counts @ classes[:, label]:
            reached = f1_with_pool(found[label], label, shares, classes, counts)
            best = max(f1_with_pool(t, label, shares, classes, counts) for t in np.linspace(0.001, 0.999, 41))
            assert reached >= best - 1e-6


def test_nothing_to_choose_by():
    assert choose_thresholds(np.full((4, 2), 0.3), np.zeros((4, 2), bool)) == (0.5, 0.5)
    assert choose_thresholds(np.zeros((0, 2)), np.zeros((0, 2), bool)) == (0.5, 0.5)


def test_a_clear_gap_is_cut_in_the_middle():
    shares = np.array([[0.1], [0.2], [0.3], [0.7], [0.9]] * 9)
    assert choose_thresholds(shares, shares > 0.5) == (0.5,)
    assert choose_thresholds(shares, shares > 0.25) == (0.25,)


# ---- metrics ----

DECISIONS = st.lists(st.tuples(*[st.booleans()] * 6), min_size=1, max_size=30)


@settings(deadline=None, max_examples=80)
@given(rows=DECISIONS)
def test_scores_equal_scikit_learn(rows):
    decisions = np.array(rows)
    truth, predicted = decisions[:, :3], decisions[:, 3:]
    scores = evaluate_decisions(truth, predicted, ("a", "b", "c"))
    assert scores.rows == len(rows)
    assert scores.accuracy == pytest.approx(accuracy_score(truth, predicted))
    assert scores.hamming_loss == pytest.approx(hamming_loss(truth, predicted))
    assert scores.micro_f1 == pytest.approx(f1_score(truth, predicted, average="micro", zero_division=0))
    occurs = (truth | predicted).any(axis=0)
    each = f1_score(truth, predicted, average=None, zero_division=0)
    assert scores.macro_f1 == pytest.approx(each[occurs].mean() if occurs.any() else 0.0)
    expected = precision_recall_fscore_support(truth, predicted, zero_division=0)
    for i, score in enumerate(scores.classes):
        found = (score.precision, score.recall, score.f1, score.support)
        assert found == pytest.approx(tuple(column[i] for column in expected))
    assert (scores.confusion, scores.answered) == ((), ())


def test_weighted_texts_count_as_often():
    random = np.random.default_rng(0)
    truth, predicted = random.random((2, 20, 3)) < 0.4
    counts = random.integers(0, 4, 20)
    repeated = np.repeat(np.arange(20), counts)
    expected = f1_of_decisions(truth[repeated], predicted[repeated])
    assert f1_of_decisions(truth, predicted, counts.astype(np.float32)) == pytest.approx(expected)


def test_no_rows_at_all():
    none = np.zeros((0, 2), dtype=bool)
    scores = evaluate_decisions(none, none, ("a", "b"), np.zeros((0, 2), np.float32))
    assert (scores.rows, scores.accuracy, scores.micro_f1, scores.hamming_loss) == (0, 0.0, 0.0, 0.0)
    assert scores.calibration_error == 0


def test_calibration_error_in_a_loop():
    random = np.random.default_rng(0)
    shares = random.random((40, 3)).astype(np.float32)
    shares[0] = 0, 1, 0.2
    truth = random.random((40, 3)) < shares**2
    gaps = np.zeros(15)
    for share, holds in zip(shares.ravel().tolist(), truth.ravel().tolist(), strict=True):
        within = [b for b in range(15) if b / 15 < share <= (b + 1) / 15]
        gaps[within[0] if within else 0] += holds - share
    found = calibration_error_of_decisions(shares, truth)
    assert found == pytest.approx(np.abs(gaps).sum() / 120)
    assert evaluate_decisions(truth, shares > 0.5, ("a", "b", "c"), shares).calibration_error == found


# ---- weights of classes ----


def test_positive_weights():
    classes = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 1, 0]], dtype=bool)
    found = positive_weights(classes, ("a", "b", "c"), "balanced")
    np.testing.assert_allclose(found, [3 / 4, 3 / 2, 1])
    np.testing.assert_allclose(found[:2] * classes.sum(axis=0)[:2], 3)  # every class the same in all
    np.testing.assert_allclose(positive_weights(classes, ("a", "b", "c"), {"b": 4}), [1, 4, 1])
    assert positive_weights(classes, ("a", "b", "c"), None) is None


# ---- the baseline ----


@pytest.mark.parametrize("weighted", [False, True])
def test_the_baseline_is_one_against_the_rest(weighted):
    train, test = mixed_texts(300, 0), mixed_texts(200, 1)
    labels, truth = (encode_label_sets(part, NAMES) for part in (train, test))
    labels = np.concatenate([labels, np.zeros((300, 1), bool)], axis=1)  # a class that no text has
    truth = np.concatenate([truth, np.zeros((200, 1), bool)], axis=1)
    positive = np.full(6, 3, np.float32) if weighted else None
    found = train_baseline(train.texts, labels, test.texts, truth, (*NAMES, "never"), None, positive)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    machine = OneVsRestClassifier(LinearSVC(random_state=0, class_weight={1: 3} if weighted else None))
    machine.fit(vectorizer.fit_transform(train.texts), labels[:, :5].astype(int))
    predicted = machine.predict(vectorizer.transform(test.texts))
    assert found["micro_f1"] == pytest.approx(f1_score(truth[:, :5], predicted, average="micro"))
    assert found["accuracy"] == pytest.approx(accuracy_score(truth[:, :5], predicted))
    assert found["name"].endswith("one against the rest")
