"""Vectors of texts: the same on every route, of length one, and zero where nothing is known."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from small_models import one_huge_row, torch_classifier, with_arrays
from stored_models import classifier_of
from test_parity import CUT, MODELS, TEXTS

import token2wave
from token2wave.classifier import Classifier
from token2wave.core import load_core
from token2wave.errors import ConfigError, InputError, ModelFileError
from token2wave.inference import routes, vectors

NOTHING = ["", " \n", "zebra", "\u03c8\u03c9 \u03c8", "\U0001f996"]


def in_numpy(classifier: Classifier) -> Classifier:
    with mock.patch.dict("os.environ", TOKEN2WAVE_NATIVE="0"):
        return copy.deepcopy(classifier)


@pytest.mark.parametrize("name", [*MODELS, "trigrams", "narrow"])
def test_core_numpy_states_and_torch_give_the_same_vectors(name: str) -> None:
    torch = pytest.importorskip("torch")
    from token2wave.models import WaveNetwork

    classifier = classifier_of(name)
    config = classifier.network.config
    twin = in_numpy(classifier)
    assert twin.computes_with == "numpy"
    expected = twin.encode(TEXTS)
    width = 2 * (config.width + config.context_width) + config.linear_svm * config.n_classes
    assert expected.shape == (len(TEXTS), width)
    assert np.ptp(expected, axis=0).max() > 0.1  # the texts differ
    if load_core() is not None and name != "narrow":
        assert classifier.computes_with == "native core"
    network = WaveNetwork(config)
    network.load_state_dict({key: torch.tensor(array) for key, array in classifier.network.arrays().items()})
    in_torch = replace(classifier, network=network)
    assert in_torch.computes_with == "torch"
    states = np.stack([classifier.state().update(text).vector() for text in TEXTS])
    n = 4 if name in CUT else len(TEXTS)  # a state does not cut long texts
    np.testing.assert_allclose(classifier.encode(TEXTS), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(in_torch.encode(TEXTS), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(states[:n], expected[:n], rtol=0, atol=1e-5)


@pytest.mark.parametrize("native", ["0", "1"])
@pytest.mark.parametrize("name", MODELS)
def test_vectors_have_length_one_or_are_zero(name: str, native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN2WAVE_NATIVE", native)
    classifier = copy.deepcopy(classifier_of(name))
    texts = [*NOTHING, *TEXTS]
    rows = classifier.encode(texts)
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    assert rows.flags.owndata
    known = classifier.known(texts)
    assert not known[: len(NOTHING)].any()
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), known, atol=1e-6)
    for text, row in zip(texts, rows, strict=True):  # a text's vector does not depend on the other texts
        np.testing.assert_allclose(classifier.encode([text])[0], row, atol=1e-6)
    assert classifier.encode([]).shape == (0, rows.shape[1])


def test_a_vector_is_what_the_branches_see() -> None:
    """The logits follow from it, but for its length and the biases: here those of a linear SVM alone."""
    classifier = classifier_of("oov")
    arrays = classifier.network.arrays()
    config = classifier.network.config
    flat = {name: np.zeros_like(arrays[name]) for name in ("head.weight", "head.bias", "linear_svm.bias")}
    if config.context_width:
        flat |= {name: np.zeros_like(arrays[name]) for name in ("context.head.weight", "context.head.bias")}
    plain = with_arrays(classifier, flat)
    texts = [text for text in TEXTS if text not in ("", "zebra")]
    logits = plain.network.logits(plain.features(texts))
    scores = plain.encode(texts)[:, -config.n_classes :]
    lengths = np.linalg.norm(logits, axis=1) / np.linalg.norm(scores, axis=1)
    np.testing.assert_allclose(scores * lengths[:, None], logits, atol=1e-5)
    np.testing.assert_array_equal(plain.encode(texts), classifier.encode(texts))


def test_texts_in_every_form_have_the_same_vectors() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    classifier, seen = classifier_of("small"), []
    expected = classifier.encode(TEXTS)
    for texts in (tuple(TEXTS), iter(TEXTS), np.array(TEXTS, object), pyarrow.array(TEXTS)):
        np.testing.assert_array_equal(classifier.encode(texts), expected)
    np.testing.assert_array_equal(classifier.encode(TEXTS, seen.append), expected)
    assert sum(seen) == len(TEXTS)
    np.testing.assert_allclose(in_numpy(classifier).encode(pyarrow.array(TEXTS)), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["small", "oov", "cls"])
def test_a_long_text_goes_through_a_state(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "LONG_TEXT", 12)
    texts = ["bad", "a good film, not bad " * 9, "", "good " * 50]
    expected = classifier_of(name).encode(texts)
    np.testing.assert_allclose(in_numpy(classifier_of(name)).encode(texts), expected, atol=1e-5)


def test_a_state_after_removals_has_the_vector_of_what_is_left() -> None:
    classifier = classifier_of("small")
    state = classifier.state().update("a good film").update("that is bad")
    state.remove("that is bad")
    np.testing.assert_allclose(state.vector(), classifier.encode(["a good film"])[0], atol=1e-5)
    state.remove("a good film")
    assert not state.vector().any()


@pytest.mark.parametrize("native", ["0", "1"])
def test_hostile_texts_and_weights(native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN2WAVE_NATIVE", native)
    classifier = copy.deepcopy(classifier_of("small"))
    odd = ["\ud800 good", "good\0bad", "\u202egood", "good " * 30_000, "\n" * 9_999, "é" * 99_999]
    assert np.isfinite(classifier.encode(odd)).all()
    for texts in ("good", {"good": 1}, {"good"}, ["good", None], [b"good"], 3, [["good"]]):
        with pytest.raises(InputError):
            classifier.encode(texts)
    with pytest.raises(ModelFileError, match="finite vectors"):
        one_huge_row(classifier, "good").encode(["bad", "good"])


def test_a_network_that_does_not_compile_is_refused() -> None:
    classifier = torch_classifier()
    for ask in (
        lambda: classifier.encode(["good"]),
        lambda: classifier.similarity(["good"], ["bad"]),
        lambda: classifier.nearest(["good"], ["bad"]),
    ):
        with pytest.raises(ConfigError, match="cannot be compiled") as error:
            ask()
        assert "\n" not in str(error.value)


def test_similarity_is_the_cosine_of_pairs() -> None:
    classifier = classifier_of("small")
    others = [*TEXTS[1:], TEXTS[0]]
    cosine = classifier.similarity(TEXTS, others)
    assert cosine.dtype == np.float32
    a, b = (classifier.encode(texts) for texts in (TEXTS, others))
    np.testing.assert_allclose(cosine, (a * b).sum(axis=1), atol=1e-6)
    itself = classifier.similarity(iter(TEXTS), tuple(TEXTS))
    np.testing.assert_allclose(itself, classifier.known(TEXTS), atol=1e-6)
    assert itself.max() <= 1
    assert classifier.similarity([], []).shape == (0,)
    with pytest.raises(InputError, match=r"^b: expected as many texts as in a, 2, found 1"):
        classifier.similarity(["good", "bad"], ["good"])
    with pytest.raises(InputError, match=r"^b"):
        classifier.similarity(["good"], "good")


def test_nearest_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = classifier_of("small")
    rows = ["bad", "a good film", "", "bad", "good film", "it is bad"]
    expected = classifier.nearest(["bad", "zebra", "a good film!"], rows, k=4)
    assert expected.rows[0, :2].tolist() == [0, 3]  # of equal rows the first
    assert expected.rows[1].tolist() == [0, 1, 2, 3]
    assert expected.rows[2, 0] == 1
    products = classifier.encode(["a good film!"]) @ classifier.encode(rows).T
    np.testing.assert_allclose(expected.similarity[2], np.sort(products[0])[::-1][:4], atol=1e-6)
    monkeypatch.setattr(vectors, "SIMILARITIES_CHUNK", 7)
    again = classifier.nearest(["bad", "zebra", "a good film!"], classifier.encode(rows), k=4)
    np.testing.assert_array_equal(again.rows, expected.rows)
    assert classifier.nearest(["bad"], rows, k=99).rows.shape == (1, 6)
    assert classifier.nearest([], rows).rows.shape == (0, 5)


def test_nearest_rows_of_wrong_arguments() -> None:
    classifier = classifier_of("small")
    with pytest.raises(ConfigError, match=r"^k: expected at least 1, found 0"):
        classifier.nearest(["bad"], ["bad"], k=0)
    with pytest.raises(InputError, match=r"^rows: expected at least 1 row"):
        classifier.nearest(["bad"], [])
    with pytest.raises(InputError, match=r"^rows: expected vectors of this model"):
        classifier.nearest(["bad"], np.zeros((2, 3), np.float32))
    with pytest.raises(InputError, match=r"^rows"):
        classifier.nearest(["bad"], "bad")


def test_a_model_file_has_the_same_vectors(tmp_path: Path) -> None:
    classifier = classifier_of("small")
    classifier.save(tmp_path / "model")
    np.testing.assert_array_equal(token2wave.load(tmp_path / "model").encode(TEXTS), classifier.encode(TEXTS))
