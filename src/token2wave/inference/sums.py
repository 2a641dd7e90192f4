"""What a text comes to for a compiled network: sums over its tokens, which add up."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """Sums of ``N`` texts, in double precision; the logits depend on nothing else.

    Sums of two passages add up to those of both, but for the features and neighbours across the seam (see
    :mod:`token2wave.inference.state`).

    Attributes:
        n_features: ``(N,)``, features of each text.
        total: ``(N, 2 D)``, sum of both variants; with a [CLS] read-out, of all features but the first.
        squares: ``(N, 2 D)``, sum of the squares of the same.
        first: ``(N, 2 D)``, both variants of the first feature with a [CLS] read-out, else zero.
        n_words: ``(N,)``, words that went through the phrase level.
        phrase_total: ``(N, P)``, sum of their states.
        phrase_squares: ``(N, P)``, sum of the squares of these.
        linear_svm: ``(N, C)``, sum of the amplitudes of all features; ``(N, 0)`` where rows have none.
    """

    n_features: Numbers
    total: Numbers
    squares: Numbers
    first: Numbers
    n_words: Numbers
    context_total: Numbers
    context_squares: Numbers
    linear_svm: Numbers

    def __len__(self) -> int:
        return len(self.n_features)

    def __add__(self, other: Self) -> Sums:
        """Add, text by text; the first features stay."""
        return self._with(other, 1.0)

    def __sub__(self, other: Self) -> Sums:
        """Subtract, text by text; the first features stay."""
        return self._with(other, -1.0)

    def _with(self, other: Self, sign: float) -> Sums:
        changed = {
            field.name: getattr(self, field.name) + sign * getattr(other, field.name)
            for field in fields(self)
            if field.name != "first"
        }
        n = len(changed["n_features"])
        return Sums(**changed, first=np.broadcast_to(self.first, (n, self.first.shape[1])))

    def of(self, texts: slice) -> Sums:
        """Sums of some of the texts."""
        return Sums(**{field.name: getattr(self, field.name)[texts] for field in fields(self)})
