"""The sums over a text's tokens, which are all that a compiled network needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """Sums of ``N`` texts, in double precision; the logits depend on nothing else.

    The sums of two passages add up, except for features and neighbours across the seam (see
    :mod:`token2wave.inference.passages`).

    Attributes:
        n_features: ``(N,)``, features of each text that have a row.
        n_known: ``(N,)``, those without [CLS], [SEP] and [UNK], plus ``n_oov``. The network counts all
            features; `Passages` corrects it.
        n_ngrams: ``(N,)``, words and n-grams with a row or not. The network, which does not see them,
            counts the features; `Passages` corrects it.
        total: ``(N, 2 D)``, sum of both variants; for read-out ``cls``, of all features but the first.
        squares: ``(N, 2 D)``, sum of the squares of the same.
        first: ``(N, 2 D)``, both variants of the first feature for read-out ``cls``, else zero.
        n_words: ``(N,)``, words that have a context state.
        context_total: ``(N, P)``, sum of the context states.
        context_squares: ``(N, P)``, sum of their squares.
        linear_svm: ``(N, C)``, sum of the SVM weights of all features and of all ids of the OOV table;
            ``(N, 0)`` without a linear SVM.
        n_oov: ``(N,)``, tokens that have ids of the OOV table.
    """

    n_features: Numbers
    n_known: Numbers
    n_ngrams: Numbers
    total: Numbers
    squares: Numbers
    first: Numbers
    n_words: Numbers
    context_total: Numbers
    context_squares: Numbers
    linear_svm: Numbers
    n_oov: Numbers

    def __len__(self) -> int:
        return len(self.n_features)

    def __add__(self, other: Self) -> Sums:
        """Add text by text; ``first`` stays."""
        return self._combine(other, 1.0)

    def __sub__(self, other: Self) -> Sums:
        """Subtract text by text; ``first`` stays."""
        return self._combine(other, -1.0)

    def _combine(self, other: Self, sign: float) -> Sums:
        sums = {name: array + sign * getattr(other, name) for name, array in vars(self).items()}
        shape = len(sums["n_features"]), self.first.shape[1]
        return Sums(**{**sums, "first": np.broadcast_to(self.first, shape)})

    def of(self, texts: slice) -> Sums:
        """Select texts."""
        return Sums(**{name: array[texts] for name, array in vars(self).items()})
