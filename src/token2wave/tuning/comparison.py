"""Compares two models on the same texts: which is better, and is it more than chance?

Every figure is, to first order, a sum over texts. The *influence* of a text is its term in this sum. Both
models see the same texts, so the standard error of the difference is the root of the sum of squared
differences of influences (the delta method). For accuracy this is McNemar's test: texts that both get right
or both wrong do not count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.training.search_history import Comparison
from token2wave.training.validation import binary_cross_entropies

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Figure:
    """A figure of ``N`` texts.

    Attributes:
        value: the figure; more is better.
        influences: ``(N,)``, each text's; their sum is zero.
    """

    value: float
    influences: Numbers


@dataclass(frozen=True)
class CandidateScores:
    """Figures of a model on ``N`` texts that it has not learnt from.

    Attributes:
        chosen: the figure that chooses.
        loss: mean cross-entropy, negated; where a text may have several classes, the mean over texts of the
            sum over classes of the binary cross-entropy.
        accuracy: share of texts whose class, or all of whose classes, are right.
    """

    chosen: Figure
    loss: Figure
    accuracy: float


def evaluate_candidate(
    logits: NDArray[np.floating],
    labels: NDArray[Any],
    weights: NDArray[np.floating] | None,
    select_by: str,
) -> CandidateScores:
    """Score a model by its logits.

    Where a text may have several classes, the threshold is a half, as in training: thresholds chosen on these
    texts would flatter the model.

    Args:
        logits: ``(N, C)``.
        labels: ``(N,)`` integers below ``C``; or ``(N, C)`` bool, where a text may have several classes.
        weights: ``(N,)``, how much each text counts; None counts all the same.
        select_by: ``accuracy``, ``macro_f1``, ``micro_f1`` or ``loss``.
    """
    counts = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
    shares = counts / counts.sum()
    wide = logits.astype(np.float64)
    if labels.ndim == 2:
        truth, predicted = labels.astype(bool), wide > 0
        losses = binary_cross_entropies(wide, truth)
    else:
        classes = np.arange(wide.shape[1])
        truth, predicted = (numbers[:, None] == classes for numbers in (labels, wide.argmax(axis=1)))
        highest = wide.max(axis=1)
        losses = np.log(np.exp(wide - highest[:, None]).sum(axis=1)) + highest - wide[truth]
    loss, accuracy = _mean(-losses, shares), _mean((truth == predicted).all(axis=1), shares)
    figures = {
        "loss": lambda: loss,
        "accuracy": lambda: accuracy,
        "macro_f1": lambda: _macro_f1(truth, predicted, shares),
        "micro_f1": lambda: _micro_f1(truth, predicted, shares),
    }
    return CandidateScores(figures[select_by](), loss, accuracy.value)


def _mean(values: NDArray[Any], shares: Numbers) -> Figure:
    mean = float(values @ shares)
    return Figure(mean, shares * (values - mean))


def _macro_f1(truth: Flags, predicted: Flags, shares: Numbers) -> Figure:
    """Mean F1 of the classes that occur or are predicted."""
    hits, sums = shares @ (truth & predicted), shares @ truth + shares @ predicted
    occurs = sums > 0
    f1 = np.divide(2 * hits, sums, out=np.zeros(len(sums)), where=occurs)
    slopes = np.divide(1.0, sums, out=np.zeros(len(sums)), where=occurs) / max(int(occurs.sum()), 1)
    # d F1 = (2 d hits - F1 d sums) / sums
    influences = 2 * ((truth & predicted) @ slopes) - truth @ (slopes * f1) - predicted @ (slopes * f1)
    return Figure(float(f1[occurs].mean()) if occurs.any() else 0.0, shares * influences)


def _micro_f1(truth: Flags, predicted: Flags, shares: Numbers) -> Figure:
    """F1 of the decisions of all classes together; the accuracy, where each text has one class."""
    hits, sums = (truth & predicted).sum(axis=1), truth.sum(axis=1) + predicted.sum(axis=1)
    total = float(shares @ sums)
    if not total:
        return Figure(0.0, np.zeros(len(shares)))
    f1 = 2 * float(shares @ hits) / total
    return Figure(f1, shares * (2 * hits - f1 * sums) / total)


def compare(candidate: Sequence[CandidateScores], best: Sequence[CandidateScores]) -> Comparison:
    """Compare a candidate with the best so far; each split counts the same.

    Args:
        candidate: its scores, a split each.
        best: the scores of the best so far, on the same splits.
    """
    chosen = [(a.chosen, b.chosen) for a, b in zip(candidate, best, strict=True)]
    losses = [(a.loss, b.loss) for a, b in zip(candidate, best, strict=True)]
    return Comparison(*_difference(chosen), *_difference(losses))


def _difference(pairs: Sequence[tuple[Figure, Figure]]) -> tuple[float, float]:
    """Mean difference over splits, and its standard error."""
    gain = sum(a.value - b.value for a, b in pairs) / len(pairs)
    square = sum(float(np.square(a.influences - b.influences).sum()) for a, b in pairs)
    return gain, math.sqrt(square) / len(pairs)
