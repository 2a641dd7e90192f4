"""From which probability on a text is given a class, where it may have several."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.inference.reference import probabilities as probabilities_of
from token2wave.training.examples import Examples

DEFAULT = 0.5  # where there is nothing to choose by
POOLED = 10.0  # texts that the decisions of all classes together count as, beside those of the class itself
CANDIDATES = np.arange(1, 1000) / 1000

Numbers = NDArray[np.float64]


def thresholds_of(network: Any, validation: Examples, learnt_from: bool = False) -> tuple[float, ...]:
    """Thresholds of a trained network; none, if a text has one class.

    Args:
        network: trained and calibrated.
        validation: texts that it has not learnt from.
        learnt_from: whether it has, for want of others; then every threshold is a half.
    """
    if not network.config.multi_label:
        return ()
    if learnt_from:
        return tuple([DEFAULT] * network.config.n_classes)
    assert validation.targets is not None
    shares = probabilities_of(network.logits(validation.features), multi_label=True)
    return choose_thresholds(shares, validation.targets > 0.5, validation.weights)


def choose_thresholds(
    probabilities: NDArray[np.floating],
    classes: NDArray[np.bool_],
    weights: NDArray[np.floating] | None = None,
) -> tuple[float, ...]:
    """Choose each class's threshold by its F1 on texts that were not learnt from.

    A rare class has so few texts there that chance would choose: so the decisions of all classes, of the same
    probabilities, are counted too, as much as those of ``POOLED`` texts with the class. With ``r`` right ones
    of ``g`` given and ``s`` texts that have the class, F1 is ``2 r / (g + s)``, each number being that of the
    class plus ``POOLED / S`` times that of all classes, ``S`` in all.

    Args:
        probabilities: ``(N, C)``.
        classes: ``(N, C)``, which classes the texts have.
        weights: ``(N,)``, how much each text counts; all the same, if None.

    Returns:
        ``C`` probabilities; a half for a class that no text has.
    """
    n_classes = classes.shape[1]
    counts = np.ones(len(classes)) if weights is None else weights.astype(np.float64)
    support = counts @ classes
    if not support.any():
        return tuple([DEFAULT] * n_classes)
    given, right = np.zeros((2, n_classes, len(CANDIDATES)))
    for label in range(n_classes):
        order = np.argsort(probabilities[:, label], kind="stable")
        places = np.searchsorted(probabilities[order, label].astype(np.float64), CANDIDATES)
        given[label] = _from_the_top(counts[order])[places]
        right[label] = _from_the_top((counts * classes[:, label])[order])[places]
    share = POOLED / support.sum()
    hits = right + share * right.sum(axis=0)
    scores = hits / (given + support[:, None] + share * given.sum(axis=0) + POOLED)  # half of F1
    return tuple(
        _middle_of_best(row) if has else DEFAULT for row, has in zip(scores, support > 0, strict=True)
    )


def _middle_of_best(scores: Numbers) -> float:
    """The candidate in the middle of the first of those that are as good as any."""
    best = scores >= scores.max() - 1e-12
    first = int(best.argmax())
    worse = np.flatnonzero(~best[first:])
    n_best = int(worse[0]) if len(worse) else len(scores) - first
    return float(CANDIDATES[first + (n_best - 1) // 2])


def _from_the_top(counts: Numbers) -> Numbers:
    """Sums of all numbers from each one on, and zero behind the last, ``(N + 1,)``."""
    return np.concatenate([np.cumsum(counts[::-1])[::-1], [0.0]])
