"""Novelty: a share of the texts held back, the same in every runtime, and large for foreign texts."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import edited
from specification_reader import PlainReader
from stored_models import KINDS, SPELLED, WORDS, classifier_of
from test_format_specification import HOSTILE, ORDINARY

import token2wave
from token2wave.classifier import Classifier
from token2wave.core import load_core
from token2wave.data import TextDataset, TextSplit
from token2wave.errors import ModelFileError
from token2wave.inference.novelty import MIN_TEXTS, QUANTILES, NoveltyReference

pytestmark = pytest.mark.usefixtures("plain_training")

REFERENCE = NoveltyReference(0.3, (0.31, 0.2), (1.2, 2.0), tuple(np.linspace(-3, 4, len(QUANTILES)).tolist()))
every_kind = pytest.mark.parametrize("kind", KINDS)


def knowing(kind: str) -> Classifier:
    return replace(classifier_of(kind), novelty_reference=REFERENCE)


def topic(n: int, seed: int, words: str) -> list[str]:
    """Texts of a topic: its own words, and some that all texts have."""
    chance = random.Random(seed)
    return [
        " ".join(
            chance.choice(["the", "of", "and", "in"])
            if chance.random() < 0.4
            else f"{chance.choice(words)}{int(chance.expovariate(0.03))}"
            for _ in range(chance.randint(4, 20))
        )
        for _ in range(n)
    ]


def skip_unless_it_trains() -> None:
    if load_core() is None:
        pytest.importorskip("torch")


@pytest.fixture(scope="module")
def trained() -> Classifier:
    texts = topic(1_000, 0, "a") + topic(1_000, 1, "b")
    labelled = TextSplit(texts, ["a"] * 1_000 + ["b"] * 1_000, "generated")
    splits = TextDataset("generated", labelled, None, None, None, ())
    # Trained on the held-back texts afterwards, it would find more evidence in every text than in these.
    settings = {"network.width": 8, "recipe.refit_below": 0}
    skip_unless_it_trains()
    return token2wave.train(splits, preset="fast", epochs=2, settings=settings).classifier


def test_it_is_the_share_of_texts_held_back_that_are_less_novel(trained: Classifier) -> None:
    own = trained.novelty(topic(500, 2, "a") + topic(500, 3, "b"))
    assert own is not None
    assert own.min() >= 0
    assert own.max() <= 1
    assert own.mean() == pytest.approx(0.5, abs=0.08)
    assert (own > 0.9).mean() == pytest.approx(0.1, abs=0.06)


def test_foreign_texts_are_novel(trained: Classifier) -> None:
    own = trained.novelty(topic(200, 2, "a") + topic(200, 3, "b"))
    foreign = trained.novelty(topic(400, 4, "c"))
    assert own is not None
    assert foreign is not None
    assert (foreign[:, None] > own).mean() > 0.95


def test_both_parts_count(trained: Classifier) -> None:
    """Unknown words make a text novel, and so do words that speak for no class."""
    reference = trained.novelty_reference
    assert reference is not None
    known, logits = np.full(3, 20), np.full((3, 2), reference.evidence[0] - np.log(2), dtype=np.float32)
    usual = round(20 * reference.usual_share / (1 - reference.usual_share))
    found = reference.novelty(np.array([0, usual, 60]), known, logits)
    assert found[0] < found[1] < found[2]
    silent = logits + np.array([[2.0], [0.0], [-2.0]], dtype=np.float32) * np.float32(reference.evidence[1])
    found = reference.novelty(np.full(3, usual), known, silent)
    assert found[0] < found[1] < found[2]


def test_of_the_texts_held_back_themselves() -> None:
    chance = np.random.default_rng(0)
    known, unknown = chance.integers(0, 40, 500), chance.integers(0, 40, 500)
    logits = chance.normal(0, 2, (500, 3)).astype(np.float32)
    reference = NoveltyReference.of(unknown, known, logits)
    assert reference is not None
    found = np.sort(reference.novelty(unknown, known, logits))
    np.testing.assert_allclose(found, np.linspace(0, 1, 500), atol=0.025)
    assert NoveltyReference.from_dict(reference.to_dict()) == reference
    few = slice(MIN_TEXTS - 1)
    assert NoveltyReference.of(unknown[few], known[few], logits[few]) is None


def test_no_two_scores_are_equally_novel_beyond_all_that_was_held_back() -> None:
    n_unknown, n_known = np.array([10, 30, 40]), np.array([30, 10, 0])
    logits = np.zeros((3, 3), dtype=np.float32)
    narrow = replace(REFERENCE, unknown=(0.3, 0.02))
    found = narrow.novelty(n_unknown, n_known, logits)
    assert 0.99 < found[1] < found[2] < 1


def test_texts_that_are_all_the_same_have_a_reference() -> None:
    same = NoveltyReference.of(np.full(30, 2), np.full(30, 5), np.zeros((30, 3), dtype=np.float32))
    assert same is not None
    found = same.novelty(np.array([0, 2, 9]), np.array([7, 5, 0]), np.zeros((3, 3), dtype=np.float32))
    assert found[0] == 0
    assert found[2] == 1
    assert NoveltyReference.from_dict(same.to_dict()) == same


@every_kind
def test_what_the_specification_says(kind: str, tmp_path: Path) -> None:
    classifier = knowing(kind)
    classifier.save(tmp_path / "model")
    reader = PlainReader((tmp_path / "model").read_bytes())
    texts = [text for text in ORDINARY + HOSTILE if not kind.startswith("paper") or text.isascii()]
    expected = [reader.novelty(text) for text in texts]
    np.testing.assert_allclose(token2wave.load(tmp_path / "model").novelty(texts), expected, atol=1e-5)
    if not kind.startswith("paper"):
        assert len({round(share, 3) for share in expected}) > 3


@every_kind
def test_numpy_says_what_the_native_core_says(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for native in ("0", "1"):
        monkeypatch.setenv("TOKEN2WAVE_NATIVE", native)
        found.append(knowing(kind).novelty(ORDINARY + HOSTILE))
    np.testing.assert_allclose(*found, atol=1e-5)


@settings(deadline=None, max_examples=30, print_blob=True)
@given(
    kind=st.sampled_from([kind for kind in KINDS if not kind.startswith("paper")]),
    passages=st.lists(
        st.lists(st.sampled_from([*WORDS, *SPELLED]), max_size=8).map(" ".join), min_size=1, max_size=4
    ),
)
def test_a_state_says_what_the_whole_text_says(kind: str, passages: list[str]) -> None:
    classifier = knowing(kind)
    state = classifier.state().update(passages[0])
    for passage in passages[1:]:
        state.merge(classifier.state().update(passage))
    whole = classifier.predict(" ".join(passages), novelty=True)
    assert state.predict().novelty == pytest.approx(whole.novelty, abs=1e-5)
    state.update("good zzz").remove("good zzz")
    assert state.novelty() == pytest.approx(whole.novelty, abs=1e-5)


def test_it_is_asked_for() -> None:
    classifier, texts = knowing("fast"), ["a b", "zzz yyy"]
    assert classifier.predict(texts[0]).novelty is None
    assert [prediction.novelty for prediction in classifier.predict_batch(texts)] == [None, None]
    together = classifier.novelty(texts)
    assert together is not None
    asked = classifier.predict_batch(texts, novelty=True)
    assert [prediction.novelty for prediction in asked] == together.tolist()
    assert [prediction.label for prediction in asked] == classifier.labels(texts)
    assert classifier.predict(texts[1], novelty=True).novelty == together[1]
    empty = classifier.novelty([])
    assert empty is not None
    assert empty.shape == (0,)


def test_a_model_that_does_not_know_it() -> None:
    classifier = classifier_of("fast")
    assert classifier.novelty(["a"]) is None
    assert classifier.predict("a", novelty=True).novelty is None
    assert classifier.predict_batch(["a"], novelty=True)[0].novelty is None
    assert classifier.state().update("a").predict().novelty is None


@pytest.mark.parametrize("texts", ["a b", ["a", 3]])
def test_what_is_no_list_of_texts(texts: Any) -> None:
    with pytest.raises(TypeError, match="expected"):
        knowing("fast").novelty(texts)


@pytest.mark.parametrize(
    "change",
    [
        {"scores": [1.0]},
        {"scores": list(range(len(QUANTILES)))[::-1]},
        {"scores": ["a"] * len(QUANTILES)},
        {"scores": [float("nan")] * len(QUANTILES)},
        {"unknown": [0.1, 0.0]},
        {"unknown": [0.1]},
        {"unknown": None},
        {"evidence": [float("inf"), 1.0]},
        {"evidence": [1.0, -1.0]},
        {"usual_share": 2.0},
        {"usual_share": "a"},
    ],
)
def test_damaged_numbers_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    knowing("fast").save(tmp_path / "model")
    edited(tmp_path / "model", lambda metadata: metadata["novelty"].update(change))
    with pytest.raises(ModelFileError, match="'novelty'"):
        token2wave.load(tmp_path / "model")


@pytest.mark.parametrize("value", [3, [], "a", {}])
def test_a_damaged_section_is_refused(value: Any, tmp_path: Path) -> None:
    knowing("fast").save(tmp_path / "model")
    edited(tmp_path / "model", lambda metadata: metadata.update(novelty=value))
    with pytest.raises(ModelFileError, match="'novelty'"):
        token2wave.load(tmp_path / "model")


def test_compression_keeps_it_or_says_it_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_unless_it_trains()
    monkeypatch.chdir(tmp_path)
    rows = [(text, label) for label in "ab" for text in topic(200, 5, label)]
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    Path("rows.jsonl").write_text("\n".join(lines))
    tiny = {"network.width": 8, "features.bits": 14, "recipe.refit_below": 0}
    token2wave.train("rows.jsonl", out="model", preset="fast", epochs=1, settings=tiny)
    before = token2wave.load("model").novelty_reference
    assert before is not None
    same = token2wave.compress("model", "int8", data="rows.jsonl", storage="int8").classifier
    assert same.novelty_reference == before
    fewer = token2wave.compress("model", "small", data="rows.jsonl", max_size=8_000).classifier
    assert fewer.features.n_rows < same.features.n_rows
    anew = fewer.novelty_reference
    assert anew is not None
    assert anew.usual_share > before.usual_share
    assert Path("small").stat().st_size <= 8_000
