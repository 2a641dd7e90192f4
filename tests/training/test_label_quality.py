"""Labels scored by models that have not seen the row."""

import numpy as np
import pytest

from token2wave.data import TextSplit
from token2wave.errors import ConfigError, DataError
from token2wave.training.label_quality import assess_labels

WORDS = {"colour": ("red", "green", "blue", "grey"), "animal": ("dog", "horse", "owl", "trout")}


@pytest.fixture(scope="module")
def planted():
    """Rows of two classes, every tenth with the wrong label."""
    random = np.random.default_rng(5)
    names = tuple(WORDS)
    truth = random.integers(0, 2, 300)
    texts = [" ".join(random.choice(WORDS[names[y]], 4)) + f" {i}" for i, y in enumerate(truth)]
    wrong = np.arange(0, 300, 10)
    labels = truth.copy()
    labels[wrong] = 1 - labels[wrong]
    return TextSplit(texts, [names[y] for y in labels], "planted"), names, wrong, truth


@pytest.fixture(scope="module")
def quality(planted):
    """What is said of the planted rows; no test may change it."""
    return assess_labels(*planted[:2])


def test_wrong_labels_come_first_and_are_corrected(planted, quality):
    _, _, wrong, truth = planted
    assert set(quality.ranking()[: len(wrong)].tolist()) == set(wrong.tolist())
    suspicious = np.flatnonzero(quality.is_suspicious)
    assert set(suspicious.tolist()) <= set(wrong.tolist())
    assert len(suspicious) >= 25
    assert np.array_equal(quality.proposed, truth)
    assert quality.noise == pytest.approx(0.1, abs=0.03)


def test_no_classifier_has_seen_the_rows_that_it_judges(quality):
    for number, classifier in enumerate(quality.classifiers):
        held_out = np.flatnonzero(quality.fold == number)
        known = classifier.known([str(i) for i in held_out])
        assert not known.any()  # the number of a row is a word of this row alone


def test_the_same_seed_gives_the_same_scores(planted, quality):
    assert np.array_equal(assess_labels(*planted[:2]).suspicion, quality.suspicion)


def test_labels_of_multi_label_texts(planted):
    rows, names, wrong, truth = planted
    sets = TextSplit(rows.texts, [(label,) for label in rows.labels], "sets")
    quality = assess_labels(sets, names)
    assert set(quality.ranking()[: len(wrong)].tolist()) == set(wrong.tolist())
    suspicious = quality.is_suspicious
    assert suspicious.sum() >= 25
    assert np.array_equal(quality.proposed[suspicious].argmax(axis=1), truth[suspicious])


@pytest.mark.parametrize(
    ("texts", "labels"), [(["a"], ["x"]), (["a", "b"], ["x", "y"]), (["a", "b", "c"], ["x"] * 3)]
)
def test_too_few_rows_are_refused(texts, labels):
    with pytest.raises((ConfigError, DataError)):
        assess_labels(TextSplit(texts, labels, "few"), tuple(sorted(set(labels))))
