"""Feature ids of many texts in flat arrays, without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ragged:
    """Feature ids of ``B`` texts, one after the other.

    Attributes:
        ids: ``(T,)`` int32, rows of the embedding.
        offsets: ``(B + 1,)`` int64; text ``b`` has ``ids[offsets[b]:offsets[b + 1]]``.
        n_ordered: ``(B,)`` int64; this many first features of a text are its tokens in reading order. The
            others (n-grams) have no order.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    n_ordered: NDArray[np.int64]

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
        return Ragged(self.ids[source], offsets, self.n_ordered[texts])

    def keep(self, mask: NDArray[np.bool_]) -> Ragged:
        """Keep the features of a mask ``(T,)``; a text may become empty."""
        n_before = offsets_of(mask)  # features kept before each position
        offsets = n_before[self.offsets]
        return Ragged(self.ids[mask], offsets, n_before[self.offsets[:-1] + self.n_ordered] - offsets[:-1])


def offsets_of(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Return the offsets ``(B + 1,)`` of segments of lengths ``(B,)``."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def concatenate(batches: Sequence[Ragged]) -> Ragged:
    """Join the texts of several batches, at least one."""
    return Ragged(
        np.concatenate([batch.ids for batch in batches]),
        offsets_of(np.concatenate([batch.lengths for batch in batches])),
        np.concatenate([batch.n_ordered for batch in batches]),
    )
