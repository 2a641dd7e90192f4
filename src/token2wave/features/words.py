"""Words and hashed word n-grams, with no vocabulary file.

A feature's hash (see :mod:`token2wave.features.text`) chooses one of ``2^bits`` buckets. Fitting
counts the buckets of the training texts and keeps those seen often enough; a kept bucket is a row of
the embedding, every other feature is dropped. So the embedding has as many rows as the data has use
for, and the features of a model are a list of bucket numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.config import Configuration, require
from token2wave.errors import DataError, ModelFileError
from token2wave.features.growable_array import GrowableArray
from token2wave.features.hashed_texts import HashedTexts, map_ahead, text_chunks
from token2wave.features.hashing import Buckets, count_buckets, select_rows, token_buckets, word_buckets
from token2wave.features.ragged import Ragged, offsets_of
from token2wave.features.text import Hashes, letter_table, ngram_hashes, tokens_in
from token2wave.features.tokens import Spans, Tokens

SENTENCE_ENDS = (".", "!", "?", "。")


@dataclass(frozen=True)
class WordConfig(Configuration):
    """Settings of the word features.

    Attributes:
        ngrams: longest n-gram of words, 1 to 5; 1 means words alone.
        bits: ``2^bits`` buckets, 10 to 24.
        min_count: how often a bucket must occur in the training texts to become a row.
        cls: whether a [CLS] feature stands in front of every text.
    """

    ngrams: int = 2
    bits: int = 22
    min_count: int = 2
    cls: bool = False

    def __post_init__(self) -> None:
        require(1 <= self.ngrams <= 5, "ngrams", "a number from 1 to 5", self.ngrams)
        require(10 <= self.bits <= 24, "bits", "a number from 10 to 24", self.bits)
        require(self.min_count >= 1, "min_count", "at least 1", self.min_count)


class WordFeatures:
    """Maps texts to rows: words in reading order, then their n-grams.

    Args:
        config: the settings.
        buckets: ``(V,)`` uint32, increasing: the buckets that are rows. Row 0 is [CLS] where the
            settings ask for it, and the buckets follow.
    """

    kind = "words"

    def __init__(self, config: WordConfig, buckets: NDArray[np.uint32]) -> None:
        self.config = config
        self.buckets = buckets
        self._opened: Any = None

    @cached_property
    def row_of_bucket(self) -> NDArray[np.int32]:
        """Row of every bucket, ``(2^bits,)``; -1 for one that is no row."""
        rows = np.full(1 << self.config.bits, -1, dtype=np.int32)
        rows[self.buckets] = np.arange(len(self.buckets), dtype=np.int32) + int(self.config.cls)
        return rows

    def opened(self, native: Any) -> Any:
        """The features as the native core holds them."""
        if self._opened is None:  # two threads may both open them, and one be dropped
            c = self.config
            self._opened = native.open_words(*letter_table(), self.buckets, c.ngrams, c.bits, c.cls)
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: settings and buckets alone."""
        return {"config": self.config, "buckets": self.buckets, "_opened": None}

    @classmethod
    def fit(cls, texts: Sequence[str], config: WordConfig) -> WordFeatures:
        """Keep the buckets that occur at least ``min_count`` times in the texts.

        Where no feature is that frequent (a handful of short texts), all that occur are kept.

        Raises:
            DataError: no text holds a single word or symbol.
        """
        counts = np.zeros(1 << config.bits, dtype=np.uint32)
        for found in _buckets(texts, config):
            count_buckets(found.buckets, counts)
        return cls.from_counts(counts, len(texts), config)

    @classmethod
    def fit_transform(
        cls, texts: Sequence[str], config: WordConfig, advance: Callable[[int], None] | None = None
    ) -> tuple[WordFeatures, Ragged]:
        """Fit, and turn the same texts into features; they are hashed once.

        Args:
            texts: ``B`` strings.
            config: the settings.
            advance: called with the number of texts that are done, for a progress bar.

        Raises:
            DataError: no text holds a single word or symbol.
        """
        hashed = HashedTexts.of(texts)
        features = cls.fit(hashed, config)
        return features, features(hashed, advance)

    @classmethod
    def from_counts(cls, counts: NDArray[Any], n_texts: int, config: WordConfig) -> WordFeatures:
        """Keep the buckets that are frequent enough.

        Args:
            counts: ``(2^bits,)`` integers, how often each bucket occurs.
            n_texts: in which they were counted.
            config: the settings.

        Raises:
            DataError: none occurs.
        """
        kept = np.flatnonzero(counts >= config.min_count)
        if not len(kept):
            kept = np.flatnonzero(counts)
        if not len(kept):
            raise DataError(
                f"expected texts with words, found {n_texts} texts without a single one",
                hint="check that the text column is the right one",
            )
        return cls(config, kept.astype(np.uint32))

    @property
    def n_rows(self) -> int:
        """Rows of the embedding that the features need."""
        return len(self.buckets) + int(self.config.cls)

    @property
    def sentence_ends(self) -> tuple[int, ...]:
        """Rows of the tokens that end a sentence, where the texts had them."""
        rows = self(SENTENCE_ENDS).ids
        return tuple(sorted({int(row) for row in rows if row >= int(self.config.cls)}))

    def __call__(self, texts: Sequence[str], advance: Callable[[int], None] | None = None) -> Ragged:
        """Turn texts into features.

        Args:
            texts: ``B`` strings.
            advance: called with the number of texts that are done, for a progress bar.
        """
        return self._select(_buckets(texts, self.config), advance)

    def with_unknown(
        self, texts: Sequence[str], advance: Callable[[int], None] | None = None
    ) -> tuple[Ragged, NDArray[np.int64]]:
        """Turn texts into features, and count those of each text that are no row, ``(B,)``."""
        hashed = HashedTexts.of(texts)
        features = self(hashed, advance)
        return features, self.n_unknown(hashed.n_tokens, features.lengths)

    def n_unknown(self, n_tokens: NDArray[np.int64], n_features: NDArray[np.int64]) -> NDArray[np.int64]:
        """Words and n-grams of texts that are no row, ``(B,)``.

        Args:
            n_tokens: ``(B,)``, tokens of each text.
            n_features: ``(B,)``, its features that are rows, [CLS] included.
        """
        orders = np.arange(self.config.ngrams)
        every = np.maximum(n_tokens[:, None] - orders, 0).sum(axis=1)
        missing: NDArray[np.int64] = every + int(self.config.cls) - n_features
        return missing

    def tokens(self, text: str) -> Tokens:
        """Cut one text into tokens; their codes are hashes."""
        return tokens_in(text)

    def of_tokens(self, codes: NDArray[np.uint64], offsets: NDArray[np.int64]) -> Ragged:
        """Turn texts that are tokens already into features.

        Args:
            codes: ``(N,)`` uint64, of all texts.
            offsets: ``(B + 1,)`` int64, the texts.
        """
        config = self.config
        found = token_buckets(codes, np.diff(offsets), config.ngrams, config.bits)
        return select_rows(found, config.ngrams, self.row_of_bucket, config.cls)

    def known(self, codes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether each token, as a word, is a row, ``(N,)``."""
        rows: NDArray[np.int32] = self.row_of_bucket[codes >> np.uint64(64 - self.config.bits)]
        return rows >= 0

    def begins_word(self, codes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether each token is the beginning of a word, ``(N,)``: all are."""
        return np.ones(len(codes), dtype=bool)

    def spans(self, codes: NDArray[np.uint64]) -> Spans:
        """Features of one text, and the tokens that each covers."""
        whole = np.array([0, len(codes)])
        parts = []
        for n in range(1, self.config.ngrams + 1):
            grams, _ = ngram_hashes(codes, whole, n)
            rows = self.row_of_bucket[grams >> np.uint64(64 - self.config.bits)]
            first = np.flatnonzero(rows >= 0)
            parts.append(Spans(rows[first], first, np.full(len(first), n)))
        return Spans(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    @property
    def reach(self) -> int:
        """How many tokens before a token share a feature with it."""
        return self.config.ngrams - 1

    def _select(self, parts: Iterable[Buckets], advance: Callable[[int], None] | None = None) -> Ragged:
        """Keep the features whose bucket is a row."""
        ids, lengths, n_ordered = GrowableArray(np.int32), GrowableArray(np.int64), GrowableArray(np.int64)
        for found in parts:
            texts = select_rows(found, self.config.ngrams, self.row_of_bucket, self.config.cls)
            ids.append(texts.ids)
            lengths.append(texts.lengths)
            n_ordered.append(texts.n_ordered)
            if advance is not None:
                advance(len(texts))
        return Ragged(ids.whole(), offsets_of(lengths.whole()), n_ordered.whole())

    def arrays(self) -> dict[str, NDArray[np.uint32]]:
        """What the model file keeps beside the settings."""
        return {"buckets": self.buckets}

    @classmethod
    def from_arrays(cls, config: WordConfig, arrays: dict[str, NDArray[np.uint32]]) -> WordFeatures:
        """Rebuild the features of a model file.

        Raises:
            ModelFileError: the buckets are missing, of another type, out of range or out of order.
        """
        buckets = arrays.get("buckets")
        if buckets is None or buckets.dtype != np.uint32 or buckets.ndim != 1:
            raise ModelFileError("expected a list of uint32 buckets for the word features, found none")
        if len(buckets) and (buckets[-1] >= 1 << config.bits or np.any(buckets[1:] <= buckets[:-1])):
            raise ModelFileError(f"expected increasing buckets below 2^{config.bits}, found others")
        return cls(config, buckets)


def _buckets(texts: Sequence[str], config: WordConfig) -> Iterator[Buckets]:
    """Buckets of the texts, some texts at a time, made on all cores."""
    if isinstance(texts, HashedTexts):
        to_buckets = partial(_token_buckets, ngrams=config.ngrams, bits=config.bits)
        return (buckets for _, buckets in map_ahead(to_buckets, texts.token_chunks()))
    hash_chunk = partial(word_buckets, ngrams=config.ngrams, bits=config.bits)
    return (buckets for _, buckets in map_ahead(hash_chunk, text_chunks(texts)))


def _token_buckets(tokens: tuple[Hashes, NDArray[np.int64]], ngrams: int, bits: int) -> Buckets:
    return token_buckets(*tokens, ngrams, bits)
