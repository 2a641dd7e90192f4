"""The papers' first rival: a Transformer encoder of one layer over token embeddings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from token2wave.config import Configuration, require, require_choice
from token2wave.errors import ConfigError
from token2wave.models.batch import Batch
from token2wave.models.bert_encoder import pad_texts
from token2wave.models.text_network import TextNetwork
from token2wave.models.wave_network import sinusoids


@dataclass(frozen=True)
class TransformerConfig(Configuration):
    """Shape of a :class:`TransformerNetwork`; by default one layer of BERT base (arXiv 1810.04805).

    Attributes:
        dropout: BERT's: of the embeddings, the attention, and both residual branches; and before the head.
        readout: what stands for the text: ``cls``, the first token, or ``mean``, the mean over tokens.
        positions: ``learned``, a table as in BERT, which refuses texts beyond ``max_positions``;
            ``sinusoidal``; or ``none``, with which the order of the tokens makes no difference.
        embedding_scale: standard deviation of the initial embeddings and positions.
    """

    n_rows: int
    n_classes: int
    width: int = 768
    layers: int = 1
    heads: int = 12
    feed_forward: int = 3072
    dropout: float = 0.1
    readout: str = "cls"
    positions: str = "learned"
    max_positions: int = 512
    embedding_scale: float = 0.02

    def __post_init__(self) -> None:
        require(self.n_rows >= 1, "n_rows", "at least 1", self.n_rows)
        require(self.n_classes >= 2, "n_classes", "at least 2", self.n_classes)
        require(1 <= self.width <= 1 << 16, "width", "a number from 1 to 65,536", self.width)
        require(1 <= self.layers <= 256, "layers", "a number from 1 to 256", self.layers)
        divides = self.heads >= 1 and self.width % self.heads == 0
        require(divides, "heads", f"a divisor of the width {self.width}", self.heads)
        require(self.feed_forward >= 1, "feed_forward", "at least 1", self.feed_forward)
        require(0 <= self.dropout < 1, "dropout", "a probability below 1", self.dropout)
        require_choice(self.readout, "readout", ("cls", "mean"))
        require_choice(self.positions, "positions", ("none", "sinusoidal", "learned"))
        require(self.max_positions >= 1, "max_positions", "at least 1", self.max_positions)
        finite = 0 < self.embedding_scale < float("inf")
        require(finite, "embedding_scale", "a positive number", self.embedding_scale)

    @property
    def sentence_ends(self) -> tuple[int, ...]:
        """None: sentences mean nothing to it."""
        return ()


class TransformerNetwork(TextNetwork):
    """Classify texts by self-attention (arXiv 1706.03762), as BERT does (arXiv 1810.04805).

    Embedding plus positions, norm; encoder layers with the norm after each branch; read-out; head.

    Where [CLS] is read out, the last layer is computed for [CLS] alone, without keys or values of the other
    tokens: ``q . (W_k x_j) = (W_k^T q) . x_j`` and ``sum_j a_j W_v x_j = W_v sum_j a_j x_j``. The numbers
    are the same, and a token costs ``O(heads D)`` instead of ``O(D^2)``. ``shortened=False`` computes the
    layer for all tokens, as a published implementation would; measurements of cost use that. ``embeddings``
    are ``(V, D)`` of a pre-trained model, instead of random ones.
    """

    config: TransformerConfig
    pads = True

    def __init__(
        self, config: TransformerConfig, embeddings: Tensor | None = None, *, shortened: bool = True
    ) -> None:
        super().__init__()
        self.config, self.shortened = config, shortened
        self.embedding = nn.Embedding(config.n_rows, config.width, sparse=True)
        learned = config.positions == "learned"
        self.positions = nn.Embedding(config.max_positions, config.width) if learned else None
        self.embedding_norm = nn.LayerNorm(config.width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.width, config.heads, config.feed_forward, config.dropout, "gelu", batch_first=True
            )
            for _ in range(config.layers)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.width, config.n_classes)
        with torch.no_grad():
            self.embedding.weight.mul_(config.embedding_scale)
            if self.positions is not None:
                self.positions.weight.mul_(config.embedding_scale)
            if embeddings is not None:
                self.embedding.weight.copy_(embeddings)

    def of_embedded(self, embedded: Tensor, batch: Batch) -> Tensor:
        """Compute logits ``(B, C)`` from the embeddings ``(U, D)`` of the distinct tokens."""
        tokens = embedded.index_select(0, batch.index)  # (T, D)
        if self.config.positions == "sinusoidal":
            tokens = tokens + sinusoids(batch.offsets, tokens.shape[0], tokens)
        states, filled = pad_texts(tokens, batch.offsets)  # (B, L, D), (B, L)
        longest, most = states.shape[1], self.config.max_positions
        if self.positions is not None and longest > most:
            raise ConfigError(
                f"expected texts of at most {most} tokens, found one of {longest}",
                location="max_positions",
                hint="cut the texts, or choose more positions",
            )
        if self.positions is not None:
            states = states + self.positions.weight[: states.shape[1]]
        states = self.dropout(self.embedding_norm(states))
        empty = ~filled
        empty[:, 0] = False  # a text without tokens attends to its first, empty place, and stays finite
        *lower, last = cast("list[nn.TransformerEncoderLayer]", list(self.layers))
        for layer in lower:
            states = layer(states, src_key_padding_mask=empty)
        if self.config.readout == "mean":
            states = last(states, src_key_padding_mask=empty) * filled[..., None]
            state = states.sum(dim=1) / filled.sum(dim=1, keepdim=True).clamp(min=1)
        elif self.shortened:
            state = first_state(last, states, empty)
        else:
            state = last(states, src_key_padding_mask=empty)[:, 0]
        logits: Tensor = self.head(self.dropout(state))
        return logits


def first_state(layer: nn.TransformerEncoderLayer, tokens: Tensor, empty: Tensor) -> Tensor:
    """Output of an encoder layer with GELU and norms after branches at the first token, ``(B, D)``.

    ``empty`` is ``(B, L)`` bool, true where there is no token.
    """
    attention = layer.self_attn
    heads, width = attention.num_heads, tokens.shape[-1]
    of_query, of_key, of_value = attention.in_proj_weight.view(3, heads, width // heads, width)
    query_bias, _, value_bias = attention.in_proj_bias.view(3, heads, width // heads)
    first = tokens[:, 0]
    query = torch.einsum("bd,hed->bhe", first, of_query) + query_bias
    # A bias of the keys adds the same to every score of a head, which the softmax takes away.
    probe = torch.einsum("bhe,hed->bhd", query, of_key) / math.sqrt(width // heads)
    scores = (probe @ tokens.transpose(1, 2)).masked_fill(empty[:, None], -math.inf)  # (B, heads, L)
    weights = F.dropout(scores.softmax(dim=-1), attention.dropout, layer.training)
    values = torch.einsum("bhd,hed->bhe", weights @ tokens, of_value)
    values = values + weights.sum(dim=-1, keepdim=True) * value_bias
    attended = layer.dropout1(attention.out_proj(values.flatten(1)))
    middle = layer.norm1(first + attended)
    fed_forward = layer.linear2(layer.dropout(F.gelu(layer.linear1(middle))))
    state: Tensor = layer.norm2(middle + layer.dropout2(fed_forward))
    return state
