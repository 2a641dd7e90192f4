"""Arrays of Arrow give the same numbers, bit for bit, as the same strings of Python."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import token2wave
from token2wave.classifier import Classifier
from token2wave.core import load_core
from token2wave.errors import DataError, InputError
from token2wave.features.words import WordFeatures
from token2wave.inference.arrow_texts import Utf8
from token2wave.inference.compiled import CompiledNetwork

pyarrow = pytest.importorskip("pyarrow")
TEXTS = ["a film", "", "größe und 東京 🙂", "don't stop " * 400, "x", "a a a b"]


@pytest.fixture(params=["native", "numpy"])
def classifier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Classifier:
    """A model that the native core computes, or numpy."""
    if request.param == "numpy":
        monkeypatch.setenv("TOKEN2WAVE_NATIVE", "0")
    return _native()


def _trained(folder: Path) -> Classifier:
    path = folder / "rows.csv"
    rows = [f"{'great film' if i % 2 else 'awful 東京 plot'} {i % 7},{i % 2}" for i in range(80)]
    path.write_text("text,label\n" + "\n".join(rows))
    small = {"network.width": 8, "network.context_width": 8, "features.bits": 12}
    return token2wave.train(path, epochs=1, settings=small).classifier


def same(classifier: Classifier, array: Any, texts: list[str]) -> None:
    found = classifier.probabilities(array)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, classifier.probabilities(texts))


def arrays(texts: list[str]) -> list[Any]:
    whole = pyarrow.array(["before", *texts, "behind"])
    return [
        pyarrow.array(texts, pyarrow.string()),
        pyarrow.array(texts, pyarrow.large_string()),
        pyarrow.array(texts, pyarrow.string_view()),
        pyarrow.array(texts, pyarrow.string()).dictionary_encode(),
        whole[1:-1],
        whole.cast(pyarrow.large_string())[1:-1],
        pyarrow.chunked_array([texts[:1], [], texts[1:]], pyarrow.string()),
        pyarrow.table({"text": pyarrow.array(texts, pyarrow.string())}).column("text"),
    ]


def test_every_kind_of_array(classifier: Classifier) -> None:
    for array in arrays(TEXTS):
        same(classifier, array, TEXTS)
    assert classifier.probabilities(pyarrow.array([], pyarrow.string())).shape == (0, 2)
    assert classifier.labels(pyarrow.array(TEXTS)) == classifier.labels(TEXTS)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=80))
def test_whatever_they_hold(texts: list[str]) -> None:
    same(_native(), pyarrow.array(texts, pyarrow.string()), texts)


def test_more_texts_than_are_taken_at_once_and_progress() -> None:
    texts = [f"great film {i}" for i in range(20_000)]
    told: list[int] = []
    found = _native().probabilities(pyarrow.array(texts), told.append)
    np.testing.assert_array_equal(found, _native().probabilities(texts))
    assert sum(told) == len(texts)


def test_what_is_no_text_is_refused(classifier: Classifier) -> None:
    with pytest.raises(InputError, match=r"texts\[1\]: the text is missing"):
        classifier.probabilities(pyarrow.array(["a", None]))
    with pytest.raises(InputError, match="found values of type int64"):
        classifier.probabilities(pyarrow.array([1, 2]))
    for damaged in (b"ab\xff", b"\x80", b"\xe6\x9d", b"\xf0\x9f"):
        broken = pyarrow.StringArray.from_buffers(
            1, pyarrow.py_buffer(np.array([0, len(damaged)], np.int32)), pyarrow.py_buffer(damaged)
        )
        with pytest.raises(DataError, match="expected strings of UTF-8"):
            classifier.probabilities(broken)


@pytest.mark.skipif(load_core() is None, reason="there is no native core")
def test_the_core_refuses_what_does_not_fit() -> None:
    classifier = _native()
    network, features = classifier.network, classifier.features
    assert isinstance(network, CompiledNetwork)
    assert isinstance(features, WordFeatures)
    for offsets in ([0, 5], [-1, 2], [2, 1, 3], [4, 4, 3], []):
        with pytest.raises((ValueError, IndexError)):
            network.text_probabilities(features, Utf8(b"abcd", np.array(offsets, np.int64)))
    with pytest.raises(ValueError, match="could not be decoded"):
        network.text_probabilities(features, Utf8(b"ab\xff", np.array([0, 3])))
    native, words, tables = load_core(), features.native_handle(load_core()), network.native_handle()
    assert native is not None
    known, two = np.empty(2, bool), np.array([0, 1, 2])
    for offsets, size in ((two[::2], 1), (two, 2)):
        out = np.empty(size, np.float32), known[: len(offsets) - 1]
        with pytest.raises(ValueError, match="out"):
            native.predict_utf8(words, tables, (b"ab", np.ascontiguousarray(offsets)), *out, True, 1)
    out = np.empty(2, np.float32), known
    with pytest.raises(ValueError, match="known"):
        native.predict_utf8(words, tables, (b"ab", np.array([0, 2])), *out, True, 1)
    with pytest.raises(ValueError, match="do not fit"):
        native.predict_utf8(words, tables, (b"ab", np.zeros(9, np.uint8)), *out, True, 1)


@functools.cache
def _native() -> Classifier:
    with tempfile.TemporaryDirectory() as folder:
        return _trained(Path(folder))
