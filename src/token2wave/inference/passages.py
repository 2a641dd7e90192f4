"""Sums of passages that are joined, cut and put together: what changes is only what stands at the seams.

A compiled network sees a text through sums over its features, so sums of two passages add up but for what
crosses the seam: n-grams of tokens from both sides, and words of the phrase level whose neighbours stand on
the other side. Let ``a`` be the end of the first passage and ``b`` the beginning of the second, each long
enough to hold all that the other side can reach. With ``S`` for the sums of a passage,

    S(AB)  = S(A) + S(B) + S(ab) - S(a) - S(b)        joining two passages
    S(AC)  = S(ABC) - S(aBc) + S(ac)                  taking one out of the middle

Whatever lies inside ``a`` or ``b`` occurs with both signs and cancels, [CLS] and [SEP] included.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Features
from token2wave.features.ragged import offsets_of
from token2wave.inference.compiled import CompiledNetwork
from token2wave.inference.sums import Sums

Codes = NDArray[np.uint64]


class Passages:
    """Sums of passages, given as codes of their tokens.

    Args:
        features: turn codes into rows.
        tables: turn rows into sums.
    """

    def __init__(self, features: Features, tables: CompiledNetwork) -> None:
        self.features, self.tables = features, tables
        # A word's state depends on `radius` neighbours on each side, whose states depend on it in turn.
        self.n_words = 2 * tables.config.context_radius if tables.config.context_width else 0
        self.n_tokens = features.reach

    def sums(self, passages: Sequence[Codes]) -> Sums:
        """Sums of passages that each stand for themselves."""
        offsets = offsets_of(np.array([len(codes) for codes in passages], dtype=np.int64))
        codes = np.concatenate([np.zeros(0, np.uint64), *passages])
        return self.tables.sums(self.features.of_tokens(codes, offsets))

    def joined(self, first: Sums, end: Codes, second: Codes) -> Sums:
        """Sums of a passage and the one that follows it, given the first one's sums and its end."""
        both, alone = self._pair(np.concatenate([end, second]), end)
        return first + both - alone

    def seam(self, end: Codes, beginning: Codes) -> Sums:
        """What two passages come to together beyond the sums of each, given the first's end."""
        parts = self.sums([np.concatenate([end, beginning]), end, beginning])
        return parts.of(slice(0, 1)) - parts.of(slice(1, 2)) - parts.of(slice(2, 3))

    def without(self, whole: Sums, before: Codes, middle: Codes, after: Codes) -> Sums:
        """Sums of a passage with its middle taken out, given what stands on both sides of it."""
        with_it, without_it = self._pair(
            np.concatenate([before, middle, after]), np.concatenate([before, after])
        )
        return whole - with_it + without_it

    def _pair(self, one: Codes, other: Codes) -> tuple[Sums, Sums]:
        found = self.sums([one, other])
        return found.of(slice(0, 1)), found.of(slice(1, 2))

    def end_of(self, codes: Codes) -> Codes:
        """What a passage that follows can reach: the last tokens, and the last known words.

        Unknown tokens further back than n-grams reach are left out, so that the length is bounded.
        """
        return np.ascontiguousarray(self.beginning_of(codes[::-1])[::-1])

    def beginning_of(self, codes: Codes) -> Codes:
        """What a passage that comes before can reach, likewise."""
        if not self.n_words:
            return codes[: self.n_tokens]
        known = self.features.known(codes)
        kept = known & (np.cumsum(known) <= self.n_words)
        kept[: self.n_tokens] = True
        return codes[kept]

    def is_edge(self, codes: Codes) -> bool:
        """Whether a beginning or an end is as long as any can be, so that nothing beyond it matters."""
        enough_tokens = len(codes) >= self.n_tokens
        return enough_tokens and int(np.count_nonzero(self.features.known(codes))) >= self.n_words
