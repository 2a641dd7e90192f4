"""Measures predicted scores: rank correlation, errors, agreement of grades, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_RESAMPLES = 300
CONFIDENCE = 95  # percent

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ScoreEvaluation:
    """Predicted scores compared with the true ones.

    Attributes:
        rows: number of texts.
        spearman: rank correlation; None if all true or all predicted scores are equal.
        pearson: linear correlation, likewise.
        mae: mean absolute error.
        rmse: root of the mean squared error.
        kappa: quadratic weighted kappa of the grades; None for scores that are no grades.
        cut: the number that :attr:`auc` is about; None if there are no scores on both sides.
        auc: area under the ROC curve of "the true score is above the cut": the probability that a text above
            it has a higher predicted score than a text below it.
        coverage: fraction of texts whose true score lies in its interval; None without intervals.
        intervals: 95 % bootstrap interval of each of these figures, by name.
    """

    rows: int
    spearman: float | None
    pearson: float | None
    mae: float
    rmse: float
    kappa: float | None
    cut: float | None
    auc: float | None
    coverage: float | None
    intervals: dict[str, tuple[float, float]]


def evaluate_scores(
    truth: NDArray[Any],
    predicted: NDArray[Any],
    grades: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    intervals: NDArray[np.floating] | None = None,
    cut: float | None = None,
    seed: int = 0,
) -> ScoreEvaluation:
    """Compare predicted with true scores.

    Args:
        truth: true scores, ``(N,)``, at least one.
        predicted: scores, ``(N,)``.
        grades: numbers of the true and of the predicted grades, each ``(N,)``.
        intervals: of the predictions, ``(N, 2)``.
        cut: for the AUC; None takes the middle between two true scores that halves the texts best.
        seed: of the resamples.
    """
    truth, predicted = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    cut = _halving_cut(truth) if cut is None else cut
    is_above = truth > cut if cut is not None else np.zeros(len(truth), bool)
    rank_truth, rank_predicted = _ranker(truth), _ranker(predicted)
    is_covered = None
    if intervals is not None:
        is_covered = (intervals[:, 0] <= truth) & (truth <= intervals[:, 1])

    def figures(counts: Floats) -> dict[str, float]:
        """The figures if each text occurs as often as its count; NaN where one has no meaning."""
        ranks = rank_predicted(counts)
        errors = predicted - truth
        n = counts.sum()
        values = {
            "spearman": _correlation(rank_truth(counts), ranks, counts),
            "pearson": _correlation(truth, predicted, counts),
            "mae": counts @ np.abs(errors) / n,
            "rmse": np.sqrt(counts @ errors**2 / n),
        }
        if grades is not None:
            values["kappa"] = _kappa(*grades, counts)
        n_above = counts @ is_above
        n_pairs = n_above * (n - n_above)
        over = (counts * is_above) @ (ranks - 0.5) - n_above**2 / 2
        values["auc"] = over / n_pairs if n_pairs else np.nan
        if is_covered is not None:
            values["coverage"] = counts @ is_covered / n
        return {name: float(value) for name, value in values.items()}

    values = figures(np.ones(len(truth)))
    rng = np.random.default_rng(seed)
    n_rows = len(truth)
    samples = [
        figures(np.bincount(rng.integers(0, n_rows, n_rows), minlength=n_rows).astype(np.float64))
        for _ in range(N_RESAMPLES)
    ]
    bounds = {}
    for name, value in values.items():
        column = np.array([sample[name] for sample in samples])
        column = column[np.isfinite(column)]
        if np.isfinite(value) and len(column):
            low, high = np.percentile(column, [(100 - CONFIDENCE) / 2, (100 + CONFIDENCE) / 2])
            bounds[name] = (float(low), float(high))

    def known(name: str) -> float | None:
        value = values.get(name, np.nan)
        return value if np.isfinite(value) else None

    return ScoreEvaluation(
        rows=n_rows,
        spearman=known("spearman"),
        pearson=known("pearson"),
        mae=values["mae"],
        rmse=values["rmse"],
        kappa=known("kappa"),
        cut=cut if known("auc") is not None else None,
        auc=known("auc"),
        coverage=known("coverage"),
        intervals=bounds,
    )


def _ranker(values: Floats) -> Callable[[Floats], Floats]:
    """Return a function that ranks the values, each repeated by its count; equal ones share a mean rank."""
    _, inverse = np.unique(values, return_inverse=True)

    def rank(counts: Floats) -> Floats:
        sizes = np.bincount(inverse, counts)
        return np.asarray((np.cumsum(sizes) - sizes / 2 + 0.5)[inverse])

    return rank


def _correlation(a: Floats, b: Floats, counts: Floats) -> Any:
    """Pearson's correlation; NaN if one of the two does not vary."""
    a, b = (values - counts @ values / counts.sum() for values in (a, b))
    scale = np.sqrt((counts @ a**2) * (counts @ b**2))
    return np.clip(counts @ (a * b) / scale, -1, 1) if scale > 0 else np.nan


def _kappa(truth: NDArray[np.int64], predicted: NDArray[np.int64], counts: Floats) -> Any:
    """Quadratic weighted kappa: one minus the mean squared difference over that of independent grades."""
    n = counts.sum()
    means = [counts @ each / n for each in (truth, predicted)]
    variances = [
        counts @ (each - mean) ** 2 / n for each, mean in zip((truth, predicted), means, strict=True)
    ]
    by_chance = sum(variances) + (means[0] - means[1]) ** 2
    return 1 - (counts @ (truth - predicted) ** 2 / n) / by_chance if by_chance > 0 else np.nan


def _halving_cut(truth: Floats) -> float | None:
    """The middle between two neighbouring scores that halves the texts best; None if all are equal."""
    values, counts = np.unique(truth, return_counts=True)
    if len(values) < 2:
        return None
    best = int(np.abs(np.cumsum(counts)[:-1] - len(truth) / 2).argmin())
    return float((values[best] + values[best + 1]) / 2)
