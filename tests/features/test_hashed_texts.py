"""Texts that keep the hashes of their tokens."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from token2wave.features import WordConfig, WordFeatures, hashed_texts
from token2wave.features.hashed_texts import HashedTexts
from token2wave.features.text import spelled_tokens, token_hashes

TEXTS = ["Don't stop the film", "", "the film's   end", "a b c d e f g h", "straße STRASSE", "the the the"]


def tokens_of(texts):
    chunks = list(texts.token_chunks())
    n_tokens = [n for _, lengths in chunks for n in lengths.tolist()]
    return [code for hashes, _ in chunks for code in hashes.tolist()], n_tokens


@pytest.mark.parametrize("size", [1, 3, 1 << 18])
@given(st.lists(st.sampled_from(range(len(TEXTS)))))
def test_a_selection_has_the_tokens_of_its_texts(size, rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashed_texts, "TOKENS_CHUNK", size)
        selection = HashedTexts(TEXTS).take(np.arange(len(TEXTS))).take(np.array(rows, dtype=np.int64))
        hashes, offsets = token_hashes(list(selection))
        assert list(selection) == [TEXTS[row] for row in rows]
        assert tokens_of(selection) == (hashes.tolist(), np.diff(offsets).tolist())


@given(st.lists(st.sampled_from(range(len(TEXTS)))))
def test_a_selection_has_the_words_of_its_texts(rows):
    selection = HashedTexts(TEXTS).take(np.array(rows, dtype=np.int64))
    hashes, code_points, offsets = spelled_tokens(list(selection))
    letters = {
        int(code): code_points[first:last].tolist()
        for code, first, last in zip(hashes, offsets, offsets[1:], strict=False)
    }
    words = selection.words
    assert words.hashes.tolist() == sorted(letters)
    for code, first, last in zip(words.hashes.tolist(), words.starts, words.ends, strict=True):
        assert words.code_points[first:last].tolist() == letters[code]


def test_texts_are_hashed_once_for_all_selections(monkeypatch):
    hashed = []
    original = hashed_texts.hash_tokens
    monkeypatch.setattr(hashed_texts, "hash_tokens", lambda texts: hashed.extend(texts) or original(texts))
    texts, more = HashedTexts(TEXTS), HashedTexts(["more"])
    train, validation = texts.take(np.array([0, 1, 2])), texts.take(np.array([4]))
    for config in (WordConfig(bits=12), WordConfig(ngrams=3, bits=14, min_count=1)):
        features = WordFeatures.fit(train, config)
        features.with_unknown(validation)
        features(texts)
        features(train + more)
    assert sorted(hashed) == sorted([*TEXTS, "more"])
    joined, offsets = token_hashes([*train, *more])
    assert tokens_of(train + more) == (joined.tolist(), np.diff(offsets).tolist())
