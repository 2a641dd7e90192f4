"""Turns scores into decisions to learn, and calibrates the scores that these decisions give."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.data import TextDataset, TextSplit
from token2wave.errors import DataError
from token2wave.inference.reference import probabilities as probabilities_of
from token2wave.score_scale import INTERVAL, ScoreScale
from token2wave.training.examples import Examples

MAX_GRADES = 30
MAX_SCORE_CUTS = 16
MIN_ROWS_OF_CLASS = 10  # between two cuts of scores
MIN_ROWS_TO_CALIBRATE = 20
N_FITTED = 5  # numbers that the same validation texts have chosen, for which intervals make up
PROPOSAL = "The labels are the whole numbers {} to {}. If they are grades, --ordinal learns their order."
_WHOLE = re.compile(r"-?\d{1,9}")

Floats = NDArray[np.float64]


def to_decisions(splits: TextDataset, target: str) -> TextDataset:
    """Turn scores into the labels of a multi-label data set: the cuts that each score is above.

    Args:
        splits: whose labels are numbers.
        target: ``score`` or ``ordinal``.

    Raises:
        DataError: a label is no number, there are fewer than three different ones, or too many for grades.
    """
    return scale_decisions(splits, fit_scale(target, splits.train.read_scores(), splits.train.source))


def scale_decisions(splits: TextDataset, scale: ScoreScale) -> TextDataset:
    """As :func:`to_decisions`, with the scale of a model that there is."""
    names = tuple(f"> {cut!r}" for cut in scale.cuts)  # never shown: a model names its classes otherwise

    def convert(split: TextSplit | None) -> Any:
        if split is None:
            return None
        scores = split.read_scores()
        sets = [names[:number] for number in scale.classes_of(scores).tolist()]
        return replace(split, labels=sets, scores=scores.tolist())

    return replace(
        splits,
        train=convert(splits.train),
        validation=convert(splits.validation),
        test=convert(splits.test),
        label_names=names,
        scale=scale,
    )


def fit_scale(target: str, scores: Floats, source: str = "") -> ScoreScale:
    """Choose the cuts and levels for the scores ``(N,)`` of training rows.

    Grades are the different scores. Other scores are cut at quantiles: between as many classes as have
    `MIN_ROWS_OF_CLASS` rows each, at most `MAX_SCORE_CUTS` cuts.

    Raises:
        DataError: there are too few or too many different scores.
    """
    values, counts = np.unique(scores, return_counts=True)
    if len(values) < 3:
        names = " and ".join(f"{value:g}" for value in values) or "none"
        raise DataError(
            f"expected at least three different scores, found {names}",
            location=source,
            hint="add rows, or train on labels",
        )
    if target == "ordinal" and len(values) > MAX_GRADES:
        raise DataError(
            f"expected at most {MAX_GRADES} different grades, found {len(values):,}",
            location=source,
            hint="use --target score for numbers that are no grades",
        )
    ends = np.arange(len(values) - 1)  # the last value below each cut
    if target == "score":
        n_cuts = max(min(MAX_SCORE_CUTS, len(scores) // MIN_ROWS_OF_CLASS - 1), 2)
        if n_cuts < len(ends):
            quantiles = len(scores) * np.arange(1, n_cuts + 1) / (n_cuts + 1)
            ends = np.unique(np.abs(np.cumsum(counts)[:-1] - quantiles[:, None]).argmin(axis=1))
            if len(ends) < 2:  # nearly all scores are equal
                ends = np.unique(np.linspace(0, len(values) - 2, n_cuts).astype(np.int64))
    middles = values[ends] / 2 + values[ends + 1] / 2
    cuts = np.where(middles < values[ends + 1], middles, values[ends])  # neighbours may have no middle
    sums, sizes = (
        np.add.reduceat(column, [0, *(ends + 1)]) for column in (values * counts, counts.astype(np.float64))
    )
    levels = (
        values
        if target == "ordinal"
        else np.clip(sums / sizes, values[[0, *(ends + 1)]], values[[*ends, -1]])
    )
    return ScoreScale(
        target, tuple(cuts.tolist()), tuple(levels.tolist()), float(values[0]), float(values[-1])
    )


def soft_decisions(scale: ScoreScale, scores: Floats) -> NDArray[np.float32]:
    """Targets of the decisions ``(N, K)`` from 0 to 1, from which the expected score is the true one.

    A score between two levels is partly above the cut between them. Grades are their levels.
    """
    levels = np.array(scale.levels)
    parts = (scores[:, None] - levels[:-1]) / np.diff(levels)
    return np.asarray(np.clip(parts, 0, 1), dtype=np.float32)


def calibrate_scale(
    scale: ScoreScale,
    probabilities: NDArray[np.floating],
    scores: Floats,
    weights: NDArray[np.floating] | None = None,
) -> ScoreScale:
    """Fit the line that makes scores right on average, and the width of the intervals, to validation texts.

    Args:
        scale: of the training rows.
        probabilities: of the classes, ``(N, C)``.
        scores: the true ones, ``(N,)``.
        weights: ``(N,)``, how much each text counts; None counts all the same.
    """
    if len(scores) < MIN_ROWS_TO_CALIBRATE:
        return scale
    counts = np.ones(len(scores)) if weights is None else weights.astype(np.float64)
    counts = counts / counts.sum()
    means = probabilities.astype(np.float64) @ np.array(scale.levels)
    centre, true_centre = counts @ means, counts @ scores
    variance = counts @ (means - centre) ** 2
    slope = counts @ ((means - centre) * (scores - true_centre)) / variance if variance > 0 else 0.0
    if slope > 0:
        scale = replace(scale, slope=float(slope), intercept=float(true_centre - slope * centre))
    deviations = scale.deviations(probabilities)
    residuals = np.abs(scores - scale.scores(probabilities)) / deviations
    n_rows = len(residuals)  # which have chosen the line and the weights of the branches, too
    rank = min(math.ceil((n_rows + 1 + N_FITTED) * INTERVAL), n_rows)  # split conformal prediction
    return replace(scale, interval_factor=float(np.sort(residuals)[rank - 1]))


def calibrated_scale(scale: ScoreScale | None, network: Any, validation: Examples) -> ScoreScale | None:
    """Fit the scale of a network to validation texts, as :func:`calibrate_scale`; None for one of labels."""
    if scale is None:
        return None
    assert validation.scores is not None
    decisions = probabilities_of(network.logits(validation.features), multi_label=True)
    return calibrate_scale(scale, scale.class_probabilities(decisions), validation.scores, validation.weights)


def grade_notes(label_sets: Sequence[Sequence[str]]) -> list[str]:
    """A sentence that proposes grades, if the labels are whole numbers in a row from 1, or around 0."""
    names = {label for labels in label_sets for label in labels}
    if not 3 <= len(names) <= MAX_GRADES or not all(map(_WHOLE.fullmatch, names)):
        return []
    numbers = sorted(map(int, names))
    is_scale = numbers[0] == 1 or (numbers[0] < 0 and numbers[0] == -numbers[-1])
    if not is_scale or numbers[-1] - numbers[0] != len(numbers) - 1:
        return []
    return [PROPOSAL.format(numbers[0], numbers[-1])]
