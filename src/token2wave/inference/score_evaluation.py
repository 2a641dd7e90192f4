"""Measures a model of scores on texts whose scores are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from token2wave.metrics import Evaluation, evaluate_predictions
from token2wave.score_metrics import evaluate_scores
from token2wave.score_scale import ScoreScale


def evaluate_scale(
    scale: ScoreScale,
    scores: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    cut: float | None = None,
) -> Evaluation:
    """Compare predicted with true scores.

    Accuracy, F1 and the confusion matrix are those of grades; scores that are no grades have no matrix.

    Args:
        scale: of the model.
        scores: the true ones, ``(N,)``.
        probabilities: of the classes, ``(N, C)``.
        cut: for the area under the ROC curve; see :func:`evaluate_scores`.
    """
    truth, predicted = scale.classes_of(scores), scale.decide(probabilities)
    is_ordinal = scale.target == "ordinal"
    measured = evaluate_scores(
        scores,
        scale.scores(probabilities),
        (truth, predicted) if is_ordinal else None,
        scale.intervals(probabilities),
        cut,
    )
    evaluation = evaluate_predictions(truth, predicted, scale.class_names)
    if not is_ordinal:
        evaluation = replace(evaluation, confusion=(), classes=())
    return replace(evaluation, scores=measured)
