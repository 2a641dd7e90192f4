"""One short ASCII text goes through Python alone, with the features that numpy and the native core give."""

import itertools
import string

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from token2wave.features import WordConfig, WordFeatures
from token2wave.features.short_text import LONGEST, is_short, next_gram, short_text_hashes
from token2wave.features.text import ngram_hashes, token_hashes

PROPERTY = settings(deadline=None, max_examples=200, print_blob=True)
ascii_texts = st.text(st.sampled_from(string.printable + "\0\x7f''''aaAZ"), max_size=LONGEST)


@PROPERTY
@given(ascii_texts)
@example("'tis rock'n'roll'' don't ''a'b'' a'")
@example("a" * 64 + "'b" + "C" * 200)
@example("a" * 63 + "'b" + "_-_ 3.5 x,y")
def test_hashes_are_those_of_the_definition(text):
    assert is_short(text)
    hashes, offsets = token_hashes([text])
    assert short_text_hashes(text) == hashes.tolist()
    pairs, _ = ngram_hashes(hashes, offsets, 2)
    found = hashes.tolist()
    assert [next_gram(a, b) for a, b in itertools.pairwise(found)] == pairs.tolist()


@pytest.mark.parametrize("ngrams", [1, 2, 4])
@pytest.mark.parametrize("cls", [False, True])
@PROPERTY
@given(text=st.lists(st.sampled_from(["a", "b", "c", "d", "don't", "!", "zzz"]), max_size=12).map(" ".join))
def test_features_are_those_of_a_batch(ngrams, cls, text):
    config = WordConfig(ngrams=ngrams, cls=cls, bits=16, min_count=1)
    features = WordFeatures.fit(["a b c d don't ! a c ! don't a"], config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOKEN2WAVE_NATIVE", "0")
        alone, batch = features([text]), features([text, "a b"]).take(np.array([0]))
    for name in ("ids", "offsets", "n_ordered"):
        np.testing.assert_array_equal(getattr(alone, name), getattr(batch, name))
        assert getattr(alone, name).dtype == getattr(batch, name).dtype


def test_other_texts_take_the_long_way():
    assert not is_short("a" * (LONGEST + 1))
    assert not is_short("é")
