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
    """

    features: Ragged
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, texts: NDArray[np.int64]) -> Examples:
        """Select texts by number."""
        return Examples(self.features.take(texts), self.labels[texts])
