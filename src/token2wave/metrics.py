"""Measures predictions: accuracy, F1, calibration and the confusion matrix.

Throughout, ``truth`` and ``predicted`` are ``(N,)`` integers below ``C``, or ``(N, C)`` bool in the
multi-label case. ``probabilities`` are ``(N, C)``. ``weights`` are ``(N,)``, how much each text counts; None
counts all the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.formatting import shorten
from token2wave.score_metrics import ScoreEvaluation

Floats = NDArray[np.floating]
Ids = NDArray[np.int64]
Counts = NDArray[np.integer]
Flags = NDArray[np.bool_]
COVERAGES = tuple(percent / 100 for percent in range(100, 0, -5))
SIGNIFICANCE = 0.05  # of all groups of a column together
MAX_CONFUSION_CLASSES = 1_000  # of which a matrix, whose numbers are their square, still tells something
NORMAL_95 = 1.959964  # a normal deviate is at most this far from zero with probability 0.95

UNKNOWN_LABELS = "(labels without a class)"
MAX_TEXTS, MAX_TEXTS_OF_CELL = 5000, 200  # of a report; of one true and one predicted label
MAX_CHARACTERS, MIN_COLUMNS, MAX_COLUMNS = 1_000_000, 300, 1200  # of the texts of a report; of a text


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class; a score whose denominator is zero is zero.

    Attributes:
        label: name of the class.
        precision: fraction of the texts predicted as this class that belong to it.
        recall: fraction of the texts of this class that are predicted as it.
        f1: harmonic mean of the two.
        support: texts of this class.
    """

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Answered:
    """Accuracy when only the surest texts are answered.

    Attributes:
        coverage: fraction of the texts that are answered.
        threshold: least probability of the predicted class among them.
        accuracy: of their predictions.
    """

    coverage: float
    threshold: float
    accuracy: float


@dataclass(frozen=True)
class GroupScore:
    """Predictions of a group of texts, such as those of one language.

    Attributes:
        name: of the group.
        rows: number of texts.
        accuracy: as that of an :class:`Evaluation`.
        interval: 95 % confidence interval of the accuracy (:func:`wilson_interval`).
        macro_f1: as that of an :class:`Evaluation`.
        p_value: probability of so many wrong texts or more, if the wrong ones were spread over all groups by
            chance (Fisher's exact test, one-sided).
        is_worse: whether the group is worse than the others beyond chance, corrected for the number of groups
            by Holm's method.
        micro_f1: as that of an :class:`Evaluation`.
    """

    name: str
    rows: int
    accuracy: float
    interval: tuple[float, float] | None
    macro_f1: float
    p_value: float
    is_worse: bool
    micro_f1: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """Predictions compared with the true labels.

    Attributes:
        rows: number of texts.
        accuracy: fraction of texts whose label is right; in the multi-label case, whose labels are all right
            (exact match, or subset accuracy).
        macro_f1: mean F1 over the classes that occur in the truth or the predictions.
        classes: scores of each class.
        confusion: ``confusion[i][j]`` texts of class ``i`` were predicted as ``j``; empty in the multi-label
            case and with more than `MAX_CONFUSION_CLASSES` classes.
        calibration_error: see :func:`expected_calibration_error` and :func:`calibration_error_of_decisions`;
            None without probabilities.
        answered: accuracy of the surest texts, for several coverages; empty without probabilities and in the
            multi-label case.
        micro_f1: F1 over the decisions of all classes; None but in the multi-label case.
        hamming_loss: fraction of the decisions, one for each text and class, that are wrong; None but in the
            multi-label case.
        interval: 95 % confidence interval of the accuracy (:func:`wilson_interval`), in the multi-label case
            of micro-F1. It covers the chance in the choice of texts; None without texts.
        scores: the figures of a model of scores; None for one of labels.
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
    interval: tuple[float, float] | None = None
    scores: ScoreEvaluation | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True)
class EvaluatedText:
    """A prediction, with the text for people to read.

    A multi-label text has one for each wrong decision: ``label`` is None if the text does not have the
    predicted label, and ``predicted`` is None if the text's label was not predicted.

    Attributes:
        row: number of the text in its split, from 1; None if unknown.
        text: its beginning, as one line.
        label: the true label.
        predicted: the predicted label.
        probability: of the prediction.
        words: pieces of the text's beginning, each with its effect on the log-odds of the predicted label
            against the true one, or of a right prediction against the next label; empty if unknown.
    """

    row: int | None
    text: str
    label: str | None
    predicted: str | None
    probability: float
    words: tuple[tuple[str, float], ...] = ()


def evaluate_predictions(
    truth: NDArray[Any],
    predicted: NDArray[Any],
    label_names: tuple[str, ...],
    probabilities: Floats | None = None,
) -> Evaluation:
    """Compare predicted with true classes; a true class ``C`` stands for labels that have no class."""
    if truth.ndim == 2:
        return evaluate_decisions(truth, predicted, label_names, probabilities)
    if len(truth) and truth.max() == len(label_names):
        label_names = (*label_names, UNKNOWN_LABELS)
    n_classes = len(label_names)
    confusion: tuple[tuple[int, ...], ...] = ()
    if n_classes <= MAX_CONFUSION_CLASSES:
        counts = np.bincount(truth * n_classes + predicted, minlength=n_classes**2)
        confusion = tuple(map(tuple, counts.reshape(n_classes, n_classes).tolist()))
    correct, of_prediction, of_truth = (
        np.bincount(ids, minlength=n_classes) for ids in (truth[truth == predicted], predicted, truth)
    )
    accuracy = float(correct.sum() / max(len(truth), 1))
    return Evaluation(
        rows=len(truth),
        accuracy=accuracy,
        macro_f1=macro_f1_of(truth, predicted, n_classes),
        classes=_class_scores(label_names, correct, of_prediction, of_truth),
        confusion=confusion,
        calibration_error=None if probabilities is None else expected_calibration_error(probabilities, truth),
        answered=() if probabilities is None else answer_surest(probabilities, truth),
        interval=wilson_interval(accuracy, len(truth)),
    )


def evaluate_decisions(
    truth: Flags, predicted: Flags, label_names: tuple[str, ...], probabilities: Floats | None = None
) -> Evaluation:
    """Compare predicted with true labels; a last column of the truth may stand for labels without a class."""
    if truth.shape[1] == len(label_names) + 1:
        label_names = (*label_names, UNKNOWN_LABELS)
        predicted = np.pad(predicted, ((0, 0), (0, 1)))
        probabilities = None if probabilities is None else np.pad(probabilities, ((0, 0), (0, 1)))
    micro_f1, macro_f1 = f1_of_decisions(truth, predicted)
    calibration_error = None
    if probabilities is not None:
        calibration_error = calibration_error_of_decisions(probabilities, truth)
    correct = (truth & predicted).sum(axis=0)
    return Evaluation(
        rows=len(truth),
        accuracy=float((truth == predicted).all(axis=1).mean()) if len(truth) else 0.0,
        macro_f1=macro_f1,
        classes=_class_scores(label_names, correct, predicted.sum(axis=0), truth.sum(axis=0)),
        confusion=(),
        calibration_error=calibration_error,
        micro_f1=micro_f1,
        hamming_loss=float((truth != predicted).mean()) if truth.size else 0.0,
        interval=_micro_f1_interval(truth, predicted, micro_f1),
    )


def score_groups(
    groups: Ids, names: Sequence[str], truth: NDArray[Any], predicted: NDArray[Any]
) -> tuple[GroupScore, ...]:
    """Score each group of texts, and mark those that are worse than the others beyond chance.

    Args:
        groups: ``(N,)``, the index of each text's group in ``names``.
        names: of the groups.
        truth: as for :func:`evaluate_predictions` or :func:`evaluate_decisions`, like ``predicted``.
        predicted: the predictions.
    """
    multi_label = truth.ndim == 2
    if multi_label:
        predicted = np.pad(predicted, ((0, 0), (0, truth.shape[1] - predicted.shape[1])))
    right = (truth == predicted).all(axis=1) if multi_label else truth == predicted
    n_classes = 1 + int(max(truth.max(initial=0), predicted.max(initial=0)))
    sizes = np.bincount(groups, minlength=len(names)).tolist()
    n_wrong = np.bincount(groups[~right], minlength=len(names)).tolist()
    p_values = [
        _chance_of_more(wrong, n, sum(n_wrong), len(groups)) for wrong, n in zip(n_wrong, sizes, strict=True)
    ]
    is_worse, n_left = [False] * len(names), len(names)
    for i in sorted(range(len(names)), key=p_values.__getitem__):
        if p_values[i] * n_left > SIGNIFICANCE:
            break
        is_worse[i], n_left = True, n_left - 1
    scores = []
    for i, name in enumerate(names):
        rows, micro_f1 = groups == i, None
        accuracy = 1 - n_wrong[i] / max(sizes[i], 1)
        if multi_label:
            micro_f1, macro_f1 = f1_of_decisions(truth[rows], predicted[rows])
        else:
            macro_f1 = macro_f1_of(truth[rows], predicted[rows], n_classes)
        interval = wilson_interval(accuracy, sizes[i])
        scores.append(
            GroupScore(name, sizes[i], accuracy, interval, macro_f1, p_values[i], is_worse[i], micro_f1)
        )
    return tuple(scores)


def _chance_of_more(wrong: int, n: int, all_wrong: int, n_all: int) -> float:
    """Probability that ``n`` of ``n_all`` texts drawn by chance have ``wrong`` or more of the wrong ones."""
    numbers = np.arange(max(0, n + all_wrong - n_all), min(n, all_wrong) + 1)
    # The hypergeometric distribution, by the ratio of neighbouring probabilities.
    ratios = (all_wrong - numbers) * (n - numbers) / ((numbers + 1) * (n_all - all_wrong - n + numbers + 1))
    logs = np.append(0.0, np.cumsum(np.log(ratios[:-1])))
    weights = np.exp(logs - logs.max())
    return min(1.0, float(weights[numbers >= wrong].sum() / weights.sum()))


def majority_score(train: Ids | Flags, truth: Ids | Flags) -> float:
    """Score the same prediction for every text: the most frequent class of training.

    In the multi-label case these are the most frequent classes, as many as give the best micro-F1 in
    training.

    Args:
        train: the true classes of training.
        truth: those of the texts to score, at least one.

    Returns:
        The accuracy, in the multi-label case micro-F1.
    """
    if truth.ndim == 1:
        return float((truth == np.bincount(train).argmax()).mean())
    counts = train.sum(axis=0)
    order = np.argsort(-counts, kind="stable")
    micro_f1 = 2 * counts[order].cumsum() / (len(train) * np.arange(1, len(counts) + 1) + counts.sum())
    classes = order[: int(micro_f1.argmax()) + 1]
    return float(2 * truth[:, classes].sum() / (len(truth) * len(classes) + truth.sum()))


def evaluated_texts(
    texts: Sequence[str],
    truth: Ids | Flags,
    predicted: Ids | Flags,
    label_names: tuple[str, ...],
    probabilities: Floats,
    rows: Ids | None,
    explain: Callable[[int, int, int | None], Sequence[tuple[str, float]]] | None = None,
) -> tuple[EvaluatedText, ...]:
    """Choose texts of each pair of a true and a predicted label, as many as a report holds.

    Wrong predictions come first, the surest at the top; then right ones, the least sure at the top. Of
    multi-label texts there are the wrong decisions alone.

    Args:
        texts: ``N`` strings.
        truth: as for :func:`evaluate_predictions` or :func:`evaluate_decisions`, like the next three.
        predicted: the predictions.
        label_names: the classes.
        probabilities: of the classes.
        rows: ``(N,)``, the number of each text in its split, from 0; None if unknown.
        explain: gives the words of a text by its index, with their effects on a class, or on a class against
            another; called for the first texts of every pair first.
    """
    if truth.ndim == 2:
        unknown = ((0, 0), (0, truth.shape[1] - len(label_names)))
        numbers, classes = np.nonzero(truth != np.pad(predicted, unknown))
        missed = truth[numbers, classes]
        probability = np.abs(missed - np.pad(probabilities, unknown)[numbers, classes])
        pairs = np.stack([np.where(missed, classes, -1), np.where(missed, -1, classes)], axis=1)
    else:
        numbers = np.arange(len(truth))
        pairs = np.stack([truth, predicted], axis=1)
        probability = probabilities[numbers, predicted]
    is_right = pairs[:, 0] == pairs[:, 1]
    order = np.lexsort((np.where(is_right, probability, -probability), is_right))
    n_of_pair: Counter[tuple[int, ...]] = Counter()
    candidates = []
    for rank, pair in enumerate(map(tuple, pairs[order].tolist())):
        n_of_pair[pair] += 1
        if n_of_pair[pair] <= MAX_TEXTS_OF_CELL:
            candidates.append((bool(is_right[order[rank]]), n_of_pair[pair], rank))
    chosen = order[[rank for *_, rank in sorted(candidates)[:MAX_TEXTS]]].tolist()
    limit = min(max(MAX_CHARACTERS // max(len(chosen), 1), MIN_COLUMNS), MAX_COLUMNS)
    names = (*label_names, UNKNOWN_LABELS, None)  # -1 stands for None
    result = {}
    for i in chosen:
        number, (label, guess) = int(numbers[i]), pairs[i].tolist()
        words: Sequence[tuple[str, float]] = ()
        target = label if guess < 0 else guess
        if explain is not None and target < len(label_names):
            is_alone = guess < 0 or label in (guess, -1, len(label_names))
            words = explain(number, target, None if is_alone else label)
        text = shorten(texts[number][: 4 * limit], limit)
        row = None if rows is None else int(rows[number]) + 1
        result[i] = EvaluatedText(
            row, text, names[label], names[guess], round(float(probability[i]), 6), _beginning(words, limit)
        )
    return tuple(result[i] for i in order.tolist() if i in result)


def _beginning(words: Sequence[tuple[str, float]], limit: int) -> tuple[tuple[str, float], ...]:
    """The first words, with an ellipsis if there are more characters."""
    beginning, n_left = [], limit
    for word, effect in words:
        if len(word) > n_left:
            beginning.append((word[:n_left] + "\N{HORIZONTAL ELLIPSIS}", effect))
            break
        beginning.append((word, effect))
        n_left -= len(word)
    return tuple(beginning)


def wilson_interval(fraction: float, n: int) -> tuple[float, float] | None:
    """Compute the 95 % confidence interval of a fraction of ``n`` independent texts; None without texts.

    It is Wilson's score interval (doi 10.1080/01621459.1927.10502953), which holds for few texts, too.
    """
    if not n:
        return None
    square = NORMAL_95**2
    centre = (fraction + square / (2 * n)) / (1 + square / n)
    margin = math.sqrt(fraction * (1 - fraction) / n + square / (4 * n * n)) * NORMAL_95 / (1 + square / n)
    return max(centre - margin, 0.0), min(centre + margin, 1.0)


def _micro_f1_interval(truth: Flags, predicted: Flags, micro_f1: float) -> tuple[float, float] | None:
    """95 % confidence interval of micro-F1, a ratio of sums over texts, by its linear form."""
    n_decided = (truth.sum(axis=1) + predicted.sum(axis=1)).astype(np.float64)
    if not n_decided.any():
        return None
    if micro_f1 in (0, 1):  # all texts agree, so that they show no variance
        return wilson_interval(micro_f1, len(truth))
    residuals = 2 * (truth & predicted).sum(axis=1) - micro_f1 * n_decided
    margin = NORMAL_95 * float(np.sqrt(np.square(residuals).sum())) / float(n_decided.sum())
    return max(micro_f1 - margin, 0.0), min(micro_f1 + margin, 1.0)


def _class_scores(
    label_names: Sequence[str], correct: Counts, predicted: Counts, support: Counts
) -> tuple[ClassScore, ...]:
    """Score each class by its correctly predicted, predicted and true texts, ``(C,)`` each."""
    precision = correct / np.maximum(predicted, 1)
    recall = correct / np.maximum(support, 1)
    f1 = 2 * correct / np.maximum(support + predicted, 1)
    columns = (scores.tolist() for scores in (precision, recall, f1, support))
    return tuple(ClassScore(name, *scores) for name, *scores in zip(label_names, *columns, strict=True))


def answer_surest(
    probabilities: Floats, truth: Ids, coverages: Sequence[float] = COVERAGES
) -> tuple[Answered, ...]:
    """Measure the accuracy when only the surest texts are answered, for each coverage. Ties answer more."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == truth
    ascending = np.sort(confidence)
    points = []
    for coverage in coverages if len(truth) else ():
        threshold = ascending[len(truth) - max(1, round(coverage * len(truth)))]
        mask = confidence >= threshold
        points.append(Answered(float(mask.mean()), float(threshold), float(correct[mask].mean())))
    return tuple(points)


def macro_f1_of(truth: Ids, predicted: Ids, n_classes: int, weights: Floats | None = None) -> float:
    """Compute the mean F1 over the classes that occur in the truth or the predictions; 0 without any."""
    hit = truth == predicted
    correct = np.bincount(truth[hit], None if weights is None else weights[hit], n_classes)
    sums = np.bincount(truth, weights, n_classes) + np.bincount(predicted, weights, n_classes)
    occurs = sums > 0
    return float((2 * correct[occurs] / sums[occurs]).mean()) if occurs.any() else 0.0


def f1_of_decisions(truth: Flags, predicted: Flags, weights: Floats | None = None) -> tuple[float, float]:
    """Compute micro- and macro-F1 in the multi-label case; 0 where no class occurs."""
    counts = np.ones(len(truth)) if weights is None else weights.astype(np.float64)
    correct, sums = counts @ (truth & predicted), counts @ truth + counts @ predicted
    occurs = sums > 0
    if not occurs.any():
        return 0.0, 0.0
    return float(2 * correct.sum() / sums.sum()), float((2 * correct[occurs] / sums[occurs]).mean())


def expected_calibration_error(probabilities: Floats, truth: Ids, n_bins: int = 15) -> float:
    """Measure how far confidence and accuracy differ: expected calibration error (arXiv 1706.04599, eq. 3).

    Texts are put into bins of equal width by the probability of the predicted class. The error is the mean
    over texts of ``|accuracy - mean confidence|`` of their bin, from 0 to 1; 0 without texts.
    """
    return _calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == truth, n_bins)


def calibration_error_of_decisions(probabilities: Floats, truth: Flags, n_bins: int = 15) -> float:
    """Measure the calibration error in the multi-label case, over the decisions for each text and class.

    The error is the mean over decisions of ``|frequency - mean probability|`` of their bin.
    """
    return _calibration_error(probabilities.ravel(), truth.ravel(), n_bins)


def _calibration_error(probabilities: Floats, outcomes: Flags, n_bins: int) -> float:
    probabilities = probabilities.astype(np.float64)
    bins = np.clip(np.ceil(probabilities * n_bins).astype(int) - 1, 0, n_bins - 1)
    differences = np.bincount(bins, outcomes - probabilities, n_bins)
    return float(np.abs(differences).sum() / max(len(outcomes), 1))
