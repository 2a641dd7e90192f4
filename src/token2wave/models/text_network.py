"""The base class of networks in torch that classify texts, and prediction in batches of bounded size."""

from __future__ import annotations

import itertools
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from token2wave.features import Ragged
from token2wave.models.batch import Batch, make_batch
from token2wave.models.wave_config import ParameterCount

TEXTS_CHUNK = 512
PADDED_TEXTS_CHUNK = 64
FEATURES_CHUNK = 1 << 16


class NetworkShape(Protocol):
    """What training and prediction need of a network's configuration."""

    @property
    def n_rows(self) -> int:
        """Rows of the embedding, ``V``."""

    @property
    def n_classes(self) -> int:
        """Classes, ``C``."""

    @property
    def sentence_ends(self) -> tuple[int, ...]:
        """Rows of the tokens that end a sentence."""


class TextNetwork(nn.Module):
    """Base of all networks in torch.

    Attributes:
        config: the configuration.
        embedding: the table of token embeddings, with sparse gradients.
        head: the classifier on top of a text's state.
        pads: whether the network pads texts. It then predicts small batches of texts of similar length.
    """

    config: NetworkShape
    embedding: nn.Embedding
    head: nn.Linear
    pads = False

    def forward(self, batch: Batch) -> Tensor:
        """Compute logits ``(B, C)``. A text's logits do not depend on the other texts of the batch."""
        return self.of_embedded(self.embedding(batch.rows), batch)

    def of_embedded(self, embedded: Tensor, batch: Batch) -> Tensor:
        """Compute logits ``(B, C)`` from the embeddings ``(U, D)`` of the distinct tokens."""
        raise NotImplementedError

    def logits(self, features: Ragged) -> NDArray[np.float32]:
        """Compute the logits of ``N`` texts for prediction, ``(N, C)`` float32, in batches."""
        if not self.pads:
            return predict_logits(self, features)
        order = np.argsort(features.lengths, kind="stable")
        logits = predict_logits(self, features.take(order), PADDED_TEXTS_CHUNK)
        result = np.empty_like(logits)
        result[order] = logits
        return result

    def parameter_count(self) -> ParameterCount:
        """Count the parameters, with and without the embedding."""
        total = sum(parameter.numel() for parameter in self.parameters())
        return ParameterCount(total, total - self.embedding.weight.numel())


def predict_logits(
    network: TextNetwork, features: Ragged, max_texts: int = TEXTS_CHUNK
) -> NDArray[np.float32]:
    """Compute the logits of many texts, ``(N, C)`` float32, in batches of at most ``max_texts``."""
    network.eval()
    device = network.embedding.weight.device
    chunks = [np.zeros((0, network.config.n_classes), dtype=np.float32)]
    with torch.inference_mode():
        for first, last in itertools.pairwise(_batch_bounds(features, max_texts)):
            texts = features.take(np.arange(first, last))
            batch = make_batch(texts, network.config.sentence_ends).to(device)
            chunks.append(network(batch).float().cpu().numpy())
    return np.concatenate(chunks)


def _batch_bounds(features: Ragged, max_texts: int) -> list[int]:
    """Cut the texts into runs of at most ``max_texts`` texts and `FEATURES_CHUNK` features (or one text)."""
    bounds = [0]
    while bounds[-1] < len(features):
        first = bounds[-1]
        end = features.offsets[first] + FEATURES_CHUNK
        last = int(np.searchsorted(features.offsets, end, side="right")) - 1
        bounds.append(min(max(last, first + 1), first + max_texts, len(features)))
    return bounds
