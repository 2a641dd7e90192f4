"""Batches for training and for prediction, assembled from flat arrays."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from token2wave.features import Ragged
from token2wave.models import Batch, WaveNetwork, make_batch

TEXTS_IN_PREDICTION = 512
FEATURES_IN_PREDICTION = 1 << 16


def n_batches(n_texts: int, batch_size: int) -> int:
    """Steps in an epoch; the last batch may be smaller."""
    return -(-n_texts // batch_size)


def training_batches(
    features: Ragged,
    labels: NDArray[np.int64],
    batch_size: int,
    *,
    random: np.random.Generator,
    token_dropout: float,
    sentence_ends: tuple[int, ...],
    has_cls: bool,
) -> Iterator[tuple[Batch, Tensor]]:
    """Go once through the texts in random order.

    Args:
        features: of ``N`` texts.
        labels: ``(N,)`` int64.
        batch_size: texts in a batch.
        random: gives the order, and the features left out.
        token_dropout: probability of leaving a feature out.
        sentence_ends: rows that end a sentence.
        has_cls: whether a text's first feature is [CLS], which is never left out.

    Yields:
        A batch and its labels ``(B,)`` int64, on the CPU.
    """
    order = random.permutation(len(labels))
    for first in range(0, len(order), batch_size):
        chosen = order[first : first + batch_size]
        texts = features.take(chosen)
        if token_dropout > 0:
            mask = random.random(len(texts.ids), dtype=np.float32) >= token_dropout
            if has_cls:
                mask[texts.offsets[:-1][texts.lengths > 0]] = True
            texts = texts.keep(mask)
        yield make_batch(texts, sentence_ends), torch.from_numpy(labels[chosen])


def predict_logits(network: WaveNetwork, features: Ragged, device: torch.device) -> NDArray[np.float32]:
    """Compute the logits of many texts, ``(N, C)`` float32, in batches of bounded size."""
    network.eval()
    bounds = _prediction_bounds(features)
    parts = [np.zeros((0, network.config.n_classes), dtype=np.float32)]
    with torch.inference_mode():
        for first, last in itertools.pairwise(bounds):
            texts = features.take(np.arange(first, last))
            batch = make_batch(texts, network.config.sentence_ends).to(device)
            parts.append(network(batch).float().cpu().numpy())
    return np.concatenate(parts)


def _prediction_bounds(features: Ragged) -> list[int]:
    """Cut the texts into runs of at most so many texts and, if more than one text, features."""
    bounds = [0]
    while bounds[-1] < len(features):
        first = bounds[-1]
        most = features.offsets[first] + FEATURES_IN_PREDICTION
        last = int(np.searchsorted(features.offsets, most, side="right")) - 1
        bounds.append(min(max(last, first + 1), first + TEXTS_IN_PREDICTION, len(features)))
    return bounds
