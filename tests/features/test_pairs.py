"""Features of pairs beside their definition in plain Python."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.features import slow_text
from tests.features.text_strategies import texts
from token2wave.errors import DataError, InputError, ModelFileError
from token2wave.features import hashed_texts
from token2wave.features import pairs as pairs_module
from token2wave.features.pairs import (
    ARRAYS,
    COMPARISONS,
    FIRST_OF_TWO,
    LEVELS,
    N_LEVELS,
    SEPARATOR,
    PairConfig,
    PairFeatures,
    SplitPairs,
    join_pair,
    split_pair,
)
from token2wave.prior import load_prior

TRAINING = [
    ("the cat sat on the mat", "a cat sat on a mat"),
    ("the dog barks at the cat", "the dog sleeps"),
    ("shares fell on Monday", "stocks dropped on Monday"),
    ("it's raining in Paris", "the weather is fine in Rome"),
    ("猫が好きです", "犬が好きです"),
    ("two men are playing chess", "three men play a game of chess"),
    ("", "nothing at all"),
    ("a b c d", "d c b a"),
] * 2
CONFIG = {"ngrams": 2, "bits": 20, "min_count": 1}


@pytest.fixture(scope="module", params=[False, True], ids=["ordered", "symmetric"])
def features(request: Any) -> PairFeatures:
    pairs = [join_pair(*pair) for pair in TRAINING]
    return PairFeatures.fit(pairs, PairConfig(symmetric=request.param, **CONFIG), load_prior())


# ---- the definition once more ----


def grams_of(text: str) -> list[set[int]]:
    """Words, n-grams of several words, character trigrams, and characters and character bigrams."""
    tokens = slow_text.tokens_after(text)
    hashes = [slow_text.hash_of(*token) for token in tokens]
    longer = {gram for n in range(2, 5) for gram in slow_text.ngrams(hashes, n, 2)}
    characters: list[set[int]] = [set(), set(), set(), set()]
    for letters, _ in tokens:
        spelled = [0, *(letter + 1 for letter in letters), 0]
        for n in (1, 2, 3):
            for first in range(len(spelled) - n + 1):
                rolled = slow_text.LINK
                for letter in spelled[first : first + n]:
                    rolled = (rolled * slow_text.BASE + letter + 1) & slow_text.MASK
                characters[n].add(slow_text.mix(rolled))
    return [{h - h % 2 for h in hashes}, longer, characters[3], characters[1] | characters[2]]


@cache
def counts_of(features: PairFeatures) -> dict[int, int]:
    return dict(zip(features.text_hashes.tolist(), features.text_counts.tolist(), strict=True))


@cache
def vectors_of(features: PairFeatures) -> tuple[dict[int, int], Any]:
    """The row of each hash, and the vectors."""
    rows = {hashed: row for row, hashed in enumerate(features.vector_hashes.tolist())}
    codes = features.vector_codes.reshape(len(rows), -1).astype(np.float64)
    return rows, (codes * features.vector_scales[:, None]).astype(np.float32).astype(np.float64)


def weigh(features: PairFeatures, hashed: int) -> float:
    counts = counts_of(features)
    return math.log((1 + int(features.n_texts[0])) / (1 + counts.get(hashed >> 32, 1))) + 1


def compare_slowly(features: PairFeatures, first: str, second: str) -> list[float]:
    numbers = []
    a, b = grams_of(first), grams_of(second)
    for ours, theirs in zip(a, b, strict=True):
        norms = [sum(weigh(features, h) ** 2 for h in side) for side in (ours, theirs)]
        both = sum(weigh(features, h) ** 2 for h in ours & theirs)
        numbers.append(both / math.sqrt(norms[0] * norms[1]) if norms[0] and norms[1] else 0.0)
    ours, theirs = a[0], b[0]
    weights = [sum(weigh(features, h) for h in words) for words in (ours, theirs, ours & theirs)]
    either = sum(weigh(features, h) for h in ours | theirs)
    numbers += [len(ours & theirs) / max(len(ours | theirs), 1), weights[2] / either if either else 0.0]
    numbers += [weights[2] / weight if weight else 0.0 for weight in weights[:2]]
    numbers += [len(ours), len(theirs), weights[0] - weights[2], weights[1] - weights[2]]
    numbers += compare_waves_slowly(features, first, second)
    if features.config.symmetric:
        for place in FIRST_OF_TWO:
            numbers[place : place + 2] = sorted(numbers[place : place + 2])
    return numbers


def compare_waves_slowly(features: PairFeatures, first: str, second: str) -> list[float]:
    rows, vectors = vectors_of(features)
    waves, weighted = [], []
    for text in (first, second):
        hashes = [h for h in slow_text.hashes(text) if h >> 32 in rows]
        own = np.array([vectors[rows[h >> 32]] for h in hashes])
        own = own if len(own) else np.zeros((1, vectors.shape[1]))
        mean = own.mean(axis=0)
        waves.append(mean + 1j * np.sqrt(np.maximum((own**2).mean(axis=0) - mean**2, 0)))
        weighted.append(sum((weigh(features, h) * vectors[rows[h >> 32]] for h in hashes), 0.0 * mean))
    a, b = waves
    norm = float(np.sqrt((np.abs(a) ** 2).sum() * (np.abs(b) ** 2).sum()))
    angles = np.angle(a) - np.angle(b)
    interference = float((np.abs(a) * np.abs(b) * np.cos(angles)).sum())
    modulation = float((a * b).real.sum())

    def cosine(x: Any, y: Any) -> float:
        size = float(np.linalg.norm(x) * np.linalg.norm(y))
        return float(x @ y) / size if size else 0.0

    return [
        cosine(a.real, b.real),
        cosine(*weighted),
        interference / norm if norm else 0.0,
        modulation / norm if norm else 0.0,
    ]


def sides_slowly(features: PairFeatures, first: str, second: str) -> list[int]:
    """Buckets of the words and n-grams with their sides."""
    a, b = (set.union(*grams_of(text)[:2]) for text in (first, second))
    sides = [slow_text.mix(number) for number in (1, 2, 3, 4)]
    hashed = [h ^ sides[3] for h in a & b] + [h ^ sides[0] for h in a ^ b]
    if not features.config.symmetric:
        hashed += [h ^ sides[1] for h in a - b] + [h ^ sides[2] for h in b - a]
    return sorted(slow_text.mix(h) >> (64 - features.config.bits) for h in hashed)


# ---- tests ----


@settings(max_examples=60, deadline=None)
@given(first=texts, second=texts)
def test_features_are_those_of_the_definition(features: PairFeatures, first: str, second: str) -> None:
    first, second = first.replace(SEPARATOR, " "), second.replace(SEPARATOR, " ")
    pair = join_pair(first, second)
    ragged, n_unknown = features.with_unknown([pair])
    rows, n_buckets = ragged.ids.tolist(), len(features.buckets)
    buckets = sides_slowly(features, first, second)
    known = [bucket for bucket in buckets if bucket in features.buckets]
    assert sorted(features.buckets[row] for row in rows if row < n_buckets) == known
    assert n_unknown.tolist() == [len(buckets) - len(known)]
    assert features.n_known(ragged).tolist() == [len(known)]
    numbers = compare_slowly(features, first, second)
    split = SplitPairs([pair], features.config)
    assert features.compare(split)[0] == pytest.approx(numbers, abs=1.1e-4)
    levels = [row - n_buckets for row in rows if row >= n_buckets]
    expected, cuts = [], features.cuts
    for place, number in enumerate(features.compare(split)[0].tolist()):
        first_cut, first_row = 0, place * N_LEVELS
        for n in LEVELS:
            above = sum(number > cut for cut in cuts[place, first_cut : first_cut + n - 1].tolist())
            expected.append(first_row + above)
            first_cut, first_row = first_cut + n - 1, first_row + n
    assert levels == expected
    assert features.n_special == len(expected)


def test_interference_and_modulation_tell_pairs_apart(features: PairFeatures) -> None:
    names = [COMPARISONS.index(name) for name in ("interference", "modulation", "cosine of words")]
    same, alike, other = (
        features.compare(SplitPairs([join_pair("the dog barks", second)], features.config))[0][names]
        for second in ("the dog barks", "a puppy howls", "shares of the bank")
    )
    assert same[0] == pytest.approx(1.0)
    assert same[0] > alike[0] > other[0]
    assert alike[2] == 0.0  # no word of both


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(texts, texts), min_size=1, max_size=4))
def test_the_order_plays_no_part_in_symmetric_pairs(
    features: PairFeatures, pairs: list[tuple[str, str]]
) -> None:
    forth, back = (
        features([join_pair(*pair) for pair in each]) for each in (pairs, [pair[::-1] for pair in pairs])
    )
    if features.config.symmetric:
        assert forth.ids.tolist() == back.ids.tolist()
        assert forth.offsets.tolist() == back.offsets.tolist()
    alone = [row for pair in pairs for row in features([join_pair(*pair)]).ids.tolist()]
    assert forth.ids.tolist() == alone  # a pair's features do not depend on the others


def test_an_ordered_pair_tells_its_texts_apart() -> None:
    pairs = [join_pair(*pair) for pair in TRAINING]
    features = PairFeatures.fit(pairs, PairConfig(**CONFIG), None)
    forth, back = (features([join_pair(*pair)]).ids.tolist() for pair in (TRAINING[1], TRAINING[1][::-1]))
    assert sorted(forth) != sorted(back)


def test_many_pairs_come_in_chunks(features: PairFeatures, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [join_pair(*pair) for pair in TRAINING]
    whole, done = features(pairs), []
    monkeypatch.setattr("token2wave.features.pairs.PAIRS_CHUNK", 3)
    assert features(pairs, done.append).ids.tolist() == whole.ids.tolist()
    assert sum(done) == len(pairs)
    assert len(features([])) == 0


def test_a_pair_is_two_texts_and_one_string() -> None:
    assert split_pair(join_pair("a\x1fb", "c")) == ("a b", "c")
    assert split_pair(join_pair("", "")) == ("", "")
    with pytest.raises(InputError, match="expected a pair of texts, found one text, 'a cat'"):
        split_pair("a cat")
    with pytest.raises(DataError, match="expected texts with words, found 2 texts"):
        PairFeatures.fit([join_pair("", " ")], PairConfig(), None)


def test_rare_words_have_no_row() -> None:
    pairs = [join_pair(*pair) for pair in [*TRAINING, ("an axolotl", "an axolotl")]]
    kept, all_rows = (
        PairFeatures.fit(pairs, PairConfig(ngrams=1, bits=20, min_count=n), None) for n in (2, 1)
    )
    assert len(kept.buckets) < len(all_rows.buckets)
    word = join_pair("axolotl", "axolotl")
    assert [each.word_rows(word)[0].tolist()[0] >= 0 for each in (kept, all_rows)] == [False, True]


def test_tokens_point_into_the_pair(features: PairFeatures) -> None:
    text = join_pair("Le café", "the Café!")
    tokens = features.tokens(text)
    places = zip(tokens.starts.tolist(), tokens.ends.tolist(), strict=True)
    assert [text[start:end] for start, end in places] == ["Le", "café", "the", "Café", "!"]
    rows, shared = features.word_rows(text)
    assert shared.tolist() == [False, True, False, True, False]
    assert (rows >= 0).tolist() == [False, False, True, False, False]


def test_arrays_come_back_and_damage_is_refused(features: PairFeatures) -> None:
    arrays = features.arrays()
    pairs = [join_pair(*pair) for pair in TRAINING]
    again = PairFeatures.from_arrays(features.config, arrays)
    assert again(pairs).ids.tolist() == features(pairs).ids.tolist()
    damage: list[dict[str, Any]] = [{name: None} for name in ARRAYS]
    damage += [{name: array.astype(np.float64)} for name, array in arrays.items()]
    damage += [{name: array[:-1]} for name, array in arrays.items() if name != "buckets"]
    damage += [{name: arrays[name][::-1]} for name in ("buckets", "text_hashes", "vector_hashes")]
    damage += [{"buckets": np.array([1 << 20], np.uint32)}, {"cuts": arrays["cuts"] * np.float32(np.nan)}]
    damage += [{"vector_scales": np.full_like(arrays["vector_scales"], np.inf)}]
    for change in damage:
        broken = {name: array for name, array in {**arrays, **change}.items() if array is not None}
        with pytest.raises(ModelFileError):
            PairFeatures.from_arrays(features.config, broken)


def test_chunks_have_few_pairs_and_few_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashed_texts, "CHARACTERS_CHUNK", 1000)
    monkeypatch.setattr(pairs_module, "PAIRS_CHUNK", 3)
    pairs = [join_pair("a" * n, "b") for n in (2000, 1, 1, 1, 1, 1, 900, 900, 1)]
    chunks = list(pairs_module._chunks(pairs))
    assert list(map(len, chunks)) == [1, 3, 3, 1, 1]
    assert [pair for chunk in chunks for pair in chunk] == pairs


def test_fitting_counts_texts_and_cuts_comparisons(features: PairFeatures) -> None:
    counts = Counter(h >> 32 for pair in TRAINING for text in pair for h in set().union(*grams_of(text)))
    expected = {h: n for h, n in counts.items() if n > 1}
    assert dict(zip(features.text_hashes.tolist(), features.text_counts.tolist(), strict=True)) == expected
    assert features.n_texts.tolist() == [2 * len(TRAINING)]
    numbers = features.compare(SplitPairs([join_pair(*pair) for pair in TRAINING], features.config))
    last = len(TRAINING) - 1
    places = [last * level // n for n in LEVELS for level in range(1, n)]
    below = np.sort(numbers, axis=0)[places].T
    np.testing.assert_allclose(features.cuts, below + 0.00005, rtol=0, atol=0.00001)


def test_a_word_has_the_row_of_its_side(features: PairFeatures) -> None:
    pair = join_pair("the cat sat", "a cat")
    rows, shared = features.word_rows(pair)
    assert shared.tolist() == [False, True, False, False, True]
    assert rows.tolist()[2] == -1  # in training both texts have it, or none
    assert set(np.delete(rows, 2).tolist()) <= set(features([pair]).ids.tolist())
