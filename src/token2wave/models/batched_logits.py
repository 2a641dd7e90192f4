"""Computes the logits of many texts in batches of bounded size; the interface of a network in torch."""

from __future__ import annotations

import itertools
from typing import Any, Protocol

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


class Shape(Protocol):
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


class TextNetwork(Protocol):
    """What training and prediction need of a network in torch.

    Attributes:
        embedding: the table of token embeddings, with sparse gradients.
        head: the classifier, on top of a text's state.
    """

    embedding: nn.Embedding
    head: nn.Linear

    @property
    def config(self) -> Shape:
        """The configuration."""

    def __call__(self, batch: Batch) -> Tensor:
        """Compute logits ``(B, C)``."""

    def of_embedded(self, embedded: Tensor, batch: Batch) -> Tensor:
        """Compute logits ``(B, C)`` from the embeddings ``(U, D)`` of the distinct tokens."""

    def logits(self, features: Ragged) -> NDArray[np.float32]:
        """Compute the logits of ``N`` texts for prediction, ``(N, C)`` float32, in batches."""

    def parameter_count(self) -> ParameterCount:
        """Count the parameters, with and without the embedding."""

    def train(self, mode: bool = True) -> Any:
        """Switch to training mode, or back."""

    def eval(self) -> Any:
        """Switch to prediction mode."""

    def parameters(self) -> Any:
        """Every parameter."""

    def state_dict(self) -> dict[str, Any]:
        """Every parameter by name."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Load parameters by name."""


def count_parameters(network: nn.Module, embedding: nn.Embedding) -> ParameterCount:
    """Count the parameters of a network, with and without its embedding."""
    total = sum(parameter.numel() for parameter in network.parameters())
    return ParameterCount(total, total - embedding.weight.numel())


def predict_logits(
    network: TextNetwork, features: Ragged, max_texts: int = TEXTS_CHUNK
) -> NDArray[np.float32]:
    """Compute the logits of many texts, ``(N, C)`` float32, in batches of bounded size."""
    network.eval()
    device = network.embedding.weight.device
    bounds = _prediction_bounds(features, max_texts)
    chunks = [np.zeros((0, network.config.n_classes), dtype=np.float32)]
    with torch.inference_mode():
        for first, last in itertools.pairwise(bounds):
            texts = features.take(np.arange(first, last))
            batch = make_batch(texts, network.config.sentence_ends).to(device)
            chunks.append(network(batch).float().cpu().numpy())
    return np.concatenate(chunks)


def predict_padded(network: TextNetwork, features: Ragged) -> NDArray[np.float32]:
    """As :func:`predict_logits`, for a network that pads: small batches of texts of similar length."""
    order = np.argsort(features.lengths, kind="stable")
    logits = predict_logits(network, features.take(order), PADDED_TEXTS_CHUNK)
    result = np.empty_like(logits)
    result[order] = logits
    return result


def _prediction_bounds(features: Ragged, max_texts: int) -> list[int]:
    """Cut the texts into runs of at most ``max_texts`` texts and `FEATURES_CHUNK` features (or one text)."""
    bounds = [0]
    while bounds[-1] < len(features):
        first = bounds[-1]
        end = features.offsets[first] + FEATURES_CHUNK
        last = int(np.searchsorted(features.offsets, end, side="right")) - 1
        bounds.append(min(max(last, first + 1), first + (max_texts), len(features)))
    return bounds
