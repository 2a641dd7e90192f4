"""Paired comparisons of networks over seeds and test texts.

Two systems are trained with the same seeds and answer the same test texts. Their difference has two sources
of chance: the seeds and the texts. An interval that counts only one of them is too narrow (Dror et al. 2018,
"The Hitchhiker's Guide to Testing Statistical Significance in NLP"). Both are counted here as random effects
(Clark 1973, "The language-as-fixed-effect fallacy"), and few seeds have few degrees of freedom
(Satterthwaite 1946), so the interval is Student's. A bootstrap of five seeds would be too narrow.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from token2wave.paired_tests import mcnemar_p

LEVEL = 0.95  # of all intervals of a table together

Answers = NDArray[np.bool_]
Numbers = NDArray[np.float64]


class Lead(NamedTuple):
    """Figure of a system minus that of another, in points: of accuracy, or of correlation times 100.

    Attributes:
        mean: over seeds, and over texts if there are any.
        low: lower end of the interval.
        high: upper end.
        n_seeds: pairs of trained networks.
        n_texts: test texts of all sets.
        mcnemar: the median over seeds of the p-value of :func:`token2wave.paired_tests.mcnemar_p`; NaN where
            something else than answers to one set of texts is compared.
    """

    mean: float
    low: float
    high: float
    n_seeds: int
    n_texts: int = 0
    mcnemar: float = float("nan")

    @property
    def reversed(self) -> Lead:
        """Lead of the second system over the first."""
        return self._replace(mean=-self.mean, low=-self.high, high=-self.low)

    def shifted(self, points: float) -> Lead:
        """The same with some points added, e.g. the distance of an accuracy to a published one."""
        return self._replace(mean=self.mean + points, low=self.low + points, high=self.high + points)

    def __str__(self) -> str:
        if np.isinf(self.low):
            return f"{self.mean:+.2f} points (one seed)"
        return f"{self.mean:+.2f} points ({self.low:+.2f} to {self.high:+.2f})"


def pack_answers(right: Answers) -> str:
    """Pack which of ``N`` test texts are right, ``(N,)`` bool, into base64 of a bit a text."""
    return base64.b64encode(np.packbits(right).tobytes()).decode("ascii")


def unpack_answers(packed: str, n_texts: int) -> Answers:
    """Unpack what :func:`pack_answers` has packed, ``(N,)`` bool."""
    bits = np.unpackbits(np.frombuffer(base64.b64decode(packed), dtype=np.uint8), count=n_texts)
    return bits.astype(np.bool_)


def stack_answers(runs: Sequence[dict[str, Any]], n_texts: int) -> Answers:
    """Answers of the runs of a system, ``(S, N)`` bool, in the order of the seeds."""
    return np.stack([unpack_answers(run["right"], n_texts) for run in runs])


def compare(first: Answers, second: Answers, *, n_comparisons: int = 1) -> Lead:
    """Compare two systems on the same texts with the same seeds; see :func:`compare_sets`.

    Args:
        first: ``(S, N)``, whether the network of each seed is right about each text.
        second: likewise of the other system.
        n_comparisons: of the table.

    Raises:
        ValueError: the shapes differ, or there is no seed or no text.

    Example:
        >>> right = np.ones((5, 1000), dtype=bool)
        >>> compare(right, right).mean
        0.0
    """
    lead = compare_sets([gains_of(first, second)], n_comparisons=n_comparisons)
    answers = first.astype(np.int64) - second
    return lead._replace(mcnemar=float(np.median([mcnemar_p(of_seed) for of_seed in answers])))


def gains_of(first: Answers, second: Answers) -> Numbers:
    """What each text adds to the lead of each seed, in points, ``(S, N)``: 100, 0 or -100.

    Raises:
        ValueError: the shapes differ, or there is no seed or no text.
    """
    if first.shape != second.shape or first.ndim != 2 or not first.size:
        raise ValueError(f"expected two arrays of the same shape (S, N), found {first.shape}, {second.shape}")
    return 100.0 * (first.astype(np.float64) - second)


def compare_sets(gains: Sequence[Numbers], *, n_comparisons: int = 1) -> Lead:
    """Compare two systems on several sets of texts by their mean over the sets: each counts the same.

    The mean varies with the seeds, by the variance of their means over the sets, over ``S``. A seed gives the
    networks of all sets the same initial weights, so its figures on two sets may go together. On each of the
    ``K`` sets, the mean varies with the ``N`` texts, by the variance of their means over ``N``, over ``K^2``.
    These parts ``v``, of ``f`` degrees of freedom each, add up to ``V``, which has Satterthwaite's degrees,
    ``V^2 / sum(v^2 / f)``.
    The interval has level ``1 - (1 - LEVEL) / n_comparisons`` (Bonferroni): all of a table hold together.

    Args:
        gains: of each set, ``(S, N)``: what each text adds to the difference of each seed, in points, as from
            :func:`gains_of`, or 100 times the difference of two
            :func:`paper.correlation.spearman_values`.
        n_comparisons: of the table.

    Raises:
        ValueError: there is no set, no seed or no text, a set is not two-dimensional, or sets have different
            numbers of seeds.
    """
    if not gains or any(each.ndim != 2 or not each.size or len(each) != len(gains[0]) for each in gains):
        shapes = ", ".join(str(each.shape) for each in gains)
        raise ValueError(f"expected arrays of the shape (S, N) for one S, found {shapes or 'none'}")
    mean = float(np.mean([each.mean() for each in gains]))
    n_seeds, n_texts = len(gains[0]), sum(each.shape[1] for each in gains)
    if n_seeds == 1:  # nothing is known about other seeds
        return Lead(mean, -np.inf, np.inf, n_seeds, n_texts)
    of_seeds = np.mean([each.mean(axis=1) for each in gains], axis=0)
    of_texts = [each.mean(axis=0) / len(gains) for each in gains if each.shape[1] > 1]
    parts = np.array([means.var(ddof=1) / len(means) for means in (of_seeds, *of_texts)])
    degrees = np.array([len(means) - 1 for means in (of_seeds, *of_texts)])
    half = _half_width(float(parts.sum()), float((parts**2 / degrees).sum()), n_comparisons)
    return Lead(mean, mean - half, mean + half, n_seeds, n_texts)


def compare_seeds(first: Sequence[float], second: Sequence[float], *, n_comparisons: int = 1) -> Lead:
    """Compare a figure of two systems with the same seeds, by Student's t.

    The interval has level ``1 - (1 - LEVEL) / n_comparisons`` (Bonferroni).

    Raises:
        ValueError: there is no seed, or one system has more than the other.
    """
    if not len(first) or len(first) != len(second):
        raise ValueError(f"expected as many seeds of both, found {len(first)} and {len(second)}")
    differences = np.array(first, dtype=np.float64) - np.array(second, dtype=np.float64)
    low, high = _interval_of_seeds(differences, n_comparisons)
    return Lead(float(differences.mean()), low, high, len(differences))


def _interval_of_seeds(values: Numbers, n_comparisons: int) -> tuple[float, float]:
    """Interval of the mean; of one value nothing is known."""
    if len(values) == 1:
        return -np.inf, np.inf
    variance = float(values.var(ddof=1)) / len(values)
    half = _half_width(variance, variance**2 / (len(values) - 1), n_comparisons)
    mean = float(values.mean())
    return mean - half, mean + half


def _half_width(variance: float, squares_over_degrees: float, n_comparisons: int) -> float:
    """Half width of Student's interval with Satterthwaite's degrees of freedom."""
    if not variance > 0:
        return 0.0
    tail = (1 - LEVEL) / n_comparisons / 2
    return float(student.ppf(1 - tail, variance**2 / squares_over_degrees) * np.sqrt(variance))


class Accuracy(NamedTuple):
    """Accuracy of a system in per cent, over seeds and texts: the mean, and the ends of its interval."""

    mean: float
    low: float
    high: float
    n_seeds: int
    n_texts: int

    def __str__(self) -> str:
        return f"{self.mean:.1f} % ({self.low:.1f} to {self.high:.1f})"


def interval_of_accuracy(right: Answers, *, n_intervals: int = 1) -> Accuracy:
    """Mean accuracy of a system and its interval, as in :func:`compare`.

    Where all answers are right, or all are wrong, nothing varies. The interval then ends at the
    accuracy that shows no error among ``N`` texts with the probability of the tail (Clopper, Pearson 1934).

    Args:
        right: ``(S, N)``, whether the network of each seed is right about each text.
        n_intervals: of the table; all of them hold together.

    Raises:
        ValueError: there is no seed or no text.
    """
    resampled = compare(right, np.zeros_like(right), n_comparisons=n_intervals)
    low, high = max(resampled.low, 0.0), min(resampled.high, 100.0)
    n_texts, tail = resampled.n_texts, (1 - LEVEL) / n_intervals / 2
    unseen = 100.0 * tail ** (1 / n_texts)
    if right.all():
        low = min(low, unseen)
    elif not right.any():
        high = max(high, 100.0 - unseen)
    return Accuracy(resampled.mean, low, high, resampled.n_seeds, n_texts)


class Saving(NamedTuple):
    """Logarithm of the cost of a second system over that of a first one: above 0 the first costs less.

    Attributes:
        mean: over seeds, as if all costs that were cut short ended there.
        low: lower end of the interval; ``-inf`` where some first system did not reach its aim.
        high: upper end; ``inf`` where some second system did not.
        n_seeds: pairs of trained networks.
        n_first: of the first systems that reached their aim.
        n_second: of the second systems.
    """

    mean: float
    low: float
    high: float
    n_seeds: int
    n_first: int
    n_second: int

    def __str__(self) -> str:
        ratio, low, high = (float(np.exp(-value)) for value in (self.mean, self.high, self.low))
        is_above, is_below = self.n_first < self.n_seeds, self.n_second < self.n_seeds
        seeds = f"{self.n_first} and {self.n_second} of {self.n_seeds} seeds get there"
        if is_above and is_below:
            return f"unknown; {seeds}"
        if is_above:
            return f"above {ratio:.2f} times (at least {low:.2f}); {seeds}"
        if is_below:
            return f"below {ratio:.2f} times (at most {high:.2f}); {seeds}"
        return f"{ratio:.2f} times ({low:.2f} to {high:.2f})"


class Cost(NamedTuple):
    """What a network has spent when it reached its aim, above 0; or in all, if it did not reach it."""

    amount: float
    reached: bool


def compare_costs(first: Sequence[Cost], second: Sequence[Cost], *, n_comparisons: int = 1) -> Saving:
    """Compare costs of two systems with the same seeds, by the mean logarithm of their ratio.

    Where the first does not reach its aim, its cost is above what it has spent, and the saving below what
    that gives: the lower end of the interval is then ``-inf``, and the upper end that of the bounds. Likewise
    for the second. No run is left out, and none counts as if it had arrived.

    Args:
        first: a cost a seed.
        second: likewise.
        n_comparisons: of the table.

    Raises:
        ValueError: there is no seed, or one system has more than the other.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"expected as many seeds of both, found {len(first)} and {len(second)}")
    savings = np.log([cost.amount for cost in second]) - np.log([cost.amount for cost in first])
    low, high = _interval_of_seeds(savings, n_comparisons)
    n_first, n_second = (sum(cost.reached for cost in costs) for costs in (first, second))
    n_seeds = len(savings)
    low, high = low if n_first == n_seeds else -np.inf, high if n_second == n_seeds else np.inf
    return Saving(float(savings.mean()), low, high, n_seeds, n_first, n_second)
