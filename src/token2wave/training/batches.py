"""Batches for training, assembled from flat arrays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from token2wave.models import Batch, make_batch
from token2wave.training.examples import Examples

TEXTS_SORTED = 50  # times the size of a batch: so many texts are sorted by length together


def training_batches(
    examples: Examples,
    batch_size: int,
    *,
    random: np.random.Generator,
    token_dropout: float,
    sentence_ends: tuple[int, ...],
    has_cls: bool,
    similar_lengths: bool = False,
    keeps_order: bool = False,
) -> Iterator[tuple[Batch, Tensor, Tensor | None, Tensor | None]]:
    """Go once through the texts in random order.

    Args:
        examples: ``N`` texts.
        batch_size: texts in a batch.
        random: gives the order, and the features left out.
        token_dropout: probability of leaving a feature out.
        sentence_ends: rows that end a sentence.
        has_cls: whether a text's first feature is [CLS], which is never left out.
        similar_lengths: put texts of similar length into a batch, for networks that pad.
        keeps_order: whether tokens that are left out stay in the reading order, for a phrase level.

    Yields:
        A batch, its labels ``(B,)`` int64, and its weights ``(B,)`` and targets ``(B, C)`` if there are any,
        on the CPU.
    """
    features, labels, weights = examples.features, examples.labels, examples.weights
    for chosen in _batches(features.lengths, batch_size, random, similar_lengths):
        texts, left_out = features.take(chosen), None
        if token_dropout > 0:
            mask = random.random(len(texts.ids), dtype=np.float32) >= token_dropout
            if has_cls:
                mask[texts.offsets[:-1][texts.lengths > 0]] = True
            if keeps_order:
                stays = mask | texts.is_ordered
                texts, left_out = texts.keep(stays), ~mask[stays]
            else:
                texts = texts.keep(mask)
        batch = make_batch(texts, sentence_ends, left_out)
        own, wanted = (
            None if a is None else torch.from_numpy(a[chosen]) for a in (weights, examples.targets)
        )
        yield batch, torch.from_numpy(labels[chosen]), own, wanted


def _batches(
    lengths: NDArray[np.int64], batch_size: int, random: np.random.Generator, similar_lengths: bool
) -> list[NDArray[np.int64]]:
    """Numbers of the texts of each batch; every text is in one."""
    order = random.permutation(len(lengths))
    if not similar_lengths:
        return [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
    batches = []
    for first in range(0, len(order), TEXTS_SORTED * batch_size):
        some = order[first : first + TEXTS_SORTED * batch_size]
        some = some[np.argsort(lengths[some], kind="stable")]
        batches += [some[begin : begin + batch_size] for begin in range(0, len(some), batch_size)]
    return [batches[i] for i in random.permutation(len(batches))]
