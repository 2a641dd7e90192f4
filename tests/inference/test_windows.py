"""The window level: what it computes, where it is, and who refuses it."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from io import StringIO
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from rich.console import Console
from specification_reader import PlainReader
from stored_models import WINDOWS, WORDS, classifier_of

import token2wave
from token2wave.classifier import Classifier
from token2wave.core import load_core
from token2wave.errors import ConfigError, InputError, ModelFileError
from token2wave.explanation import print_explanation
from token2wave.features import Ragged
from token2wave.inference.compiled import PROBABILITIES, compile_network
from token2wave.inference.windows import Windows, extremes_without, window_spans
from token2wave.models import WaveConfig
from token2wave.serving.page import export_html

KINDS = tuple(WINDOWS)
LONG = " ".join(np.random.default_rng(0).choice([*WORDS, "zebra", "goodness"], 90).tolist())
TEXTS = ["", "zebra", "good", "a good film!", "good film . " * 9, "zebra good zebra bad a", LONG]


def plain_scores(classifier: Classifier, text: str) -> list[list[float]]:
    """The score of each window for each class, word by word."""
    arrays, features = classifier.network.arrays(), classifier.features([text])
    words, half = features.ids[: features.n_ordered[0]].tolist(), classifier.network.config.window_words // 2
    windows, first = [], 0
    while True:
        windows.append(words[first : first + 2 * half])
        if first + 2 * half >= len(words):
            break
        first += half
    weights, bias = arrays["windows.weight"].astype(float), arrays["windows.bias"].astype(float)
    return [
        [
            sum(weights[row, c] for row in each) / math.sqrt(max(len(each), 1)) + bias[c]
            for c in range(len(bias))
        ]
        for each in windows
    ]


def without_level(classifier: Classifier) -> Classifier:
    config, arrays = classifier.network.config.replace(window_words=0), classifier.network.arrays()
    return replace(classifier, network=compile_network(config, arrays))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_the_strongest_window_of_each_class_is_added_to_the_logits(kind: str, text: str) -> None:
    model = classifier_of(kind)
    features = model.features([text])
    extremes = np.max(plain_scores(model, text), axis=0)
    expected = without_level(model).network.logits(features)[0] + extremes
    np.testing.assert_allclose(model.network.logits(features)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_predict_gives_the_same(kind: str, tmp_path: Path) -> None:
    model = classifier_of(kind)
    expected = model.probabilities(TEXTS)
    if load_core() is not None:
        assert model.computes_with == "native core"
    with mock.patch.dict("os.environ", TOKEN2WAVE_NATIVE="0"):
        in_numpy = copy.deepcopy(model)
        assert in_numpy.computes_with == "numpy"
        np.testing.assert_allclose(in_numpy.probabilities(TEXTS), expected, rtol=0, atol=1e-6)
    path = tmp_path / "windows.safetensors"
    model.save(path)
    assert np.array_equal(token2wave.load(path).probabilities(TEXTS), expected)
    reader = PlainReader(path.read_bytes())
    for text, row in zip(TEXTS, expected, strict=True):
        np.testing.assert_allclose(reader.probabilities(text), row, rtol=0, atol=1e-5)
        np.testing.assert_allclose(model.state().update(text).probabilities(), row, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [*KINDS, "fast"])
def test_window_scores_are_predictions_of_the_text_of_each_window(kind: str) -> None:
    model = classifier_of(kind)
    size = model.network.config.window_words or 64
    long = LONG + " " + LONG
    spans, probabilities = model.window_scores(long)
    alone = model.probabilities([long[start:end] for start, end in spans.tolist()])
    assert np.array_equal(probabilities, alone)
    n_words = int(model.features([long]).n_ordered[0]) - model.features.n_special
    assert len(spans) == -(-n_words // (size // 2)) - 1
    counts = [int(model.features([long[a:b]]).n_ordered[0]) - model.features.n_special for a, b in spans]
    assert set(counts[:-1]) == {size}
    assert size // 2 < counts[-1] <= size
    assert spans[0, 0] == 0
    assert spans[-1, 1] == len(long)
    assert (spans[2:, 0] >= spans[:-2, 1]).all()
    assert (spans[1:, 0] < spans[:-1, 1]).all()
    # The level sees the same windows, so the text of each has its score. [CLS] shifts them by one.
    if kind == "windows":
        scores = plain_scores(model, long)
        texts = [plain_scores(model, long[start:end]) for start, end in spans.tolist()]
        np.testing.assert_allclose(scores, [each[0] for each in texts], atol=1e-6)


def test_window_scores_of_texts_without_words_and_of_other_features() -> None:
    model = classifier_of("fast")
    assert model.window_scores(" \n").spans.shape == (0, 2)
    assert model.window_scores(" \n").probabilities.shape == (0, 3)
    assert model.window_scores(" zebra zebra ").spans.tolist() == [[1, 12]]
    with pytest.raises(ConfigError, match="features of words"):
        classifier_of("paper").window_scores("good")
    with pytest.raises(InputError):
        model.window_scores(3)  # type: ignore[arg-type]


def test_extremes_without_runs_of_words() -> None:
    random = np.random.default_rng(1)
    for n_words in (0, 1, 2, 3, 7, 8, 9, 23):
        weights = random.normal(size=(n_words, 2)).astype(np.float32)
        totals = np.concatenate([np.zeros((1, 2)), np.cumsum(weights, axis=0, dtype=np.float64)])
        runs = [(a, b) for a in range(n_words + 1) for b in range(a, n_words + 1)]
        removed = np.array(runs, dtype=np.int64)
        for size in (2, 4, 6):
            found = extremes_without(totals, removed, size)
            for (first, last), row in zip(runs, found, strict=True):
                left = np.delete(np.arange(n_words, dtype=np.int32), np.arange(first, last))
                windows = Windows.of(Ragged(left, np.array([0, len(left)]), np.array([len(left)])), size)
                expected = windows.extremes(windows.scores(weights))[0]
                np.testing.assert_allclose(row, expected, atol=1e-9)


def test_work_and_memory_are_linear() -> None:
    sizes = []
    for n_words in (1_000, 10_000, 100_000):
        ids = np.zeros(n_words, np.int32)
        windows = Windows.of(Ragged(ids, np.array([0, n_words]), np.array([n_words])), 64)
        sizes.append((len(windows.ids), len(windows.halves) - 1, len(windows.first)))
    assert sizes == [(n, -(-n // 32), -(-n // 32) - 1) for n in (1_000, 10_000, 100_000)]
    spans = window_spans(classifier_of("fast").features, LONG, 8)
    assert (spans[:, 1] - spans[:, 0]).sum() <= 2 * len(LONG)  # a character is in at most two windows


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("unit", ["word", "sentence", "token"])
def test_explanations_are_exact_and_name_the_passage(kind: str, unit: str) -> None:
    model = classifier_of(kind)
    explanation = model.explain(LONG, unit)
    np.testing.assert_allclose(explanation.probabilities, model.probabilities([LONG])[0], atol=1e-6)
    whole = np.array(explanation.probabilities)
    for part in explanation.parts:
        state = model.state().update(LONG[: part.start]).update(LONG[part.end :])
        np.testing.assert_allclose(part.effects, whole - state.probabilities(), atol=1e-6)
    assert explanation.passage is not None
    start, end = explanation.passage
    spans = window_spans(model.features, LONG, model.network.config.window_words).tolist()
    if kind == "windows":
        best = int(np.argmax(np.array(plain_scores(model, LONG))[:, explanation.predicted]))
        assert [start, end] == spans[best]
    assert explanation.to_dict()["passage"] == [start, end]
    out = StringIO()
    print_explanation(explanation, Console(file=out, width=200))
    assert f"strongest passage, characters {start:,} to {end:,}: " in out.getvalue()


def test_models_without_the_level_have_no_passage() -> None:
    explanation = classifier_of("fast").explain("a good film")
    assert explanation.passage is None
    assert "passage" not in explanation.to_dict()
    assert classifier_of("windows").explain(" ").passage is None


@pytest.mark.parametrize("kind", KINDS)
def test_states_merge_and_forget_exactly(kind: str) -> None:
    model, words = classifier_of(kind), LONG.split()
    expected = model.probabilities([LONG])[0]
    state = model.state().update(" ".join(words[:37]))
    state.merge(model.state_from_bytes(model.state().update(" ".join(words[37:])).to_bytes()))
    np.testing.assert_allclose(state.probabilities(), expected, atol=1e-6)
    state.remove(" ".join(words[5:40]))
    left = " ".join([*words[:5], *words[40:]])
    np.testing.assert_allclose(state.probabilities(), model.probabilities([left])[0], atol=1e-6)
    window = model.window(9).update(LONG)
    last = model.state().update(LONG).remove_first(model.state().update(LONG).n_tokens - 9)
    assert np.array_equal(window.probabilities(), last.probabilities())


def test_states_without_tokens_are_refused() -> None:
    model = classifier_of("windows")
    with pytest.raises(ConfigError, match="leave out removable=False"):
        model.state(removable=False)
    other = without_level(model)
    packed = other.state(removable=False).update("good").to_bytes()
    forged = packed.replace(str(other.fingerprint).encode(), str(model.fingerprint).encode())
    with pytest.raises(ModelFileError):
        model.state_from_bytes(forged)


def test_backends_without_it_refuse_in_one_line(tmp_path: Path) -> None:
    model, level = classifier_of("windows"), "expected a network without a window level, which is not in"
    with pytest.raises(ConfigError, match=f"{level} the page"):
        export_html(model, tmp_path / "page.html")
    if load_core() is not None:
        with pytest.raises(ConfigError, match=f"{level} the core's single call"):
            model.network.text_probabilities(model.features, ["good"], PROBABILITIES)  # type: ignore[attr-defined, arg-type]
    for backend in ("ONNX", "Hugging Face"):
        with pytest.raises(ConfigError, match=f"{level} {backend}"):
            model.network.config.require_backend(backend)
    pytest.importorskip("torch")
    from token2wave.models import WaveNetwork

    with pytest.raises(ConfigError, match=f"{level} torch"):
        WaveNetwork(model.network.config)


def test_what_changes_models_refuses_in_one_line(tmp_path: Path) -> None:
    model, path = classifier_of("windows"), tmp_path / "windows.safetensors"
    model.save(path)
    rows = [{"text": "good", "label": "neg"}, {"text": "bad", "label": "日本"}]
    with pytest.raises(ConfigError, match=r"update: expected a model without a window level"):
        token2wave.update(model, rows)
    with pytest.raises(ConfigError, match=r"compress: expected a model without a window level"):
        token2wave.compress(path, tmp_path / "small.safetensors", data=rows)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"window_words": 5}, "even number"),
        ({"window_words": -2}, "even number"),
        ({"window_words": "4"}, "window_words"),
        ({"window_words": 0}, "windows"),
    ],
)
def test_damaged_settings_are_refused(change: dict[str, object], problem: str, tmp_path: Path) -> None:
    path = tmp_path / "windows.safetensors"
    classifier_of("windows").save(path)
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    inner = json.loads(header["__metadata__"]["token2wave"])
    del inner["checksum"]
    inner["network"] |= change
    header["__metadata__"]["token2wave"] = json.dumps(inner)
    new = json.dumps(header).encode()
    path.write_bytes(len(new).to_bytes(8, "little") + new + raw[8 + length :])
    with pytest.raises(ModelFileError, match=problem):
        token2wave.load(path)


def test_weights_that_overflow_are_refused(tmp_path: Path) -> None:
    model = classifier_of("windows")
    arrays = {name: array.copy() for name, array in model.network.arrays().items()}
    arrays["windows.weight"][:] = 3e38  # each is finite, but not the sum of a window
    broken = replace(model, network=compile_network(model.network.config, arrays))
    broken.save(tmp_path / "broken.safetensors")
    with pytest.raises(ModelFileError, match="finite"):
        token2wave.load(tmp_path / "broken.safetensors")


def test_other_models_are_stored_as_before() -> None:
    config = WaveConfig(9, 2, variants="rows", readout="text")
    assert "window_words" not in config.to_dict()
    assert not any(name.startswith("windows.") for name in config.parameter_shapes())
    assert config.is_additive
    assert not replace(config, window_words=4).is_additive
