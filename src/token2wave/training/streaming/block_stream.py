"""Encoded texts of a stream in blocks, in random order, for the passes of training."""

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
from token2wave.training.streaming.stream_rows import LabelledRows, StreamSource, map_in_order, prefetch


@dataclass
class BlockStream:
    """The training texts of a stream; see :class:`token2wave.training.examples.ExampleStream`.

    A block is filled from segments that lie anywhere in the data, read by turns, and its texts are shuffled.

    Attributes:
        source: the rows, validation rows included.
        features: of the texts.
        n_texts: rows that are not validation rows.
        validation_draw: rows with draws up to this are validation rows; None if there are none.
        label_names: the classes.
        class_weights: ``(C,)`` float64, by which the weights of a class's texts are multiplied, so that their
            mean is one; None where nothing is weighted.
        frequency: ``(V,)``, texts in which each row of the embedding occurs.
        positive_weights: see :class:`Examples`.
        multi_label: whether texts may have several labels, or none.
        batch_size: blocks are whole numbers of batches.
        characters_of_a_block: about how many characters a block holds.
    """

    source: StreamSource
    features: WordFeatures
    n_texts: int
    validation_draw: np.uint64 | None
    label_names: tuple[str, ...]
    class_weights: NDArray[np.float64] | None
    frequency: NDArray[np.int64]
    positive_weights: NDArray[np.float32] | None
    multi_label: bool
    batch_size: int
    characters_of_a_block: int

    def __post_init__(self) -> None:
        self._number = {name: number for number, name in enumerate(self.label_names)}

    def __len__(self) -> int:
        return self.n_texts

    def blocks(self, seed: int, n_done: int = 0) -> Iterator[Examples]:
        """One pass; the blocks skipped at its beginning are read all the same, to know where they end."""
        return prefetch(itertools.islice(self._blocks(seed), n_done, None))

    def _blocks(self, seed: int) -> Iterator[Examples]:
        """Blocks of whole batches; the texts left over open the next block."""
        order = np.random.default_rng([seed, 0]).permutation(len(self.source.segments))
        number, n_characters, n_waiting = 0, 0, 0
        pending: list[Examples] = []
        chunks = map(self._training_rows, self.source.interleave(order.tolist()))
        for rows, examples in map_in_order(self.examples, chunks, n_threads()):
            pending.append(examples)
            n_characters += rows.n_characters
            n_waiting += len(rows.texts)
            if n_characters >= self.characters_of_a_block and n_waiting >= self.batch_size:
                n_over = n_waiting % self.batch_size
                block = _shuffled(pending, [seed, 1, number])
                yield block.take(np.arange(n_waiting - n_over))
                pending = [block.take(np.arange(n_waiting - n_over, n_waiting))]
                number, n_characters, n_waiting = number + 1, 0, n_over
        if n_waiting:
            yield _shuffled(pending, [seed, 1, number])

    def _training_rows(self, chunk: LabelledRows) -> LabelledRows:
        if self.validation_draw is None or (mask := chunk.draws > self.validation_draw).all():
            return chunk
        chosen = np.flatnonzero(mask).tolist()
        return LabelledRows(
            [chunk.texts[i] for i in chosen],
            [chunk.labels[i] for i in chosen],
            chunk.multi_label,
            None if chunk.weights is None else chunk.weights[mask],
            chunk.draws[mask],
            [],
        )

    def examples(self, chunk: LabelledRows) -> Examples:
        """Texts as features."""
        features, number = self.features(chunk.texts), self._number
        if self.multi_label:
            targets = np.zeros((len(chunk.texts), len(number)), dtype=np.float32)
            for row, names in enumerate(chunk.labels):
                targets[row, [number[name] for name in names]] = 1
            weights = self._weights(chunk, np.zeros(len(chunk.texts), dtype=np.int64))
            return Examples.of_targets(features, targets, weights, self.positive_weights)
        labels = np.fromiter((number[names[0]] for names in chunk.labels), np.int64, len(chunk.labels))
        return Examples(features, labels, self._weights(chunk, labels))

    def _weights(self, chunk: LabelledRows, labels: NDArray[np.int64]) -> NDArray[np.float32] | None:
        if self.class_weights is None:
            return None
        weights = self.class_weights[labels]
        return (weights if chunk.weights is None else weights * chunk.weights).astype(np.float32)


def _shuffled(chunks: list[Examples], seed: list[int]) -> Examples:
    """Join examples and shuffle them."""

    def column(name: str) -> NDArray[np.float32] | None:
        values = [getattr(chunk, name) for chunk in chunks]
        return None if values[0] is None else np.concatenate(values)

    features: Ragged = concatenate([chunk.features for chunk in chunks])
    labels = np.concatenate([chunk.labels for chunk in chunks])
    block = Examples(features, labels, column("weights"), column("targets"), chunks[0].positive_weights)
    return block.take(np.random.default_rng(seed).permutation(len(labels)))
