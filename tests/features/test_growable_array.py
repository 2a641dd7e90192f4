"""Arrays that move to a file when they grow, and features made from them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from token2wave.features import WordConfig, fit_features, growable_array
from token2wave.features.growable_array import GrowableArray


@given(chunks=st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=6), limit=st.integers(0, 80))
def test_chunks_come_back_as_one(chunks, limit):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growable_array, "BYTES_IN_MEMORY", limit)
        array = GrowableArray(np.int32)
        for chunk in chunks:
            array.append(np.array(chunk, dtype=np.int64))
        whole = array.whole()
    expected = [number for chunk in chunks for number in chunk]
    assert whole.dtype == np.int32
    assert whole.tolist() == expected
    assert isinstance(whole, np.memmap) == (4 * len(expected) > limit)


def test_features_in_a_file_equal_those_in_memory(monkeypatch):
    monkeypatch.setattr("token2wave.features.hashed_texts.CHARACTERS_CHUNK", 50)
    texts = [f"the {word} of a {other}" for word in ("cat", "dog", "cow") for other in ("day", "night")] * 5
    features, in_memory = fit_features(texts, WordConfig(bits=12))
    monkeypatch.setattr(growable_array, "BYTES_IN_MEMORY", 8)
    again, mapped = fit_features(texts, WordConfig(bits=12))
    assert isinstance(mapped.ids, np.memmap)
    assert not isinstance(in_memory.ids, np.memmap)
    assert np.array_equal(features.buckets, again.buckets)
    for name in ("ids", "offsets", "n_ordered"):
        assert np.array_equal(getattr(mapped, name), getattr(in_memory, name))
        assert np.array_equal(getattr(mapped, name), getattr(features(texts), name))
