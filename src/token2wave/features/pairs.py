"""Pairs of texts: words that both texts have or one has alone, and how alike their two waves are.

A pair is one string: the first text, :data:`SEPARATOR`, the second. Its features are

1. the distinct words and word n-grams of both texts, each with its side: the first, the second, or both. In
   a symmetric pair there are two sides: one and both. The side is mixed into the hash, and the hash chooses
   a bucket as that of a word does (:mod:`token2wave.features.words`);
2. levels of comparisons. A comparison is a number, such as the cosine of the two texts' words. It has a
   level among 4, one among 8 and one among 16 that hold as many training pairs each, and each level is a row
   of the embedding. So a sum over rows is a smooth function of the numbers, and what reads rows reads pairs.

Each text has a wave of its own. The vector of a word, which the language prior has, is its amplitudes
``w[j]``. The text's wave has the real part ``m = mean_j w[j]`` and the imaginary part
``s = sqrt(mean_j w[j]^2 - m^2)``, as the read-out of a network. Two waves interfere and modulate as in
arXiv 2411.02674, eq. 6 and 7: the interference term ``2 G G' cos(alpha - alpha')`` is ``2 (m m' + s s')``,
and the real part of the product is ``m m' - s s'``. Their sums over dimensions, divided by the norms of both
waves, are comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from token2wave.config import require
from token2wave.errors import InputError, ModelFileError
from token2wave.features.hashed_texts import text_chunks
from token2wave.features.hashing import find_entries, hash_tokens
from token2wave.features.ragged import Ragged, concatenate, offsets_of, sum_texts
from token2wave.features.text import (
    AFTER_LETTER,
    Hashes,
    char_ngram_hashes,
    mix,
    ngram_hashes,
    spelled_tokens,
    tokens_in,
)
from token2wave.features.tokens import Tokens
from token2wave.features.words import WordConfig, no_words

SEPARATOR = "\x1f"
"""Between the two texts of a pair: U+001F, the unit separator."""
ONE, FIRST, SECOND, BOTH = range(4)
SIDE_HASHES = mix(np.arange(1, 5, dtype=np.uint64))
LEVELS = (4, 8, 16)
COMPARISONS = (
    *("cosine of words", "cosine of word n-grams", "cosine of character trigrams"),
    *("cosine of characters and character bigrams", "words of both", "weight of the words of both"),
    *("first text's weight in the second", "second text's weight in the first"),
    *("words of the first text", "words of the second text"),
    *("weight of the first text alone", "weight of the second text alone"),
    *("cosine of means", "cosine of weighted means", "interference", "modulation"),
)
"""The comparisons of a pair, in the order of their rows; a symmetric pair has the smaller number first."""
FIRST_OF_TWO = (6, 8, 10)  # comparisons of the first text; that of the second follows
N_LEVELS = sum(LEVELS)
N_CUTS = N_LEVELS - len(LEVELS)
DECIMALS = 4  # of a comparison, so that the last bits of a sum do not choose its level
PAIRS_CHUNK = 4_096  # the number of a pair in its chunk has 12 bits
MAX_CODE = 127

Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class PairConfig(WordConfig):
    """Settings of the features of pairs; those of :class:`WordConfig` without [CLS], and one more.

    Attributes:
        symmetric: whether the order of the two texts plays no part.
    """

    symmetric: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(not self.cls, "cls", "false for pairs", self.cls)


class WordVectors(Protocol):
    """Vectors of words, as the language prior has them.

    Attributes:
        hashes: ``(P,)`` uint32, increasing: the top 32 bits of the words' hashes.
        vectors: ``(P, W)`` float32.
    """

    @property
    def hashes(self) -> NDArray[np.uint32]: ...  # noqa: D102
    @property
    def vectors(self) -> Floats: ...  # noqa: D102


def join_pair(first: str, second: str) -> str:
    """Make one string of two texts; a separator in them becomes a blank."""
    return f"{first.replace(SEPARATOR, ' ')}{SEPARATOR}{second.replace(SEPARATOR, ' ')}"


def split_pair(pair: str) -> tuple[str, str]:
    """Return the two texts of a pair.

    Raises:
        InputError: it is one text.
    """
    first, separator, second = pair.partition(SEPARATOR)
    if not separator:
        raise InputError(
            f"expected a pair of texts, found one text, {pair[:40]!r}", hint='give two: ("a text", "another")'
        )
    return first, second


def show_pair(text: str, between: str = "\n") -> str:
    """Return a text to show, with a sign between the two of a pair."""
    return text.replace(SEPARATOR, between, 1)


class Matches(NamedTuple):
    """The distinct hashes of the two texts of ``B`` pairs, in order of pair and hash.

    Attributes:
        pairs: ``(M,)`` int64, the pair of each hash.
        hashes: ``(M,)`` uint64.
        sides: ``(M,)`` int64: 1 in the first text, 2 in the second, 3 in both.
    """

    pairs: NDArray[np.int64]
    hashes: Hashes
    sides: NDArray[np.int64]

    @classmethod
    def of(cls, pairs: NDArray[np.int64], hashes: Hashes, sides: NDArray[np.int64]) -> Matches:
        """Match hashes, each with its pair and its side, 1 or 2."""
        if not len(hashes):
            return cls(pairs, hashes, sides)
        # As np.lexsort((hashes, pairs)), but faster; the leading 52 bits tell hashes of a pair apart.
        order = np.argsort(pairs.astype(np.uint64) << np.uint64(52) | hashes >> np.uint64(12))
        pairs, hashes, sides = pairs[order], hashes[order], sides[order]
        is_first = np.append(True, (pairs[1:] != pairs[:-1]) | (hashes[1:] != hashes[:-1]))
        firsts = np.flatnonzero(is_first)
        return cls(pairs[firsts], hashes[firsts], np.bitwise_or.reduceat(sides, firsts))

    def sums(self, values: Numbers, side: int, n_pairs: int) -> Numbers:
        """Sum the values ``(M,)`` of the hashes that a side has, ``(B,)``."""
        sums = np.bincount(self.pairs, np.where(self.sides & side == side, values, 0), n_pairs)
        return np.asarray(sums, dtype=np.float64)


class SplitPairs:
    """The tokens of ``B`` pairs: those of text ``2 b`` and ``2 b + 1`` are of pair ``b``."""

    def __init__(self, pairs: Sequence[str], config: PairConfig) -> None:
        texts = [text for pair in pairs for text in split_pair(pair)]
        self.n_pairs = len(pairs)
        self.hashes, self.code_points, self.bounds = spelled_tokens(texts)
        n_tokens = hash_tokens(texts)[1]
        self.offsets = offsets_of(n_tokens)
        self.text_of_token = np.repeat(np.arange(len(texts)), n_tokens)
        self._config = config
        self._by_order = list(ngram_hashes(self.hashes, self.offsets, config.ngrams, config.unspaced_ngrams))

    @cached_property
    def words(self) -> Matches:
        """The words."""
        return self._match(self._by_order[:1])

    @cached_property
    def ngrams(self) -> Matches:
        """The n-grams of two words or more."""
        return self._match(self._by_order[1:])

    def _match(self, by_order: Sequence[tuple[Hashes, NDArray[np.int64]]]) -> Matches:
        hashes = [np.zeros(0, np.uint64), *(grams for grams, _ in by_order)]
        firsts = [np.zeros(0, np.int64), *(first for _, first in by_order)]
        texts = self.text_of_token[np.concatenate(firsts)]
        return Matches.of(texts // 2, np.concatenate(hashes), texts % 2 + 1)

    def characters(self, shortest: int, longest: int) -> Matches:
        """The character n-grams of the words."""
        starts, ends = self.bounds[:-1], self.bounds[1:]
        hashes, counts = char_ngram_hashes(self.code_points, starts, ends, shortest, longest)
        texts = np.repeat(self.text_of_token, counts)
        return Matches.of(texts // 2, hashes, texts % 2 + 1)

    @cached_property
    def compared(self) -> list[Matches]:
        """What the four cosines compare."""
        return [self.words, self.ngrams, self.characters(3, 3), self.characters(1, 2)]

    @cached_property
    def codes(self) -> tuple[NDArray[np.int64], Hashes]:
        """The pair of each word or n-gram, and its hash with its side, pair by pair."""
        pairs = np.concatenate([self.words.pairs, self.ngrams.pairs])
        hashes = np.concatenate([self.words.hashes, self.ngrams.hashes])
        sides = np.concatenate([self.words.sides, self.ngrams.sides])
        codes = hashes ^ SIDE_HASHES[np.where(sides == BOTH, BOTH, ONE)]
        if not self._config.symmetric:
            alone = np.flatnonzero(sides != BOTH)
            pairs = np.concatenate([pairs, pairs[alone]])
            codes = np.concatenate([codes, hashes[alone] ^ SIDE_HASHES[sides[alone]]])
        order = np.argsort(pairs, kind="stable")
        return pairs[order], mix(codes[order])


class PairFeatures:
    """Maps pairs to rows: words and n-grams with their sides, then levels of comparisons.

    Args:
        config: the settings.
        buckets: ``(V,)`` uint32, increasing: the buckets that have a row. The levels' rows follow.
        text_hashes: ``(K,)`` uint32, increasing: leading 32 bits of the hashes of words, n-grams and
            character n-grams of the training texts.
        text_counts: ``(K,)`` uint32, how many training texts have each.
        n_texts: ``(1,)`` uint32, number of training texts, two a pair.
        cuts: ``(16, 25)`` float32, what is above a cut of a comparison has a higher level.
        vector_hashes: ``(P,)`` uint32, increasing: the words that have a vector.
        vector_codes: ``(P * W,)`` int8, the numbers of the vectors, one after the other.
        vector_scales: ``(P,)`` float32, what a word's numbers are multiplied with.
    """

    type_name = "pairs"

    def __init__(
        self,
        config: PairConfig,
        buckets: NDArray[np.uint32],
        text_hashes: NDArray[np.uint32],
        text_counts: NDArray[np.uint32],
        n_texts: NDArray[np.uint32],
        cuts: Floats,
        vector_hashes: NDArray[np.uint32],
        vector_codes: NDArray[np.int8],
        vector_scales: Floats,
    ) -> None:
        self.config = config
        self.buckets = buckets
        self.text_hashes, self.text_counts, self.n_texts = text_hashes, text_counts, n_texts
        self.cuts = cuts
        self.vector_hashes, self.vector_codes = vector_hashes, vector_codes
        self.vector_scales = vector_scales

    @classmethod
    def fit(cls, pairs: Sequence[str], config: PairConfig, vectors: WordVectors | None) -> PairFeatures:
        """Count what training pairs have, keep the frequent buckets, and cut their comparisons into levels.

        Raises:
            DataError: no pair has a word.
        """
        counts = np.zeros(1 << config.bits, dtype=np.int64)
        hashes = []
        for chunk in _chunks(pairs):
            split = SplitPairs(chunk, config)
            counts += np.bincount(_buckets(split.codes[1], config), minlength=len(counts))
            for matches in split.compared:
                top = _top(matches.hashes)
                hashes += [top, top[matches.sides == BOTH]]  # two texts have it
        for min_count in (config.min_count, 1):
            if len(buckets := np.flatnonzero(counts >= min_count)):
                break
        else:
            raise no_words(2 * len(pairs))
        text_hashes, text_counts = _count_values(np.concatenate(hashes))
        often = text_counts > 1  # the others have the weight of what no training text has
        codes, scales = _encode_vectors(vectors)
        features = cls(
            config,
            buckets.astype(np.uint32),
            text_hashes[often],
            text_counts[often].astype(np.uint32),
            np.array([2 * len(pairs)], dtype=np.uint32),
            np.zeros((len(COMPARISONS), N_CUTS), dtype=np.float32),
            np.zeros(0, np.uint32) if vectors is None else vectors.hashes,
            codes,
            scales,
        )
        numbers = [features.compare(SplitPairs(chunk, config)) for chunk in _chunks(pairs)]
        quantiles = np.concatenate([np.arange(1, n) / n for n in LEVELS])
        cuts = np.quantile(np.concatenate(numbers), quantiles, axis=0, method="lower").T
        features.cuts = (cuts + 0.5 * 10.0**-DECIMALS).astype(np.float32)
        return features

    @property
    def n_rows(self) -> int:
        """Rows of the embedding that the features need."""
        return len(self.buckets) + len(COMPARISONS) * N_LEVELS

    @property
    def n_special(self) -> int:
        """Features that every pair has: a level of each comparison, of each size."""
        return len(COMPARISONS) * len(LEVELS)

    @property
    def ngrams(self) -> int:
        """Tokens of the longest n-gram of words."""
        return self.config.ngrams

    @property
    def sentence_ends(self) -> tuple[int, ...]:
        """Rows of the tokens that end a sentence: none, as pairs have no reading order."""
        return ()

    @cached_property
    def row_of_bucket(self) -> NDArray[np.int32]:
        """Row of every bucket, ``(2^bits,)``; -1 for a bucket without one."""
        rows = np.full(1 << self.config.bits, -1, dtype=np.int32)
        rows[self.buckets] = np.arange(len(self.buckets), dtype=np.int32)
        return rows

    @cached_property
    def _vectors(self) -> Floats:
        codes = self.vector_codes.reshape(len(self.vector_hashes), -1 if len(self.vector_hashes) else 0)
        return codes * self.vector_scales[:, None]

    def __call__(self, texts: Sequence[str], advance: Callable[[int], None] | None = None) -> Ragged:
        """Turn ``B`` pairs into features.

        Args:
            texts: ``B`` pairs, each as :func:`join_pair` makes it.
            advance: called with the number of pairs just processed, for a progress bar.

        Raises:
            InputError: one is a single text.
        """
        return self.with_unknown(texts, advance)[0]

    def with_unknown(
        self, texts: Sequence[str], advance: Callable[[int], None] | None = None
    ) -> tuple[Ragged, NDArray[np.int64]]:
        """Turn pairs into features, and count the words and n-grams of each that have no row, ``(B,)``."""
        nothing = np.zeros(0, np.int64)
        batches = [Ragged(nothing.astype(np.int32), np.zeros(1, np.int64), nothing)]
        unknown = [nothing]
        for chunk in _chunks(texts):
            split = SplitPairs(chunk, self.config)
            pairs, codes = split.codes
            rows = self.row_of_bucket[_buckets(codes, self.config)]
            known, n = rows >= 0, split.n_pairs
            levels = self._levels(self.compare(split))
            n_known = np.bincount(pairs[known], minlength=n)
            ids = np.insert(rows[known], np.repeat(offsets_of(n_known)[1:], self.n_special), levels.ravel())
            offsets = offsets_of(n_known + self.n_special)
            batches.append(Ragged(ids.astype(np.int32), offsets, np.zeros(n, np.int64)))
            unknown.append(np.bincount(pairs[~known], minlength=n))
            if advance is not None:
                advance(n)
        return concatenate(batches), np.concatenate(unknown)

    def n_known(self, features: Ragged) -> NDArray[np.int64]:
        """Count the words and n-grams of each pair that have a row, ``(B,)``."""
        return features.lengths - self.n_special

    def compare(self, split: SplitPairs) -> Floats:
        """Compute the comparisons of pairs, ``(B, 16)``; see :data:`COMPARISONS`."""
        n = split.n_pairs
        columns, words = [], split.words
        for matches in split.compared:
            squares = self._weights(matches.hashes) ** 2
            first, second, both = (matches.sums(squares, side, n) for side in (1, 2, 3))
            columns.append(_ratio(both, np.sqrt(first * second)))
        ones, weights = np.ones(len(words.hashes)), self._weights(words.hashes)
        n_first, n_second, n_both = (words.sums(ones, side, n) for side in (1, 2, 3))
        first, second, both = (words.sums(weights, side, n) for side in (1, 2, 3))
        columns += [_ratio(n_both, n_first + n_second - n_both), _ratio(both, first + second - both)]
        columns += [_ratio(both, first), _ratio(both, second), n_first, n_second]
        columns += [first - both, second - both, *self._compare_waves(split)]
        if self.config.symmetric:
            for place in FIRST_OF_TWO:
                pair = columns[place], columns[place + 1]
                columns[place], columns[place + 1] = np.minimum(*pair), np.maximum(*pair)
        return np.round(np.stack(columns, axis=1), DECIMALS).astype(np.float32)

    def _compare_waves(self, split: SplitPairs) -> list[Numbers]:
        """Compare the waves of both texts; zeros without a prior."""
        rows = find_entries(self.vector_hashes, _top(split.hashes))
        known = np.flatnonzero(rows >= 0)
        vectors = self._vectors[rows[known]].astype(np.float64)
        bounds = np.searchsorted(known, split.offsets)
        weights = self._weights(split.hashes[known])[:, None]
        total, squares, weighted = (
            sum_texts(values, bounds) for values in (vectors, vectors**2, vectors * weights)
        )
        count = np.maximum(np.diff(bounds), 1)[:, None]
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
        energy = (squares / count).sum(axis=1)
        norm = np.sqrt(energy[0::2] * energy[1::2])
        real = (mean[0::2] * mean[1::2]).sum(axis=1)
        imaginary = (deviation[0::2] * deviation[1::2]).sum(axis=1)
        return [
            _cosine(mean[0::2], mean[1::2]),
            _cosine(weighted[0::2], weighted[1::2]),
            _ratio(real + imaginary, norm),
            _ratio(real - imaginary, norm),
        ]

    def _weights(self, hashes: Hashes) -> Numbers:
        """Inverse document frequency of hashes, ``(N,)``, at least 1, as in scikit-learn."""
        places = find_entries(self.text_hashes, _top(hashes))
        counts = np.where(places >= 0, np.append(self.text_counts, np.uint32(1))[places], 1)
        return np.log((1 + float(self.n_texts[0])) / (1 + counts)) + 1

    def _levels(self, numbers: Floats) -> NDArray[np.int64]:
        """Rows of the levels of comparisons ``(B, 16)``, ``(B, 16 * 3)``."""
        is_above = numbers[:, :, None] > self.cuts
        levels, first_cut, first_row = [], 0, 0
        for n in LEVELS:
            levels.append(is_above[:, :, first_cut : first_cut + n - 1].sum(axis=2) + first_row)
            first_cut, first_row = first_cut + n - 1, first_row + n
        rows = np.stack(levels, axis=2) + N_LEVELS * np.arange(len(COMPARISONS))[:, None]
        return np.asarray(rows.reshape(len(numbers), -1) + len(self.buckets))

    def tokens(self, text: str) -> Tokens:
        """Cut both texts of a pair into tokens, with hashes as codes and places in the pair's string."""
        first, second = split_pair(text)
        of_first, of_second = tokens_in(first), tokens_in(second)
        shift = len(first) + len(SEPARATOR)
        return Tokens(
            np.concatenate([of_first.codes, of_second.codes]),
            np.concatenate([of_first.starts, of_second.starts + shift]),
            np.concatenate([of_first.ends, of_second.ends + shift]),
            np.arange(len(of_first.codes) + len(of_second.codes)),
        )

    def word_rows(self, text: str) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """The row of each token of a pair, as :meth:`tokens` has it, and whether both texts have the token.

        The row is that of the word in one text or in both, -1 without one; ``(N,)`` each.
        """
        split = SplitPairs([text], self.config)
        words = split.hashes & ~AFTER_LETTER
        shared = np.isin(words, split.words.hashes[split.words.sides == BOTH])
        codes = mix(words ^ SIDE_HASHES[np.where(shared, BOTH, ONE)])
        return self.row_of_bucket[_buckets(codes, self.config)], shared

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what the model file stores beside the settings."""
        return {name: getattr(self, name) for name in ARRAYS}

    @classmethod
    def from_arrays(cls, config: PairConfig, arrays: dict[str, NDArray[Any]]) -> PairFeatures:
        """Rebuild the features of a model file.

        Raises:
            ModelFileError: an array is missing, of another type or shape, out of range or out of order.
        """
        for name, (dtype, n_axes) in ARRAYS.items():
            array = arrays.get(name)
            if array is None or array.dtype != dtype or array.ndim != n_axes:
                raise ModelFileError(f"expected {name} of type {np.dtype(dtype).name} for pairs, found none")
        lengths = {name: len(arrays[name]) for name in ARRAYS}
        for names in (("text_hashes", "text_counts"), ("vector_hashes", "vector_scales")):
            if lengths[names[0]] != lengths[names[1]]:
                raise ModelFileError(f"expected {' and '.join(names)} of one length, found two lengths")
        if lengths["vector_codes"] % max(lengths["vector_hashes"], 1):
            raise ModelFileError("expected vectors of one width for pairs, found others")
        if lengths["n_texts"] != 1 or arrays["cuts"].shape != (len(COMPARISONS), N_CUTS):
            raise ModelFileError("expected one number of texts and the cuts of 16 comparisons, found others")
        for name in ("buckets", "text_hashes", "vector_hashes"):
            if np.any(arrays[name][1:] <= arrays[name][:-1]):
                raise ModelFileError(f"expected increasing {name} for pairs, found others")
        if lengths["buckets"] and arrays["buckets"][-1] >= 1 << config.bits:
            raise ModelFileError(f"expected buckets below 2^{config.bits}, found others")
        if not all(np.isfinite(arrays[name]).all() for name in ("cuts", "vector_scales")):
            raise ModelFileError("expected finite cuts and scales for pairs, found others")
        return cls(config, **{name: arrays[name] for name in ARRAYS})


ARRAYS: dict[str, tuple[Any, int]] = {
    "buckets": (np.uint32, 1),
    "text_hashes": (np.uint32, 1),
    "text_counts": (np.uint32, 1),
    "n_texts": (np.uint32, 1),
    "cuts": (np.float32, 2),
    "vector_hashes": (np.uint32, 1),
    "vector_codes": (np.int8, 1),
    "vector_scales": (np.float32, 1),
}
"""Type and number of axes of each array in the model file."""


def _encode_vectors(vectors: WordVectors | None) -> tuple[NDArray[np.int8], Floats]:
    """The vectors in bytes, and the scale of each."""
    if vectors is None:
        return np.zeros(0, np.int8), np.zeros(0, np.float32)
    scales = (np.abs(vectors.vectors).max(axis=1) / MAX_CODE).astype(np.float32)
    codes = np.rint(vectors.vectors / np.maximum(scales, 1e-12)[:, None])
    return codes.astype(np.int8).ravel(), scales


def _chunks(pairs: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield chunks of few pairs and of few characters, so that memory stays small."""
    for chunk in text_chunks(pairs):
        for first in range(0, len(chunk), PAIRS_CHUNK):
            yield chunk[first : first + PAIRS_CHUNK]


def _buckets(hashes: Hashes, config: PairConfig) -> NDArray[np.int64]:
    return (hashes >> np.uint64(64 - config.bits)).astype(np.int64)


def _top(hashes: Hashes) -> NDArray[np.uint32]:
    return (hashes >> np.uint64(32)).astype(np.uint32)


def _count_values(values: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """As np.unique with counts, by sorting alone, which is faster for so many."""
    values = np.sort(values)
    firsts = np.flatnonzero(np.diff(values, prepend=values[:1] ^ np.uint32(1)))
    return values[firsts], np.diff(firsts, append=len(values))


def _ratio(numerator: Numbers, denominator: Numbers) -> Numbers:
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)


def _cosine(a: Numbers, b: Numbers) -> Numbers:
    norms = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return _ratio((a * b).sum(axis=1), norms)
