"""Paired comparisons of networks over seeds and test texts, and the verdicts that they carry.

Two systems are trained with the same seeds and answer the same test texts. Their difference has two sources
of chance: the seeds and the texts. An interval that resamples only one of them is too narrow (Dror et al.
2018, "The Hitchhiker's Guide to Testing Statistical Significance in NLP"). The margin below which a
difference counts as none is stated before any figure: :data:`MARGIN`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.paired_tests import mcnemar_p

MARGIN = 0.3  # points of accuracy
LEVEL = 0.95  # of all intervals of a table together
RESAMPLES = 10_000
MIN_SEEDS = 5

HOLDS, FAILS, SAME, OPEN = "holds", "does not hold", "no difference", "cannot be told"
VERDICTS = HOLDS, FAILS, SAME, OPEN

Answers = NDArray[np.bool_]


class Lead(NamedTuple):
    """Accuracy of a system minus that of another, in points.

    Attributes:
        mean: over seeds and texts.
        low: lower end of the interval.
        high: upper end.
        mcnemar: the median over seeds of the p-value of :func:`token2wave.paired_tests.mcnemar_p`.
        n_seeds: pairs of trained networks.
        n_texts: test texts.
    """

    mean: float
    low: float
    high: float
    mcnemar: float
    n_seeds: int
    n_texts: int

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


def compare(first: Answers, second: Answers, *, n_comparisons: int = 1, seed: int = 0) -> Lead:
    """Compare two systems on the same texts with the same seeds, by the bootstrap.

    A resample draws seeds and texts with replacement, both at once. The deviation that few seeds show is
    too small by ``sqrt((S - 1) / S)``, so the differences of seeds from their mean are divided by it. The
    interval has level ``1 - (1 - LEVEL) / n_comparisons`` (Bonferroni): all of a table hold together.

    Args:
        first: ``(S, N)``, whether the network of each seed is right about each text.
        second: likewise of the other system.
        n_comparisons: of the table.
        seed: of the resamples.

    Raises:
        ValueError: the shapes differ, or there is no seed or no text.

    Example:
        >>> right = np.ones((5, 1000), dtype=bool)
        >>> compare(right, right).mean
        0.0
    """
    return compare_over_sets([(first, second)], n_comparisons=n_comparisons, seed=seed)


def compare_over_sets(
    pairs: Sequence[tuple[Answers, Answers]], *, n_comparisons: int = 1, seed: int = 0
) -> Lead:
    """Compare two systems on several data sets, each of which counts the same; see :func:`compare`.

    Seeds and texts are drawn for each set by itself. ``n_seeds`` is the smallest number of seeds,
    ``n_texts`` the number of all texts, and ``mcnemar`` the median over all seeds and sets.

    Args:
        pairs: of each data set, the answers of both systems, ``(S, N)`` each.
        n_comparisons: of the table.
        seed: of the resamples.

    Raises:
        ValueError: the shapes of a pair differ, or there is no set, no seed or no text.
    """
    generator = np.random.default_rng(seed)
    if not pairs:
        raise ValueError("expected the answers of at least one data set, found none")
    resamples = [_resample(*pair, generator) for pair in pairs]
    mean = float(np.mean([each.mean for each in resamples]))
    n_seeds, n_texts = min(len(first) for first, _ in pairs), sum(first.shape[1] for first, _ in pairs)
    mcnemar = float(np.median([mcnemar_p(of_seed) for each in resamples for of_seed in each.answers]))
    if n_seeds == 1:  # nothing is known about other seeds
        return Lead(mean, -np.inf, np.inf, mcnemar, n_seeds, n_texts)
    tail = (1 - LEVEL) / n_comparisons / 2
    low, high = np.quantile(np.mean([each.means for each in resamples], axis=0), [tail, 1 - tail])
    return Lead(mean, float(low), float(high), mcnemar, n_seeds, n_texts)


class _Resamples(NamedTuple):
    """Differences of a data set: ``(S, N)`` answers, their mean, and that of each resample, in points."""

    answers: NDArray[np.int64]
    mean: float
    means: NDArray[np.float64]


def _resample(first: Answers, second: Answers, generator: np.random.Generator) -> _Resamples:
    if first.shape != second.shape or first.ndim != 2 or not first.size:
        raise ValueError(f"expected two arrays of the same shape (S, N), found {first.shape}, {second.shape}")
    n_seeds, n_texts = first.shape
    answers = first.astype(np.int64) - second  # 1 where the first alone is right, -1 where the second is
    # Texts on which all pairs of networks differ alike count as one kind: there are few, whatever N.
    kinds, n_of_kind = np.unique(answers, axis=1, return_counts=True)
    gains = 100.0 * kinds.astype(np.float64)
    of_seeds = gains @ n_of_kind / n_texts
    mean = float(of_seeds.mean())
    if n_seeds > 1:
        gains += (of_seeds - mean)[:, None] * (np.sqrt(n_seeds / (n_seeds - 1)) - 1)
    seeds = generator.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), RESAMPLES) / n_seeds
    texts = generator.multinomial(n_texts, n_of_kind / n_texts, RESAMPLES) / n_texts
    return _Resamples(answers, mean, np.einsum("rs,rs->r", seeds, texts @ gains.T))


def judge_lead(difference: Lead, margin: float = MARGIN) -> str:
    """Judge the claim that the first system is ahead of the second by more than a margin.

    ==================  =====================================================================
    holds               the whole interval lies above the margin
    no difference       the whole interval lies within the margin on both sides of zero
    does not hold       the whole interval lies below the margin, and some of it behind by more
    cannot be told      the interval reaches across the margin, or there are too few seeds
    ==================  =====================================================================
    """
    if difference.n_seeds < MIN_SEEDS:
        return OPEN
    if difference.low > margin:
        return HOLDS
    if difference.high >= margin:
        return OPEN
    return SAME if difference.low > -margin else FAILS


def judge_above(difference: Lead, threshold: float) -> str:
    """Judge the claim that a difference is larger than a threshold: its interval lies above or below."""
    if difference.n_seeds < MIN_SEEDS:
        return OPEN
    return HOLDS if difference.low > threshold else FAILS if difference.high < threshold else OPEN


def judge_no_loss(difference: Lead, margin: float = MARGIN) -> str:
    """Judge the claim that the first system is behind the second by no more than a margin.

    It holds where the whole interval lies above ``-margin``, and does not where it lies below; a difference
    within the margin on both sides is none.
    """
    if difference.n_seeds < MIN_SEEDS:
        return OPEN
    if difference.low > -margin:
        return SAME if difference.high < margin else HOLDS
    return FAILS if difference.high < -margin else OPEN


def stack_answers(runs: Sequence[dict[str, Any]], n_texts: int) -> Answers:
    """Answers of the runs of a system, ``(S, N)`` bool, in the order of the seeds."""
    return np.stack([unpack_answers(run["right"], n_texts) for run in runs])


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
    """Mean accuracy of a system and its interval, by the bootstrap of :func:`compare`.

    Where all answers are right, or all are wrong, every resample is the same. The interval then ends at the
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


def judge_accuracy(accuracy: Accuracy, threshold: float) -> str:
    """Judge the claim that a system is right on more than ``threshold`` per cent of the texts.

    It holds where the whole interval lies above the threshold, and does not where the whole interval lies
    below; otherwise, or with too few seeds, it cannot be told.
    """
    if accuracy.n_seeds < MIN_SEEDS:
        return OPEN
    if accuracy.low > threshold:
        return HOLDS
    return FAILS if accuracy.high < threshold else OPEN
