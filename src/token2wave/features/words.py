"""Words and hashed word n-grams, without a vocabulary file.

The hash of a feature (:mod:`token2wave.features.text`) chooses one of ``2^bits`` buckets. Fitting counts the
buckets of the training texts; each frequent one gets a row of the embedding, and all other features are
dropped. So the embedding has no more rows than the data needs, and a model stores only a list of buckets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.config import Configuration, require
from token2wave.core import load_core
from token2wave.errors import DataError, ModelFileError
from token2wave.features.growable_array import GrowableArray
from token2wave.features.hashed_texts import HashedTexts, map_ahead, text_chunks
from token2wave.features.hashing import (
    Buckets,
    count_buckets,
    find_entries,
    letters_handle,
    select_rows,
    token_buckets,
    word_buckets,
)
from token2wave.features.ragged import Ragged, offsets_of
from token2wave.features.text import (
    char_ngram_hashes,
    ngram_hashes,
    spelled_tokens,
    tokens_in,
)
from token2wave.features.tokens import Spans, Tokens

NO_HASHES = np.zeros(0, dtype=np.uint32)
OOV_NGRAMS = 2, 5  # letters of the shortest and the longest character n-gram in the OOV table
SENTENCE_ENDS = (".", "!", "?", "。")


@dataclass(frozen=True)
class WordConfig(Configuration):
    """Settings of the word features.

    Attributes:
        ngrams: longest n-gram of words, 1 to 5; 1 means words alone.
        unspaced_ngrams: longest n-gram of letters in scripts that do not put blanks between words, such as
            Thai, 1 to 5. A token there is a letter. Up to ``ngrams`` it changes nothing.
        bits: ``2^bits`` buckets, 10 to 24.
        min_count: how often a bucket must occur in the training texts to get a row.
        cls: whether every text starts with a [CLS] feature.
    """

    ngrams: int = 2
    unspaced_ngrams: int = 4
    bits: int = 22
    min_count: int = 2
    cls: bool = False

    def __post_init__(self) -> None:
        require(1 <= self.ngrams <= 5, "ngrams", "a number from 1 to 5", self.ngrams)
        longest = self.unspaced_ngrams
        require(1 <= longest <= 5, "unspaced_ngrams", "a number from 1 to 5", longest)
        require(10 <= self.bits <= 24, "bits", "a number from 10 to 24", self.bits)
        require(self.min_count >= 1, "min_count", "at least 1", self.min_count)

    @property
    def hash_settings(self) -> tuple[int, int, int]:
        """What decides the buckets of a text: the longest n-grams, and the bits of a bucket."""
        return self.ngrams, self.unspaced_ngrams, self.bits


class WordFeatures:
    """Maps texts to rows: words in reading order, then their n-grams.

    Args:
        config: the settings.
        buckets: ``(V,)`` uint32, increasing: the buckets that have a row. With ``config.cls``, row 0 is
            [CLS] and the buckets follow.
        oov_hashes: ``(K,)`` uint32, increasing: the entries of the OOV table (out of vocabulary), for tokens
            whose bucket has no row. An entry is the leading 32 bits of the hash of a token or of a character
            n-gram (:mod:`token2wave.features.text`). A token that is entry ``i`` has the id ``V + i``.
            Another one has the ids of those of its n-grams of 2 to 5 letters that are entries.
    """

    type_name = "words"

    def __init__(
        self,
        config: WordConfig,
        buckets: NDArray[np.uint32],
        oov_hashes: NDArray[np.uint32] = NO_HASHES,
    ) -> None:
        self.config = config
        self.buckets = buckets
        self.oov_hashes = oov_hashes
        self._native_handle: Any = None

    @cached_property
    def row_of_bucket(self) -> NDArray[np.int32]:
        """Row of every bucket, ``(2^bits,)``; -1 for a bucket without one."""
        rows = np.full(1 << self.config.bits, -1, dtype=np.int32)
        rows[self.buckets] = np.arange(len(self.buckets), dtype=np.int32) + int(self.config.cls)
        return rows

    def native_handle(self, native: Any) -> Any:
        """The features as the native core holds them."""
        if self._native_handle is None:  # two threads may both open them; one result is dropped
            c, arrays = self.config, (letters_handle(), self.buckets, self.oov_hashes)
            self._native_handle = native.open_words(*arrays, c.ngrams, c.unspaced_ngrams, c.bits, c.cls)
        return self._native_handle

    def __getstate__(self) -> dict[str, Any]:
        """Copy and pickle settings, buckets and OOV hashes alone."""
        names = "config", "buckets", "oov_hashes"
        return {**{name: getattr(self, name) for name in names}, "_native_handle": None}

    def with_oov(self, hashes: NDArray[np.uint32]) -> WordFeatures:
        """Return the same features with another OOV table, ``(K,)`` uint32, increasing."""
        return WordFeatures(self.config, self.buckets, hashes)

    def with_rows(self, buckets: NDArray[np.uint32]) -> tuple[WordFeatures, NDArray[np.int32]]:
        """Give further buckets a row; the features have no OOV table.

        Returns:
            The features, and the new place of each row, ``(V,)`` int32.
        """
        has_row = np.zeros(1 << self.config.bits, dtype=bool)  # ten times as fast as np.union1d
        has_row[self.buckets] = has_row[buckets] = True
        joined = np.flatnonzero(has_row).astype(np.uint32)
        has_cls = int(self.config.cls)  # [CLS] stays row 0
        places = np.searchsorted(joined, self.buckets).astype(np.int32) + np.int32(has_cls)
        first = np.arange(has_cls, dtype=np.int32)
        return WordFeatures(self.config, joined), np.concatenate([first, places])

    @classmethod
    def fit(cls, texts: Sequence[str], config: WordConfig) -> WordFeatures:
        """Count the buckets of training texts, and keep the frequent ones; see :meth:`from_counts`.

        Raises:
            DataError: no text has a word or symbol.
        """
        counts = np.zeros(1 << config.bits, dtype=np.uint32)
        for hashed in _buckets(texts, config):
            count_buckets(hashed.buckets, counts)
        return cls.from_counts(counts, len(texts), config)

    @classmethod
    def from_counts(cls, counts: NDArray[Any], n_texts: int, config: WordConfig) -> WordFeatures:
        """Keep the buckets that occur at least ``min_count`` times; if there are none, all that occur.

        Args:
            counts: ``(2^bits,)`` integers, how often each bucket occurs.
            n_texts: number of texts counted.
            config: the settings.

        Raises:
            DataError: no bucket occurs.
        """
        for min_count in (config.min_count, 1):
            if len(buckets := np.flatnonzero(counts >= min_count)):
                return cls(config, buckets.astype(np.uint32))
        raise no_words(n_texts)

    @property
    def n_rows(self) -> int:
        """Rows of the embedding that the features need."""
        return len(self.buckets) + int(self.config.cls)

    @property
    def n_special(self) -> int:
        """Features that every text has: [CLS], or none."""
        return int(self.config.cls)

    @property
    def sentence_ends(self) -> tuple[int, ...]:
        """Rows of the tokens that end a sentence, if the training texts had them."""
        rows = self(SENTENCE_ENDS).ids
        return tuple(sorted({int(row) for row in rows if row >= int(self.config.cls)}))

    def __call__(self, texts: Sequence[str], advance: Callable[[int], None] | None = None) -> Ragged:
        """Turn ``B`` texts into features.

        Args:
            texts: ``B`` strings.
            advance: called with the number of texts just processed, for a progress bar.
        """
        return self._encode(texts, advance)[0]

    def _encode(
        self, texts: Sequence[str], advance: Callable[[int], None] | None
    ) -> tuple[Ragged, NDArray[np.int64]]:
        """Turn texts into features, and count the words and n-grams of each, with a row or not, ``(B,)``."""
        ids, lengths, n_ordered = GrowableArray(np.int32), GrowableArray(np.int64), GrowableArray(np.int64)
        n_oov, n_ngrams = GrowableArray(np.int64), GrowableArray(np.int64)
        for hashed in _buckets(texts, self.config):
            rows = select_rows(hashed, self.row_of_bucket, self.config.cls)
            if len(self.oov_hashes):
                first = n_ordered.n_items
                rows = self._add_oov(rows, texts[first : first + len(rows)], hashed.n_words)
                assert rows.n_oov_tokens is not None
                n_oov.append(rows.n_oov_tokens)
            ids.append(rows.ids)
            lengths.append(rows.lengths)
            n_ordered.append(rows.n_ordered)
            n_ngrams.append(hashed.n_features)
            if advance is not None:
                advance(len(rows))
        n_oov_tokens = n_oov.whole() if len(self.oov_hashes) else None
        features = Ragged(ids.whole(), offsets_of(lengths.whole()), n_ordered.whole(), n_oov_tokens)
        return features, n_ngrams.whole()

    def _add_oov(self, features: Ragged, texts: Sequence[str], n_tokens: NDArray[np.int64]) -> Ragged:
        """Add the ids of the OOV table at the end of each text."""
        native = load_core()
        if native is not None:
            ids, counts = native.oov_ids(self.native_handle(native), list(texts))
            new, (lengths, n_oov) = (
                np.frombuffer(ids, np.int32),
                np.frombuffer(counts, np.int64).reshape(-1, 2).T,
            )
        else:
            oov, first = self._oov_of(texts), offsets_of(n_tokens)
            new, lengths = oov.ids, np.diff(oov.offsets[first])
            n_oov = np.diff(offsets_of(oov.lengths > 0)[first])
        ids = np.insert(features.ids, np.repeat(features.offsets[1:], lengths), new)
        return Ragged(ids, offsets_of(features.lengths + lengths), features.n_ordered, n_oov)

    def _oov_of(self, texts: Sequence[str]) -> Ragged:
        """Return the ids of the OOV table of all tokens of texts, as :meth:`oov_ids` does."""
        hashes, code_points, offsets = spelled_tokens(texts)
        return self.oov_ids(hashes, code_points, offsets[:-1], offsets[1:])

    def oov_ids(
        self,
        hashes: NDArray[np.uint64],
        code_points: NDArray[np.uint32],
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
    ) -> Ragged:
        """Return the ids of the OOV table of ``L`` tokens, each as a text of its own.

        Args:
            hashes: ``(L,)`` uint64.
            code_points: uint32, normalised; ``code_points[start:end]`` are the letters of a token.
            starts: ``(L,)``.
            ends: ``(L,)``.

        Returns:
            The ids, in no order.
        """
        missing = np.flatnonzero(~self.known(hashes))
        words = self._entries(hashes[missing])
        spelled = missing[words < 0]
        grams, n_grams = char_ngram_hashes(code_points, starts[spelled], ends[spelled], *OOV_NGRAMS)
        of_grams = self._entries(grams)
        owners = np.concatenate([missing[words >= 0], np.repeat(spelled, n_grams)[of_grams >= 0]])
        entries = np.concatenate([words[words >= 0], of_grams[of_grams >= 0]])
        entries = entries[np.argsort(owners, kind="stable")]
        counts = np.bincount(owners, minlength=len(hashes))
        return Ragged((self.n_rows + entries).astype(np.int32), offsets_of(counts), np.zeros_like(counts))

    def _entries(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the entry of the OOV table of each hash, -1 if there is none."""
        top = (hashes >> np.uint64(32)).astype(np.uint32)
        return find_entries(self.oov_hashes, top)

    def with_unknown(
        self, texts: Sequence[str], advance: Callable[[int], None] | None = None
    ) -> tuple[Ragged, NDArray[np.int64]]:
        """Turn texts into features, and count those of each text that have no row, ``(B,)``."""
        features, n_ngrams = self._encode(HashedTexts.of(texts), advance)
        return features, self.n_unknown(n_ngrams, features.rows(self.n_rows).lengths)

    def n_unknown(self, n_ngrams: NDArray[np.int64], n_features: NDArray[np.int64]) -> NDArray[np.int64]:
        """Count the words and n-grams of each text that have no row, ``(B,)``.

        Args:
            n_ngrams: ``(B,)``, words and n-grams of each text.
            n_features: ``(B,)``, its features that have a row, with [CLS].
        """
        return n_ngrams + int(self.config.cls) - n_features

    def n_known(self, features: Ragged) -> NDArray[np.int64]:
        """Count what the model knows of each text, ``(B,)``, without [CLS].

        That is words and n-grams with a row, and other words with ids of the OOV table, be it only for some
        of their character n-grams.
        """
        n_oov_tokens = 0 if features.n_oov_tokens is None else features.n_oov_tokens
        return features.rows(self.n_rows).lengths - int(self.config.cls) + n_oov_tokens

    def tokens(self, text: str) -> Tokens:
        """Cut one text into tokens, with hashes as codes."""
        tokens = tokens_in(text)
        return tokens._replace(oov=self._oov_of([text])) if len(self.oov_hashes) else tokens

    def of_tokens(self, codes: NDArray[np.uint64], offsets: NDArray[np.int64]) -> Ragged:
        """Turn the tokens of texts into features; see :meth:`count_tokens`."""
        return self.count_tokens(codes, offsets)[0]

    def count_tokens(
        self, codes: NDArray[np.uint64], offsets: NDArray[np.int64]
    ) -> tuple[Ragged, NDArray[np.int64]]:
        """Turn the tokens of texts into features, without ids of the OOV table, which need their letters.

        Args:
            codes: ``(N,)`` uint64, of all texts.
            offsets: ``(B + 1,)`` int64, of the texts.

        Returns:
            The features, and the number of words and n-grams of each text, with a row or not, ``(B,)``.
        """
        config = self.config
        hashed = token_buckets(codes, np.diff(offsets), *config.hash_settings)
        return select_rows(hashed, self.row_of_bucket, config.cls), hashed.n_features

    def known(self, codes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether each token, as a word, has a row, ``(N,)``."""
        return np.asarray(self.row_of_bucket[codes >> np.uint64(64 - self.config.bits)] >= 0)

    def begins_word(self, codes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Whether each token begins a word, ``(N,)``: all do."""
        return np.ones(len(codes), dtype=bool)

    def spans(self, codes: NDArray[np.uint64]) -> Spans:
        """Return the features of one text, and the tokens that each covers."""
        by_order = []
        sizes = self.config.ngrams, self.config.unspaced_ngrams
        for n, (grams, first) in enumerate(ngram_hashes(codes, np.array([0, len(codes)]), *sizes), 1):
            rows = self.row_of_bucket[grams >> np.uint64(64 - self.config.bits)]
            mask = rows >= 0
            by_order.append(Spans(rows[mask], first[mask], np.full(int(mask.sum()), n)))
        return Spans(*(np.concatenate(column) for column in zip(*by_order, strict=True)))

    @property
    def ngrams(self) -> int:
        """Tokens of the longest n-gram of words."""
        return self.config.ngrams

    @property
    def reach(self) -> int:
        """How many tokens before a token share a feature with it."""
        return max(self.config.ngrams, self.config.unspaced_ngrams) - 1

    def arrays(self) -> dict[str, NDArray[np.uint32]]:
        """Return what the model file stores beside the settings."""
        return {"buckets": self.buckets, **({"oov_hashes": self.oov_hashes} if len(self.oov_hashes) else {})}

    @classmethod
    def from_arrays(cls, config: WordConfig, arrays: dict[str, NDArray[np.uint32]]) -> WordFeatures:
        """Rebuild the features of a model file.

        Raises:
            ModelFileError: buckets or OOV hashes are missing, of another type, out of range or out of order.
        """
        buckets = arrays.get("buckets")
        if buckets is None or buckets.dtype != np.uint32 or buckets.ndim != 1:
            raise ModelFileError("expected a list of uint32 buckets for the word features, found none")
        if len(buckets) and (buckets[-1] >= 1 << config.bits or np.any(buckets[1:] <= buckets[:-1])):
            raise ModelFileError(f"expected increasing buckets below 2^{config.bits}, found others")
        oov_hashes = arrays.get("oov_hashes", NO_HASHES)
        if oov_hashes.dtype != np.uint32 or oov_hashes.ndim != 1 or np.any(oov_hashes[1:] <= oov_hashes[:-1]):
            raise ModelFileError("expected increasing uint32 hashes of the OOV table, found others")
        return cls(config, buckets, oov_hashes)


def _buckets(texts: Sequence[str], config: WordConfig) -> Iterator[Buckets]:
    """Hash texts into buckets on all cores, chunk by chunk."""
    size = config.hash_settings
    if isinstance(texts, HashedTexts):
        results = map_ahead(lambda tokens: token_buckets(*tokens, *size), texts.token_chunks())
        return (buckets for _, buckets in results)
    return (buckets for _, buckets in map_ahead(lambda chunk: word_buckets(chunk, *size), text_chunks(texts)))


def no_words(n_texts: int) -> DataError:
    """Return the error for training texts without a word."""
    return DataError(
        f"expected texts with words, found {n_texts} texts without a single one",
        hint="check that the text column is the right one",
    )
