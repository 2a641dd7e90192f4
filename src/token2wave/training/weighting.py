"""How much each training text counts: by its class, and by a weight of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ConfigError

BALANCED = "balanced"


def text_weights(
    labels: NDArray[np.int64],
    label_names: Sequence[str],
    class_weights: str | Mapping[str, float] | None,
    own: Sequence[float] | None,
) -> NDArray[np.float32] | None:
    """Weights of the training texts in the loss; their mean is one, so that rates mean what they meant.

    Args:
        labels: ``(N,)``, the classes of the texts.
        label_names: the ``C`` classes.
        class_weights: ``balanced``, by which every class that occurs counts the same in all; or the weight of
            each class by name, 1 where it is not named; None counts every text the same.
        own: ``N`` weights of the texts themselves, at least zero; they multiply those of the classes.

    Returns:
        ``(N,)`` float32, or None where nothing is weighted.

    Raises:
        ConfigError: a class that there is not, a weight that is no positive number, or no text that counts.
    """
    if class_weights is None and own is None:
        return None
    weights = of_classes(np.bincount(labels, minlength=len(label_names)), label_names, class_weights)
    weights = (weights / weights.max())[labels]  # neither sums nor products can overflow
    if own is not None:
        given = np.asarray(own, dtype=np.float64)
        largest = given.max(initial=0.0)
        if not 0 < largest < math.inf:
            raise ConfigError(
                "expected training texts of some weight, found none",
                location="weights",
                hint="give at least some rows a weight above zero",
            )
        weights = weights * (given / largest)
    scaled: NDArray[np.float32] = (weights / weights.mean()).astype(np.float32)
    return scaled


def positive_weights(
    classes: NDArray[Any],
    label_names: Sequence[str],
    class_weights: str | Mapping[str, float] | None,
) -> NDArray[np.float32] | None:
    """How much each class counts in the loss of the texts that have it, where they may have several.

    Args:
        classes: ``(N, C)``, the classes of the training texts; or ``(C,)``, how many of them have each.
        label_names: the ``C`` classes.
        class_weights: ``balanced``, by which the texts of every class that occurs count the same in all, as
            much as a class's in the mean; or the weight of each class by name, 1 where it is not named.

    Returns:
        ``(C,)`` float32; None where nothing is weighted.

    Raises:
        ConfigError: as for :func:`text_weights`.
    """
    if class_weights is None:
        return None
    if class_weights != BALANCED:
        return of_classes(np.zeros(len(label_names)), label_names, class_weights).astype(np.float32)
    counts = classes.sum(axis=0) if classes.ndim == 2 else classes
    mean = counts.sum() / max(np.count_nonzero(counts), 1)
    weights: NDArray[np.float32] = np.ones(len(label_names), dtype=np.float32)
    np.divide(mean, counts, out=weights, where=counts > 0, casting="same_kind")
    return weights


def of_classes(
    counts: NDArray[Any], label_names: Sequence[str], wish: str | Mapping[str, float] | None
) -> NDArray[np.float64]:
    """Weight of each class, ``(C,)``, by how many texts have it; see :func:`text_weights`."""
    weights = np.ones(len(label_names))
    if wish is None:
        return weights
    if wish == BALANCED:
        np.divide(counts.sum(), counts, out=weights, where=counts > 0)
        return weights
    if not isinstance(wish, Mapping):
        raise ConfigError(
            f"expected balanced, or a weight for each label, found {wish!r}",
            location="class_weights",
            hint='e.g. balanced, or {"spam": 5}',
        )
    for name, weight in wish.items():
        if name not in label_names:
            known = ", ".join(label_names[:12])
            raise ConfigError(f"there is no label {name!r}; known are: {known}", location="class_weights")
        is_number = isinstance(weight, Real) and not isinstance(weight, bool)
        if not is_number or not 0 < weight < math.inf:
            raise ConfigError(
                f"expected a positive number for {name!r}, found {weight!r}", location="class_weights"
            )
        weights[label_names.index(name)] = weight
    return weights
