"""Compares two models on the same texts: which is better, and by more than chance?

To first order, every figure is a sum over texts. The *influence* of a text is its term in this sum. Both
models see the same texts, so the standard error of the difference is the root of the sum of squared
differences of influences (the delta method). For accuracy this is McNemar's test: texts on which both models
are right or both wrong do not count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.training.loss import binary_cross_entropies
from token2wave.training.search_history import Comparison

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Figure:
    """A figure of ``N`` texts (more is better), and the texts' influences ``(N,)``, which sum to zero."""

    value: float
    influences: Numbers


@dataclass(frozen=True)
class CandidateScores:
    """Figures of a model on ``N`` texts that it has not learnt from."""

    chosen: Figure  # that chooses: ``accuracy``, ``macro_f1``, ``micro_f1`` or ``loss``
    loss: Figure  # negated, as in :class:`token2wave.training.validation.Validation`
    accuracy: float


def evaluate_candidate(
    logits: NDArray[np.floating],
    labels: NDArray[Any],
    weights: NDArray[np.floating] | None,
    select_by: str,
) -> CandidateScores:
    """Score a model by its logits ``(N, C)``.

    Labels are ``(N,)`` integers, or ``(N, C)`` bool in the multi-label case. There the threshold is a half,
    as in training: thresholds chosen on these texts would flatter the model.
    """
    counts = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
    fractions = counts / counts.sum()
    scores = logits.astype(np.float64)
    if labels.ndim == 2:
        truth, predicted = labels.astype(bool), scores > 0
        losses = binary_cross_entropies(scores, truth)
    else:
        classes = np.arange(scores.shape[1])
        truth, predicted = (ids[:, None] == classes for ids in (labels, scores.argmax(axis=1)))
        highest = scores.max(axis=1)
        losses = np.log(np.exp(scores - highest[:, None]).sum(axis=1)) + highest - scores[truth]
    loss, accuracy = _mean(-losses, fractions), _mean((truth == predicted).all(axis=1), fractions)
    figures = {
        "loss": lambda: loss,
        "accuracy": lambda: accuracy,
        "macro_f1": lambda: _macro_f1(truth, predicted, fractions),
        "micro_f1": lambda: _micro_f1(truth, predicted, fractions),
    }
    return CandidateScores(figures[select_by](), loss, accuracy.value)


def _mean(values: NDArray[Any], fractions: Numbers) -> Figure:
    mean = float(values @ fractions)
    return Figure(mean, fractions * (values - mean))


def _macro_f1(truth: Flags, predicted: Flags, fractions: Numbers) -> Figure:
    """Mean F1 of the classes that occur or are predicted."""
    correct, sums = fractions @ (truth & predicted), fractions @ truth + fractions @ predicted
    occurs = sums > 0
    f1 = np.divide(2 * correct, sums, out=np.zeros(len(sums)), where=occurs)
    slopes = np.divide(1.0, sums, out=np.zeros(len(sums)), where=occurs) / max(int(occurs.sum()), 1)
    # d F1 = (2 d correct - F1 d sums) / sums
    influences = 2 * ((truth & predicted) @ slopes) - truth @ (slopes * f1) - predicted @ (slopes * f1)
    return Figure(float(f1[occurs].mean()) if occurs.any() else 0.0, fractions * influences)


def _micro_f1(truth: Flags, predicted: Flags, fractions: Numbers) -> Figure:
    """F1 over the decisions of all classes; equals the accuracy with one class a text."""
    correct, sums = (truth & predicted).sum(axis=1), truth.sum(axis=1) + predicted.sum(axis=1)
    total = float(fractions @ sums)
    if not total:
        return Figure(0.0, np.zeros(len(fractions)))
    f1 = 2 * float(fractions @ correct) / total
    return Figure(f1, fractions * (2 * correct - f1 * sums) / total)


def compare(candidate: Sequence[CandidateScores], best: Sequence[CandidateScores]) -> Comparison:
    """Compare a candidate with the best so far, by their scores on each split. All splits count the same."""
    chosen = [(a.chosen, b.chosen) for a, b in zip(candidate, best, strict=True)]
    losses = [(a.loss, b.loss) for a, b in zip(candidate, best, strict=True)]
    return Comparison(*_difference(chosen), *_difference(losses))


def _difference(pairs: Sequence[tuple[Figure, Figure]]) -> tuple[float, float]:
    """Compute the mean difference over splits, and its standard error."""
    gain = sum(a.value - b.value for a, b in pairs) / len(pairs)
    square = sum(float(np.square(a.influences - b.influences).sum()) for a, b in pairs)
    return gain, math.sqrt(square) / len(pairs)
