"""Streaming, merging and removing: equal to predicting the whole text at once."""

from __future__ import annotations

import functools
import itertools
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_models import ENTRIES

import token2wave
from token2wave.classifier import Classifier
from token2wave.errors import ConfigError, DataError, ModelFileError
from token2wave.features import WordConfig, WordFeatures, WordPieceConfig, WordPieceFeatures
from token2wave.inference import routes
from token2wave.inference.compiled import compile_network
from token2wave.inference.state import SlidingWindow, whole_words
from token2wave.models import WaveConfig, WaveNetwork

PROPERTY = settings(deadline=None, max_examples=30, print_blob=True)
WORDS = ["a", "b", "c", "d", "e", "good", "bad", "film", "don't", "3.5", "!", ",", "x-ray", "unseen", "zzz"]
CLOSE = {"rtol": 0, "atol": 1e-6}
MODELS = {
    "fast": {"variants": "rows", "readout": "text", "operation": "interference"},
    "small": {"variants": "rows", "readout": "text", "context_width": 8, "context_radius": 3},
    "small with amplitudes": {
        "variants": "rows",
        "readout": "text",
        "context_width": 8,
        "context_radius": 2,
        "linear_svm": True,
    },
    "cls with amplitudes": {"variants": "rows", "readout": "cls", "linear_svm": True},
    "far": {"variants": "linear", "readout": "text", "context_width": 8, "context_radius": 1},
    "cls": {"variants": "linear", "readout": "cls", "context_width": 8, "context_radius": 2},
    "trigrams": {"variants": "rows", "readout": "cls"},
    "paper": {"variants": "linear", "readout": "cls"},
    "paper with phrases": {"variants": "linear", "readout": "text", "context_width": 8, "context_radius": 2},
}


@functools.cache
def model(name: str) -> Classifier:
    shape: dict[str, Any] = MODELS[name]
    features: Any
    if name.startswith("paper"):
        features = WordPieceFeatures(WordPieceConfig(max_tokens=10_000), ENTRIES)
    else:
        known = [" ".join(random.Random(0).choices(WORDS[:-2], k=2_000))]
        config = WordConfig(
            bits=14, min_count=1, cls=shape["readout"] == "cls", ngrams=3 if name == "trigrams" else 2
        )
        features = WordFeatures.fit(known, config)
    torch.manual_seed(0)
    config = WaveConfig(features.n_rows, 3, width=8, embedding_scale=1.0, **shape)
    return Classifier(features, WaveNetwork(config).eval(), ("a", "b", "c"))


def at_once(name: str, passages: list[str]) -> np.ndarray:
    return model(name).probabilities([" ".join(passages)])[0]


passages_of_words = st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), max_size=8)
every_model = pytest.mark.parametrize("name", MODELS)


@every_model
@PROPERTY
@given(passages=passages_of_words, removable=st.booleans())
def test_passages_one_after_the_other(name: str, passages: list[str], removable: bool) -> None:
    state = model(name).state(removable)
    for passage in passages:
        state.update(passage)
    np.testing.assert_allclose(state.probabilities(), at_once(name, passages), **CLOSE)
    assert state.n_tokens == len(model(name).features.tokens(" ".join(passages)).codes)


@every_model
@PROPERTY
@given(left=passages_of_words, right=passages_of_words, more=passages_of_words, removable=st.booleans())
def test_merging(name: str, left: list[str], right: list[str], more: list[str], removable: bool) -> None:
    states = []
    for passages in (left, right, more):
        states.append(model(name).state(removable))
        for passage in passages:
            states[-1].update(passage)
    first, second, third = states
    untouched = second.probabilities()
    first.merge(second.merge(third))
    np.testing.assert_allclose(first.probabilities(), at_once(name, left + right + more), **CLOSE)
    np.testing.assert_allclose(second.probabilities(), at_once(name, right + more), **CLOSE)
    first.update("good x-ray")  # its edges are right, too
    np.testing.assert_allclose(
        first.probabilities(), at_once(name, [*left, *right, *more, "good x-ray"]), **CLOSE
    )
    assert untouched.shape == (3,)


@every_model
@PROPERTY
@given(passages=passages_of_words.filter(bool), data=st.data())
@example(passages=["a b", "a b", "c"], data=None)
def test_removing(name: str, passages: list[str], data: Any) -> None:
    state = model(name).state()
    for passage in passages:
        state.update(passage)
    tokens = model(name).features.tokens
    which = data.draw(st.integers(0, len(passages) - 1)) if data else 1
    removed = passages[which]
    state.remove(removed)
    full_train, gone = (tokens(text).codes.tolist() for text in (" ".join(passages), removed))
    first = next(i for i in range(len(full_train) + 1) if full_train[i : i + len(gone)] == gone)
    left = np.array(full_train[:first] + full_train[first + len(gone) :], dtype=np.uint64)
    features = model(name).features.of_tokens(left, np.array([0, len(left)]))
    logits = model(name).network.logits(features)[0]
    powers = np.exp(logits - logits.max())
    np.testing.assert_allclose(state.probabilities(), powers / powers.sum(), **CLOSE)
    assert state.n_tokens == len(left)
    state.update("bad film")
    assert np.isfinite(state.probabilities()).all()


@every_model
@PROPERTY
@given(passages=passages_of_words, n_tokens=st.integers(1, 30))
def test_a_window_is_its_last_tokens(name: str, passages: list[str], n_tokens: int) -> None:
    window = model(name).window(n_tokens)
    for passage in passages:
        window.update(passage)
    codes = model(name).features.tokens(" ".join(passages)).codes[-n_tokens:]
    fresh = model(name).state()
    fresh._append(codes)
    np.testing.assert_allclose(window.probabilities(), fresh.probabilities(), **CLOSE)


@pytest.mark.parametrize("name", ["fast", "small"])
def test_a_million_tokens_through_a_window(name: str) -> None:
    """The sums stay those of the window, and nothing grows."""
    generator = random.Random(1)
    window = SlidingWindow(model(name), 500)
    passage = ""
    for _ in range(100):
        passage = " ".join(generator.choices(WORDS, k=10_000))
        window.update(passage)
    last = model(name).features.tokens(passage).codes[-500:]
    fresh = model(name).state()
    fresh._append(last)
    np.testing.assert_allclose(window.probabilities(), fresh.probabilities(), **CLOSE)
    assert window.state.n_tokens == 500
    assert len(window.state._journal or b"") == 4_000


def test_without_tokens_memory_does_not_grow_and_nothing_can_be_removed() -> None:
    state = model("small").state(removable=False)
    sizes = []
    for _ in range(3):
        state.update("unseen zzz good bad film " * 500)
        sizes.append(len(state.to_bytes()))
    assert max(sizes) - min(sizes) < 64
    with pytest.raises(ConfigError, match="removable=True"):
        state.remove("good")
    with pytest.raises(ConfigError, match="both removable"):
        model("small").state().merge(state)


def test_words_that_are_not_there_cannot_be_removed() -> None:
    state = model("fast").state().update("good film")
    before = state.probabilities()
    with pytest.raises(DataError, match="'bad film'"):
        state.remove("bad film")
    np.testing.assert_array_equal(state.probabilities(), before)
    assert state.remove("").n_tokens == 2
    np.testing.assert_allclose(state.remove("good film").probabilities(), at_once("fast", []), **CLOSE)


@every_model
@pytest.mark.parametrize("removable", [True, False])
def test_packed_states_go_on_where_they_were(name: str, removable: bool) -> None:
    state = model(name).state(removable).update("a b c good zzz").update("bad 3.5 film")
    twin = model(name).state_from_bytes(state.to_bytes())
    for one in (state, twin):
        one.update("don't !").merge(model(name).state(removable).update("x-ray a b"))
    np.testing.assert_allclose(twin.probabilities(), state.probabilities(), **CLOSE)
    assert twin.n_tokens == state.n_tokens
    assert model(name).state_from_bytes(twin.to_bytes()).to_bytes() == twin.to_bytes()


def test_packed_states_of_others_or_damaged_are_refused() -> None:
    packed = model("fast").state().update("a b c").to_bytes()
    with pytest.raises(ModelFileError, match="another"):
        model("small").state_from_bytes(packed)
    long_header = b"{" + b" " * (1 << 17) + packed[9 : 8 + (size := int.from_bytes(packed[:8], "little"))]
    with pytest.raises(ModelFileError, match="its header has"):
        model("fast").state_from_bytes(
            len(long_header).to_bytes(8, "little") + long_header + packed[8 + size :]
        )
    generator = random.Random(3)
    for _ in range(500):
        broken = bytearray(packed)
        for _ in range(generator.randint(1, 4)):
            broken[generator.randrange(len(broken))] = generator.randrange(256)
        cut = bytes(broken[: generator.randrange(len(broken) + 1)] if generator.random() < 0.3 else broken)
        try:
            found = model("fast").state_from_bytes(cut)
        except ModelFileError:
            continue
        assert np.isfinite(found.probabilities()).all()


def test_states_of_different_models_do_not_merge() -> None:
    with pytest.raises(ConfigError, match="same model"):
        model("fast").state().merge(model("small").state())


def test_states_of_one_file_loaded_twice_merge(tmp_path: Any) -> None:
    model("fast").save(tmp_path / "model")
    one, other = (token2wave.load(tmp_path / "model") for _ in range(2))
    merged = one.state().update("good a b").merge(other.state().update("c film"))
    np.testing.assert_allclose(merged.probabilities(), at_once("fast", ["good a b c film"]), **CLOSE)


def test_networks_that_do_not_compile_say_why() -> None:
    features = model("fast").features
    network = WaveNetwork(WaveConfig(features.n_rows, 2, width=8, layers=2, readout="mean"))
    deep = Classifier(features, network, ("a", "b"))
    for ask in (deep.state, lambda: deep.window(3), lambda: deep.explain("a b")):
        with pytest.raises(ConfigError, match="2 layers"):
            ask()


@pytest.mark.parametrize("text", [None, 3, b"a"])
def test_what_is_no_string_is_refused(text: Any) -> None:
    with pytest.raises(TypeError, match="expected one string"):
        model("fast").state().update(text)
    with pytest.raises(ConfigError, match="at least 1"):
        model("fast").window(0)


@PROPERTY
@given(st.lists(st.text("ab \n\t'é", max_size=6)))
@example(["hel", "lo wor", "ld", " ", "", "x"])
def test_chunks_become_passages_of_whole_words(chunks: list[str]) -> None:
    passages = list(whole_words(chunks))
    assert "".join(passages) == "".join(chunks)
    for left, right in itertools.pairwise(passages):
        assert left[-1].isspace() or not right
    state = model("fast").state()
    for passage in passages:
        state.update(passage)
    np.testing.assert_allclose(state.probabilities(), at_once("fast", ["".join(chunks)]), **CLOSE)


@pytest.mark.parametrize("name", ["fast", "small", "trigrams"])
def test_long_texts_go_piece_by_piece_through_numpy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(random.Random(2).choices([*WORDS, "a" * 300, "''"], k=400))
    expected = model(name).probabilities([text, "good", text])
    monkeypatch.setenv("TOKEN2WAVE_NATIVE", "0")
    monkeypatch.setattr(routes, "LONG_TEXT", 100)
    twin = Classifier(
        model(name).features,
        compile_network(model(name).network.config, model(name).network.arrays()),
        ("a", "b", "c"),
    )
    np.testing.assert_allclose(twin.probabilities([text, "good", text]), expected, **CLOSE)
