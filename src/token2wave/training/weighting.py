"""Weights of the training texts: by their class, and by weights of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ConfigError

ClassWeights = str | Mapping[str, float] | None
BALANCED = "balanced"


def text_weights(
    labels: NDArray[np.int64],
    label_names: Sequence[str],
    class_weights: ClassWeights,
    own: Sequence[float] | None,
) -> NDArray[np.float32] | None:
    """Weights of the training texts in the loss. Their mean is one, so learning rates keep their meaning.

    Args:
        labels: ``(N,)``, the classes of the texts.
        label_names: the ``C`` classes.
        class_weights: ``balanced`` gives all classes that occur the same total weight; or the weight of each
            class by name, by default 1; None counts every text the same.
        own: ``N`` weights of the texts themselves, at least zero; they multiply those of the classes.

    Returns:
        ``(N,)`` float32, or None if nothing is weighted.

    Raises:
        ConfigError: a class is unknown, a weight is not positive, or no text has a weight.
    """
    if class_weights is None and own is None:
        return None
    weights = class_weights_of(np.bincount(labels, minlength=len(label_names)), label_names, class_weights)
    weights = (weights / weights.max())[labels]  # neither sums nor products can overflow
    if own is not None:
        own_weights = np.asarray(own, dtype=np.float64)
        largest = own_weights.max(initial=0.0)
        if not 0 < largest < math.inf:
            hint = "give at least some rows a weight above zero"
            raise ConfigError(
                "expected training texts of some weight, found none", location="weights", hint=hint
            )
        weights = weights * (own_weights / largest)
    return np.asarray(weights / weights.mean(), dtype=np.float32)


def positive_weights(
    classes: NDArray[Any], label_names: Sequence[str], class_weights: ClassWeights
) -> NDArray[np.float32] | None:
    """Weight of each class in the loss of the multi-label texts that have it, ``(C,)``; None without weights.

    ``classes`` are those of the training texts, ``(N, C)``, or their counts, ``(C,)``. Balanced classes all
    have the weight of a mean one; otherwise see :func:`text_weights`.
    """
    if class_weights is None:
        return None
    if class_weights != BALANCED:
        return class_weights_of(np.zeros(len(label_names)), label_names, class_weights).astype(np.float32)
    counts = classes.sum(axis=0) if classes.ndim == 2 else classes
    mean = counts.sum() / max(np.count_nonzero(counts), 1)
    weights: NDArray[np.float32] = np.ones(len(label_names), dtype=np.float32)
    np.divide(mean, counts, out=weights, where=counts > 0, casting="same_kind")
    return weights


def class_weights_of(
    counts: NDArray[Any], label_names: Sequence[str], class_weights: ClassWeights
) -> NDArray[np.float64]:
    """Weight of each class, ``(C,)``, from the number of its texts; see :func:`text_weights`."""
    weights = np.ones(len(label_names))
    if class_weights is None:
        return weights
    if class_weights == BALANCED:
        np.divide(counts.sum(), counts, out=weights, where=counts > 0)
        return weights
    if not isinstance(class_weights, Mapping):
        raise ConfigError(
            f"expected balanced, or a weight for each label, found {class_weights!r}",
            location="class_weights",
            hint='e.g. balanced, or {"spam": 5}',
        )
    for name, weight in class_weights.items():
        if name not in label_names:
            expected = f"a known label ({', '.join(label_names[:12])})"
            raise ConfigError(f"expected {expected}, found {name!r}", location="class_weights")
        is_number = isinstance(weight, Real) and not isinstance(weight, bool)
        if not is_number or not 0 < weight < math.inf:
            problem = f"expected a positive number for {name!r}, found {weight!r}"
            raise ConfigError(problem, location="class_weights")
        weights[label_names.index(name)] = weight
    return weights
