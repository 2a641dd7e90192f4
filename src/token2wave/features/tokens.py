"""A text as tokens that still know where they stand in it: what streaming and explanations work on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Tokens(NamedTuple):
    """Tokens of one text, in reading order.

    Attributes:
        codes: ``(L,)`` uint64, what the features know a token by: its hash, or its row.
        starts: ``(L,)`` int64, first code point of each token in the text.
        ends: ``(L,)`` int64, one past its last.
        words: ``(L,)`` int64, number of the word that a token belongs to, increasing.
    """

    codes: NDArray[np.uint64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    words: NDArray[np.int64]

    def take(self, places: NDArray[np.int64]) -> Tokens:
        """Select tokens by number."""
        return Tokens(self.codes[places], self.starts[places], self.ends[places], self.words[places])


class Spans(NamedTuple):
    """Features of one text that are rows, and the tokens that each of them covers.

    Attributes:
        rows: ``(F,)`` int32.
        first: ``(F,)`` int64, number of the first token.
        n_tokens: ``(F,)`` int64; one for a word, ``n`` for an n-gram.
    """

    rows: NDArray[np.int32]
    first: NDArray[np.int64]
    n_tokens: NDArray[np.int64]
