"""Validates a network on texts that it does not train on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.metrics import f1_of_decisions, macro_f1_of
from token2wave.training.examples import Examples
from token2wave.training.loss import binary_cross_entropies, cross_entropies
from token2wave.training.trainer import Trainable


class Validation(NamedTuple):
    """Figures of a network on texts, each counted by its weight if they have weights.

    Attributes:
        loss: mean cross-entropy; for a multi-label network the mean over texts of the sum over classes of the
            binary cross-entropy.
        accuracy: fraction of texts whose classes are all right.
        macro_f1: mean F1 of the classes that occur or are predicted.
        micro_f1: F1 over the decisions of all texts and classes; equals the accuracy with one class a text.
    """

    loss: float
    accuracy: float
    macro_f1: float
    micro_f1: float


def validate(network: Trainable, examples: Examples) -> Validation:
    """Compare the predictions of a network with the labels of examples."""
    logits = network.logits(examples.features).astype(np.float64)
    if is_multi_label(network):
        assert examples.targets is not None
        truth, predicted = examples.targets > 0.5, logits > 0
        losses = binary_cross_entropies(logits, examples.targets)
        right = (truth == predicted).all(axis=1)
        micro_f1, macro_f1 = f1_of_decisions(truth, predicted, examples.weights)
        return Validation(_mean(losses, examples), _mean(right, examples), macro_f1, micro_f1)
    losses, predicted = cross_entropies(logits, examples), logits.argmax(axis=1)
    accuracy = _mean(predicted == examples.labels, examples)
    macro_f1 = macro_f1_of(examples.labels, predicted, logits.shape[1], examples.weights)
    return Validation(_mean(losses, examples), accuracy, macro_f1, accuracy)


def is_multi_label(network: Trainable) -> bool:
    """Whether a network decides each class independently; networks without the setting do not."""
    return bool(getattr(getattr(network, "config", None), "multi_label", False))


def _mean(values: NDArray[Any], examples: Examples) -> float:
    """Mean over texts, each counted by its weight."""
    if examples.weights is None:
        return float(values.mean())
    return float(values @ (examples.weights / examples.weights.sum(dtype=np.float64)))
