"""Batches for training, assembled from flat arrays."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from token2wave.features import Ragged
from token2wave.models import Batch, make_batch
from token2wave.models.batch import Span, Whole
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
    share: tuple[int, int] | None = None,
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
        share: number of this process and of all, each of which takes its own part of every batch; random
            numbers are drawn for the whole batch, so that the parts together are what one process would see.

    Yields:
        A batch, its labels ``(B,)`` int64, and its weights ``(B,)`` and targets ``(B, C)`` if there are any,
        on the CPU.
    """
    features, labels, weights = examples.features, examples.class_ids, examples.weights
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
        if share is None:
            batch = make_batch(texts, sentence_ends, left_out)
        else:
            batch, own_texts = part_of_batch(texts, sentence_ends, left_out, *share)
            chosen = chosen[own_texts]
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


def part_of_batch(
    texts: Ragged,
    sentence_ends: tuple[int, ...],
    left_out: NDArray[np.bool_] | None,
    process: int,
    n_processes: int,
) -> tuple[Batch, slice]:
    """Cut a batch by texts into parts of about the same number of features, and make one of them.

    Args:
        texts: of the whole batch.
        sentence_ends: rows that end a sentence.
        left_out: as for :func:`token2wave.models.batch.make_batch`.
        process: whose part is wanted, from 0.
        n_processes: parts; some have no text where there are fewer texts.

    Returns:
        The part, and which of the texts it has.
    """
    bounds = part_bounds(texts, n_processes)
    first, last = bounds[process : process + 2].tolist()
    starts = texts.offsets[bounds]
    parts = [np.unique(texts.ids[begin:end]) for begin, end in itertools.pairwise(starts.tolist())]
    own = left_out if left_out is None else left_out[starts[process] : starts[process + 1]]
    n_before, n_tokens = int(starts[process]), len(texts.ids)
    if left_out is not None:
        n_before -= int(left_out[:n_before].sum())
        n_tokens -= int(left_out.sum())
    whole = Whole(
        texts=Span(first, len(texts)),
        tokens=Span(n_before, n_tokens),
        parts=tuple(torch.from_numpy(part.astype(np.int64)) for part in parts),
        rows=torch.from_numpy(np.unique(np.concatenate(parts)).astype(np.int64)),
    )
    batch = make_batch(texts.take(np.arange(first, last)), sentence_ends, own)
    return replace(batch, whole=whole), slice(first, last)


def part_bounds(texts: Ragged, n_parts: int) -> NDArray[np.int64]:
    """Where to cut texts into parts of about the same number of features, ``(n_parts + 1,)`` int64."""
    work = texts.offsets + np.arange(len(texts) + 1)  # a text without features is work, too
    wanted = work[-1] * np.arange(n_parts + 1) / n_parts
    bounds: NDArray[np.int64] = np.searchsorted((work[1:] + work[:-1]) / 2, wanted).astype(np.int64)
    return bounds
