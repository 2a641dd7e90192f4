"""A layer of self-attention in the place of the wave layer: what the growth of cost is held against.

Everything else of the network (embedding, norm, dropout, head) stays the package's own, so that the mixing of
tokens alone differs. Both layers hold ``4 D^2`` weights: the wave layer two variants (``D`` to ``2 D``) and
restore (``2 D`` to ``D``), self-attention three projections (``D`` to ``3 D``) and one out (``D`` to ``D``).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from token2wave.models import Batch, WaveConfig, WaveNetwork

WIDTH_OF_HEAD = 64
KERNEL = "aten::_scaled_dot_product_flash_attention_for_cpu"
"""What :func:`torch.nn.functional.scaled_dot_product_attention` runs on the processor, forward and backward:
attention in blocks, which never holds an ``L x L`` matrix. A test sees to it that it does."""


class SelfAttention(nn.Module):
    """Multi-head self-attention with its projections (arXiv 1706.03762, section 3.2), without dropout."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projections = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Let every token attend to all tokens of its text, ``(B, L, D)``."""
        query, key, value = (
            states.reshape(*states.shape[:2], self.heads, -1).transpose(1, 2)  # (B, heads, L, D / heads)
            for states in self.projections(tokens).chunk(3, dim=-1)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return result


class SelfAttentionLayer(nn.Module):
    """Takes the place of a `WaveLayer`; its texts are of one length, as nothing is padded or masked.

    All tokens get their state, as in every layer of a stack but the last, and the first one is read out.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)

    def read_out(self, values: Tensor, index: Tensor, batch: Batch) -> Tensor:
        """State of the first token of each text, ``(B, D)``, from ``(U, D)`` distinct tokens."""
        length = len(index) // batch.n_texts
        tokens = values.index_select(0, index).view(batch.n_texts, length, -1)  # (B, L, D)
        states: Tensor = self.attention(tokens)
        return states[:, 0]


def attention_network(config: WaveConfig) -> WaveNetwork:
    """Make the network of a configuration with one layer of self-attention instead of its wave layer."""
    network = WaveNetwork(config)
    network.layers[0] = SelfAttentionLayer(config.width, max(1, config.width // WIDTH_OF_HEAD))
    return network
