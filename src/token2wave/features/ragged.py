"""Feature ids of many texts, flat: no padding anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ragged:
    """Feature ids of ``B`` texts, one after the other.

    Attributes:
        ids: ``(T,)`` int32, rows of the embedding.
        offsets: ``(B + 1,)`` int64; text ``b`` has ``ids[offsets[b]:offsets[b + 1]]``.
        n_ordered: ``(B,)`` int64; so many of a text's first features are its tokens in reading
            order, the rest (n-grams) are a bag.
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
        within = np.arange(len(self.ids)) - np.repeat(self.offsets[:-1], self.lengths)
        return within < np.repeat(self.n_ordered, self.lengths)

    def take(self, texts: NDArray[np.int64]) -> Ragged:
        """Select texts, in the order given.

        Args:
            texts: ``(N,)`` integers, numbers of texts.
        """
        lengths = self.lengths[texts]
        offsets = offsets_of(lengths)
        source = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][texts] - offsets[:-1], lengths)
        return Ragged(self.ids[source], offsets, self.n_ordered[texts])

    def keep(self, mask: NDArray[np.bool_]) -> Ragged:
        """Drop features; the texts stay, if need be empty.

        Args:
            mask: ``(T,)`` bool, true for the features that stay.
        """
        kept = np.concatenate([[0], np.cumsum(mask)])  # features kept before each position
        starts = self.offsets[:-1]
        return Ragged(
            self.ids[mask],
            kept[self.offsets].astype(np.int64),
            (kept[starts + self.n_ordered] - kept[starts]).astype(np.int64),
        )


def offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Offsets ``(B + 1,)`` of segments with the given lengths ``(B,)``."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def concatenate(parts: Sequence[Ragged]) -> Ragged:
    """Put the texts of several parts one after the other.

    Args:
        parts: at least one.
    """
    lengths = np.concatenate([part.lengths for part in parts])
    return Ragged(
        np.concatenate([part.ids for part in parts]),
        offsets_of(lengths),
        np.concatenate([part.n_ordered for part in parts]),
    )
