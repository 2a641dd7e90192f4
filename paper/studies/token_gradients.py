"""A text's gradient at its tokens, and for waves its two parts: through magnitude and through phase."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from token2wave.features import Ragged
from token2wave.models import TextNetwork, WaveNetwork, make_batch
from token2wave.models.batch import Batch
from token2wave.models.wave_network import WaveLayer
from token2wave.waves import Wave, first_token_wave, global_semantics, segment_ids


class TokenGradients(NamedTuple):
    """Gradients of each text's own cross-entropy, of ``B`` texts with ``T`` tokens.

    Attributes:
        tokens: ``(T, D)``, at the embedding of every token, each occurrence for itself.
        magnitude: ``(T, D)``, what of it flows through the magnitudes; None but for waves.
        phase: ``(T, D)``, what of it flows through the phases; the two sum to ``tokens``.
        classifier: ``(C, D)``, of the mean cross-entropy of the texts, at the classifier's weights.
        offsets: ``(B + 1,)`` int64, the texts.
    """

    tokens: Tensor
    magnitude: Tensor | None
    phase: Tensor | None
    classifier: Tensor
    offsets: Tensor


def token_gradients(network: TextNetwork, features: Ragged, labels: Tensor) -> TokenGradients:
    """Compute the gradients of some texts; the network, which must be in evaluation mode, is left as it is.

    Args:
        network: any of the studies' networks.
        features: of ``B`` texts.
        labels: ``(B,)`` int64.
    """
    weight = network.embedding.weight
    batch = make_batch(features).of_every_token().to(weight.device)
    tokens = weight.detach().index_select(0, batch.rows).requires_grad_()
    with torch.enable_grad():
        if _splits(network):
            return _of_waves(cast("WaveNetwork", network), tokens, batch, labels.to(weight.device))
        losses = F.cross_entropy(
            network.of_embedded(tokens, batch), labels.to(weight.device), reduction="none"
        )
        at_tokens, at_head = torch.autograd.grad(losses.sum(), [tokens, network.head.weight])
    return TokenGradients(at_tokens, None, None, at_head / len(labels), batch.offsets)


def _splits(network: TextNetwork) -> bool:
    """Whether it is the papers' network: one wave layer with two linear variants, read out at [CLS]."""
    if not isinstance(network, WaveNetwork):
        return False
    config = network.config
    plain = config.positions == "none" and config.context_width == 0
    return plain and config.layers == 1 and config.variants == "linear" and config.readout == "cls"


def _of_waves(network: WaveNetwork, tokens: Tensor, batch: Batch, labels: Tensor) -> TokenGradients:
    """Total gradient, and its part through the magnitudes.

    With ``Z = G exp(i alpha)``, ``dL/dG = dL/dRe cos(alpha) + dL/dIm sin(alpha)``, and ``dG/dw_j = w_j / G``;
    what is left of the gradient at ``w_j`` has come through the phase. Nothing here has a singularity.
    """
    layer = cast("WaveLayer", network.layers[0])
    linear = layer.variants
    assert linear is not None
    variants = linear(tokens)  # (T, 2 D)
    real, imaginary = first_token_wave(variants, batch.index, batch.offsets)  # (B, 2 D), both variants
    (first_real, second_real), (first_imaginary, second_imaginary) = real.chunk(2, 1), imaginary.chunk(2, 1)
    overlay = layer.operation(Wave(first_real, first_imaginary), Wave(second_real, second_imaginary))
    state = network.norm(layer.restore(overlay))
    losses = F.cross_entropy(network.head(network.dropout(state)), labels, reduction="none")
    at_variants, at_real, at_imaginary, at_head = torch.autograd.grad(
        losses.sum(), [variants, real, imaginary, network.head.weight]
    )
    with torch.no_grad():
        magnitude = global_semantics(variants, batch.offsets)  # (B, 2 D)
        divisor = torch.where(magnitude > 0, magnitude, torch.ones_like(magnitude))
        at_magnitude = (at_real * real + at_imaginary * imaginary) / divisor  # dL/dG: cos = Re / G
        text = segment_ids(batch.offsets, variants.shape[0])
        through_magnitude = (at_magnitude / divisor).index_select(0, text) * variants  # (T, 2 D)
        total, part = at_variants @ linear.weight, through_magnitude @ linear.weight
    return TokenGradients(total, part, total - part, at_head / len(labels), batch.offsets)
