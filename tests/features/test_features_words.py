from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import slow_text
from hypothesis import given, settings
from hypothesis import strategies as st
from text_strategies import texts as odd_texts

from token2wave.core import load_core
from token2wave.errors import DataError, ModelFileError
from token2wave.features import (
    Ragged,
    WordConfig,
    WordFeatures,
    features_from_file,
    fit_features,
    hashed_texts,
)
from token2wave.features.hashed_texts import text_chunks


@pytest.fixture(scope="module", autouse=True, params=["native", "numpy"])
def way(request):
    """Every test goes both ways: through the native core, and through numpy."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "numpy":
            patch.setenv("TOKEN2WAVE_NATIVE", "0")
        elif load_core() is None:
            pytest.skip("the native core is not built")
        yield


PROPERTY = settings(deadline=None, max_examples=40, print_blob=True)

plain_texts = st.lists(
    st.sampled_from(["good", "bad", "film", "Film", "the", ".", "!", "it's", "中", "ไทย", "ก"]), max_size=12
).map(" ".join)
batches = st.lists(st.one_of(plain_texts, plain_texts, odd_texts), max_size=6)
configs = st.builds(
    WordConfig,
    ngrams=st.integers(1, 5),
    unspaced_ngrams=st.integers(1, 5),
    bits=st.integers(10, 12),
    min_count=st.integers(1, 4),
    cls=st.booleans(),
)


def buckets_of(text: str, n: int, config: WordConfig) -> list[int]:
    grams = slow_text.ngrams(slow_text.hashes(text), n, config.ngrams)
    return [gram >> (64 - config.bits) for gram in grams]


def longest(config: WordConfig) -> int:
    return max(config.ngrams, config.unspaced_ngrams)


def slow_fit(texts: list[str], config: WordConfig) -> list[int]:
    counts = Counter(
        bucket
        for text in texts
        for n in range(1, longest(config) + 1)
        for bucket in buckets_of(text, n, config)
    )
    frequent = [bucket for bucket, count in counts.items() if count >= config.min_count]
    return sorted(frequent or counts)


def slow_features(text: str, kept: list[int], config: WordConfig) -> tuple[list[int], int]:
    row = {bucket: i + int(config.cls) for i, bucket in enumerate(kept)}
    ids = [0] if config.cls else []
    n_ordered = 0
    for n in range(1, longest(config) + 1):
        ids += [row[bucket] for bucket in buckets_of(text, n, config) if bucket in row]
        n_ordered = len(ids) if n == 1 else n_ordered
    return ids, n_ordered


def as_lists(found: Ragged) -> list[tuple[list[int], int]]:
    assert found.ids.dtype == np.int32
    assert found.offsets.dtype == found.n_ordered.dtype == np.int64
    bounds = found.offsets.tolist()
    assert bounds[0] == 0
    assert bounds[-1] == len(found.ids)
    return [
        (found.ids[first:last].tolist(), n)
        for first, last, n in zip(bounds[:-1], bounds[1:], found.n_ordered.tolist(), strict=True)
    ]


@PROPERTY
@given(batches, batches, configs)
def test_fit_and_call_equal_the_slow_twin(train: list[str], test: list[str], config: WordConfig) -> None:
    expected = slow_fit(train, config)
    if not expected:
        with pytest.raises(DataError, match="without a single one"):
            WordFeatures.fit(train, config)
        return
    features = WordFeatures.fit(train, config)
    assert features.buckets.dtype == np.uint32
    assert features.buckets.tolist() == expected
    assert features.n_rows == len(expected) + int(config.cls)
    assert as_lists(features(test)) == [slow_features(text, expected, config) for text in test]


@PROPERTY
@given(batches, configs, st.integers(1, 30))
def test_chunks_make_no_difference(batch: list[str], config: WordConfig, size: int) -> None:
    train = [*batch, "good film ."]
    whole = WordFeatures.fit(train, config)
    expected = as_lists(whole(train))
    done: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashed_texts, "CHARACTERS_CHUNK", size)
        chunked = WordFeatures.fit(train, config)
        assert as_lists(whole(train, done.append)) == expected
    assert chunked.buckets.tolist() == whole.buckets.tolist()
    assert sum(done) == len(train)


def test_chunks_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashed_texts, "CHARACTERS_CHUNK", 4)
    assert [list(chunk) for chunk in text_chunks(["ab", "cd", "", "e", "long text", "f", ""])] == [
        ["ab", "cd"],
        ["", "e", "long text"],
        ["f", ""],
    ]
    assert list(text_chunks([])) == []


@PROPERTY
@given(batches, configs)
def test_a_text_does_not_depend_on_the_others(batch: list[str], config: WordConfig) -> None:
    features = WordFeatures.fit(["good bad film . the the film", *batch], config)
    together = as_lists(features(batch))
    assert together == [as_lists(features([text]))[0] for text in batch]


def test_layout_by_hand() -> None:
    config = WordConfig(ngrams=2, bits=20, min_count=2, cls=True)
    features = WordFeatures.fit(["good film", "good film", "rare"], config)
    rows = {bucket: row + 1 for row, bucket in enumerate(features.buckets.tolist())}
    good, film = (rows[buckets_of(word, 1, config)[0]] for word in ("good", "film"))
    pair = rows[buckets_of("good film", 2, config)[0]]
    assert sorted([good, film, pair]) == [1, 2, 3]
    assert features.n_rows == 4
    found = as_lists(features(["Good rare film", "", "good film GOOD", "rare unknown"]))
    assert found == [([0, good, film], 3), ([0], 1), ([0, good, film, good, pair], 4), ([0], 1)]


def test_no_texts() -> None:
    for cls in (False, True):
        features = WordFeatures.fit(["a a"], WordConfig(bits=10, cls=cls))
        assert as_lists(features([])) == []


def test_where_nothing_is_frequent_all_is_kept() -> None:
    config = WordConfig(bits=20, ngrams=1, min_count=5)
    assert WordFeatures.fit(["a b", "c"], config).n_rows == 3
    assert WordFeatures.fit(["a b", "c c c c c"], config).n_rows == 1


@pytest.mark.parametrize("texts", [[], [""], ["", " \n", "\0\u200b"]])
def test_no_words_at_all(texts: list[str]) -> None:
    with pytest.raises(DataError, match=rf"found {len(texts)} texts without a single one; check that the"):
        fit_features(texts, WordConfig(bits=10, cls=True))


@pytest.mark.parametrize("cls", [False, True])
def test_sentence_ends(cls: bool) -> None:
    config = WordConfig(bits=20, min_count=1, cls=cls)
    features = WordFeatures.fit(["one. two! three", "四。"], config)
    rows = {bucket: row + int(cls) for row, bucket in enumerate(features.buckets.tolist())}
    assert features.sentence_ends == tuple(sorted(rows[buckets_of(end, 1, config)[0]] for end in ".!。"))
    assert WordFeatures.fit(["no end"], config).sentence_ends == ()


@PROPERTY
@given(batches, configs)
def test_arrays_round_trip(batch: list[str], config: WordConfig) -> None:
    features = WordFeatures.fit([*batch, "good film"], config)
    again = features_from_file("words", config.to_dict(), features.arrays())
    assert isinstance(again, WordFeatures)
    assert again.config == config
    assert again.buckets.tolist() == features.buckets.tolist()
    assert as_lists(again(batch)) == as_lists(features(batch))


@pytest.mark.parametrize(
    "buckets",
    [
        np.array([3, 2], np.uint32),
        np.array([2, 2], np.uint32),
        np.array([1, 1024], np.uint32),
        np.array([0xFFFFFFFF], np.uint32),
        np.array([5, 0xFFFFFFFF, 6], np.uint32),
        np.array([1, 2], np.int64),
        np.array([1.0, 2.0], np.float32),
        np.array([[1, 2]], np.uint32),
        np.array(1, np.uint32),
    ],
)
def test_bad_buckets(buckets: np.ndarray) -> None:
    with pytest.raises(ModelFileError, match="buckets"):
        features_from_file("words", {"bits": 10}, {"buckets": buckets})


def test_buckets_at_the_edges() -> None:
    for edge in (0, 1023):
        arrays = {"buckets": np.array([edge], np.uint32)}
        assert features_from_file("words", {"bits": 10}, arrays).n_rows == 1


def test_missing_buckets_and_unknown_kind() -> None:
    with pytest.raises(ModelFileError, match="buckets"):
        features_from_file("words", {}, {"vocabulary": np.zeros(3, np.uint8)})
    with pytest.raises(
        ModelFileError, match="expected features of type words, wordpiece or pairs, found 'letters'"
    ):
        features_from_file("letters", {}, {})
