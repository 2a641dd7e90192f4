"""Buckets of words and n-grams, and the rows they choose: in the native core, or in numpy.

Both ways give the same numbers. The layout is that of :class:`Buckets`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.core import load_core
from token2wave.features.ragged import Ragged, offsets_of
from token2wave.features.text import Hashes, letter_table, ngram_hashes, token_hashes


class Buckets(NamedTuple):
    """Hashed features of ``B`` texts.

    Attributes:
        buckets: ``(M,)`` uint32; for each text its words in reading order, then its 2-grams, up to its
            n-grams: a text of ``L`` words has ``max(L - n + 1, 0)`` n-grams.
        n_words: ``(B,)`` int64.
    """

    buckets: NDArray[np.uint32]
    n_words: NDArray[np.int64]


def hash_tokens(texts: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """Cut texts into tokens and hash them: here, and only here, a text of a training run is read.

    Args:
        texts: ``B`` strings.

    Returns:
        The hashes of all tokens in reading order ``(N,)`` uint64, and the tokens of each text ``(B,)`` int64.
    """
    native = load_core()
    if native is None:
        hashes, offsets = token_hashes(texts)
        return hashes, np.diff(offsets)
    hashed, n_tokens = native.token_hashes(list(texts), *letter_table())
    return np.frombuffer(hashed, np.uint64), np.frombuffer(n_tokens, np.int64)


def token_buckets(hashes: Hashes, n_tokens: NDArray[np.int64], ngrams: int, bits: int) -> Buckets:
    """Put tokens and their n-grams into ``2^bits`` buckets.

    Args:
        hashes: ``(N,)`` uint64, the tokens of all texts.
        n_tokens: ``(B,)`` int64, how many each text has.
        ngrams: longest n-gram.
        bits: 1 to 32.
    """
    native = load_core()
    if native is not None:
        packed = native.token_buckets(hashes, n_tokens, ngrams, bits)
        return Buckets(np.frombuffer(packed, np.uint32), n_tokens)
    offsets = offsets_of(n_tokens)
    streams = [ngram_hashes(hashes, offsets, n) for n in range(1, ngrams + 1)]
    buckets = _interleave([(grams >> np.uint64(64 - bits), at) for grams, at in streams])
    return Buckets(buckets.astype(np.uint32), n_tokens)


def word_buckets(texts: Sequence[str], ngrams: int, bits: int) -> Buckets:
    """Hash the words and n-grams of texts into ``2^bits`` buckets."""
    return token_buckets(*hash_tokens(texts), ngrams, bits)


def count_buckets(buckets: NDArray[np.uint32], counts: NDArray[np.uint32]) -> None:
    """Add to each bucket's count, in place.

    Args:
        buckets: ``(M,)`` uint32.
        counts: ``(2^bits,)`` uint32.
    """
    native = load_core()
    if native is not None:
        native.count(buckets, counts)
    else:
        counts += np.bincount(buckets, minlength=len(counts)).astype(np.uint32)


def select_rows(found: Buckets, ngrams: int, row_of_bucket: NDArray[np.int32], cls: bool) -> Ragged:
    """Keep the features whose bucket is a row.

    Args:
        found: of ``B`` texts.
        ngrams: longest n-gram in ``found``.
        row_of_bucket: ``(2^bits,)`` int32, -1 for a bucket that is no row.
        cls: whether row 0, [CLS], stands in front of every text.
    """
    native = load_core()
    if native is not None:
        ids, lengths, n_ordered = native.select_rows(found.buckets, found.n_words, ngrams, row_of_bucket, cls)
        offsets = offsets_of(np.frombuffer(lengths, np.int64))
        return Ragged(np.frombuffer(ids, np.int32), offsets, np.frombuffer(n_ordered, np.int64))
    rows = row_of_bucket[found.buckets]
    per_stream = np.stack([np.maximum(found.n_words - n, 0) for n in range(ngrams)], axis=1)
    texts = np.repeat(np.arange(len(found.n_words)), per_stream.sum(axis=1))
    is_word = np.repeat(np.tile(np.arange(ngrams) == 0, len(found.n_words)), per_stream.ravel())
    known = rows >= 0
    n_features = np.bincount(texts[known], minlength=len(found.n_words))
    n_ordered = np.bincount(texts[known & is_word], minlength=len(found.n_words))
    offsets = offsets_of(n_features + int(cls))
    ids = np.zeros(offsets[-1], dtype=np.int32)
    place = np.ones(len(ids), dtype=bool)
    if cls:
        place[offsets[:-1]] = False
    ids[place] = rows[known]
    return Ragged(ids, offsets, n_ordered + int(cls))


def _interleave(streams: Sequence[tuple[NDArray[np.uint64], NDArray[np.int64]]]) -> NDArray[np.uint64]:
    """For each text its part of the first stream, then of the second, and so on."""
    lengths = [np.diff(offsets) for _, offsets in streams]
    start = offsets_of(np.sum(lengths, axis=0, dtype=np.int64))
    result = np.empty(start[-1], dtype=np.uint64)
    begin = start[:-1].copy()  # where each text's part of the next stream begins
    for (values, offsets), length in zip(streams, lengths, strict=True):
        result[np.arange(len(values)) + np.repeat(begin - offsets[:-1], length)] = values
        begin += length
    return result
