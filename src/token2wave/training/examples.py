"""Featurised texts with their classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Ragged


@dataclass(frozen=True)
class Examples:
    """Featurised texts and their classes.

    Attributes:
        features: of ``N`` texts.
        labels: ``(N,)`` int64.
        weights: ``(N,)`` float32, how much each text counts in the loss; all the same, if None.
    """

    features: Ragged
    labels: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, texts: NDArray[np.int64]) -> Examples:
        """Select texts by number."""
        weights = None if self.weights is None else self.weights[texts]
        return Examples(self.features.take(texts), self.labels[texts], weights)
