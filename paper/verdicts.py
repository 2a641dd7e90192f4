"""The four verdicts, the margins stated before any figure, and the rules that give a verdict.

A rule sees an interval and the number of seeds alone. Whether an interval of so many seeds and texts can be
narrow enough for "no difference" is another matter: tables print every interval.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

MARGIN = 0.3  # points of accuracy, or of correlation times 100
RATIO = 1.25  # of two costs
MIN_SEEDS = 5

HOLDS, FAILS, SAME, OPEN = "holds", "does not hold", "no difference", "cannot be told"
VERDICTS = HOLDS, FAILS, SAME, OPEN


class Interval(Protocol):
    """What a rule needs of a difference."""

    @property
    def low(self) -> float:
        """Lower end."""

    @property
    def high(self) -> float:
        """Upper end."""

    @property
    def n_seeds(self) -> int:
        """Pairs of trained networks."""


def judge_lead(difference: Interval, margin: float = MARGIN) -> str:
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


def judge_above(difference: Interval, threshold: float) -> str:
    """Judge the claim that a difference, or an accuracy in per cent, is above a threshold.

    It holds where the whole interval lies above, and does not where the whole interval lies below; otherwise,
    or with too few seeds, it cannot be told.
    """
    if difference.n_seeds < MIN_SEEDS:
        return OPEN
    return HOLDS if difference.low > threshold else FAILS if difference.high < threshold else OPEN


def judge_no_loss(difference: Interval, margin: float = MARGIN) -> str:
    """Judge the claim that the first system is behind the second by no more than a margin.

    It holds where the whole interval lies above ``-margin``, and does not where it lies below; a difference
    within the margin on both sides is none.
    """
    if difference.n_seeds < MIN_SEEDS:
        return OPEN
    if difference.low > -margin:
        return SAME if difference.high < margin else HOLDS
    return FAILS if difference.high < -margin else OPEN


def judge_all(verdicts: Iterable[str]) -> str:
    """Judge a claim about several comparisons: one that fails or shows no difference refutes it."""
    different = set(verdicts)
    if len(different) == 1:
        return different.pop()
    return FAILS if FAILS in different or SAME in different else OPEN


def judge_all_without_loss(verdicts: Iterable[str]) -> str:
    """Judge a claim that no comparison shows a loss, from :func:`judge_no_loss`: one loss refutes it."""
    different = set(verdicts)
    if FAILS in different:
        return FAILS
    if OPEN in different:
        return OPEN
    return SAME if different == {SAME} else HOLDS


def judge_any(verdicts: Iterable[str]) -> str:
    """Judge a claim that one of several comparisons shows a lead: none of them must, to refute it."""
    different = set(verdicts)
    for verdict in (HOLDS, OPEN):
        if verdict in different:
            return verdict
    return SAME if different == {SAME} else FAILS
