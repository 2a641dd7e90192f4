"""The Wave Network as the paper suggests to write it: padded batches, every token transformed, dense steps.

The reference of cost for ``benchmarks/paper_step.py``. It computes the same function as
``token2wave.models.WaveNetwork`` with linear variants, linear restore and [CLS] read-out; tests compare the
logits and gradients of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from token2wave.features import Ragged
from token2wave.models import WaveNetwork
from token2wave.models.wave_network import WaveLayer


class PaddedWaveNetwork(nn.Module):
    """One wave layer at input level, read out at [CLS] (arXiv 2411.02674v4, Fig. 6); see `WaveConfig`."""

    def __init__(
        self,
        n_rows: int,
        n_classes: int,
        width: int = 768,
        operation: str = "modulation",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.operation = operation
        self.embedding = nn.Embedding(n_rows, width)
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)
        self.restore = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, n_classes)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Compute logits ``(B, C)``.

        Args:
            ids: ``(B, L)`` int64, each text's tokens and padding behind; the first is [CLS].
            mask: ``(B, L)`` bool, true for tokens.
        """
        tokens = self.embedding(ids)  # (B, L, D)
        first, second = self.first(tokens), self.second(tokens)
        first_others, second_others = others(first, mask), others(second, mask)
        if self.operation == "interference":
            real, imaginary = first + second, first_others + second_others
        else:
            real = first * second - first_others * second_others
            imaginary = first * second_others + second * first_others
        states = self.restore(torch.cat([real, imaginary], dim=-1))  # (B, L, D)
        logits: Tensor = self.head(self.dropout(self.norm(states[:, 0])))
        return logits


def others(tokens: Tensor, mask: Tensor) -> Tensor:
    """Imaginary part of every token's wave, ``(B, L, D)``: the root of the energy of the others.

    The energy of a token's text less its own, never below zero. The package sums the others instead, which
    keeps more digits where one token holds nearly all energy; in float64 the two agree.
    """
    squares = tokens.square() * mask[..., None]
    energy = (squares.sum(dim=1, keepdim=True) - squares).clamp(min=0)
    filled = energy > 0
    return torch.where(filled, energy, 1).sqrt() * filled  # neither infinite nor NaN as derivative at zero


def copy_weights(source: WaveNetwork, target: PaddedWaveNetwork) -> None:
    """Give the padded network the weights of the package's."""
    layer = cast(WaveLayer, source.layers[0])
    assert layer.variants is not None
    assert layer.restore.linear is not None
    weights, biases = layer.variants.weight.chunk(2), layer.variants.bias.chunk(2)
    with torch.no_grad():
        for linear, weight, bias in zip((target.first, target.second), weights, biases, strict=True):
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        target.embedding.weight.copy_(source.embedding.weight)
    target.restore.load_state_dict(layer.restore.linear.state_dict())
    target.norm.load_state_dict(source.norm.state_dict())
    target.head.load_state_dict(source.head.state_dict())


def token_lists(features: Ragged) -> list[Tensor]:
    """Each text's ids, int64."""
    return list(torch.split(torch.from_numpy(features.ids).long(), features.lengths.tolist()))


def padded(texts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Pad texts to the longest of them.

    Returns:
        ids ``(B, L)`` int64, zero where there is no token, and the mask ``(B, L)`` bool of the tokens.
    """
    lengths = torch.tensor([len(text) for text in texts])
    ids = pad_sequence(list(texts), batch_first=True)
    return ids, torch.arange(ids.shape[1]) < lengths[:, None]
