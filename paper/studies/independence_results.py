"""What the study of independence finds, from its document: orders, effects of the penalty, correlations."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from paper.eigenvalue_spread import MEASURES, PLACES, SIGNS
from paper.statistics import LEVEL, Lead, compare, compare_sets, gains_of, stack_answers
from paper.study import Document
from paper.verdicts import MIN_SEEDS, OPEN, judge_lead

RESAMPLES = 10_000  # of networks, for the interval of a correlation
ALL_SETS = "all sets"
RANK, JUDGED = "effective_rank", "after"  # what the penalty must raise, and where
LEAST_RISE = 0.1  # of the effective rank, in every seed

PenaltyKey = tuple[str, str, float]
"""Data set, operation and weight."""


def penalised_runs(document: Document) -> dict[PenaltyKey, list[dict[str, Any]]]:
    """Runs of each data set, operation and weight."""
    return {(each["data"], each["operation"], each["weight"]): each["runs"] for each in document["penalised"]}


def rank_rises(document: Document) -> dict[PenaltyKey, float]:
    """Relative rise of the effective rank by each penalty, in the seed (and set) where it is least."""
    runs = penalised_runs(document)
    rises: dict[PenaltyKey, float] = {}
    for key, reference in _penalties(runs):
        ratios = [
            run[JUDGED][RANK] / base[JUDGED][RANK] for run, base in zip(runs[key], reference, strict=True)
        ]
        rises[key] = min(ratios) - 1
    for operation, weight in _on_all_sets(document, rises):
        rises[ALL_SETS, operation, weight] = min(rises[data, operation, weight] for data in document["sets"])
    return rises


def penalty_leads(document: Document) -> dict[PenaltyKey, Lead]:
    """Accuracy with each penalty minus that without, paired over seeds and texts, in points.

    Beside each data set, :data:`ALL_SETS` is the mean over all, where all are measured.
    """
    runs, answers = penalised_runs(document), {}
    for key, reference in _penalties(runs):
        n_texts = document["sets"][key[0]]["test"]
        answers[key] = stack_answers(runs[key], n_texts), stack_answers(reference, n_texts)
    on_all = _on_all_sets(document, answers)
    n_comparisons = len(answers) + len(on_all)
    leads = {key: compare(*pair, n_comparisons=n_comparisons) for key, pair in answers.items()}
    for operation, weight in on_all:
        pairs = [gains_of(*answers[data, operation, weight]) for data in document["sets"]]
        leads[ALL_SETS, operation, weight] = compare_sets(pairs, n_comparisons=n_comparisons)
    return leads


def judge_penalty(lead: Lead, rise: float) -> str:
    """Judge whether more independence brings accuracy: it cannot be told where there is not clearly more."""
    return judge_lead(lead) if rise >= LEAST_RISE else OPEN


def _penalties(
    runs: Mapping[PenaltyKey, Sequence[dict[str, Any]]],
) -> list[tuple[PenaltyKey, Sequence[dict[str, Any]]]]:
    """Each penalty that has its runs without penalty, and those."""
    return [(key, runs[*key[:2], 0.0]) for key in runs if key[2] and (*key[:2], 0.0) in runs]


def _on_all_sets(document: Document, of_penalties: Mapping[PenaltyKey, Any]) -> list[tuple[str, float]]:
    """Operations and weights that are measured on every data set, if there are several."""
    pairs = dict.fromkeys(key[1:] for key in of_penalties)
    sets = document["sets"]
    return [pair for pair in pairs if len(sets) > 1 and all((data, *pair) in of_penalties for data in sets)]


class Orders(NamedTuple):
    """How a Transformer stands to both operations of the Wave network, by place, data set and measure.

    Attributes:
        signs: 1 if every seed of the Transformer is more independent than every seed of both operations, -1
            if every one is less, else 0.
        step: the last one that all have been measured at.
        n_seeds: the fewest of a system.
    """

    signs: dict[tuple[str, str, str], int]
    step: int
    n_seeds: int

    @property
    def verdict_sign(self) -> int:
        """1 or -1 where all signs agree and there are enough seeds, else 0."""
        first, *others = set(self.signs.values())
        return 0 if others or self.n_seeds < MIN_SEEDS else first

    def describe(self, place: str) -> str:
        """In how many pairs of a measure and a data set the Transformer is more and less independent."""
        signs = [sign for (at, *_), sign in self.signs.items() if at == place]
        pairs = f"of {len(signs)} pairs of measure and data set"
        return f"{pairs}, more independent in {signs.count(1)}, less in {signs.count(-1)}"


def order_transformer(document: Document, rival: str) -> Orders | None:
    """Compare a Transformer with both Wave networks on every data set; None if it was not measured on all."""
    courses = {(each["data"], each["system"]): each for each in document["courses"]}
    waves = sorted({system for _, system in courses if system.startswith("wave")})
    keys = list(itertools.product(document["sets"], (*waves, rival)))
    if len(waves) < 2 or any(key not in courses for key in keys):
        return None
    step = max(set.intersection(*(set(courses[key]["steps"]) for key in keys)))
    signs = {}
    for place, data, name in itertools.product(PLACES, document["sets"], MEASURES):
        own, *others = [run_means(courses[data, key], place, name, step) for key in (rival, *waves)]
        signs[place, data, name] = SIGNS[name] * _order(own, [*itertools.chain(*others)])
    return Orders(signs, step, min(len(courses[key]["runs"]) for key in keys))


def run_means(course: Mapping[str, Any], place: str, name: str, step: int) -> list[float]:
    """Mean over batches of a measure after a step, of each seed."""
    at = course["steps"].index(step)
    return [run[place][name][at] for run in course["runs"]]


def _order(first: Sequence[float], second: Sequence[float]) -> int:
    """1 if all of the first are above all of the second, -1 if below, else 0."""
    return int(min(first) > max(second)) - int(max(first) < min(second))


class Correlation(NamedTuple):
    """Spearman's rank correlation of a measure with test accuracy, and its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


def correlate(
    rows: Sequence[Mapping[str, Any]], name: str, *, within: bool = False, n_comparisons: int = 1
) -> Correlation | None:
    """Correlate a measure with test accuracy over networks, with the percentile bootstrap over networks.

    A resample draws as many networks of each width as there are. Without several seeds of each width there
    is nothing to draw from, and the result is None, as where one of them does not vary.

    Args:
        rows: ``N`` networks, each with ``width``, ``test_accuracy`` and the measure.
        name: the measure.
        within: whether each width's mean is subtracted first, in every resample.
        n_comparisons: of the table; all intervals together have the level ``LEVEL``.
    """
    widths = np.array([row["width"] for row in rows])
    values = np.array([[row[name], row["test_accuracy"]] for row in rows]).T  # (2, N)
    groups = [np.flatnonzero(widths == width) for width in np.unique(widths)]
    if not groups or min(map(len, groups)) < 2 or not np.ptp(values, axis=1).all():
        return None
    generator = np.random.default_rng(0)
    drawn = [generator.choice(group, (RESAMPLES, len(group))) for group in groups]
    in_order = [group[None] for group in groups]
    (value,), resampled = (_spearman(values, each, within) for each in (in_order, drawn))
    tail = (1 - LEVEL) / n_comparisons / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Correlation(float(value), float(low), float(high))


def _spearman(
    values: NDArray[np.float64], drawn: Sequence[NDArray[np.int64]], within: bool
) -> NDArray[np.float64]:
    """Correlation of each draw, ``(R,)``; 0 where a variable does not vary.

    ``values`` is ``(2, N)``; ``drawn`` has an array ``(R, N_g)`` for each group.
    """
    groups = [values[:, rows] for rows in drawn]  # (2, R, N_g)
    if within:
        groups = [group - group.mean(axis=2, keepdims=True) for group in groups]
        groups = [group.round(12) for group in groups]  # equal distances from a mean stay equal
    ranks = rankdata(np.concatenate(groups, axis=2), axis=2)  # (2, R, N)
    ranks -= ranks.mean(axis=2, keepdims=True)
    products, (first, second) = ranks.prod(axis=0).sum(axis=1), np.square(ranks).sum(axis=2)
    scale = np.sqrt(first * second)
    result: NDArray[np.float64] = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    return result
