"""Plants wrong labels, for the benchmarks of what finds them and of training in spite of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WAYS = ("random", "confused")


def plant_noise(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating], fraction: float, how: str, seed: int
) -> NDArray[np.int64]:
    """Give a fraction of rows another label; the others keep theirs.

    Args:
        labels: ``(N,)``, the labels taken for right, below ``C``.
        probabilities: ``(N, C)``, of models that have not seen the row.
        fraction: of the rows, drawn at random; rounded to whole rows.
        how: ``random`` draws the wrong label from all others alike; ``confused`` takes the class that the
            models take most for the true one: of highest mean probability among the true class's rows.
        seed: of every random choice; the same seed draws the same rows in both ways.

    Returns:
        ``(N,)``, the labels with noise.
    """
    n_classes = probabilities.shape[1]
    random = np.random.default_rng(seed)
    rows = random.permutation(len(labels))[: round(fraction * len(labels))]
    noisy = labels.copy()
    if how == "random":
        noisy[rows] = (labels[rows] + random.integers(1, n_classes, len(rows))) % n_classes
        return noisy
    if how != "confused":
        raise ValueError(f"expected one of {WAYS}, found {how!r}")
    means = np.full((n_classes, n_classes), -1.0)
    for label in np.unique(labels):
        means[label] = probabilities[labels == label].mean(axis=0)
    np.fill_diagonal(means, -np.inf)
    noisy[rows] = means.argmax(axis=1)[labels[rows]]
    return noisy
