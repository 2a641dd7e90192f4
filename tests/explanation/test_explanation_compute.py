"""Effects equal predicting again without the part, and energies are shares."""

from __future__ import annotations

import functools
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from token2wave.classifier import Classifier
from token2wave.errors import ConfigError
from token2wave.features import WordConfig, WordFeatures, WordPieceConfig, WordPieceFeatures
from token2wave.models import WaveConfig, WaveNetwork

WORDS = ["a", "b", "c", "d", "good", "bad", "film", "don't", "3.5", "!", ",", "x-ray", "unseen", "zzz"]
ENTRIES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", ".", "!", "##s", "a", "b")
PROPERTY = settings(deadline=None, max_examples=30, print_blob=True)
MODELS: dict[str, dict[str, Any]] = {
    "fast": {"variants": "rows", "readout": "text", "operation": "interference"},
    "small": {"variants": "rows", "readout": "text", "context_width": 8, "context_radius": 3},
    "linear_svm": {"variants": "rows", "readout": "text", "context_width": 8, "linear_svm": True},
    "cls": {"variants": "linear", "readout": "cls", "context_width": 8, "context_radius": 2},
    "trigrams": {"variants": "rows", "readout": "cls"},
    "paper": {"variants": "linear", "readout": "cls"},
}


@functools.cache
def model(name: str) -> Classifier:
    shape = MODELS[name]
    features: Any
    if name == "paper":
        features = WordPieceFeatures(WordPieceConfig(max_tokens=40), ENTRIES)
    else:
        known = [" ".join(random.Random(0).choices(WORDS[:-2], k=2_000))]
        settings_ = WordConfig(
            bits=22, min_count=1, cls=shape["readout"] == "cls", ngrams=3 if name == "trigrams" else 2
        )
        features = WordFeatures.fit(known, settings_)
    torch.manual_seed(0)
    config = WaveConfig(features.n_rows, 3, width=8, embedding_scale=1.0, **shape)
    return Classifier(features, WaveNetwork(config).eval(), ("a", "b", "c"))


every_model = pytest.mark.parametrize("name", MODELS)


@every_model
@PROPERTY
@given(
    words=st.lists(st.sampled_from(WORDS), max_size=25),
    gap=st.sampled_from([" ", "\n", ". "]),
    unit=st.sampled_from(["token", "word", "sentence"]),
)
@example(words=["good", "good", "goods", "bad."] * 12, gap=" ", unit="token")
@example(words=["good", "a"], gap=". ", unit="sentence")
def test_effects_are_those_of_predicting_again(name: str, words: list[str], gap: str, unit: str) -> None:
    text = gap.join(words)
    found = model(name).explain(text, unit)
    whole = model(name).probabilities([text])[0]
    np.testing.assert_allclose(found.probabilities, whole, atol=1e-6)
    without = [f"{text[: part.start]} {text[part.end :]}" for part in found.parts]
    if name == "paper":  # a piece inside a word cannot be blanked out without making another word
        codes = model(name).features.tokens(text).codes
        if unit != "sentence" or len(codes) > 38:
            return
    again = model(name).probabilities(without)
    effects = np.array([part.effects for part in found.parts]).reshape(-1, 3)
    np.testing.assert_allclose(effects, whole - again, rtol=0, atol=1e-6)


@every_model
@PROPERTY
@given(text=st.text(max_size=60) | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_energies_are_shares(name: str, text: str) -> None:
    found = model(name).explain(text)
    total = sum(part.energy for part in found.parts)
    assert all(part.energy >= 0 for part in found.parts)
    assert total == pytest.approx(1) or (total == 0 and not any(part.known for part in found.parts))


@every_model
def test_parts_cover_the_tokens(name: str) -> None:
    text = "A good film. It's bad!\nfilms, zzz"
    for unit, wanted in (
        ("sentence", ["A good film.", "It's bad!", "films, zzz"]),
        ("word", None),
        ("token", None),
    ):
        found = model(name).explain(text, unit)
        parts = [text[part.start : part.end] for part in found.parts]
        if wanted is not None:
            assert parts == wanted
        assert "".join(parts).replace(" ", "") == "".join(text.split())


def test_words_of_pieces_are_whole() -> None:
    found = model("paper").explain("films goods", "word")
    assert [found.text[part.start : part.end] for part in found.parts] == ["films", "goods"]
    pieces = model("paper").explain("films goods", "token")
    assert [pieces.text[part.start : part.end] for part in pieces.parts] == ["film", "s", "good", "s"]


def test_pieces_are_left_out_one_by_one() -> None:
    classifier = model("paper")
    codes = classifier.features.tokens("films good a").codes
    found = classifier.explain("films good a", "token")
    for number, part in enumerate(found.parts):
        left = np.delete(codes, number)
        logits = classifier.network.logits(classifier.features.of_tokens(left, np.array([0, len(left)])))[0]
        np.testing.assert_allclose(np.array(found.logits) - part.logit_effects, logits, atol=2e-6)


def test_energy_of_a_word_pair_is_shared() -> None:
    classifier = model("fast")
    found = classifier.explain("good film")
    rows = classifier.features(["good film"]).ids
    energy = (classifier.network.arrays()["embedding.weight"][rows].astype(float) ** 2).sum(axis=1)
    good, film, pair = energy
    assert found.parts[0].energy == pytest.approx((good + pair / 2) / energy.sum())
    assert found.parts[1].energy == pytest.approx((film + pair / 2) / energy.sum())


def test_unknown_words_say_so() -> None:
    found = model("fast").explain("good zzz")
    assert [part.known for part in found.parts] == [True, False]
    nothing = model("fast").explain("zzz unseen")
    assert [part.energy for part in nothing.parts] == [0, 0]
    assert model("fast").explain("").parts == ()


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ConfigError, match="token, word, sentence"):
        model("fast").explain("a", "letter")
    with pytest.raises(TypeError, match="one string"):
        model("fast").explain(["a"])  # type: ignore[arg-type]


def test_a_long_text_is_explained_in_parts() -> None:
    text = " ".join(random.Random(1).choices(WORDS, k=1_500))
    found = model("small").explain(text)
    assert len(found.parts) > 1_500
    for number in (0, 255, 256, len(found.parts) - 1):
        part = found.parts[number]
        again = model("small").probabilities([f"{text[: part.start]} {text[part.end :]}"])[0]
        np.testing.assert_allclose(np.array(found.probabilities) - part.effects, again, atol=1e-6)


def test_a_stopped_explanation_says_so() -> None:
    """Its parts are those of a complete one, from the beginning of the text."""
    text = " ".join(random.Random(1).choices(WORDS, k=1_500))
    complete = model("small").explain(text)
    answers = iter([False, False, True])
    stopped = model("small").explain(text, should_stop=lambda: next(answers))
    assert complete.complete
    assert not stopped.complete
    assert 0 < len(stopped.parts) < len(complete.parts)
    assert stopped.parts == complete.parts[: len(stopped.parts)]
    assert stopped.to_dict()["complete"] is False
    assert model("small").explain(text, should_stop=lambda: True).parts == ()
