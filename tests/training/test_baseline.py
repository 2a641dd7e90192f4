"""The baseline learns from the same rows as the model that is measured, and changes nothing."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

import token2wave
from token2wave.data import TextDataset, TextSplit
from token2wave.errors import MissingExtraError
from token2wave.training import baseline as module
from token2wave.training.baseline import costs_less_than, fit_baseline
from token2wave.training.examples import Examples

SETTINGS = {"network.width": 8, "recipe.epochs": 2}


def rows(n: int, seed: int = 0, multi_label: bool = False) -> TextSplit:
    """Texts with a word that gives the label, and three that do not."""
    random = np.random.default_rng(seed)
    labels = random.choice(["sea", "land", "air"], n)
    texts = [f"{label} {' '.join(f'w{i}' for i in random.integers(0, 2_000, 9))}" for label in labels]
    return TextSplit(texts, [(label,) for label in labels] if multi_label else labels.tolist(), "rows")


@pytest.mark.parametrize("n", [300, 1_200], ids=["cross-validation", "held-out"])
def test_without_a_test_set_it_is_scored_on_the_rows_of_the_model(n, monkeypatch, tmp_path):
    fits = []

    def watch(pairs, label_names):
        fits.extend(pairs)
        return fit_baseline(pairs, label_names)

    monkeypatch.setattr("token2wave.pipeline.fit_baseline", watch)
    data = TextDataset("made-up", rows(n))
    plain, compared = tmp_path / "plain", tmp_path / "compared"
    options = {"preset": "fast", "settings": SETTINGS}
    assert token2wave.train(data, out=plain, baseline=False, **options).summary.baseline is None
    summary = token2wave.train(data, out=compared, baseline=True, **options).summary
    assert compared.read_bytes() == plain.read_bytes()
    assert 0.9 < summary.baseline["accuracy"] <= 1
    assert sum(len(test) for _, test in fits) == summary.evaluation["rows"]
    for train, test in fits:
        assert not {*train.texts} & {*test.texts}
    if n == 300:
        assert [len(test) for _, test in fits] == [60] * 5
    else:
        assert len(fits[0][0]) == summary.train_rows


def test_few_different_texts_have_fewer_folds():
    texts, labels = ["a good lamp", "a bad lamp", "a good kettle", "a bad kettle"] * 20, ["good", "bad"] * 40
    data = TextDataset("made-up", TextSplit(texts, labels, "rows"))
    summary = token2wave.train(data, preset="fast", settings=SETTINGS, baseline=True).summary
    assert len(summary.cv["folds"]) == 4
    assert np.isfinite(summary.cv["spread"])
    assert summary.baseline["accuracy"] <= 1


def test_several_labels_are_scored_by_micro_f1():
    splits = TextDataset("made-up", rows(600, 0, True), None, rows(100, 1, True))
    summary = token2wave.train(splits, preset="fast", settings=SETTINGS, baseline=True).summary
    assert summary.baseline["micro_f1"] > 0.9
    assert summary.majority == pytest.approx(0.5, abs=0.03)  # all three of the labels always: 2 / (1 + 3)


def examples(n: int) -> Examples:
    split = rows(n)
    names = sorted(set(split.labels))
    return Examples.of_texts(split.texts, np.array([names.index(label) for label in split.labels]))


class Clock:
    """Time that passes only where a sample is trained on, and where scikit-learn is loaded."""

    def __init__(self, monkeypatch, seconds_a_row: float) -> None:
        self.now, self.samples = 0.0, []

        def train(sample: Examples) -> None:
            self.samples.append(len(sample))
            self.now += seconds_a_row * len(sample)

        monkeypatch.setattr(module, "train_predictor", train)

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "answer", "samples"),
    # A thousandth of a second a row: 8.5 s for all rows, and the samples of 64 and 256 rows take 0.32 s.
    [(8.0, False, [64]), (8.6, False, [64, 256]), (9.0, True, [64, 256])],
)
def test_it_is_automatic_where_it_costs_less_than_training(seconds, answer, samples, monkeypatch):
    import sklearn.svm  # noqa: F401

    clock = Clock(monkeypatch, 0.001)
    assert costs_less_than(seconds, [(examples(8_000), examples(500))], clock) is answer
    assert clock.samples == samples


def test_every_fold_counts(monkeypatch):
    import sklearn.svm  # noqa: F401

    pairs = [(examples(800), examples(200))] * 5
    assert not costs_less_than(4.9, pairs, Clock(monkeypatch, 0.001))
    assert costs_less_than(5.2, pairs, Clock(monkeypatch, 0.001))


def test_short_training_does_not_load_scikit_learn(monkeypatch):
    monkeypatch.delitem(module.sys.modules, "sklearn.svm", raising=False)
    clock = Clock(monkeypatch, 0.0)
    assert not costs_less_than(module.IMPORT_SECONDS - 0.1, [(examples(70), examples(10))], clock)
    assert clock.samples == []


def test_without_scikit_learn_it_is_an_error_only_if_asked_for(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "sklearn" else find_spec(name))
    monkeypatch.setitem(module.sys.modules, "sklearn", None)
    data = TextDataset("made-up", rows(60))
    assert token2wave.train(data, preset="fast", settings=SETTINGS).summary.baseline is None
    with pytest.raises(MissingExtraError, match=r"the baseline needs .*token2wave\[sklearn\]"):
        token2wave.train(data, preset="fast", settings=SETTINGS, baseline=True)


def test_texts_without_words_have_no_automatic_baseline():
    import sklearn.svm  # noqa: F401

    texts = Examples.of_texts(["a", "b"] * 40, np.array([0, 1] * 40))
    assert not costs_less_than(1e9, [(texts, texts)])


def test_a_fold_without_rows_is_left_out():
    """Copies of a text are in one fold, so three different texts fill three folds at most."""
    texts = ["a goal in the last match", "shares of the club fell", "the bank lent more"] * 30
    result = token2wave.train(texts, ["sport", "money", "money"] * 30, preset="fast", epochs=1, baseline=True)
    assert 0 <= result.summary.baseline["accuracy"] <= 1
