"""Encoded texts of a stream in blocks, in random order, for the passes of training."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from token2wave.data import TextSplit, encode_label_sets, encode_labels
from token2wave.data.duplicates import TextSet
from token2wave.features import WordFeatures
from token2wave.features.hashed_texts import map_ahead
from token2wave.features.ragged import concatenate
from token2wave.training.examples import NO_TEXTS, Examples
from token2wave.training.streaming.stream_source import LabelledRows, StreamSource, prefetch


@dataclass(frozen=True)
class LabelEncoder:
    """Encodes labels and weights of rows.

    Attributes:
        label_names: the classes.
        multi_label: whether texts may have several labels, or none.
        class_weights: ``(C,)`` float64, factors of the weights of a class's texts that make their mean one;
            None if nothing is weighted.
        positive_weights: see :class:`Examples`.
    """

    label_names: tuple[str, ...]
    multi_label: bool
    class_weights: NDArray[np.float64] | None = None
    positive_weights: NDArray[np.float32] | None = None

    def __call__(self, rows: TextSplit) -> Examples:
        """Make examples of rows, without features."""
        encode = encode_label_sets if self.multi_label else encode_labels
        labels = encode(rows, self.label_names)
        if self.class_weights is None:
            return Examples.of_texts(rows.texts, labels, None, self.positive_weights)
        weights = self.class_weights[np.zeros(len(rows), dtype=np.int64) if self.multi_label else labels]
        weights = weights if rows.weights is None else weights * np.asarray(rows.weights)
        return Examples.of_texts(rows.texts, labels, weights.astype(np.float32), self.positive_weights)


@dataclass(frozen=True)
class BlockStream:
    """The training texts of a stream; see :class:`token2wave.training.examples.ExampleStream`.

    A block is filled from segments that lie anywhere in the data, read in turn, and its texts are shuffled.

    Attributes:
        source: the rows, validation and held-out rows included.
        features: of the texts.
        n_texts: the other rows, before repeated ones are skipped.
        held_out_draw: rows with draws up to this are validation or held-out rows; None if there are none.
        held_out_texts: those of validation and held-out rows; rows with the same text are skipped.
        encoder: of labels and weights.
        frequency: ``(V,)``, texts in which each row of the embedding occurs.
        batch_size: blocks are whole numbers of batches.
        block_characters: about how many characters a block holds.
    """

    source: StreamSource
    features: WordFeatures
    n_texts: int
    held_out_draw: np.uint64 | None
    held_out_texts: TextSet
    encoder: LabelEncoder
    frequency: NDArray[np.int64]
    batch_size: int
    block_characters: int

    def __len__(self) -> int:
        return self.n_texts

    @property
    def positive_weights(self) -> NDArray[np.float32] | None:
        """See :class:`Examples`."""
        return self.encoder.positive_weights

    def blocks(self, seed: int, n_done: int = 0) -> Iterator[Examples]:
        """One pass; skipped blocks are read all the same, to know where they end."""
        return prefetch(itertools.islice(self._blocks(seed), n_done, None))

    def _blocks(self, seed: int) -> Iterator[Examples]:
        """Blocks of whole batches; the texts left over open the next block."""
        order = np.random.default_rng([seed, 0]).permutation(len(self.source.segments))
        number, n_characters, n_waiting = 0, 0, 0
        pending: list[Examples] = []
        chunks = map(self._training_rows, self.source.interleave(order.tolist()))
        for rows, examples in map_ahead(self._encode, chunks):
            pending.append(examples)
            n_characters += rows.n_characters
            n_waiting += len(rows.texts)
            if n_characters >= self.block_characters and n_waiting >= self.batch_size:
                n_over = n_waiting % self.batch_size
                block = _shuffle(pending, [seed, 1, number])
                yield block.take(np.arange(n_waiting - n_over))
                pending = [block.take(np.arange(n_waiting - n_over, n_waiting))]
                number, n_characters, n_waiting = number + 1, 0, n_over
        if n_waiting:
            yield _shuffle(pending, [seed, 1, number])

    def _training_rows(self, chunk: LabelledRows) -> LabelledRows:
        if self.held_out_draw is not None:
            chunk = chunk.select(chunk.draws > self.held_out_draw)
        return chunk.select(~self.held_out_texts.mask(chunk.texts))

    def _encode(self, chunk: LabelledRows) -> Examples:
        labels = chunk.labels if self.encoder.multi_label else [names[0] for names in chunk.labels]
        weights = None if chunk.weights is None else chunk.weights.tolist()
        examples = self.encoder(TextSplit(chunk.texts, labels, self.source.name, weights))
        return replace(examples, features=self.features(chunk.texts), texts=NO_TEXTS)


def _shuffle(chunks: list[Examples], seed: list[int]) -> Examples:
    """Join examples and shuffle them."""

    def column(name: str) -> NDArray[np.float32] | None:
        values = [getattr(chunk, name) for chunk in chunks]
        return None if values[0] is None else np.concatenate(values)

    block = replace(
        chunks[0],
        features=concatenate([chunk.features for chunk in chunks]),
        labels=np.concatenate([chunk.labels for chunk in chunks]),
        weights=column("weights"),
        targets=column("targets"),
    )
    return block.take(np.random.default_rng(seed).permutation(len(block)))
