"""From which probability on a text is given a class, where it may have several."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.runtime.reference import probabilities as probabilities_of
from token2wave.training.examples import Examples

DEFAULT = 0.5  # where there is nothing to choose by
POOLED = 10.0  # texts that the decisions of all classes together count as, beside those of the class itself
DIGITS = 4
LEAST, MOST = 0.001, 0.999

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
    n_texts, n_classes = classes.shape
    counts = np.ones(n_texts) if weights is None else weights.astype(np.float64)
    support = counts @ classes
    if not support.any():
        return tuple([DEFAULT] * n_classes)
    shares = probabilities.astype(np.float64)
    share = POOLED / support.sum()
    everywhere = np.repeat(counts[:, None], n_classes, axis=1)
    all_shares = np.sort(shares, axis=None)
    places = np.argsort(shares, axis=None, kind="stable")
    all_given = _from_the_top(everywhere.ravel()[places])
    all_right = _from_the_top((everywhere * classes).ravel()[places])
    chosen: list[float] = []
    for label in range(n_classes):
        if not support[label]:
            chosen.append(DEFAULT)
            continue
        order = np.argsort(shares[:, label], kind="stable")
        ascending = shares[order, label]
        given = _from_the_top(counts[order])
        right = _from_the_top((counts * classes[:, label])[order])
        # Thresholds half-way between neighbours, below the lowest and above the highest.
        edges = np.concatenate([[0.0], ascending, [1.0]])
        thresholds = np.clip((edges[:-1] + edges[1:]) / 2, LEAST, MOST)
        own, pooled = np.searchsorted(ascending, thresholds), np.searchsorted(all_shares, thresholds)
        hits = right[own] + share * all_right[pooled]
        sizes = given[own] + support[label] + share * all_given[pooled] + POOLED
        chosen.append(round(float(thresholds[np.argmax(hits / sizes)]), DIGITS))
    return tuple(chosen)


def _from_the_top(counts: Numbers) -> Numbers:
    """Sums of all numbers from each one on, and zero behind the last, ``(N + 1,)``."""
    return np.concatenate([np.cumsum(counts[::-1])[::-1], [0.0]])
