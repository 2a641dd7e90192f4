"""How good predictions are: accuracy, F1, calibration, the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

COVERAGES = (0.95, 0.9, 0.8, 0.7, 0.5)


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class; a score whose denominator is zero is zero.

    Attributes:
        label: name of the class.
        precision: share of the texts given this label that have it.
        recall: share of the texts with this label that were given it.
        f1: harmonic mean of the two.
        support: texts with this label.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Answered:
    """What comes of answering the surest texts alone.

    Attributes:
        coverage: share of the texts that are answered.
        threshold: probability of the predicted class from which on they are.
        accuracy: share of right labels among them.
    """

    coverage: float
    threshold: float
    accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """Predictions held against the truth.

    Attributes:
        rows: texts evaluated.
        accuracy: share of right labels; where a text may have several, share of texts whose labels are right
            and complete (exact match, or subset accuracy).
        macro_f1: mean F1 over the classes that occur in the truth or the predictions.
        classes: scores of each class.
        confusion: ``confusion[i][j]`` texts of class ``i`` were given label ``j``; empty where a text may
            have several.
        calibration_error: see :func:`expected_calibration_error`, and :func:`calibration_error_of_decisions`
            where a text may have several; None where no probabilities are known.
        answered: for several shares of the texts, the surest first; empty where no probabilities are known,
            or a text may have several labels.
        micro_f1: where a text may have several labels, F1 over all of them together.
        hamming_loss: where a text may have several labels, share of the decisions, of all texts and classes,
            that are wrong.
    """

    rows: int
    accuracy: float
    macro_f1: float
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration_error: float | None = None
    answered: tuple[Answered, ...] = ()
    micro_f1: float | None = None
    hamming_loss: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold."""
        return asdict(self)


def evaluate_predictions(
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    label_names: tuple[str, ...],
    probabilities: NDArray[np.floating] | None = None,
) -> Evaluation:
    """Compare predicted with true classes.

    Args:
        truth: ``(N,)`` integers below ``C``.
        predicted: ``(N,)`` integers below ``C``.
        label_names: ``C`` names.
        probabilities: ``(N, C)``, where they are known.
    """
    n_classes = len(label_names)
    confusion = np.bincount(truth * n_classes + predicted, minlength=n_classes**2)
    confusion = confusion.reshape(n_classes, n_classes)
    right = np.diag(confusion)
    return Evaluation(
        rows=len(truth),
        accuracy=float(right.sum() / max(len(truth), 1)),
        macro_f1=macro_f1_of(truth, predicted, n_classes),
        classes=_class_scores(label_names, right, confusion.sum(axis=0), confusion.sum(axis=1)),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        calibration_error=None if probabilities is None else expected_calibration_error(probabilities, truth),
        answered=() if probabilities is None else surest(probabilities, truth),
    )


def evaluate_decisions(
    truth: NDArray[np.bool_],
    given: NDArray[np.bool_],
    label_names: tuple[str, ...],
    probabilities: NDArray[np.floating] | None = None,
) -> Evaluation:
    """Compare the labels given to texts with those they have, where a text may have several, or none.

    Args:
        truth: ``(N, C)``.
        given: ``(N, C)``.
        label_names: ``C`` names.
        probabilities: ``(N, C)``, where they are known.
    """
    micro_f1, macro_f1 = f1_of_decisions(truth, given)
    right = (truth & given).sum(axis=0)
    return Evaluation(
        rows=len(truth),
        accuracy=float((truth == given).all(axis=1).mean()) if len(truth) else 0.0,
        macro_f1=macro_f1,
        classes=_class_scores(label_names, right, given.sum(axis=0), truth.sum(axis=0)),
        confusion=(),
        calibration_error=None
        if probabilities is None
        else calibration_error_of_decisions(probabilities, truth),
        micro_f1=micro_f1,
        hamming_loss=float((truth != given).mean()) if truth.size else 0.0,
    )


def _class_scores(
    label_names: Sequence[str],
    right: NDArray[np.integer],
    given: NDArray[np.integer],
    support: NDArray[np.integer],
) -> tuple[ClassScore, ...]:
    """Scores of each class from its texts: those given it rightly, given it, and having it, ``(C,)`` each."""
    precision = right / np.maximum(given, 1)
    recall = right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(support + given, 1)
    return tuple(
        ClassScore(name, float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
        for i, name in enumerate(label_names)
    )


def surest(
    probabilities: NDArray[np.floating], truth: NDArray[np.int64], coverages: Sequence[float] = COVERAGES
) -> tuple[Answered, ...]:
    """Accuracy where only the surest texts are answered, and the threshold that does so.

    Args:
        probabilities: ``(N, C)``.
        truth: ``(N,)`` integers below ``C``.
        coverages: shares of the texts to answer. More are answered where several have the same probability.

    Returns:
        An entry for each coverage; nothing without texts.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    ascending = np.sort(confidence)
    found = []
    for coverage in coverages if len(truth) else ():
        n_answered = max(1, round(coverage * len(truth)))
        threshold = ascending[len(truth) - n_answered]
        kept = confidence >= threshold
        found.append(Answered(float(kept.mean()), float(threshold), float(right[kept].mean())))
    return tuple(found)


def macro_f1_of(
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    n_classes: int,
    weights: NDArray[np.floating] | None = None,
) -> float:
    """Mean F1 over the classes that occur in the truth or the predictions; 0 without any.

    Args:
        truth: ``(N,)`` integers below ``C``.
        predicted: ``(N,)`` integers below ``C``.
        n_classes: ``C``.
        weights: ``(N,)``, how much each text counts; all the same, if None.
    """
    support = np.bincount(truth, weights, n_classes)
    given = np.bincount(predicted, weights, n_classes)
    hit = truth == predicted
    right = np.bincount(truth[hit], None if weights is None else weights[hit], n_classes)
    occurs = (support + given) > 0
    return float((2 * right[occurs] / (support + given)[occurs]).mean()) if occurs.any() else 0.0


def f1_of_decisions(
    truth: NDArray[np.bool_], given: NDArray[np.bool_], weights: NDArray[np.floating] | None = None
) -> tuple[float, float]:
    """Micro- and macro-F1 of texts that may have several classes, or none.

    Args:
        truth: ``(N, C)``, the classes that a text has.
        given: ``(N, C)``, those that it was given.
        weights: ``(N,)``, how much each text counts; all the same, if None.

    Returns:
        F1 over the decisions of all classes together, and the mean F1 of the classes that occur in the truth
        or the predictions; 0 without any.
    """
    counts = np.ones(len(truth)) if weights is None else weights.astype(np.float64)
    right, either = counts @ (truth & given), counts @ truth + counts @ given
    occurs = either > 0
    if not occurs.any():
        return 0.0, 0.0
    return float(2 * right.sum() / either.sum()), float((2 * right[occurs] / either[occurs]).mean())


def expected_calibration_error(
    probabilities: NDArray[np.floating], truth: NDArray[np.int64], n_bins: int = 15
) -> float:
    """How far confidence and accuracy lie apart: expected calibration error (arXiv 1706.04599, eq. 3).

    Texts are put into bins of equal width by the probability of the predicted class; the error is the mean
    over texts of ``|accuracy - mean confidence|`` of their bin.

    Args:
        probabilities: ``(N, C)``.
        truth: ``(N,)`` integers below ``C``.
        n_bins: bins of probabilities from 0 to 1.

    Returns:
        From 0 to 1; 0 without texts.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)
    gaps = np.bincount(bins, right - confidence, n_bins)
    return float(np.abs(gaps).sum() / max(len(truth), 1))


def calibration_error_of_decisions(
    probabilities: NDArray[np.floating], truth: NDArray[np.bool_], n_bins: int = 15
) -> float:
    """How far probabilities and frequencies lie apart, where each class is decided by itself.

    Decisions, one for each text and class, are put into bins of equal width by the class's probability; the
    error is the mean over decisions of ``|share that holds - mean probability|`` of their bin.

    Args:
        probabilities: ``(N, C)``.
        truth: ``(N, C)``, the classes that a text has.
        n_bins: bins of probabilities from 0 to 1.

    Returns:
        From 0 to 1; 0 without texts.
    """
    shares = probabilities.astype(np.float64).ravel()
    bins = np.clip(np.ceil(shares * n_bins).astype(int) - 1, 0, n_bins - 1)
    gaps = np.bincount(bins, truth.ravel() - shares, n_bins)
    return float(np.abs(gaps).sum() / max(shares.size, 1))
