"""Hashes texts into buckets of words and n-grams: in the native core, or in numpy with the same result."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.core import load_core
from token2wave.features.normalisation import unicode_table
from token2wave.features.ragged import Ragged, offsets_of
from token2wave.features.text import Hashes, ngram_hashes, token_hashes


class Buckets(NamedTuple):
    """Hashed features of ``B`` texts.

    Attributes:
        buckets: ``(M,)`` uint32; for each text its words in reading order, then its 2-grams, and so on
            (:mod:`token2wave.features.text`).
        n_words: ``(B,)`` int64.
        n_features: ``(B,)`` int64, buckets of each text.
    """

    buckets: NDArray[np.uint32]
    n_words: NDArray[np.int64]
    n_features: NDArray[np.int64]


@cache
def letters_handle() -> Any:
    """The shipped Unicode table as the native core holds it; None without the core."""
    native = load_core()
    return None if native is None else native.open_letters(*unicode_table())


def hash_tokens(texts: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """Cut ``B`` texts into tokens and hash them.

    Returns:
        The hashes of all tokens in reading order ``(N,)`` uint64, and the number of tokens of each text
        ``(B,)`` int64.
    """
    native = load_core()
    if native is None:
        hashes, offsets = token_hashes(texts)
        return hashes, np.diff(offsets)
    hashed, n_tokens = native.token_hashes(list(texts), letters_handle())
    return np.frombuffer(hashed, np.uint64), np.frombuffer(n_tokens, np.int64)


def token_buckets(
    hashes: Hashes, n_tokens: NDArray[np.int64], ngrams: int, unspaced_ngrams: int, bits: int
) -> Buckets:
    """Put tokens, as :func:`hash_tokens` returns them, and their n-grams into ``2^bits`` buckets."""
    native = load_core()
    if native is not None:
        raw = native.token_buckets(hashes, n_tokens, ngrams, unspaced_ngrams, bits)
        buckets, n_features = np.frombuffer(raw[0], np.uint32), np.frombuffer(raw[1], np.int64)
        return Buckets(buckets, n_tokens, n_features)
    offsets = offsets_of(n_tokens)
    grams, first = zip(*ngram_hashes(hashes, offsets, ngrams, unspaced_ngrams), strict=True)
    texts = np.repeat(np.arange(len(n_tokens)), n_tokens)[np.concatenate(first)]
    by_text = np.argsort(texts, kind="stable")
    buckets = (np.concatenate(grams)[by_text] >> np.uint64(64 - bits)).astype(np.uint32)
    return Buckets(buckets, n_tokens, np.bincount(texts, minlength=len(n_tokens)))


def word_buckets(texts: Sequence[str], ngrams: int, unspaced_ngrams: int, bits: int) -> Buckets:
    """Hash the words and n-grams of texts into ``2^bits`` buckets."""
    return token_buckets(*hash_tokens(texts), ngrams, unspaced_ngrams, bits)


def find_entries(
    entries: NDArray[np.unsignedinteger], values: NDArray[np.unsignedinteger]
) -> NDArray[np.int64]:
    """Return the index of each value ``(N,)`` among increasing entries, -1 where it is none."""
    if not len(entries):
        return np.full(len(values), -1)
    indices = np.minimum(np.searchsorted(entries, values), len(entries) - 1)
    return np.where(entries[indices] == values, indices, -1)


def count_buckets(buckets: NDArray[np.uint32], counts: NDArray[np.uint32]) -> None:
    """Count buckets ``(M,)`` uint32 into ``counts``, ``(2^bits,)`` uint32, in place."""
    native = load_core()
    if native is not None:
        native.count(buckets, counts)
    else:
        counts += np.bincount(buckets, minlength=len(counts)).astype(np.uint32)


def select_rows(hashed: Buckets, row_of_bucket: NDArray[np.int32], cls: bool) -> Ragged:
    """Keep the features whose bucket has a row.

    Args:
        hashed: features of ``B`` texts.
        row_of_bucket: ``(2^bits,)`` int32, -1 for a bucket without a row.
        cls: put row 0, [CLS], before every text.
    """
    buckets, n_words, n_features = hashed
    native = load_core()
    if native is not None:
        ids, lengths, n_ordered = native.select_rows(buckets, n_words, n_features, row_of_bucket, cls)
        offsets = offsets_of(np.frombuffer(lengths, np.int64))
        return Ragged(np.frombuffer(ids, np.int32), offsets, np.frombuffer(n_ordered, np.int64))
    rows = row_of_bucket[buckets]
    features = Ragged(rows, offsets_of(n_features), n_words).keep(rows >= 0)
    if not cls:
        return features
    ids = np.insert(features.ids, features.offsets[:-1], 0)
    return Ragged(ids, offsets_of(features.lengths + 1), features.n_ordered + 1)
