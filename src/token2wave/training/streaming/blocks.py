"""The passes of training over a stream: blocks of featurised texts, in random order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from token2wave.core import n_threads
from token2wave.features import Ragged, WordFeatures
from token2wave.features.ragged import concatenate
from token2wave.training.examples import Examples
from token2wave.training.streaming.source import Part, Source, in_order, one_ahead


@dataclass
class BlockStream:
    """The training texts of a stream; see :class:`token2wave.training.examples.ExampleStream`.

    A block is filled from segments that lie anywhere in the data, read by turns, and its texts are shuffled.

    Attributes:
        source: the rows, those that are held back included.
        features: of the texts.
        n_texts: rows that are not held back.
        held_out: rows with draws up to this are; None where no rows are held back.
        label_names: the classes.
        class_weights: ``(C,)`` float64, by which the weights of a class's texts are multiplied, so that their
            mean is one; None where nothing is weighted.
        frequency: ``(V,)``, texts in which each row of the embedding occurs.
        positive_weights: of classes that are decided by themselves.
        several: whether texts may have several labels, or none.
        batch_size: blocks are whole numbers of batches.
        characters_of_a_block: about so many.
    """

    source: Source
    features: WordFeatures
    n_texts: int
    held_out: np.uint64 | None
    label_names: tuple[str, ...]
    class_weights: NDArray[np.float64] | None
    frequency: NDArray[np.int64]
    positive_weights: NDArray[np.float32] | None
    several: bool
    batch_size: int
    characters_of_a_block: int

    def __post_init__(self) -> None:
        self._number = {name: number for number, name in enumerate(self.label_names)}

    def __len__(self) -> int:
        return self.n_texts

    def blocks(self, seed: int, n_done: int = 0) -> Iterator[Examples]:
        """One pass; what is left out at its beginning is read all the same, to know where it ends."""
        return one_ahead(itertools.islice(self._blocks(seed), n_done, None))

    def _blocks(self, seed: int) -> Iterator[Examples]:
        """Blocks, each a whole number of batches: texts that are over stand in the next."""
        order = np.random.default_rng([seed, 0]).permutation(len(self.source.segments))
        number, n_characters, n_waiting = 0, 0, 0
        waiting: list[Examples] = []
        parts = map(self._not_held_back, self.source.by_turns(order.tolist()))
        for kept, examples in in_order(self.examples, parts, n_threads()):
            waiting.append(examples)
            n_characters += kept.n_characters
            n_waiting += len(kept.texts)
            if n_characters >= self.characters_of_a_block and n_waiting >= self.batch_size:
                n_over = n_waiting % self.batch_size
                every = _shuffled(waiting, [seed, 1, number])
                yield every.take(np.arange(n_waiting - n_over))
                waiting = [every.take(np.arange(n_waiting - n_over, n_waiting))]
                number, n_characters, n_waiting = number + 1, 0, n_over
        if n_waiting:
            yield _shuffled(waiting, [seed, 1, number])

    def _not_held_back(self, part: Part) -> Part:
        if self.held_out is None or (kept := part.draws > self.held_out).all():
            return part
        chosen = np.flatnonzero(kept).tolist()
        return Part(
            [part.texts[i] for i in chosen],
            [part.labels[i] for i in chosen],
            part.several,
            None if part.weights is None else part.weights[kept],
            part.draws[kept],
            [],
        )

    def examples(self, part: Part) -> Examples:
        """Texts as features."""
        features, number = self.features(part.texts), self._number
        if self.several:
            targets = np.zeros((len(part.texts), len(number)), dtype=np.float32)
            for row, names in enumerate(part.labels):
                targets[row, [number[name] for name in names]] = 1
            weights = self._weights(part, np.zeros(len(part.texts), dtype=np.int64))
            return Examples.of_targets(features, targets, weights, self.positive_weights)
        labels = np.fromiter((number[names[0]] for names in part.labels), np.int64, len(part.labels))
        return Examples(features, labels, self._weights(part, labels))

    def _weights(self, part: Part, labels: NDArray[np.int64]) -> NDArray[np.float32] | None:
        if self.class_weights is None:
            return None
        weights = self.class_weights[labels]
        return (weights if part.weights is None else weights * part.weights).astype(np.float32)


def _shuffled(parts: list[Examples], seed: list[int]) -> Examples:
    """Examples of one stream as one, in random order."""

    def column(name: str) -> NDArray[np.float32] | None:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)

    features: Ragged = concatenate([part.features for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    every = Examples(features, labels, column("weights"), column("targets"), parts[0].positive_weights)
    return every.take(np.random.default_rng(seed).permutation(len(labels)))
