from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
import slow_text
from hypothesis import example, given, settings
from hypothesis import strategies as st
from text_strategies import texts

from token2wave.features.normalisation import unicode_table
from token2wave.features.text import Hashes, mix, ngram_hashes, pieces, token_hashes

PROPERTY = settings(deadline=None, max_examples=80, print_blob=True)

PINNED_TOKENS = {
    "a": 0xF2F8EDE6FA70BF5E,
    "wave": 0x626B5B520CC6D9C8,
    "film": 0xFCF33FF498CC6C02,
    "it's": 0x6522588BCC457DE8,
    "straße": 0x5C40F827492C612A,
    "中": 0x60E3BD26DAE6516C,
    "👍": 0xE0AB2A0B84730022,
    "!": 0xC67949C3A864283C,
    "x" * 64: 0x0CEBE4EF4C26B83A,
}
PINNED_NGRAMS = {
    "not good": 0x200CED3855387165,
    "good not": 0x8F505EB594E5A09E,
    "a b c": 0x5031BA650327B0CB,
    "the end of it .": 0x0A3B0AD41024D143,
    "ไทย": 0x9AA50839866A166D,
    "中 文": 0x7C891875D7797C46,
}
PINNED_TABLE = "5362ac60333cb9efc40b20c472e54ca9faf65720846db10d4461f3d886f12572"


def grams_of(batch: list[str], n: int, always: int = 5) -> tuple[Hashes, list[int]]:
    """Hashes of all n-grams of texts that are features, and how many each text has."""
    hashes, offsets = token_hashes(batch)
    *_, (grams, first) = itertools.islice(ngram_hashes(hashes, offsets, always, 5), n)
    return grams, np.diff(np.searchsorted(first, offsets)).tolist()


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
@given(st.lists(texts, max_size=5), st.integers(1, 5), st.integers(1, 5))
@example(["ภาษาไทย ไท ย", "a ก ขค b", ""], 4, 2)
@example(["ภาษาไทย"], 2, 1)
def test_ngram_hashes_equal_the_definition(batch: list[str], n: int, always: int) -> None:
    grams, counts = grams_of(batch, n, always)
    expected = [slow_text.ngrams(slow_text.hashes(text), n, always) for text in batch]
    assert grams.dtype == np.uint64
    assert counts == list(map(len, expected))
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
        ("ÄÖ ẞ", ["äö", "ss"]),
        ("👍🏽", ["👍", "🏽"]),
        ("e\u0301", ["é"]),
        ("a'\u0301b", ["a'\u0301b"]),  # a mark is of class word
        ("½", ["1", "⁄", "2"]),
        ("\ufdf2\u0640", ["الله"]),
        ("שלום עולם", ["שלום", "עולם"]),
        ("ไทย", ["ไ", "ท", "ย"]),
        ("a\u200db", ["ab"]),
        ("don\u2019\u00adt", ["don't"]),
        ("’\ufe0f a\u200b", ["'", "a"]),
        (" \n\u00a0\u2028\ufeff", []),
        ("", []),
    ],
)
def test_tokens_by_hand(text: str, pieces: list[str]) -> None:
    assert slow_text.tokens(text) == [[ord(character) for character in piece] for piece in pieces]
    is_thai = [piece in "ไทย" for piece in pieces]
    after = [i > 0 and is_thai[i] for i in range(len(pieces))]
    expected = [
        slow_text.hash_of([ord(c) for c in piece], bit) for piece, bit in zip(pieces, after, strict=True)
    ]
    assert hashes_of(text) == expected


@pytest.mark.parametrize("word", PINNED_TOKENS)
def test_pinned_tokens(word: str) -> None:
    assert hashes_of(word) == [PINNED_TOKENS[word]]


@pytest.mark.parametrize("phrase", PINNED_NGRAMS)
def test_pinned_ngrams(phrase: str) -> None:
    grams, _ = grams_of([phrase], len(hashes_of(phrase)))
    assert grams.tolist() == [PINNED_NGRAMS[phrase]]


def test_the_order_of_tokens_and_of_letters_counts() -> None:
    assert hashes_of("ab") != hashes_of("ba")
    assert len(set(grams_of(["not good", "good not"], 2)[0].tolist())) == 2


def test_ngrams_do_not_cross_texts() -> None:
    batch = ["a", "", "b c", "d"]
    assert grams_of(batch, 2)[1] == [0, 0, 1, 0]
    assert grams_of(batch, 3)[1] == [0, 0, 0, 0]
    assert grams_of(batch, 1)[0].tolist() == token_hashes(batch)[0].tolist()
    assert grams_of(["ก", "ข"], 2)[1] == [0, 0]
    assert not (token_hashes(["ก", "ข"])[0] & np.uint64(1)).any()


def test_pinned_table() -> None:
    """Who changes the table changes every trained model: that needs a new kind of features."""
    table = unicode_table()
    for name in ("classes", "folded", "marks", "combining"):
        assert getattr(table, name).shape == (0x110000,), name
    little = b"".join(array.astype(array.dtype.newbyteorder("<")).tobytes() for array in table)
    assert hashlib.sha256(little).hexdigest() == PINNED_TABLE


def test_the_table_is_consistent() -> None:
    table = unicode_table()
    assert np.array_equal(table.folded[table.folded], table.folded)
    some = [*range(0x3000), *range(0, 0x110000, 997)]
    assert [slow_text.folded(c) for c in some] == table.folded[some].tolist()
    assert [slow_text.class_of(c) for c in some] == table.classes[some].tolist()
    assert [slow_text.mark_of(c) for c in some] == table.marks[some].tolist()
    assert [slow_text.combining_class(c) for c in some] == table.combining[some].tolist()
    for array in table:
        assert not array.flags.writeable
    assert np.all(np.diff(table.expanded.astype(int)) > 0)
    assert np.all(np.diff(table.composition_pairs.astype(object)) > 0)
    assert table.marks[:0x80].max() == 0  # the core steps over ASCII


AT_SEAMS = "aab'’ .é漢\ud800กข\u0301\u0323\u200b\u1112\u1161\u11ab한½\u0640ﬁ"


@settings(deadline=None, max_examples=300, print_blob=True)
@given(st.text(st.sampled_from(AT_SEAMS), max_size=300), st.integers(1, 80))
@example("a'" * 200, 70)
@example("'" * 200, 70)
@example("a" * 300 + "'b", 65)
@example("ก" * 300, 10)
@example("a " * 9 + "\u0301" * 100 + "a " * 9, 19)
@example("\u1112\u1161\u11ab" * 60, 10)
@example("½" * 60, 10)
@example("e\u0301" * 100, 65)
@example("a\u200b" * 100, 65)
@example("\u200b" * 100 + "a'", 7)
def test_pieces_of_a_text_have_its_tokens(text: str, size: int) -> None:
    parts = list(pieces(text, size))
    assert "".join(parts) == text
    hashes = [code for part in parts for code in token_hashes([part])[0].tolist()]
    assert hashes == token_hashes([text])[0].tolist()
