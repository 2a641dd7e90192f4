"""Sums of passages of a text that are joined or cut out.

A compiled network sees a text only through sums over its features, so the sums of two passages add up, except
for what crosses the seam: n-grams with tokens from both sides, and context states whose neighbours are on the
other side. Let ``a`` be the end of the first passage and ``b`` the start of the second, each long enough to
hold all that the other side can reach. With ``S`` for the sums of a passage,

    S(AB)  = S(A) + S(B) + S(ab) - S(a) - S(b)        joins two passages
    S(AC)  = S(ABC) - S(aBc) + S(ac)                  cuts one out of the middle

Whatever lies inside ``a`` or ``b`` occurs with both signs and cancels, including [CLS] and [SEP].

The ids of the OOV table depend on one token each, and on its letters, which codes do not tell. So these
formulas leave them out, and :meth:`Passages.add_oov` adds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from token2wave.features import TextFeatures
from token2wave.features.ragged import Ragged, offsets_of
from token2wave.inference.compiled import CompiledNetwork
from token2wave.inference.sums import Sums

Codes = NDArray[np.uint64]


class Passages:
    """Computes sums of passages, given as token codes."""

    def __init__(self, features: TextFeatures, network: CompiledNetwork) -> None:
        self.features, self.network = features, network
        # A word's state depends on `radius` neighbours on each side, whose states depend on it in turn.
        self.n_words = 2 * network.config.context_radius if network.config.context_width else 0
        self.n_tokens = features.reach

    def sums(self, passages: Sequence[Codes]) -> Sums:
        """Compute the sums of passages, each as a text of its own."""
        offsets = offsets_of(np.array([len(codes) for codes in passages], dtype=np.int64))
        codes = np.concatenate([np.zeros(0, np.uint64), *passages])
        features, n_ngrams = self.features.count_tokens(codes, offsets)
        n_known = self.features.n_known(features).astype(np.float64)
        return replace(self.network.sums(features), n_known=n_known, n_ngrams=n_ngrams.astype(np.float64))

    def add_oov(self, sums: Sums, oov: Ragged | None, sign: int = 1) -> Sums:
        """Add the ids of the OOV table of a passage's tokens to the sums of one text, or subtract them."""
        if oov is None:
            return sums
        n_tokens = sign * np.count_nonzero(oov.lengths)
        return replace(
            sums,
            linear_svm=sums.linear_svm + sign * self.network.oov_weights(oov.ids).sum(axis=0),
            n_oov=sums.n_oov + n_tokens,
            n_known=sums.n_known + n_tokens,
        )

    def join(self, first: Sums, end: Codes, second: Codes) -> Sums:
        """Add a passage to another, given the sums and the end of the first."""
        joined, alone = self._pair(np.concatenate([end, second]), end)
        return first + joined - alone

    def seam(self, end: Codes, start: Codes) -> Sums:
        """Compute what two joined passages have beyond the sums of each."""
        sums = self.sums([np.concatenate([end, start]), end, start])
        return sums.of(slice(0, 1)) - sums.of(slice(1, 2)) - sums.of(slice(2, 3))

    def cut(self, whole: Sums, left: Codes, middle: Codes, right: Codes) -> Sums:
        """Cut the middle out of a passage, given the tokens on both sides of it."""
        full, without = self._pair(np.concatenate([left, middle, right]), np.concatenate([left, right]))
        return whole - full + without

    def _pair(self, first: Codes, second: Codes) -> tuple[Sums, Sums]:
        sums = self.sums([first, second])
        return sums.of(slice(0, 1)), sums.of(slice(1, 2))

    def end_of(self, codes: Codes) -> Codes:
        """Return what a following passage can reach: the last tokens and the last known words.

        Unknown tokens beyond the reach of n-grams are left out, so that the length is bounded.
        """
        return np.ascontiguousarray(self.start_of(codes[::-1])[::-1])

    def start_of(self, codes: Codes) -> Codes:
        """Return what a preceding passage can reach; the mirror image of :meth:`end_of`."""
        if not self.n_words:
            return codes[: self.n_tokens]
        known = self.features.known(codes)
        mask = known & (np.cumsum(known) <= self.n_words)
        mask[: self.n_tokens] = True
        return codes[mask]

    def is_complete(self, codes: Codes) -> bool:
        """Whether a start or an end is as long as any can be, so that nothing beyond it matters."""
        enough_tokens = len(codes) >= self.n_tokens
        return enough_tokens and int(np.count_nonzero(self.features.known(codes))) >= self.n_words
