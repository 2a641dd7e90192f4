"""The loss of a text: cross-entropy, or the sum of its classes' binary cross-entropies if it is multi-label.

A new loss needs all of these twins: :func:`torch_losses` for training in torch; ``losses`` in
``core/forward_backward.c`` for training in the native core; the functions in numpy for validation and
calibration, whose Newton's method (:mod:`token2wave.training.calibration`) also needs the derivatives; and
``integrations/huggingface/hf_model.py`` for the model that trains with transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from token2wave.training.examples import Examples

if TYPE_CHECKING:
    from torch import Tensor


def torch_losses(
    logits: Tensor, truth: Tensor, multi_label: bool, smoothing: float, positive_weights: Tensor | None
) -> Tensor:
    """Loss of each text, ``(B,)``, from its label or its targets; see :class:`Examples`."""
    import torch.nn.functional as F

    if not multi_label:
        return F.cross_entropy(logits, truth, label_smoothing=smoothing, reduction="none")
    targets = truth * (1 - smoothing) + smoothing / logits.shape[1]  # as cross_entropy does
    losses = F.binary_cross_entropy_with_logits(
        logits, targets, reduction="none", pos_weight=positive_weights
    )
    return losses.sum(dim=1)


def cross_entropies(logits: NDArray[np.float64], examples: Examples) -> NDArray[np.float64]:
    """Cross-entropy of each text, ``(N,)``, against its label or its targets."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    sums = np.log(np.exp(shifted).sum(axis=1))
    if examples.targets is None:
        own = shifted[np.arange(len(examples)), examples.labels]
    else:
        own = np.einsum("nc,nc->n", shifted, examples.targets.astype(np.float64))
    return np.asarray(sums - own)


def binary_cross_entropies(logits: NDArray[np.float64], targets: NDArray[np.floating]) -> NDArray[np.float64]:
    """Sum over classes of the binary cross-entropy of each text, ``(N,)``."""
    softplus = np.log1p(np.exp(-np.abs(logits))) + np.maximum(logits, 0)
    return np.asarray((softplus - logits * targets).sum(axis=1))
