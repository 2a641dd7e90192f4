"""A reader written from the specification alone predicts what the package predicts."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import specification_reader
from hypothesis import given, settings
from hypothesis import strategies as st
from oov_models import TEXTS as OOV_TEXTS
from oov_models import oov_model
from small_models import edited, take_apart
from specification_reader import NETWORK_DEFAULTS, PlainReader
from stored_models import ENTRIES, KINDS, SPELLED, STORAGES, THRESHOLDS, WORDS, classifier_of, in_storage

import token2wave
from token2wave.errors import ModelFileError
from token2wave.models import WaveConfig

ALLOWED = {
    "__future__",
    "bisect",
    "functools",
    "json",
    "lzma",
    "math",
    "numpy",
    "pathlib",
    "string",
    "struct",
}
ALLOWED |= {"typing", "zlib"}
PROPERTY = settings(deadline=None, max_examples=25, print_blob=True)
ORDINARY = [
    "A good film. Good films, don't you think?",
    "bad!",
    "a a b good bad film films",
    " ".join(WORDS * 3),
    "unknown words",
    "goodness",
    "the baddest filmic film, filmic goodness",
    "x" * 100 + " a",
    "x" * 101 + " a",
    "",
]
HOSTILE = [
    "\ud800 good \udc00\udfff",
    "good\0bad\x07film",
    "'good' 'bad' a''b don’t ‘film’ '",
    "İSTANBUL ẞ GOOD ﬁlm É É e\u0301",
    "中good中👍film👍🏽 ไทย",
    "good\u2028bad\u00a0film\u200dfilm\ufeff\u202e",
    "x" * 63 + " " + "x" * 64 + " " + "x" * 70 + " " + "X" * 1_000,
    "_good_ 3.5 3,5 -- ... !!!",
    "\uffff\U0010ffff\U000e0001good",
    " \t\n\r",
]
characters = st.one_of(
    st.sampled_from("aAbBİıẞ'’ .!3\0\n\u0301\u200d\u202e\u2028\u00a0\ufeff\uffff👍🏽中ไʼ_"),
    st.integers(0, 0x10FFFF).map(chr),  # lone surrogates too
)
any_text = st.lists(st.one_of(st.sampled_from([*WORDS, *SPELLED, " "]), characters), max_size=25).map("".join)
ascii_text = st.lists(
    st.one_of(st.sampled_from([*ENTRIES, "x" * 101, " "]), st.integers(0, 127).map(chr)), max_size=15
).map("".join)
every_kind = pytest.mark.parametrize("kind", KINDS)
Saved = Callable[[str, str], Path]


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    folder = tmp_path_factory.mktemp("models")

    def path_of(kind: str, storage: str) -> Path:
        path = folder / f"{kind}-{storage}"
        if not path.exists():
            classifier_of(kind, storage).save(path)
        return path

    return path_of


def hold_against_each_other(path: Path, texts: list[str]) -> None:
    classifier, reader = token2wave.load(path), PlainReader(path.read_bytes())
    expected = [reader.probabilities(text) for text in texts]
    np.testing.assert_allclose(classifier.probabilities(texts), expected, rtol=0, atol=1e-5)
    for text, row in zip(texts, expected, strict=True):
        shares = dict(classifier.predict(text, top_k=9).top)
        assert [shares[label] for label in reader.labels] == pytest.approx(row, abs=1e-5)
        if all(
            abs(share - threshold) > 1e-4 for share, threshold in zip(row, reader.thresholds, strict=True)
        ):
            assert set(classifier.predict(text).labels) == set(reader.given(text))


def test_the_reader_owes_nothing_to_the_package() -> None:
    tree = ast.parse(Path(specification_reader.__file__).read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    assert found <= ALLOWED


@pytest.mark.parametrize("storage", STORAGES)
@every_kind
def test_ordinary_and_hostile_texts(saved: Saved, kind: str, storage: str) -> None:
    texts = ORDINARY + HOSTILE
    if kind.startswith("paper"):
        texts = [text for text in texts if text.isascii()]
    hold_against_each_other(saved(kind, storage), texts)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("readout", ["text", "cls"])
def test_words_out_of_the_vocabulary(tmp_path: Path, readout: str, storage: str) -> None:
    path = tmp_path / "model"
    in_storage(oov_model(readout=readout, context_width=8), storage).save(path)
    reader = PlainReader(path.read_bytes())
    assert reader.probabilities("zebras") != pytest.approx(reader.probabilities(""), abs=1e-3)
    hold_against_each_other(path, OOV_TEXTS + HOSTILE)


@every_kind
@PROPERTY
@given(data=st.data())
def test_any_text(saved: Saved, kind: str, data: st.DataObject) -> None:
    text = data.draw(ascii_text if kind.startswith("paper") else any_text)
    hold_against_each_other(saved(kind, "lzma"), [text])


def test_the_models_tell_texts_apart(saved: Saved) -> None:
    """Else agreement would mean nothing: order, case and what is unknown are seen as they should be."""
    for kind in KINDS:
        reader = PlainReader(saved(kind, "plain").read_bytes())
        good, bad = reader.probabilities("good films"), reader.probabilities("bad film.")
        assert max(abs(a - b) for a, b in zip(good, bad, strict=True)) > 1e-3
        assert good == reader.probabilities("GOOD Films")
    words = PlainReader(saved("small", "plain").read_bytes())
    assert words.probabilities("good a film") != pytest.approx(words.probabilities("film a good"), abs=1e-4)


def test_settings_that_are_absent_have_the_defaults(saved: Saved, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(saved("cls", "plain").read_bytes())
    config = WaveConfig(1, 2)
    assert {key: getattr(config, key) for key in NETWORK_DEFAULTS} == NETWORK_DEFAULTS

    def drop_defaults(metadata: dict[str, Any]) -> None:
        for key, default in NETWORK_DEFAULTS.items():
            if metadata["network"].get(key) == default:
                del metadata["network"][key]
        for key in ("dropout", "embedding_scale", "layers", "positions", "residual", "sentence_ends"):
            del metadata["network"][key]
        del metadata["features"]["settings"]["ngrams"]
        del metadata["features"]["settings"]["min_count"]

    edited(path, drop_defaults)
    hold_against_each_other(path, ORDINARY)
    header, _ = take_apart(path)
    assert header["__metadata__"]["token2wave"]["network"].keys() == {
        "n_rows",
        "n_classes",
        "width",
        "context_width",
    }


def test_both_see_damage(saved: Saved, tmp_path: Path) -> None:
    path, raw = tmp_path / "model", bytearray(saved("small", "plain").read_bytes())
    raw[-40] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match="damaged"):
        PlainReader(raw)
    with pytest.raises(ModelFileError, match="checksum"):
        token2wave.load(path)


def test_thresholds_that_are_absent_are_a_half(saved: Saved, tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(saved("several", "plain").read_bytes())
    assert token2wave.load(path).thresholds == THRESHOLDS
    edited(path, lambda metadata: metadata.pop("thresholds"))
    assert token2wave.load(path).thresholds == (0.5, 0.5, 0.5)
    hold_against_each_other(path, ORDINARY)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([0.5, 0.5], "expected 3 thresholds, found 2"),
        ([0.5, 0.5, 1.5], "expected probabilities in the section 'thresholds'"),
        ([0.5, 0.5, "x"], "expected probabilities"),
        ([0.5, 0.5, True], "expected probabilities"),
        (0.5, "expected probabilities"),
    ],
)
def test_thresholds_that_are_none(saved: Saved, tmp_path: Path, found: object, message: str) -> None:
    path = tmp_path / "model"
    path.write_bytes(saved("several", "plain").read_bytes())
    edited(path, lambda metadata: metadata.update(thresholds=found))
    with pytest.raises(ModelFileError, match=message):
        token2wave.load(path)
