"""Feature ids of many texts in flat arrays, without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ragged:
    """Feature ids of ``B`` texts, one after the other.

    Attributes:
        ids: ``(T,)`` int32, rows of the embedding. Ids of the OOV table, which begin with the number of
            rows, come last in a text.
        offsets: ``(B + 1,)`` int64; text ``b`` has ``ids[offsets[b]:offsets[b + 1]]``.
        n_ordered: ``(B,)`` int64; this many first features of a text are its tokens in reading order. The
            others (n-grams) have no order.
        n_oov_tokens: ``(B,)`` int64, tokens of a text with ids of the OOV table; None if no text has any.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    n_ordered: NDArray[np.int64]
    n_oov_tokens: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Features of each text, ``(B,)`` int64."""
        return self.offsets[1:] - self.offsets[:-1]

    @property
    def is_ordered(self) -> NDArray[np.bool_]:
        """Whether each feature is a token of the reading order, ``(T,)`` bool."""
        ends = self.offsets[:-1] + self.n_ordered
        return np.arange(len(self.ids)) < np.repeat(ends, self.lengths)

    def take(self, texts: NDArray[np.int64]) -> Ragged:
        """Select texts by their numbers ``(N,)``, in this order."""
        lengths = self.lengths[texts]
        offsets = offsets_of(lengths)
        source = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][texts] - offsets[:-1], lengths)
        n_oov_tokens = None if self.n_oov_tokens is None else self.n_oov_tokens[texts]
        return Ragged(self.ids[source], offsets, self.n_ordered[texts], n_oov_tokens)

    def keep(self, mask: NDArray[np.bool_]) -> Ragged:
        """Keep the features of a mask ``(T,)``; a text may become empty."""
        n_before = offsets_of(mask)  # features kept before each position
        offsets = n_before[self.offsets]
        n_ordered = n_before[self.offsets[:-1] + self.n_ordered] - offsets[:-1]
        return Ragged(self.ids[mask], offsets, n_ordered, self.n_oov_tokens)

    def rows(self, n_rows: int) -> Ragged:
        """Keep the rows of an embedding of ``n_rows``, without ids of the OOV table."""
        if self.n_oov_tokens is None:
            return self
        return replace(self.keep(self.ids < n_rows), n_oov_tokens=None)


def offsets_of(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Return the offsets ``(B + 1,)`` of segments of lengths ``(B,)``."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def sum_texts(values: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum the values ``(T, width)`` of each text, ``(N, width)``; ``offsets``, ``(N + 1,)``, ends with ``T``.

    Unlike a matrix product, this gives the same bits with any number of threads.
    """
    sums = np.zeros((len(offsets) - 1, values.shape[1]))
    texts = np.flatnonzero(np.diff(offsets))
    if len(texts):
        sums[texts] = np.add.reduceat(values, offsets[texts])
    return sums


def concatenate(batches: Sequence[Ragged]) -> Ragged:
    """Join the texts of several batches, at least one."""
    return Ragged(
        np.concatenate([batch.ids for batch in batches]),
        offsets_of(np.concatenate([batch.lengths for batch in batches])),
        np.concatenate([batch.n_ordered for batch in batches]),
        _join_oov_tokens(batches),
    )


def _join_oov_tokens(batches: Sequence[Ragged]) -> NDArray[np.int64] | None:
    """Join the counts of OOV tokens; None stands for zeros."""
    counts = [batch.n_oov_tokens for batch in batches]
    if all(each is None for each in counts):
        return None
    pairs = zip(batches, counts, strict=True)
    return np.concatenate([np.zeros(len(batch), np.int64) if each is None else each for batch, each in pairs])
