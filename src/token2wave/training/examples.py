"""Examples: texts with their classes and, once there is a vocabulary, their features."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from token2wave.data.duplicates import group_duplicates, join_groups
from token2wave.features import Features, Ragged
from token2wave.features.hashed_texts import HashedTexts

NO_FEATURES = Ragged(np.zeros(0, np.int32), np.zeros(1, np.int64), np.zeros(0, np.int64))
NO_TEXTS = HashedTexts([])


class ExampleStream(Protocol):
    """Encoded examples that do not fit into memory: each pass over them comes in blocks."""

    @property
    def frequency(self) -> NDArray[np.int64]:
        """Texts in which each row of the embedding occurs, ``(V,)``."""

    @property
    def positive_weights(self) -> NDArray[np.float32] | None:
        """See :class:`Examples`."""

    def __len__(self) -> int:
        """Number of texts in one pass, ``N``."""

    def blocks(self, seed: int, n_done: int = 0) -> Iterator[Examples]:
        """Read the texts once in the random order of a seed, without the first ``n_done`` blocks.

        Every block but the last is a whole number of batches.
        """


@dataclass(frozen=True)
class Examples:
    """``N`` texts and their classes.

    Attributes:
        features: of the texts; :data:`NO_FEATURES` until :meth:`encode` makes them.
        labels: ``(N,)`` int64; or ``(N, C)`` bool for multi-label texts.
        weights: ``(N,)`` float32, how much each text counts in the loss; None counts all the same.
        targets: ``(N, C)`` float32, the output to learn for each class. With softmax each row sums to one,
            and the loss is the cross-entropy. With ``WaveConfig.multi_label`` each number is from 0 to 1, and
            the loss of a text is the sum of the binary cross-entropies of its classes: a mean would make the
            steps of a class smaller the more classes there are. None takes the labels as targets.
        positive_weights: ``(C,)`` float32, how much each class counts in the loss of the multi-label texts
            that have it; None counts all the same.
        texts: ``N`` strings, which keep the hashes of their tokens; none if only the features are known.
        n_unlabelled: texts at the end that only a teacher labels.
        groups: ``N`` names of groups; see :class:`token2wave.data.TextSplit`.
        rows: ``(N,)``, numbers of the texts in the split that they were held out of, from 0; None if unknown.
        scores: ``(N,)``, the numbers that the labels stand for in a model of scores; else None.
    """

    features: Ragged
    labels: NDArray[Any]
    weights: NDArray[np.float32] | None = None
    targets: NDArray[np.float32] | None = None
    positive_weights: NDArray[np.float32] | None = None
    texts: HashedTexts = NO_TEXTS
    n_unlabelled: int = 0
    groups: list[str | None] | None = None
    rows: NDArray[np.int64] | None = None
    scores: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of_texts(
        cls,
        texts: Sequence[str],
        labels: NDArray[Any],
        weights: NDArray[np.float32] | None = None,
        positive_weights: NDArray[np.float32] | None = None,
    ) -> Examples:
        """Make examples whose features are not known yet."""
        targets = labels.astype(np.float32) if labels.ndim == 2 else None
        return cls(NO_FEATURES, labels, weights, targets, positive_weights, HashedTexts.of(texts))

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several classes, or none."""
        return self.labels.ndim == 2

    @property
    def class_ids(self) -> NDArray[np.int64]:
        """One class for each text, ``(N,)``; the first of a multi-label text."""
        labels = self.labels.argmax(axis=1) if self.multi_label else self.labels
        return np.asarray(labels, dtype=np.int64)

    def encode(self, features: Features, advance: Callable[[int], None] | None = None) -> Examples:
        """The same texts with the features of a vocabulary; ``advance`` gets the number of further texts."""
        return replace(self, features=features(self.texts, advance))

    def take(self, rows: NDArray[np.int64]) -> Examples:
        """Select texts by number."""
        return Examples(
            self.features.take(rows) if len(self.features) else self.features,
            self.labels[rows],
            None if self.weights is None else self.weights[rows],
            None if self.targets is None else self.targets[rows],
            self.positive_weights,
            self.texts.take(rows) if len(self.texts) else self.texts,
            groups=None if self.groups is None else [self.groups[row] for row in rows.tolist()],
            scores=None if self.scores is None else self.scores[rows],
        )

    def labelled(self) -> Examples:
        """The texts whose labels the data has."""
        return self.take(np.arange(len(self) - self.n_unlabelled)) if self.n_unlabelled else self

    def row_groups(self) -> NDArray[np.int64]:
        """The first row of each row's group, ``(N,)``: of one text, nearly one text, or one named group."""
        return join_groups(group_duplicates(self.texts), self.groups)

    def checksum(self) -> int:
        """Number that depends on every text, its label, weight and target."""
        checksum = 0
        for array in (self.labels, self.weights, self.targets):
            checksum = zlib.crc32(b"" if array is None else array.tobytes(), checksum)
        for text in self.texts:
            checksum = zlib.crc32(text.encode("utf-8", "surrogatepass"), zlib.crc32(b"\n", checksum))
        return checksum
