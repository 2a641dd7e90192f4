from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from token2wave.errors import DataError, ModelFileError
from token2wave.features import (
    Ragged,
    WordPieceConfig,
    WordPieceFeatures,
    features_from_file,
    fit_features,
    wordpiece,
)

VOCABULARY = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *(
        "the",
        "wave",
        "##s",
        "un",
        "##aff",
        "##able",
        "!",
        ".",
        "cafe",
        "Café",
        "'",
        "s",
        "中",
        "a",
        "##a",
        "?",
    ),
)
UNCASED = WordPieceFeatures(WordPieceConfig(), VOCABULARY)
CASED = WordPieceFeatures(WordPieceConfig(lowercase=False), VOCABULARY)


def pieces(features: WordPieceFeatures, *texts: str) -> list[str]:
    """Entries of each text, joined by blanks."""
    found = features(texts)
    assert found.ids.dtype == np.int32
    assert found.offsets.dtype == found.n_ordered.dtype == np.int64
    assert found.n_ordered.tolist() == found.lengths.tolist()
    bounds = found.offsets.tolist()
    assert bounds[-1] == len(found.ids)
    return [
        " ".join(features.vocabulary[row] for row in found.ids[first:last])
        for first, last in pairwise(bounds)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The WAVES!", "the wave ##s !"),
        ("unaffable", "un ##aff ##able"),
        ("unaffableness the", "[UNK] the"),
        ("Café", "cafe"),
        ("CAFE\u0301", "cafe"),
        ("wave's", "wave ' s"),
        ("the中the", "the 中 the"),
        ("xyz", "[UNK]"),
        ("", ""),
        (" \n\t\u00a0", ""),
        ("the\0 wa\u200bve\r\n", "the wave"),  # control and format characters go, white space parts
        ("[SEP] the", "[UNK] [UNK] [UNK] the"),  # a text cannot forge a special entry
        ("a" * 100, "a" + " ##a" * 99),
        ("a" * 101, "[UNK]"),  # BERT gives up above 100 letters
        ("\ud800 the \udfff", "? the ?"),  # lone surrogates are no characters
        ("👍", "[UNK]"),
    ],
)
def test_uncased_pieces(text: str, expected: str) -> None:
    assert pieces(UNCASED, text) == [" ".join(f"[CLS] {expected} [SEP]".split())]


@pytest.mark.parametrize(
    ("text", "expected"), [("The", "[UNK]"), ("the", "the"), ("Café", "Café"), ("cafe", "cafe")]
)
def test_cased_pieces(text: str, expected: str) -> None:
    assert pieces(CASED, text) == [f"[CLS] {expected} [SEP]"]


def test_a_long_text_is_cut_and_keeps_its_end() -> None:
    features = WordPieceFeatures(WordPieceConfig(max_tokens=4), VOCABULARY)
    assert pieces(features, "the wave", "the waves !", "! ! ! ! !", "") == [
        "[CLS] the wave [SEP]",
        "[CLS] the wave [SEP]",
        "[CLS] ! ! [SEP]",
        "[CLS] [SEP]",
    ]
    assert UNCASED(["the " * 600]).lengths.tolist() == [512]
    assert UNCASED(["the " * 600]).ids[[0, -1]].tolist() == [2, 3]


def test_rows_and_sentence_ends() -> None:
    assert UNCASED.n_rows == len(VOCABULARY)
    assert UNCASED(["the!"]).ids.tolist() == [2, 5, 11, 3]
    assert [VOCABULARY[row] for row in UNCASED.sentence_ends] == ["!", ".", "?"]


def test_chunks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["the", "", "waves !", "unaffable café " * 5] * 3
    whole = UNCASED(texts)
    monkeypatch.setattr(wordpiece, "TEXTS_CHUNK", 5)
    done: list[int] = []
    chunked = UNCASED(texts, done.append)
    assert done == [5, 5, 2]
    for name in ("ids", "offsets", "n_ordered"):
        assert getattr(chunked, name).tolist() == getattr(whole, name).tolist()


def test_more_texts_than_a_chunk() -> None:
    many = wordpiece.TEXTS_CHUNK + 3
    found = UNCASED(["the"] * many)
    assert found.ids.tolist() == [2, 5, 3] * many
    assert found.offsets.tolist() == list(range(0, 3 * many + 1, 3))


def test_no_texts() -> None:
    found = UNCASED([])
    assert isinstance(found, Ragged)
    assert len(found) == 0
    assert found.ids.dtype == np.int32
    assert found.offsets.tolist() == [0]


# Training -------------------------------------------------------------------------------------------

TRAINING = [
    "the quick brown fox jumps over a lazy dog",
    "pack my box with five dozen liquor jugs",
    "café\ud800",
]


def test_training_is_deterministic() -> None:
    vocabularies = {
        WordPieceFeatures.fit(TRAINING, WordPieceConfig(vocabulary_size=90)).vocabulary for _ in range(6)
    }
    assert len(vocabularies) == 1


def test_training() -> None:
    features, _ = fit_features(["good film", "bad film"] * 3, WordPieceConfig(vocabulary_size=100))
    assert isinstance(features, WordPieceFeatures)
    assert features.vocabulary[:5] == ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
    assert len(set(features.vocabulary)) == features.n_rows
    assert pieces(features, "Good FILM", "films") == ["[CLS] good film [SEP]", "[CLS] [UNK] [SEP]"]
    assert features.config == WordPieceConfig(vocabulary_size=100)


def test_a_larger_vocabulary_size_gives_more_entries() -> None:
    small, large = (
        WordPieceFeatures.fit(
            ["low lower lowest new newer newest"] * 3, WordPieceConfig(vocabulary_size=size)
        )
        for size in (23, 30)
    )
    assert (small.n_rows, large.n_rows) == (23, 30)


def test_training_on_lone_surrogates() -> None:
    features = WordPieceFeatures.fit(["\ud800 a \udfff", "a"], WordPieceConfig(vocabulary_size=20))
    assert "?" in features.vocabulary


@pytest.mark.parametrize("texts", [[], ["", " \n"]])
def test_training_without_words(texts: list[str]) -> None:
    with pytest.raises(DataError):
        fit_features(texts, WordPieceConfig())


# Vocabulary files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "line_end"])
def test_vocabulary_file(tmp_path: Path, line_end: str, last: str) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes((line_end.join(VOCABULARY) + (line_end if last else "")).encode())
    features, _ = fit_features(["ignored"], WordPieceConfig(max_tokens=9), path)
    assert isinstance(features, WordPieceFeatures)
    assert features.vocabulary == VOCABULARY
    assert features.config == WordPieceConfig(
        vocabulary="vocab.txt", vocabulary_size=len(VOCABULARY), max_tokens=9
    )
    assert pieces(features, "The waves") == ["[CLS] the wave ##s [SEP]"]


def refused(path: Path, match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        WordPieceFeatures.from_file(path, WordPieceConfig())
    assert caught.value.location == str(path)


def test_bad_vocabulary_files(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    refused(path, "No such file")
    refused(tmp_path, "expected a vocabulary file of UTF-8 text")
    path.write_bytes("\n".join(VOCABULARY).encode("latin-1", "replace") + b"\n\xff")
    refused(path, "expected a vocabulary file of UTF-8 text")
    path.write_text("")
    refused(path, r"found none of \[UNK\], \[CLS\], \[SEP\]; give the vocab.txt")
    for special in ("[UNK]", "[CLS]", "[SEP]"):
        path.write_text("\n".join(entry for entry in VOCABULARY if entry != special))
        refused(path, rf"found none of \{special[:-1]}\]; give the vocab.txt")
    path.write_text("\n".join([*VOCABULARY, "wave", "the"]))
    refused(path, "expected every entry once, found 'wave' twice")


def test_a_file_of_four_entries(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("[UNK]\n[CLS]\n[SEP]\nwave\n")
    try:
        features = WordPieceFeatures.from_file(path, WordPieceConfig())
    except DataError:
        return
    assert features.n_rows == 4


# Model files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [UNCASED, CASED])
def test_arrays_round_trip(features: WordPieceFeatures) -> None:
    arrays = features.arrays()
    again = features_from_file("wordpiece", features.config.to_dict(), arrays)
    assert isinstance(again, WordPieceFeatures)
    assert again.vocabulary == features.vocabulary
    assert again.config == features.config
    assert arrays["vocabulary"].dtype == np.uint8
    texts = ["The café waves!", "Café", ""]
    assert pieces(again, *texts) == pieces(features, *texts)


def encoded(*entries: str) -> np.ndarray:
    return np.frombuffer("\n".join(entries).encode(), np.uint8)


@pytest.mark.parametrize(
    "vocabulary",
    [
        encoded("[UNK]", "[CLS]", "a"),
        encoded("[UNK]", "[SEP]", "a"),
        encoded("[CLS]", "[SEP]", "a"),
        encoded("[UNK]", "[CLS]", "[SEP]", "a", "a"),
        encoded(),
        np.zeros(0, np.uint8),
        np.frombuffer(b"[UNK]\n[CLS]\n[SEP]\n\xff", np.uint8),
        encoded("[UNK]", "[CLS]", "[SEP]").astype(np.uint32),
        encoded("[UNK]", "[CLS]", "[SEP]").astype(np.float32),
    ],
)
def test_bad_arrays(vocabulary: np.ndarray) -> None:
    with pytest.raises(ModelFileError, match="vocabulary"):
        features_from_file("wordpiece", {}, {"vocabulary": vocabulary})
    with pytest.raises(ModelFileError, match="vocabulary"):
        features_from_file("wordpiece", {}, {"buckets": vocabulary})
