"""Spearman's rank correlation as a mean over texts, so that scores are compared as answers are."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def pack_scores(scores: NDArray[Any]) -> str:
    """Pack the scores of ``N`` test texts, ``(N,)``, into base64 of a float32 a text."""
    return base64.b64encode(scores.astype("<f4").tobytes()).decode("ascii")


def unpack_scores(packed: str) -> Numbers:
    """Unpack what :func:`pack_scores` has packed, ``(N,)``."""
    return np.asarray(np.frombuffer(base64.b64decode(packed), dtype="<f4"), dtype=np.float64)


def pack_ranks(numbers: NDArray[Any]) -> str:
    """Pack the order of ``N`` numbers, ``(N,)``, into base64 of a uint16 each; equal ones stay equal.

    All that rank correlation asks of them, in half the space. ``N`` is at most 65,536.
    """
    _, ranks = np.unique(numbers, return_inverse=True)
    assert len(ranks) <= 1 << 16
    return base64.b64encode(ranks.astype("<u2").tobytes()).decode("ascii")


def unpack_ranks(packed: str) -> Numbers:
    """Unpack what :func:`pack_ranks` has packed, ``(N,)``."""
    return np.asarray(np.frombuffer(base64.b64decode(packed), dtype="<u2"), dtype=np.float64)


def spearman_values(truth: NDArray[Any], predicted: NDArray[Any]) -> Numbers:
    """What each text adds to Spearman's rank correlation, ``(N,)``; their mean is the correlation.

    The correlation is a functional of the distribution of texts. It changes by ``IF_i`` times a small weight
    of text ``i`` (its influence function, whose mean is zero), and the values are ``rho + IF_i``. Means of
    them over resamples are the infinitesimal jackknife's approximation of the correlation of resamples
    (Efron 1982, "The Jackknife, the Bootstrap and Other Resampling Plans", chapter 6). Equal numbers share
    their mean rank. All values are 0 where one of the two does not vary.

    With ``x`` and ``y`` the ranks over ``N``, ``K_ij`` one if number ``i`` is below ``j``, half if they are
    equal, so that ``x_j = mean_i K_ij``, the covariance ``c = mean x y - 1/4`` has the influence
    ``x_i y_i + mean_j K_ij y_j + mean_j L_ij x_j - 3 mean x y``, ``L`` being ``K`` of the other numbers.

    Args:
        truth: ``(N,)``, true scores.
        predicted: ``(N,)``, scores of a system.
    """
    (x, sum_above_x), (y, sum_above_y) = (_rank(numbers) for numbers in (truth, predicted))
    covariance, influence = _moment(x, y, sum_above_x, sum_above_y)
    variance_x, influence_x = _moment(x, x, sum_above_x, sum_above_x)
    variance_y, influence_y = _moment(y, y, sum_above_y, sum_above_y)
    if min(variance_x, variance_y) < 1e-12:
        return np.zeros(len(truth))
    scale = np.sqrt(variance_x * variance_y)
    rho = covariance / scale
    spread = influence_x / variance_x + influence_y / variance_y
    return np.asarray(rho + influence / scale - rho / 2 * spread)


def _rank(numbers: NDArray[Any]) -> tuple[Numbers, Callable[[Numbers], Numbers]]:
    """Ranks over ``N``, ``(N,)``; and what gives ``mean_j K_ij v_j`` of values ``v``, ``(N,)``."""
    _, groups, sizes = np.unique(numbers, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - sizes / 2)[groups] / len(numbers)

    def sum_above(values: Numbers) -> Numbers:
        sums = np.bincount(groups, values)
        return np.asarray((sums.sum() - np.cumsum(sums) + sums / 2)[groups] / len(values))

    return ranks, sum_above


def _moment(
    x: Numbers,
    y: Numbers,
    sum_above_x: Callable[[Numbers], Numbers],
    sum_above_y: Callable[[Numbers], Numbers],
) -> tuple[float, Numbers]:
    """Covariance of two ranks, whose means are 1/2, and its influence function, ``(N,)``."""
    product = float(np.mean(x * y))
    return product - 0.25, x * y + sum_above_x(y) + sum_above_y(x) - 3 * product
