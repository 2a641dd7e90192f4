"""Featurised texts with their classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Ragged


class ExampleStream(Protocol):
    """Featurised texts that are too many to be in memory: each pass over them comes in blocks.

    Attributes:
        frequency: ``(V,)`` int64, texts in which each row of the embedding occurs.
        positive_weights: see :class:`Examples`.
    """

    frequency: NDArray[np.int64]
    positive_weights: NDArray[np.float32] | None

    def __len__(self) -> int:
        """The texts of one pass, ``N``."""

    def blocks(self, seed: int, n_done: int = 0) -> Iterator[Examples]:
        """One pass in random order; every block but the last is a whole number of batches.

        Args:
            seed: of the order of the blocks, and of the texts in each.
            n_done: so many blocks of the pass are left out at its beginning.
        """


@dataclass(frozen=True)
class Examples:
    """Featurised texts and their classes.

    Attributes:
        features: of ``N`` texts.
        labels: ``(N,)`` int64, the class that counts as right; nothing looks at it where a network decides
            each class by itself.
        weights: ``(N,)`` float32, how much each text counts in the loss; all the same, if None.
        targets: ``(N, C)`` float32, what the network is to say of each class. Where it gives shares of one
            (softmax) each row sums to one, and the loss is the cross-entropy of the shares. Where it decides
            each class by itself (``WaveConfig.multi_label``) a number is from 0 to 1, and the loss of a text
            is the sum of its classes' binary cross-entropies: their mean would make a class's steps smaller
            the more classes there are. If None, a text's label is its target.
        positive_weights: ``(C,)`` float32, how much each class counts in the loss of the texts that have it;
            for classes decided by themselves; all the same, if None.
    """

    features: Ragged
    labels: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None
    targets: NDArray[np.float32] | None = None
    positive_weights: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, texts: NDArray[np.int64]) -> Examples:
        """Select texts by number."""
        weights = None if self.weights is None else self.weights[texts]
        targets = None if self.targets is None else self.targets[texts]
        return Examples(
            self.features.take(texts), self.labels[texts], weights, targets, self.positive_weights
        )

    @classmethod
    def of_targets(
        cls,
        features: Ragged,
        targets: NDArray[np.float32],
        weights: NDArray[np.float32] | None = None,
        positive_weights: NDArray[np.float32] | None = None,
    ) -> Examples:
        """Examples whose class, where one counts as right, is that of the largest target."""
        labels = targets.argmax(axis=1).astype(np.int64)
        return cls(features, labels, weights, targets, positive_weights)
