"""Calibration by labels of which some are wrong, and the labels of similar texts."""

import numpy as np
import pytest

from token2wave.features.hashed_texts import HashedTexts
from token2wave.training.neighbours import neighbour_votes
from token2wave.training.noisy_labels import calibrate_with_noise, minimise

pytestmark = pytest.mark.usefixtures("few_fits")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("way", ["random", "next"])
@pytest.mark.parametrize("fraction", [0.03, 0.1])
def test_the_noise_and_the_wrong_labels_are_found(seed, fraction, way):
    """Logits that are too sure by a factor of three; some labels are random, or those of the next class."""
    random = np.random.default_rng(seed)
    n, n_classes = 4_000, 5
    logits = random.normal(0, 2.5, (n, n_classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (probabilities.cumsum(axis=1) > random.random((n, 1))).argmax(axis=1)
    labels, wrong = truth.copy(), random.random(n) < fraction
    shift = 1 if way == "next" else random.integers(1, n_classes, wrong.sum())
    labels[wrong] = (truth[wrong] + shift) % n_classes
    result = calibrate_with_noise(3 * logits[None], labels)
    suspicion = 1 - result.posteriors[np.arange(n), labels]
    assert suspicion.mean() == pytest.approx(fraction, abs=0.025)
    assert np.abs(result.probabilities - probabilities).mean() < 0.025
    bins = np.digitize(suspicion, [0.25, 0.5, 0.75])
    for i in np.flatnonzero(np.bincount(bins) > 100):
        assert wrong[bins == i].mean() == pytest.approx(suspicion[bins == i].mean(), abs=0.15)


@pytest.mark.parametrize("seed", range(2))
def test_noise_that_models_have_learnt_is_found(seed):
    """A tenth of the labels are the other of two confused classes, which all predictions allow for."""
    random = np.random.default_rng(seed)
    n, rows = 3_000, np.arange(3_000)
    truth, wrong = random.integers(0, 4, n), random.random(n) < 0.1
    labels = np.where(wrong, truth ^ 1, truth)
    logits = random.normal(0, 1, (n, 4))
    logits[rows, truth] += 4
    logits[rows, truth ^ 1] += 4 + np.log(0.1)
    suspicion = 1 - calibrate_with_noise(logits[None], labels).posteriors[rows, labels]
    assert suspicion.mean() == pytest.approx(0.1, abs=0.02)
    assert wrong[suspicion > 0.5].mean() > 0.8


def test_masked_rows_decide_nothing():
    random = np.random.default_rng(0)
    logits, labels = random.normal(0, 2, (2, 300, 3)), random.integers(0, 3, 300)
    mask = np.arange(300) < 200
    changed = labels.copy()
    changed[~mask] = (labels[~mask] + 1) % 3
    first, second = (calibrate_with_noise(logits, each, mask=mask) for each in (labels, changed))
    assert np.array_equal(first.probabilities, second.probabilities)
    assert not np.allclose(first.posteriors[~mask], second.posteriors[~mask])


@pytest.mark.parametrize(("n", "n_classes"), [(1, 2), (3, 2), (4, 250)])
def test_few_rows_and_many_classes(n, n_classes):
    result = calibrate_with_noise(np.zeros((1, n, n_classes)), np.arange(n) % n_classes)
    assert np.isfinite(result.posteriors).all()
    assert result.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_minimise_reaches_the_minimum_of_a_convex_function():
    random = np.random.default_rng(1)
    root = random.normal(size=(6, 6))
    matrix, target = root @ root.T + np.eye(6), random.normal(size=6)

    def function(x):
        change = x - target
        return float(np.log(np.cosh(change)).sum() + change @ matrix @ change), np.tanh(change) + 2 * (
            matrix @ change
        )

    assert minimise(function, np.zeros(6)) == pytest.approx(target, abs=1e-2)


def test_votes_are_those_of_texts_with_the_same_words():
    texts = HashedTexts(["red green", "red green blue", "dog owl", "dog owl trout", "owl dog", "alone"])
    labels = np.array([0, 0, 1, 1, 0, 1])
    votes = neighbour_votes(texts, labels, 2, np.arange(6))
    assert votes[0].tolist() == [1, 0]
    assert votes[4].tolist() == [0, 1]  # its own label does not vote
    assert votes[2, 0] > 0.5 > votes[2, 1]  # the fifth text has its words, the fourth one more
    assert votes[5].tolist() == [0, 0]


def test_votes_equal_those_of_dense_vectors():
    random = np.random.default_rng(2)
    texts = [" ".join(f"w{i}" for i in random.integers(0, 40, 12)) for _ in range(25)]
    labels = random.integers(0, 3, 25)
    counts = np.array([[text.split().count(f"w{i}") for i in range(40)] for text in texts], dtype=float)
    frequency = (counts > 0).sum(axis=0)
    weights = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0)
    weights *= np.log(25 / np.maximum(frequency, 1)) + 1
    weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
    weights[:, frequency < 2] = 0
    similarity = weights @ weights.T
    np.fill_diagonal(similarity, 0)
    similarity[similarity <= 0.05] = 0
    expected = similarity**3 @ np.eye(3)[labels]
    votes = neighbour_votes(HashedTexts(texts), labels, 3, np.arange(25))
    assert votes == pytest.approx(expected / expected.sum(axis=1, keepdims=True), abs=1e-9)
