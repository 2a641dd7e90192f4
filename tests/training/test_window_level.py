"""Training the window level: when it is tried, when it stays, and what it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import token2wave
from token2wave.classifier import Classifier
from token2wave.features import WordConfig, WordFeatures
from token2wave.features.hashed_texts import HashedTexts
from token2wave.inference.windows import WINDOW_WORDS, Windows
from token2wave.training import window_level
from token2wave.training.examples import Examples
from token2wave.training.window_level import fit_window_level, wants_window_level

CLASSES, N_WORDS = 3, 700
OFF = {"recipe.windows_from": 0}
ONCE = {"recipe.refit_below": 1000}  # no second training and no cross-validation


def documents(n: int, seed: int, passage: int = 30, n_words: int = N_WORDS) -> tuple[list[str], list[str]]:
    """Texts in which the words of all classes are as frequent, but for one passage; and their classes."""
    random = np.random.default_rng(seed)
    texts, labels = [], []
    for label in np.arange(n) % CLASSES:
        words = [f"w{i}" for i in random.integers(0, 300, n_words)]
        for place in np.flatnonzero(random.random(n_words) < 0.12):
            words[place] = f"c{random.integers(CLASSES)}x{random.integers(10)}"
        start = random.integers(n_words - passage)
        for place in range(start, start + passage, 2):
            words[place] = f"c{label}x{random.integers(10)}"
        texts.append(" ".join(words))
        labels.append(f"class {label}")
    return texts, labels


def trained(data: tuple[list[str], Any], **options: Any) -> Classifier:
    options = {"preset": "fast", "epochs": 2, "baseline": False, "device": "cpu", **options}
    return token2wave.train(*data, **options).classifier


def accuracy(classifier: Classifier, data: tuple[list[str], list[str]]) -> float:
    return float(np.mean(np.array(classifier.labels(data[0])) == np.array(data[1])))


def test_one_passage_decides_long_texts(tmp_path: Path) -> None:
    data, others = documents(240, 0), documents(150, 1)
    whole = trained(data, settings={**OFF, **ONCE})
    result = token2wave.train(*data, preset="fast", epochs=2, device="cpu", baseline=False)
    classifier = result.classifier
    assert classifier.network.config.window_words == WINDOW_WORDS
    assert accuracy(whole, others) < 0.75
    assert accuracy(classifier, others) > 0.95
    # Cross-validation has the level, too, so its figure is that of the model.
    assert result.summary.evaluated_on == "cross-validation"
    assert result.summary.accuracy is not None
    assert result.summary.accuracy > 0.9
    # The explanation points to the passage.
    text = " ".join(["w1"] * 400 + [f"c1x{i % 10}" for i in range(25)] + ["w2"] * 400)
    explanation = classifier.explain(text)
    assert explanation.label == "class 1"
    assert explanation.passage is not None
    start, end = explanation.passage
    assert start <= text.index("c1x0")
    assert end >= text.rindex("c1x4") + 4
    classifier.save(tmp_path / "model.safetensors")
    loaded = token2wave.load(tmp_path / "model.safetensors")
    assert np.array_equal(loaded.probabilities(others[0]), classifier.probabilities(others[0]))


def test_with_many_rows_validation_texts_decide() -> None:
    """Beyond `refit_below` there is no second training, and the level learns from all rows in the end."""
    data, others = documents(360, 2), documents(150, 3)
    classifier = trained(data, settings={**ONCE, "recipe.refit_linear_svm": True})
    assert classifier.training["refit_linear_svm"] is True
    assert classifier.network.config.window_words
    assert accuracy(classifier, others) > 0.95


def test_several_labels() -> None:
    texts, labels = documents(300, 4)
    others, truth = documents(150, 5)
    sets = [[label, "long"] for label in labels]
    whole = trained((texts, sets), multi_label=True, settings={**OFF, **ONCE})
    classifier = trained((texts, sets), multi_label=True, settings=ONCE)
    expected = [[label, "long"] for label in truth]
    assert classifier.network.config.window_words
    assert classifier.evaluate(others, expected).micro_f1 > whole.evaluate(others, expected).micro_f1 + 0.1


@pytest.mark.parametrize("case", ["short texts", "no passage", "topics", "max_size"])
def test_other_models_are_as_before(case: str, tmp_path: Path) -> None:
    """The same file without the level: for short texts, where it does not help, and with a limit of size."""
    options: dict[str, Any] = {}
    if case == "short texts":
        data = documents(120, 6, n_words=300)
    elif case == "no passage":
        data = documents(90, 7, passage=0)
    elif case == "topics":  # all of a text decides
        texts, labels = documents(90, 8)
        data = [text.replace("w1", f"w{y[-1]} w1") for text, y in zip(texts, labels, strict=True)], labels
    else:
        data, options = documents(30, 0, n_words=520), {"max_size": "3MB", "preset": "fast"}
    files = []
    for name, settings in (("on", ONCE), ("off", {**OFF, **ONCE})):
        path = tmp_path / f"{name}.safetensors"
        classifier = trained(data, settings=settings, **options)
        assert not classifier.network.config.window_words
        classifier.training.clear()  # it names settings and times
        classifier.save(path)
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_when_it_is_tried() -> None:
    texts, labels = documents(9, 9)
    classifier = trained((texts * 4, labels * 4), settings=OFF)
    examples = Examples.of_texts(texts, np.arange(9) % CLASSES)
    recipe = token2wave.Recipe(windows_from=N_WORDS)
    network, features = classifier.network, classifier.features
    assert wants_window_level(recipe, network, features, examples)
    assert not wants_window_level(recipe.replace(windows_from=N_WORDS + 1), network, features, examples)
    assert not wants_window_level(recipe.replace(windows_from=0), network, features, examples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_level, "MAX_WEIGHTS", features.n_rows * CLASSES - 1)
        assert not wants_window_level(recipe, network, features, examples)


def test_windows_are_chosen_by_solutions_that_have_not_seen_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words that one text alone has must not choose its windows: they say nothing about others."""
    texts, _ = documents(60, 10)
    texts = [text.replace(" w1", f" own{i} w1") for i, text in enumerate(texts)]
    numbers = np.arange(60) % CLASSES
    features = WordFeatures.fit(texts, WordConfig(min_count=1))
    examples = Examples.of_texts(texts, numbers).encode(features)
    seen: list[tuple[int, Any]] = []
    choose = window_level._choose

    def spy(piece: Any, solution: Any) -> Any:
        seen.append((piece.fold, solution.weights.copy()))
        return choose(piece, solution)

    monkeypatch.setattr(window_level, "_choose", spy)
    level = fit_window_level(examples, features.n_rows, CLASSES, seed=0)
    assert len(seen) == window_level.FOLDS * window_level.ROUNDS
    words = np.unique(examples.features.ids[examples.features.is_ordered])
    order = np.random.default_rng(0).permutation(60)
    for fold, weights in seen:
        of_fold = set(order[fold :: window_level.FOLDS].tolist())
        rest = features([text for i, text in enumerate(texts) if i not in of_fold])
        alone = np.isin(words, rest.ids[rest.is_ordered], invert=True)  # rows of this fold's texts alone
        assert alone.any()
        assert not weights[alone].any()
    windows = Windows.of(examples.features, WINDOW_WORDS)
    assert windows.scores(level.weights).shape == (windows.offsets[-1], CLASSES)


def test_the_texts_are_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, labels = documents(240, 0)
    hashed: list[int] = []
    original = HashedTexts.hash

    def hash(self: HashedTexts, advance: Any = None) -> None:
        if self._source is None and self._hashes is None:
            hashed.append(len(self))
        original(self, advance)

    monkeypatch.setattr(HashedTexts, "hash", hash)
    assert trained((texts, labels), settings=ONCE).network.config.window_words
    assert hashed.count(240) == 1


@pytest.mark.parametrize(
    ("options", "reason"), [({"max_size": "1GB"}, "for a size limit"), ({"target": "score"}, "on scores")]
)
def test_training_says_that_long_texts_get_no_level(options: dict[str, Any], reason: str) -> None:
    texts, labels = documents(120, 0)
    values = [i % 7 for i in range(len(texts))] if "target" in options else labels
    result = token2wave.train(texts, values, preset="fast", epochs=1, baseline=False, **options)
    assert not result.classifier.network.config.window_words
    note = f"The texts are long, and training {reason} tries no window level."
    assert result.summary.caveats.count(note) == 1
    short = token2wave.train(
        [text[:200] for text in texts], values, preset="fast", epochs=1, baseline=False, **options
    )
    assert note not in short.summary.caveats
