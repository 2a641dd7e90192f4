"""The Wave Network as the papers print it: padded batches, complex numbers in polar form, nothing optimised.

Equation numbers are those of arXiv 2411.02674v4. :class:`token2wave.WaveNetwork` computes the same logits
without padding and angles; its parameters have the same names and shapes. B texts, L positions, D dimensions.
"""

import torch
from torch import Tensor, nn


def root(energy: Tensor) -> Tensor:
    """Square root. Where the energy is zero, the derivative, which is infinite, is zero by definition."""
    return torch.where(energy > 0, energy, 1).sqrt() * (energy > 0)


def wave(w: Tensor, mask: Tensor) -> Tensor:
    """Make a wave of each token of ``w``, ``(B, L, D)``: complex numbers of the same shape."""
    w = w * mask[:, :, None]  # padding has no energy, whatever the bias of a linear map made of it
    energy = w.square().sum(dim=1, keepdim=True)
    magnitude = root(energy)  # global semantics, G = sqrt(sum_j w_j^2) (eq. 1)
    # Phase, alpha = arctan2(sqrt(1 - (w / G)^2), w / G) (eq. 2). As the other tokens' part of the energy,
    # 1 - (w / G)^2 keeps its digits, and is exactly 0 for a text of one token.
    others, filled = (1 - torch.eye(w.shape[1]).to(w)) @ w.square(), energy > 0
    sine = root(others / torch.where(filled, energy, 1))
    cosine = torch.where(filled, w / torch.where(filled, magnitude, 1), 1)
    alpha = torch.arctan2(sine, cosine)
    # Wave, Z = G exp(i alpha) (eq. 2). In a dimension without energy, alpha is 0 and Z is w, which is 0.
    magnitude = torch.where(filled, magnitude, w)
    return torch.complex(magnitude * torch.cos(alpha), magnitude * torch.sin(alpha))


def interference(z: Tensor, z2: Tensor) -> Tensor:
    """Add two waves: ``Z + Z'`` (eqs. 3 and 4)."""
    return z + z2


def interference_term(z: Tensor, z2: Tensor) -> Tensor:
    """Compute what ``|Z + Z'|^2`` has beyond ``G^2 + G'^2``: ``2 G G' cos(alpha - alpha')`` (eq. 5)."""
    return 2 * (z * z2.conj()).real


def modulation(z: Tensor, z2: Tensor) -> Tensor:
    """Multiply two waves: ``Z Z' = G G' exp(i (alpha + alpha'))`` (eqs. 6 and 7)."""
    return z * z2


class _Layer(nn.Module):
    def __init__(self, width: int, operation: str, several: bool, dropout: float) -> None:
        super().__init__()
        self.operation = {"interference": interference, "modulation": modulation}[operation]
        self.variants = nn.Linear(width, 2 * width)  # two linear maps, side by side
        self.restore = nn.ModuleDict({"linear": nn.Linear(2 * width, width)})  # g of eq. 8
        self.norm, self.dropout = nn.LayerNorm(width) if several else None, nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        w, w2 = self.variants(tokens).chunk(2, dim=2)  # two variants of each token, both at input level
        overlay = self.operation(wave(w, mask), wave(w2, mask))  # f of eq. 8
        state: Tensor = self.restore["linear"](torch.cat([overlay.real, overlay.imag], dim=2))
        if self.norm is not None:  # several layers: W_{n+1} = W_n + Dropout(g(f_{n+1}(W_n))) (eq. 8)
            state = tokens + self.dropout(self.norm(state))
        return state


class ReferenceWaveNetwork(nn.Module):
    """Embedding, wave layers, read-out at [CLS], norm and classifier; logits are ``(B, C)``."""

    def __init__(self, n_rows: int, n_classes: int, width: int, layers: int, operation: str, dropout: float):
        super().__init__()
        self.embedding, self.dropout = nn.Embedding(n_rows, width), nn.Dropout(dropout)
        self.layers = nn.ModuleList(_Layer(width, operation, layers > 1, dropout) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, n_classes)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Compute logits of token ids ``(B, L)``, [CLS] first; ``mask`` is 1 at tokens and 0 at padding."""
        tokens = self.embedding(ids)
        for layer in self.layers:
            tokens = layer(tokens, mask)
        logits: Tensor = self.head(self.dropout(self.norm(tokens[:, 0])))
        return logits
