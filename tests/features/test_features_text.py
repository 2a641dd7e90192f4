from __future__ import annotations

import hashlib

import numpy as np
import pytest
import slow_text
from hypothesis import example, given, settings
from hypothesis import strategies as st
from text_strategies import texts

from token2wave.features import text as fast
from token2wave.features.text import mix, ngram_hashes, pieces, token_hashes

PROPERTY = settings(deadline=None, max_examples=80, print_blob=True)

PINNED_TOKENS = {
    "a": 0xF2F8EDE6FA70BF5F,
    "wave": 0x626B5B520CC6D9C9,
    "film": 0xFCF33FF498CC6C03,
    "it's": 0x6522588BCC457DE8,
    "straße": 0xD88760BA10D85D3D,
    "中": 0x60E3BD26DAE6516D,
    "👍": 0xE0AB2A0B84730023,
    "!": 0xC67949C3A864283C,
    "x" * 64: 0x0CEBE4EF4C26B83A,
}
PINNED_NGRAMS = {
    "not good": 0x5AE3526B9C14DFA7,
    "good not": 0x9C6D4680D7FC5D25,
    "a b c": 0xB3884315DF436F12,
    "the end of it .": 0x0A426E481A1149DA,
    "中 文": 0x4E036564CD963675,
}
PINNED_TABLE = "72053083729b1527fc2ed4064d38251f9f38e56eb98b03f1b471801485836469"


def hashes_of(text: str) -> list[int]:
    hashes, offsets = token_hashes([text])
    assert offsets.tolist() == [0, len(hashes)]
    return hashes.tolist()


@PROPERTY
@given(st.lists(texts, max_size=6))
@example([])
@example([""])
@example(["", " \n\t", "", "a", ""])
@example(["don", "'t", "a'", "b"])  # an apostrophe at a text's edge is inside no word
@example(["x" * 64 + "'" + "y" * 64, "'" * 70, "x" * 63 + "'y"])
def test_token_hashes_equal_the_definition(batch: list[str]) -> None:
    hashes, offsets = token_hashes(batch)
    expected = [slow_text.hashes(text) for text in batch]
    assert hashes.dtype == np.uint64
    assert offsets.dtype == np.int64
    assert offsets.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    assert hashes.tolist() == [token for text in expected for token in text]


@PROPERTY
@given(st.lists(texts, max_size=5), st.integers(1, 6))
def test_ngram_hashes_equal_the_definition(batch: list[str], n: int) -> None:
    grams, offsets = ngram_hashes(*token_hashes(batch), n)
    expected = [slow_text.ngrams(slow_text.hashes(text), n) for text in batch]
    assert grams.dtype == np.uint64
    assert offsets.dtype == np.int64
    assert offsets.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    assert grams.tolist() == [gram for text in expected for gram in text]


@PROPERTY
@given(st.lists(st.integers(0, slow_text.MASK), max_size=20))
def test_mix_is_the_finaliser_of_splitmix64(numbers: list[int]) -> None:
    assert mix(np.array(numbers, np.uint64)).tolist() == [slow_text.mix(number) for number in numbers]


def test_splitmix64_as_published() -> None:
    # First outputs of SplitMix64 seeded with 1234567 (rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64).
    states = [(1234567 + slow_text.BASE * step) & slow_text.MASK for step in range(1, 4)]
    assert mix(np.array(states, np.uint64)).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_a_very_long_word_is_cut_after_every_64_code_points() -> None:
    long = "ab" * 500
    assert hashes_of(long) == slow_text.hashes(long)
    assert hashes_of(long)[:15] == hashes_of("ab" * 32) * 15
    assert hashes_of(long)[15:] == hashes_of("ab" * 20)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("It's", ["it's"]),
        ("it’s", ["it's"]),
        ("'tis dogs'", ["'", "tis", "dogs", "'"]),
        ("don''t", ["don", "'", "'", "t"]),
        ("a'b'c", ["a'b'c"]),
        ("中'中", ["中", "'", "中"]),
        ("snake_case-2", ["snake_case", "-", "2"]),
        ("No.1!?", ["no", ".", "1", "!", "?"]),
        ("中文ab", ["中", "文", "ab"]),
        ("a\0b\ud800c", ["a", "b", "c"]),
        ("ÄÖ ẞ", ["äö", "ß"]),
        ("👍🏽", ["👍", "🏽"]),
        ("e\u0301", ["e\u0301"]),
        ("שלום עולם", ["שלום", "עולם"]),
        ("ไทย", ["ไ", "ท", "ย"]),
        ("a\u200db", ["a", "b"]),
        (" \n\u00a0\u2028\ufeff", []),
        ("", []),
    ],
)
def test_tokens_by_hand(text: str, pieces: list[str]) -> None:
    assert slow_text.tokens(text) == [[ord(character) for character in piece] for piece in pieces]
    assert hashes_of(text) == [slow_text.hash_of([ord(c) for c in piece]) for piece in pieces]


@pytest.mark.parametrize("word", PINNED_TOKENS)
def test_pinned_tokens(word: str) -> None:
    assert hashes_of(word) == [PINNED_TOKENS[word]]


@pytest.mark.parametrize("phrase", PINNED_NGRAMS)
def test_pinned_ngrams(phrase: str) -> None:
    hashes, offsets = token_hashes([phrase])
    grams, _ = ngram_hashes(hashes, offsets, len(hashes))
    assert grams.tolist() == [PINNED_NGRAMS[phrase]]


def test_the_order_of_tokens_and_of_letters_counts() -> None:
    assert hashes_of("ab") != hashes_of("ba")
    hashes, offsets = token_hashes(["not good", "good not"])
    assert len(set(ngram_hashes(hashes, offsets, 2)[0].tolist())) == 2


def test_ngrams_do_not_cross_texts() -> None:
    hashes, offsets = token_hashes(["a", "", "b c", "d"])
    assert ngram_hashes(hashes, offsets, 2)[1].tolist() == [0, 0, 0, 1, 1]
    assert ngram_hashes(hashes, offsets, 3)[1].tolist() == [0, 0, 0, 0, 0]
    assert ngram_hashes(hashes, offsets, 1)[0].tolist() == hashes.tolist()


def test_pinned_table() -> None:
    """Who changes the table changes every trained model: that needs a new kind of features."""
    classes, lower = fast.letter_table()
    assert (classes.shape, classes.dtype) == ((0x110000,), np.uint8)
    assert (lower.shape, lower.dtype) == ((0x110000,), np.uint32)
    little = lower.astype("<u4").tobytes()
    assert hashlib.sha256(classes.tobytes() + little).hexdigest() == PINNED_TABLE


def test_the_table_is_consistent() -> None:
    classes, lower = fast.letter_table()
    assert np.array_equal(lower[lower], lower)
    changed = np.flatnonzero(lower != np.arange(len(lower)))
    assert np.array_equal(classes[changed], classes[lower[changed]])
    some = [*range(0x3000), *range(0, 0x110000, 997)]
    assert [slow_text.lower(c) for c in some] == lower[some].tolist()
    assert [slow_text.class_of(c) for c in some] == classes[some].tolist()


@settings(deadline=None, max_examples=150, print_blob=True)
@given(st.text(st.sampled_from("aab'’ .é漢\ud800"), max_size=300), st.integers(1, 80))
@example("a'" * 200, 70)
@example("'" * 200, 70)
@example("a" * 300 + "'b", 65)
def test_pieces_of_a_text_have_its_tokens(text: str, size: int) -> None:
    parts = list(pieces(text, size))
    assert "".join(parts) == text
    hashes = [code for part in parts for code in token_hashes([part])[0].tolist()]
    assert hashes == token_hashes([text])[0].tolist()
