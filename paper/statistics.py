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

    def __str__(self) -> str:
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
    resampled = _resample(first, second, seed)
    return _lead(resampled.mean, resampled.means, n_comparisons, resampled.mcnemar, *first.shape)


def compare_over_sets(
    pairs: Sequence[tuple[Answers, Answers]], *, n_comparisons: int = 1, seed: int = 0
) -> Lead:
    """Compare two systems by the mean over data sets of their difference; each set counts the same.

    Seeds and texts are resampled as in :func:`compare`, in each set apart: its networks are trained on data
    of their own. The sets are not resampled, so the interval is about these sets and no others.

    Args:
        pairs: both systems' answers to each set, ``(S, N)`` each; ``N`` differs between sets.
        n_comparisons: of the table.
        seed: of the resamples.

    Returns:
        The lead with the fewest seeds of any set, the texts of all, and no value of McNemar's test.

    Raises:
        ValueError: there is no set, or the shapes of a set differ, or it has no seed or no text.
    """
    if not pairs:
        raise ValueError("expected answers to at least one data set, found none")
    sets = [_resample(first, second, seed + i) for i, (first, second) in enumerate(pairs)]
    mean = float(np.mean([each.mean for each in sets]))
    means = [each.means for each in sets if each.means is not None]
    over_sets = np.mean(means, axis=0) if len(means) == len(sets) else None
    n_seeds, n_texts = min(len(first) for first, _ in pairs), sum(first.shape[1] for first, _ in pairs)
    return _lead(mean, over_sets, n_comparisons, np.nan, n_seeds, n_texts)


class _Resampled(NamedTuple):
    """Mean difference in points, its resamples ``(RESAMPLES,)`` (None of one seed), and McNemar's p."""

    mean: float
    means: NDArray[np.float64] | None
    mcnemar: float


def _resample(first: Answers, second: Answers, seed: int) -> _Resampled:
    if first.shape != second.shape or first.ndim != 2 or not first.size:
        raise ValueError(f"expected two arrays of the same shape (S, N), found {first.shape}, {second.shape}")
    n_seeds, n_texts = first.shape
    answers = first.astype(np.int64) - second  # 1 where the first alone is right, -1 where the second is
    # Texts on which all pairs of networks differ alike count as one kind: there are few, whatever N.
    kinds, n_of_kind = np.unique(answers, axis=1, return_counts=True)
    gains = 100.0 * kinds.astype(np.float64)
    of_seeds = gains @ n_of_kind / n_texts
    mean = float(of_seeds.mean())
    mcnemar = float(np.median([mcnemar_p(of_seed) for of_seed in answers]))
    if n_seeds == 1:  # nothing is known about other seeds
        return _Resampled(mean, None, mcnemar)
    gains += (of_seeds - mean)[:, None] * (np.sqrt(n_seeds / (n_seeds - 1)) - 1)
    generator = np.random.default_rng(seed)
    seeds = generator.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), RESAMPLES) / n_seeds
    texts = generator.multinomial(n_texts, n_of_kind / n_texts, RESAMPLES) / n_texts
    return _Resampled(mean, np.einsum("rs,rs->r", seeds, texts @ gains.T), mcnemar)


def _lead(
    mean: float,
    means: NDArray[np.float64] | None,
    n_comparisons: int,
    mcnemar: float,
    n_seeds: int,
    n_texts: int,
) -> Lead:
    low, high = -np.inf, np.inf
    if means is not None:
        tail = (1 - LEVEL) / n_comparisons / 2
        low, high = np.quantile(means, [tail, 1 - tail])
    return Lead(mean, float(low), float(high), mcnemar, n_seeds, n_texts)


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
