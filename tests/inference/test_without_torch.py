"""What the base install does: nothing here needs torch, neither to make a model nor to predict with it."""

from __future__ import annotations

import copy
import functools
import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_models import ENTRIES, random_arrays

import token2wave
from token2wave.classifier import Classifier
from token2wave.core import load_core
from token2wave.errors import MissingExtraError
from token2wave.features import Features, WordConfig, WordFeatures, WordPieceConfig, WordPieceFeatures
from token2wave.inference.compiled import compile_network
from token2wave.models import ParameterCount, WaveConfig
from token2wave.training.additive_network import AdditiveNetwork

PROPERTY = settings(deadline=None, max_examples=25, print_blob=True)
WORDS = ["a", "b", "c", "good", "bad", "film", "films", "don't", "3.5", "!", ".", "é", "中", "👍"]
LABELS = ("neg", "pos é", "日本")
CLOSE = {"rtol": 0, "atol": 2e-6}
MODELS: dict[str, dict[str, Any]] = {
    "fast": {"variants": "rows", "readout": "text", "operation": "interference"},
    "small": {"variants": "rows", "readout": "text", "context_width": 8, "context_radius": 2},
    "linear_svm": {"variants": "rows", "readout": "text", "context_width": 8, "linear_svm": True},
    "cls": {"variants": "linear", "readout": "cls", "context_width": 8},
    "narrow": {"variants": "rows", "readout": "text", "width": 5},  # the core has no such widths
    "paper": {"variants": "linear", "readout": "cls"},
    "paper with phrases": {"variants": "linear", "readout": "text", "context_width": 8},
}
every_model = pytest.mark.parametrize("name", MODELS)
needs_core = pytest.mark.skipif(load_core() is None, reason="the native core is not built")
without_core = functools.partial(mock.patch.dict, os.environ, TOKEN2WAVE_NATIVE="0")

characters = st.one_of(
    st.sampled_from("aAİıẞ'’ .!\0\n\u0301\u200d\u202e\u2028\u00a0\ufeff\uffff👍🏽中ไʼ_"),
    st.integers(0, 0x10FFFF).map(chr),  # lone surrogates too
)
hostile = st.one_of(
    st.text(characters, max_size=40),
    st.lists(st.one_of(st.sampled_from([*WORDS, "x" * 200]), characters), max_size=12).map(" ".join),
)
passages_of_words = st.lists(st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join), max_size=6)


def features_of(name: str) -> Features:
    if name.startswith("paper"):
        return WordPieceFeatures(WordPieceConfig(max_tokens=10_000), (*ENTRIES, "中", "é", "!", "a", "##a"))
    known = [" ".join(random.Random(0).choices(WORDS, k=500))]
    return WordFeatures.fit(known, WordConfig(bits=14, min_count=1, cls=MODELS[name]["readout"] == "cls"))


@functools.cache
def model(name: str) -> Classifier:
    features = features_of(name)
    config = WaveConfig(features.n_rows, len(LABELS), **{"width": 8, **MODELS[name]})
    return Classifier(features, compile_network(config, random_arrays(config, seed=1, spread=0.5)), LABELS)


@functools.cache
def model_in_numpy(name: str) -> Classifier:
    with without_core():
        twin = copy.deepcopy(model(name))
    assert twin.computes_with == "numpy"
    return twin


def at_once(name: str, passages: list[str]) -> np.ndarray:
    return model(name).probabilities([" ".join(passages)])[0]


# Predicting -----------------------------------------------------------------------------------------


def slow_probabilities(classifier: Classifier, text: str) -> np.ndarray:
    """Those of a model like `fast`, as the formulas say, one text and one number at a time."""
    config, arrays = classifier.network.config, classifier.network.arrays()
    rows = [arrays["embedding.weight"][row].tolist() for row in classifier.features([text]).ids]
    share = 1 / max(len(rows), 1)
    means = [share * math.fsum(row[i] for row in rows) for i in range(2 * config.width)]
    deviations = [
        math.sqrt(share * math.fsum((row[i] - mean) ** 2 for row in rows)) for i, mean in enumerate(means)
    ]
    d = config.width
    overlay = [parts[i] + parts[d + i] for parts in (means, deviations) for i in range(d)]

    def linear(name: str, values: list[float]) -> list[float]:
        weights, bias = arrays[name + ".weight"].tolist(), arrays[name + ".bias"].tolist()
        return [
            math.fsum(w * x for w, x in zip(row, values, strict=True)) + b
            for row, b in zip(weights, bias, strict=True)
        ]

    state = linear("layers.0.restore.linear", overlay)
    centre = math.fsum(state) / d
    size = math.sqrt(math.fsum((x - centre) ** 2 for x in state) / d + 1e-5)
    scale, shift = arrays["norm.weight"].tolist(), arrays["norm.bias"].tolist()
    normed = [(x - centre) / size * w + b for x, w, b in zip(state, scale, shift, strict=True)]
    powers = [math.exp(logit) for logit in linear("head", normed)]
    return np.array([power / math.fsum(powers) for power in powers])


@PROPERTY
@given(hostile)
@example("")
@example("a good film. a bad film!")
def test_probabilities_are_those_of_the_formulas(text: str) -> None:
    expected = slow_probabilities(model("fast"), text)
    np.testing.assert_allclose(model("fast").probabilities([text])[0], expected, rtol=1e-4, atol=1e-5)
    with without_core():
        np.testing.assert_allclose(
            model_in_numpy("fast").probabilities([text])[0], expected, rtol=1e-4, atol=1e-5
        )


@every_model
@PROPERTY
@given(texts=st.lists(hostile, max_size=6))
@example(texts=[])
@example(texts=["", "\ud800", "don't", "\udc00a"])
def test_any_strings_are_classified(name: str, texts: list[str]) -> None:
    classifier = model(name)
    probabilities = classifier.probabilities(texts)
    assert (probabilities.shape, probabilities.dtype) == ((len(texts), len(LABELS)), np.float32)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert classifier.labels(texts) == [LABELS[row] for row in probabilities.argmax(axis=1)]
    for text, row, in_batch in zip(texts, probabilities, classifier.predict_batch(texts, 9), strict=True):
        for found in (in_batch, classifier.predict(text, top_k=9)):
            shares = dict(found.top)
            np.testing.assert_allclose([shares[label] for label in LABELS], row, **CLOSE)
            assert list(shares.values()) == sorted(shares.values(), reverse=True)
            assert (found.label, found.probability) == found.top[0]


@needs_core
@every_model
@PROPERTY
@given(texts=st.lists(hostile, max_size=5))
def test_native_equals_numpy(name: str, texts: list[str]) -> None:
    found = model(name).probabilities(texts)
    assert model(name).network.runs_natively == (name != "narrow")
    np.testing.assert_allclose(found, model_in_numpy(name).probabilities(texts), rtol=0, atol=1e-5)


def test_an_additive_network_predicts_while_it_is_trained() -> None:
    features = features_of("fast")
    config = WaveConfig(features.n_rows, len(LABELS), width=8, **MODELS["fast"])
    network = AdditiveNetwork.initial(config, seed=3)
    classifier = Classifier(features, network, LABELS)
    compiled = Classifier(features, compile_network(config, network.arrays()), LABELS)
    texts = ["a good film", "", "bad!"]
    np.testing.assert_allclose(classifier.probabilities(texts), compiled.probabilities(texts), **CLOSE)
    assert network.parameter_count() == compiled.network.parameter_count()


@every_model
def test_evaluation(name: str) -> None:
    texts = ["good film", "bad", "a b c", "", "中 👍"] * 3
    predicted = model(name).probabilities(texts).argmax(axis=1)
    assert model(name).evaluate(texts, predicted).accuracy == 1
    assert model(name).evaluate(texts, (predicted + 1) % len(LABELS)).accuracy == 0


# Files ----------------------------------------------------------------------------------------------


@every_model
def test_saved_and_loaded(name: str, tmp_path: Path) -> None:
    texts = ["a good film", "bad! 中", "", "\ud800"]
    size = model(name).save(tmp_path / "one")
    loaded = token2wave.load(tmp_path / "one")
    assert loaded.save(tmp_path / "two") == size
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert loaded.label_names == LABELS
    assert loaded.fingerprint == model(name).fingerprint
    np.testing.assert_array_equal(loaded.probabilities(texts), model(name).probabilities(texts))


class Plain:
    """A network that is nothing but its parameters, to be saved."""

    def __init__(self, config: WaveConfig) -> None:
        self.config = config

    def arrays(self) -> dict[str, np.ndarray]:
        return random_arrays(self.config, seed=0)

    def parameter_count(self) -> ParameterCount:
        return self.config.parameter_count()

    def logits(self, features: object) -> np.ndarray:
        raise NotImplementedError


def test_a_network_that_does_not_compile_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = features_of("fast")
    deep = Plain(WaveConfig(features.n_rows, len(LABELS), width=8, layers=2, readout="mean"))
    Classifier(features, deep, LABELS).save(tmp_path / "model")
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    with pytest.raises(MissingExtraError, match=r"pip install 'token2wave\[torch\]'"):
        token2wave.load(tmp_path / "model")


def test_a_model_of_wordpiece_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model("paper").save(tmp_path / "model")
    monkeypatch.setitem(sys.modules, "tokenizers", None)  # as if it were not installed
    with pytest.raises(MissingExtraError, match=r"'tokenizers'.*pip install 'token2wave\[wordpiece\]'"):
        token2wave.load(tmp_path / "model")


# States, windows, explanations ----------------------------------------------------------------------


@every_model
@PROPERTY
@given(left=passages_of_words, right=passages_of_words)
def test_states_grow_merge_and_give_words_back(name: str, left: list[str], right: list[str]) -> None:
    first, second = (
        functools.reduce(lambda s, p: s.update(p), side, model(name).state()) for side in (left, right)
    )
    np.testing.assert_allclose(first.probabilities(), at_once(name, left), **CLOSE)
    first.merge(second)
    np.testing.assert_allclose(first.probabilities(), at_once(name, left + right), **CLOSE)
    twin = model(name).state_from_bytes(first.to_bytes())
    n_left = len(model(name).features.tokens(" ".join(left)).codes)
    np.testing.assert_allclose(twin.remove_first(n_left).probabilities(), at_once(name, right), **CLOSE)
    assert twin.n_tokens == second.n_tokens
    if left:
        first.remove(" ".join(left))
        np.testing.assert_allclose(first.probabilities(), at_once(name, right), **CLOSE)
    assert first.predict(top_k=9).label in LABELS


@every_model
@PROPERTY
@given(text=hostile)
def test_states_of_any_string(name: str, text: str) -> None:
    state = model(name).state().update(text)
    np.testing.assert_allclose(state.probabilities(), at_once(name, [text]), **CLOSE)
    np.testing.assert_allclose(state.remove(text).probabilities(), at_once(name, []), **CLOSE)


@every_model
@PROPERTY
@given(words=st.lists(st.sampled_from(["a", "bad", "good", "film"]), max_size=20), n_tokens=st.integers(1, 9))
def test_a_window_is_its_last_tokens(name: str, words: list[str], n_tokens: int) -> None:
    window = model(name).window(n_tokens)
    for word in words:  # each is one token of every model
        window.update(word)
    np.testing.assert_allclose(window.probabilities(), at_once(name, words[-n_tokens:]), **CLOSE)


@every_model
@pytest.mark.parametrize("unit", ["token", "word", "sentence"])
def test_explanations_are_what_leaving_out_does(name: str, unit: str) -> None:
    text = "good films . a bad film ! é"
    explanation = model(name).explain(text, unit)
    whole = model(name).probabilities([text])[0]
    np.testing.assert_allclose(explanation.probabilities, whole, **CLOSE)
    assert explanation.label == model(name).predict(text).label
    assert math.isclose(math.fsum(part.energy for part in explanation.parts), 1, rel_tol=1e-6)
    if unit == "token" and name.startswith("paper"):
        return  # half a word is another word
    for part in explanation.parts:
        without = model(name).probabilities([text[: part.start] + " " + text[part.end :]])[0]
        np.testing.assert_allclose(part.effects, whole - without, rtol=0, atol=5e-6)


@every_model
@PROPERTY
@given(text=hostile, unit=st.sampled_from(["token", "word", "sentence"]))
def test_any_string_is_explained(name: str, text: str, unit: str) -> None:
    explanation = model(name).explain(text, unit)
    np.testing.assert_allclose(explanation.probabilities, at_once(name, [text]), **CLOSE)
    assert all(np.isfinite(part.effects).all() for part in explanation.parts)


# A fresh process ------------------------------------------------------------------------------------

# None of these is needed to predict with word features, and all take time or memory.
NOT_NEEDED = ["torch", "tokenizers", "typer", "rich", "concurrent.futures", "importlib.metadata", "tempfile"]
PREDICT = """
import sys
import token2wave
found = token2wave.load(sys.argv[1]).predict(sys.argv[2])
import json
peak = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(json.dumps({"label": found.label, "probability": found.probability,
                  "modules": sorted(sys.modules), "peak": peak}))
"""
COMMAND = """
import sys
sys.modules["torch"] = None  # as if it were not installed
sys.argv = ["token2wave", "predict", *sys.argv[1:]]
from token2wave.cli.main import main
main()
"""


def run(code: str, *arguments: str) -> str:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=plain | {"PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
@pytest.mark.parametrize("name", ["fast", "small", "paper"])
def test_a_fresh_process_predicts_with_little(name: str, tmp_path: Path) -> None:
    model(name).save(tmp_path / "model")
    found = json.loads(run(PREDICT, str(tmp_path / "model"), "a good film"))
    expected = model(name).predict("a good film")
    assert found["label"] == expected.label
    assert math.isclose(found["probability"], expected.probability, abs_tol=1e-5)
    needed = {"tokenizers", "tempfile"} if name == "paper" else set()
    assert set(NOT_NEEDED) & set(found["modules"]) <= needed
    assert 5_000 < found["peak"][0] < 120_000  # kB


@pytest.mark.parametrize("name", ["fast", "paper"])
def test_the_command_line_predicts(name: str, tmp_path: Path) -> None:
    model(name).save(tmp_path / "model")
    expected = model(name).predict("a good film").label
    assert expected in run(COMMAND, str(tmp_path / "model"), "a good film")
