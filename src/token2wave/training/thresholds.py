"""Thresholds of the classes of multi-label texts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.inference.reference import probabilities as probabilities_of
from token2wave.training.examples import Examples

DEFAULT = 0.5  # without texts to choose by
POOLED = 10.0  # texts that the decisions of all classes count as, beside those of the class itself
CANDIDATES = np.arange(1, 1000) / 1000

Numbers = NDArray[np.float64]


def thresholds_of(network: Any, validation: Examples, learnt_from: bool = False) -> tuple[float, ...]:
    """Choose the thresholds of a calibrated multi-label network; other networks have none.

    If the network has learnt from the validation texts, every threshold is a half.
    """
    if not network.config.multi_label:
        return ()
    if learnt_from:
        return tuple([DEFAULT] * network.config.n_classes)
    assert validation.targets is not None
    probabilities = probabilities_of(network.logits(validation.features), multi_label=True)
    return choose_thresholds(probabilities, validation.targets > 0.5, validation.weights)


def choose_thresholds(
    probabilities: NDArray[np.floating],
    classes: NDArray[np.bool_],
    weights: NDArray[np.floating] | None = None,
) -> tuple[float, ...]:
    """Choose the threshold of each class by its F1 on validation texts.

    A rare class has too few texts to choose by. So the decisions of all classes with the same probabilities
    count too, as much as ``POOLED`` texts with the class. With ``r`` right of ``g`` predicted and ``s``
    actual texts, F1 is ``2 r / (g + s)``; each number is that of the class plus ``POOLED / S`` times that of
    all classes, where ``S`` is the number of labels in all.

    Args:
        probabilities: ``(N, C)``.
        classes: ``(N, C)``, which classes the texts have. One that no text has gets a half.
        weights: ``(N,)``, how much each text counts; None counts all the same.
    """
    n_classes = classes.shape[1]
    counts = np.ones(len(classes)) if weights is None else weights.astype(np.float64)
    support = counts @ classes
    if not support.any():
        return tuple([DEFAULT] * n_classes)
    predicted, right = np.zeros((2, n_classes, len(CANDIDATES)))
    for label in range(n_classes):
        order = np.argsort(probabilities[:, label], kind="stable")
        first = np.searchsorted(probabilities[order, label].astype(np.float64), CANDIDATES)
        predicted[label] = _sums_to_the_end(counts[order])[first]
        right[label] = _sums_to_the_end((counts * classes[:, label])[order])[first]
    pooled = POOLED / support.sum()
    hits = right + pooled * right.sum(axis=0)
    scores = hits / (predicted + support[:, None] + pooled * predicted.sum(axis=0) + POOLED)  # half of F1
    return tuple(
        _middle_of_best(row) if has else DEFAULT for row, has in zip(scores, support > 0, strict=True)
    )


def _middle_of_best(scores: Numbers) -> float:
    """The middle of the first run of best candidates."""
    best = scores >= scores.max() - 1e-12
    first = int(best.argmax())
    worse = np.flatnonzero(~best[first:])
    n_best = int(worse[0]) if len(worse) else len(scores) - first
    return float(CANDIDATES[first + (n_best - 1) // 2])


def _sums_to_the_end(counts: Numbers) -> Numbers:
    """Sums of the numbers from each to the last, and a final zero, ``(N + 1,)``."""
    return np.concatenate([np.cumsum(counts[::-1])[::-1], [0.0]])
