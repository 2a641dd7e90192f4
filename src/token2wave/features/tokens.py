"""Tokens with their places in a text, for streaming and explanations."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.features.ragged import Ragged


class Tokens(NamedTuple):
    """Tokens of one text, in reading order.

    Attributes:
        codes: ``(L,)`` uint64, the hash or the row of each token.
        starts: ``(L,)`` int64, first code point of each token in the text.
        ends: ``(L,)`` int64, one past its last.
        words: ``(L,)`` int64, number of the word that each token belongs to, increasing.
        oov: ids of the OOV table, as :meth:`WordFeatures.oov_ids` gives them; None without a table.
    """

    codes: NDArray[np.uint64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    words: NDArray[np.int64]
    oov: Ragged | None = None

    def take(self, indices: NDArray[np.int64]) -> Tokens:
        """Select tokens."""
        oov = None if self.oov is None else self.oov.take(indices)
        return Tokens(self.codes[indices], self.starts[indices], self.ends[indices], self.words[indices], oov)


class Spans(NamedTuple):
    """Features of one text that have a row, and the tokens that each covers.

    Attributes:
        rows: ``(F,)`` int32.
        first: ``(F,)`` int64, index of the first token.
        n_tokens: ``(F,)`` int64; one for a word, ``n`` for an n-gram.
    """

    rows: NDArray[np.int32]
    first: NDArray[np.int64]
    n_tokens: NDArray[np.int64]
