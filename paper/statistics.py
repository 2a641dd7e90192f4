"""Paired comparisons of networks over seeds and test texts, and the verdicts that they carry.

Two systems are trained with the same seeds and answer the same test texts. Their difference has two sources
of chance: the seeds and the texts. An interval that resamples only one of them is too narrow (Dror et al.
2018, "The Hitchhiker's Guide to Testing Statistical Significance in NLP"). The margin below which a
difference counts as none is stated before any figure: :data:`MARGIN`. A rank correlation is a mean over
texts up to terms that vanish with their number (:func:`spearman_values`), so scores are compared as answers
are, and a point is a hundredth of the correlation.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.paired_tests import mcnemar_p

MARGIN = 0.3  # points of accuracy, or of correlation times 100
LEVEL = 0.95  # of all intervals of a table together
RESAMPLES = 10_000
MIN_SEEDS = 5

HOLDS, FAILS, SAME, OPEN = "holds", "does not hold", "no difference", "cannot be told"
VERDICTS = HOLDS, FAILS, SAME, OPEN

Answers = NDArray[np.bool_]
Numbers = NDArray[np.float64]


class Lead(NamedTuple):
    """Accuracy or correlation of a system minus that of another, in points.

    Attributes:
        mean: over seeds and texts.
        low: lower end of the interval.
        high: upper end.
        mcnemar: the median over seeds of the p-value of :func:`token2wave.paired_tests.mcnemar_p`; NaN where
            something else than answers to one set of texts is compared.
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


def pack_scores(scores: NDArray[Any]) -> str:
    """Pack the scores of ``N`` test texts, ``(N,)``, into base64 of a float32 a text."""
    return base64.b64encode(scores.astype("<f4").tobytes()).decode("ascii")


def unpack_scores(packed: str) -> Numbers:
    """Unpack what :func:`pack_scores` has packed, ``(N,)``."""
    return np.asarray(np.frombuffer(base64.b64decode(packed), dtype="<f4"), dtype=np.float64)


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
        return Lead(mean, -np.inf, np.inf, mcnemar, n_seeds, n_texts)
    gains += _missing_deviation(of_seeds)[:, None]
    generator = np.random.default_rng(seed)
    seeds = _draw_seeds(generator, n_seeds)
    texts = generator.multinomial(n_texts, n_of_kind / n_texts, RESAMPLES) / n_texts
    low, high = _interval(np.einsum("rs,rs->r", seeds, texts @ gains.T), n_comparisons)
    return Lead(mean, low, high, mcnemar, n_seeds, n_texts)


def compare_sets(gains: Sequence[Numbers], *, n_comparisons: int = 1, seed: int = 0) -> Lead:
    """Compare two systems on several sets of texts with the same seeds, by their mean over the sets.

    Every text has a number, and each set counts the same, as in the average of GLUE (arXiv 1804.07461). A
    resample draws seeds, the same for all sets, and the texts of each set, by the bootstrap with normal
    multipliers (van der Vaart & Wellner 1996, "Weak Convergence and Empirical Processes", section 2.9): a
    text has a random weight instead of a number of draws. The mean over texts that this gives is normal, and
    is drawn as such. Seeds and levels are those of :func:`compare`.

    Args:
        gains: of each set, ``(S, N)``: what each text adds to the difference of each seed, in points, such as
            100 times the difference of two :func:`spearman_values`.
        n_comparisons: of the table.
        seed: of the resamples.

    Raises:
        ValueError: a set has another number of seeds, or there is no set, no seed or no text.

    Example:
        >>> values = 100 * spearman_values(np.arange(9), np.arange(9))
        >>> round(compare_sets([np.tile(values, (5, 1))]).mean, 6)
        100.0
    """
    if not gains or any(each.ndim != 2 or not each.size or len(each) != len(gains[0]) for each in gains):
        shapes = ", ".join(str(each.shape) for each in gains)
        raise ValueError(f"expected arrays (S, N) of one number of seeds, found {shapes or 'none'}")
    n_seeds, n_texts = len(gains[0]), sum(each.shape[1] for each in gains)
    of_seeds = np.mean([each.mean(axis=1) for each in gains], axis=0)
    mean = float(of_seeds.mean())
    if n_seeds == 1:
        return Lead(mean, -np.inf, np.inf, np.nan, n_seeds, n_texts)
    covariance = np.zeros((n_seeds, n_seeds))
    for each in gains:
        centred = each - each.mean(axis=1, keepdims=True)
        covariance += centred @ centred.T / (each.shape[1] * len(gains)) ** 2
    generator = np.random.default_rng(seed)
    seeds = _draw_seeds(generator, n_seeds)
    texts = generator.multivariate_normal(np.zeros(n_seeds), covariance, RESAMPLES, method="eigh")
    means = np.einsum("rs,rs->r", seeds, texts + of_seeds + _missing_deviation(of_seeds))
    low, high = _interval(means, n_comparisons)
    return Lead(mean, low, high, np.nan, n_seeds, n_texts)


def _missing_deviation(of_seeds: Numbers) -> Numbers:
    """What to add to the figure of each seed, ``(S,)``, so that they deviate as seeds in general do."""
    n_seeds = len(of_seeds)
    return np.asarray((of_seeds - of_seeds.mean()) * (np.sqrt(n_seeds / (n_seeds - 1)) - 1))


def _draw_seeds(generator: np.random.Generator, n_seeds: int) -> Numbers:
    """Weights of the seeds in every resample, ``(RESAMPLES, S)``."""
    return generator.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), RESAMPLES) / n_seeds


def _interval(means: Numbers, n_comparisons: int) -> tuple[float, float]:
    """Interval of the resampled means, of the level that all comparisons of a table need together."""
    tail = (1 - LEVEL) / n_comparisons / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def spearman_values(truth: NDArray[Any], predicted: NDArray[Any]) -> Numbers:
    """What each text adds to Spearman's rank correlation, ``(N,)``; their mean is the correlation.

    The correlation is a functional of the distribution of texts. It changes by ``IF_i`` times a small weight
    of text ``i`` (its influence function, whose mean is zero), and the values are ``rho + IF_i``. Means of
    them over resamples are the infinitesimal jackknife's approximation of the correlation of resamples
    (Efron 1982, "The Jackknife, the Bootstrap and Other Resampling Plans", chapter 6). Equal numbers share
    their mean rank. All values are 0 where one of the two does not vary.

    With ``x`` and ``y`` the ranks over ``N``, ``K_ij`` one if number ``i`` is below ``j``, half if they are
    equal, so that ``x_j = mean_i K_ij``, the covariance ``c = mean x y - 1/4`` has the influence
    ``x_i y_i + mean_j K_ij y_j + mean_j L_ij x_j - 3 mean x y``, ``L`` being ``K`` of the other numbers.

    Args:
        truth: ``(N,)``, true scores.
        predicted: ``(N,)``, scores of a system.
    """
    (x, sum_above_x), (y, sum_above_y) = (_rank(numbers) for numbers in (truth, predicted))
    covariance, influence = _moment(x, y, sum_above_x, sum_above_y)
    variance_x, influence_x = _moment(x, x, sum_above_x, sum_above_x)
    variance_y, influence_y = _moment(y, y, sum_above_y, sum_above_y)
    if min(variance_x, variance_y) < 1e-12:
        return np.zeros(len(truth))
    scale = np.sqrt(variance_x * variance_y)
    rho = covariance / scale
    spread = influence_x / variance_x + influence_y / variance_y
    return np.asarray(rho + influence / scale - rho / 2 * spread)


def _rank(numbers: NDArray[Any]) -> tuple[Numbers, Callable[[Numbers], Numbers]]:
    """Ranks over ``N``, ``(N,)``; and what gives ``mean_j K_ij v_j`` of values ``v``, ``(N,)``."""
    _, groups, sizes = np.unique(numbers, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - sizes / 2)[groups] / len(numbers)

    def sum_above(values: Numbers) -> Numbers:
        sums = np.bincount(groups, values)
        return np.asarray((sums.sum() - np.cumsum(sums) + sums / 2)[groups] / len(values))

    return ranks, sum_above


def _moment(
    x: Numbers,
    y: Numbers,
    sum_above_x: Callable[[Numbers], Numbers],
    sum_above_y: Callable[[Numbers], Numbers],
) -> tuple[float, Numbers]:
    """Covariance of two ranks, whose means are 1/2, and its influence function, ``(N,)``."""
    product = float(np.mean(x * y))
    return product - 0.25, x * y + sum_above_x(y) + sum_above_y(x) - 3 * product


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
