"""Groups of rows with the same or nearly the same text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from token2wave.core import load_core
from token2wave.data.duplicates import _words_of, count_shared, fingerprint, group_duplicates
from token2wave.features.hashed_texts import HashedTexts
from token2wave.features.ragged import offsets_of

LONG = "The quick brown fox jumps over the lazy dog while seven wizards brew a potent green ale at midnight"


@pytest.mark.parametrize(
    ("texts", "groups"),
    [
        ([], []),
        (["a b", "b a", "a b"], [0, 1, 0]),
        (["Good film!", "good   film !", "good films !"], [0, 0, 2]),
        (["", " ", "word", ""], [0, 0, 2, 0]),
        ([LONG, "other words", f"Indeed {LONG}", LONG.replace("seven", "eight")], [0, 1, 0, 0]),
        ([LONG, " ".join(reversed(LONG.split()))], [0, 1]),  # the pairs of words differ
        ([LONG, " ".join(LONG.split()[:9])], [0, 1]),
        (["What is the capital of France ?", "What is the capital of Spain ?"], [0, 1]),
        (["\ud800 x", "\ud800 x", "\udfff"], [0, 0, 2]),
    ],
)
def test_groups(texts, groups):
    assert group_duplicates(texts).tolist() == groups


def test_chains_of_similar_texts_are_one_group():
    words = LONG.split()
    texts = [" ".join([*words[:i], "x", *words[i:]]) for i in range(len(words))]
    assert group_duplicates(["first", *texts]).tolist() == [0] + [1] * len(texts)
    assert group_duplicates(texts, near=False).tolist() == list(range(len(texts)))


@given(st.lists(st.text(alphabet="ab .\n", max_size=12), max_size=12))
def test_exact_groups_are_those_of_the_words(texts):
    hashed = HashedTexts.of(texts)

    hashes, lengths = _words_of(hashed)[0], hashed.n_tokens
    words = [tuple(part.tolist()) for part in np.split(hashes, np.cumsum(lengths)[:-1])] if texts else []
    keys = [own or text.strip() for own, text in zip(words, texts, strict=True)]
    assert group_duplicates(texts, near=False).tolist() == [keys.index(key) for key in keys]


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=6), max_size=6), st.integers(0, 5))
def test_the_core_computes_what_numpy_does(rows, n_minima):
    if load_core() is None:
        pytest.skip("there is no native core here")
    words = np.array([word for row in rows for word in row], dtype=np.uint64)
    offsets = offsets_of(np.array([len(row) for row in rows], dtype=np.int64))
    native = fingerprint(words, offsets, n_minima)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOKEN2WAVE_NATIVE", "0")
        reference = fingerprint(words, offsets, n_minima)
    for ours, theirs in zip(native, reference, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_core_refuses_offsets_that_do_not_fit():
    core = load_core()
    if core is None:
        pytest.skip("there is no native core here")
    words, keys, minima = np.zeros(3, np.uint64), np.zeros(1, np.uint64), np.zeros(2, np.uint64)
    for offsets in ([0, 4], [2, 1], [-1, 2]):
        with pytest.raises(ValueError, match="do not fit together"):
            core.fingerprint(words, np.array(offsets, dtype=np.int64), keys, minima)


def test_texts_shared_by_two_sets_are_counted():
    long = "word " * 50
    others = ["Same text", f"{long}end", "x", f"{long}other"]
    assert count_shared(["same   TEXT ", f" {long} End", "y", f"{long}third", "same text"], others) == 3
    assert count_shared([], others) == count_shared(others, []) == 0
