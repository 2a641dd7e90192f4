"""Logits of many texts, in batches of bounded size."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from token2wave.features import Ragged
from token2wave.models.batch import make_batch

if TYPE_CHECKING:
    from token2wave.models.network import WaveNetwork

TEXTS_IN_PREDICTION = 512
FEATURES_IN_PREDICTION = 1 << 16


def predict_logits(network: WaveNetwork, features: Ragged) -> NDArray[np.float32]:
    """Compute the logits of many texts, ``(N, C)`` float32, in batches of bounded size."""
    network.eval()
    device = network.embedding.weight.device
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
