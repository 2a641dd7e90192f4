"""Batches for training, assembled from flat arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from token2wave.features import Ragged
from token2wave.models import Batch, make_batch
from token2wave.models.batch import Span
from token2wave.training.examples import Examples

BATCHES_SORTED = 50  # batches whose texts are sorted by length at a time


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
    context_words: int = 0,
    rank_of: tuple[int, int] | None = None,
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
        keeps_order: whether tokens that are left out stay in the reading order, for a context branch.
        context_words: with ``keeps_order``, tokens in reading order of each text that the batch has; 0: all.
        rank_of: rank of this process and number of processes, each of which takes its own texts of every
            batch. Random numbers are drawn for the whole batch, so all together see what one process would.

    Yields:
        A batch, its labels ``(B,)`` int64, and its weights ``(B,)`` and targets ``(B, C)`` if there are any,
        on the CPU.
    """
    features = examples.features
    for chosen in _batches(features.lengths, batch_size, random, similar_lengths):
        texts, left_out, first_words = features.take(chosen), None, None
        if keeps_order and context_words:
            first_words = random.integers(0, np.maximum(texts.n_ordered - context_words, 0) + 1)
        if token_dropout > 0:
            mask = random.random(len(texts.ids), dtype=np.float32) >= token_dropout
            if has_cls:
                mask[texts.offsets[:-1][texts.lengths > 0]] = True
            if keeps_order:
                stays = mask | texts.is_ordered
                texts, left_out = texts.keep(stays), ~mask[stays]
            else:
                texts = texts.keep(mask)
        if rank_of is None:
            batch = make_batch(texts, sentence_ends, left_out)
        else:
            batch, own_texts = batch_of_rank(texts, sentence_ends, left_out, *rank_of)
            chosen = chosen[own_texts]
            first_words = None if first_words is None else first_words[own_texts]
        if first_words is not None:
            batch = take_excerpts(batch, first_words, context_words)
        labels = torch.from_numpy(examples.class_ids[chosen])
        weights, targets = (
            None if array is None else torch.from_numpy(array[chosen])
            for array in (examples.weights, examples.targets)
        )
        yield batch, labels, weights, targets


def take_excerpts(batch: Batch, first_words: NDArray[np.int64], n_words: int) -> Batch:
    """Keep an excerpt of at most ``n_words`` tokens in reading order of each text.

    Args:
        batch: ``B`` texts.
        first_words: ``(B,)``, the first token of each excerpt within the text's tokens in reading order.
        n_words: the length of an excerpt; shorter texts stay whole.
    """
    lengths = batch.ordered_offsets.diff()
    first = batch.ordered_offsets[:-1] + torch.from_numpy(first_words)
    offsets = torch.zeros_like(batch.ordered_offsets)
    offsets[1:] = lengths.clamp(max=n_words).cumsum(0)
    shifts = (first - offsets[:-1]).repeat_interleave(offsets.diff())
    ordered = batch.ordered[torch.arange(int(offsets[-1])) + shifts]
    return replace(batch, ordered=ordered, ordered_offsets=offsets)


def _batches(
    lengths: NDArray[np.int64], batch_size: int, random: np.random.Generator, similar_lengths: bool
) -> list[NDArray[np.int64]]:
    """Numbers of the texts of each batch; every text is in one."""
    order = random.permutation(len(lengths))
    if not similar_lengths:
        return [order[first : first + batch_size] for first in range(0, len(order), batch_size)]
    batches = []
    for first in range(0, len(order), BATCHES_SORTED * batch_size):
        texts = order[first : first + BATCHES_SORTED * batch_size]
        texts = texts[np.argsort(lengths[texts], kind="stable")]
        batches += [texts[begin : begin + batch_size] for begin in range(0, len(texts), batch_size)]
    return [batches[i] for i in random.permutation(len(batches))]


def batch_of_rank(
    texts: Ragged,
    sentence_ends: tuple[int, ...],
    left_out: NDArray[np.bool_] | None,
    rank: int,
    world_size: int,
) -> tuple[Batch, slice]:
    """Cut a batch by texts into slices of about the same number of features, and make that of one rank.

    Args:
        texts: of the whole batch.
        sentence_ends: rows that end a sentence.
        left_out: as for :func:`token2wave.models.batch.make_batch`.
        rank: whose slice to make, from 0.
        world_size: number of slices; some have no text where there are fewer texts.

    Returns:
        The batch of the rank, and which of the texts it has.
    """
    bounds = rank_bounds(texts, world_size)
    first, last = bounds[rank : rank + 2].tolist()
    first_token, last_token = texts.offsets[[first, last]].tolist()
    stays = np.ones(len(texts.ids), dtype=bool) if left_out is None else ~left_out
    batch = replace(
        make_batch(
            texts.take(np.arange(first, last)),
            sentence_ends,
            None if left_out is None else left_out[first_token:last_token],
        ),
        text_span=Span(first, len(texts)),
        token_span=Span(int(stays[:first_token].sum()), int(stays.sum())),
    )
    return batch, slice(first, last)


def rank_bounds(texts: Ragged, world_size: int) -> NDArray[np.int64]:
    """Where to cut texts into slices of about the same number of features, ``(world_size + 1,)`` int64."""
    work = texts.offsets + np.arange(len(texts) + 1)  # a text without features takes time, too
    targets = work[-1] * np.arange(world_size + 1) / world_size
    bounds: NDArray[np.int64] = np.searchsorted((work[1:] + work[:-1]) / 2, targets).astype(np.int64)
    return bounds
