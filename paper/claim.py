"""A claim with its verdict, and what the judges of several studies share.

Each study judges its own claims, in ``paper/studies/NAME_claims.py``; :mod:`paper.claims` collects them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from paper.statistics import Lead, compare_seeds
from paper.verdicts import FAILS, HOLDS, MIN_SEEDS, judge_all, judge_lead

OPERATIONS = ("interference", "modulation")
"""In the order in which claims name them."""
RULE_OF_ALL = (
    "no difference if all intervals lie within this margin; does not hold if one lies below it; cannot be "
    f"told with fewer than {MIN_SEEDS} seeds"
)
"""End of the rule of :func:`verdict_of_leads`."""

V = TypeVar("V")


class Claim(NamedTuple):
    """A claim of the papers in short, its verdict, the measured figures, and how the verdict follows.

    ``out_of_reach`` is true where it can be told only with something that is not at hand.
    """

    claim: str
    verdict: str
    evidence: str
    rule: str
    out_of_reach: bool = False


def verdict_of(holds: bool) -> str:
    """The verdict where a figure leaves nothing open."""
    return HOLDS if holds else FAILS


def verdict_of_leads(leads: Iterable[Lead]) -> str:
    """The verdict on a claim that every one of several leads is above the margin."""
    return judge_all(map(judge_lead, leads))


def describe_leads(leads: Mapping[str, Lead]) -> str:
    """Name and interval of each lead, with commas between them."""
    return ", ".join(f"{name} {lead}" for name, lead in leads.items())


def describe_values(values: Mapping[str, float], form: str, unit: str = "") -> str:
    """Name and value of each figure in a format, e.g. ``.2f``, with commas between them."""
    return ", ".join(f"{key} {value:{form}}{unit}" for key, value in values.items())


def waves_of(values: Mapping[str, V]) -> dict[str, V]:
    """The entries of Wave networks, by keys of systems."""
    return {key: value for key, value in values.items() if key.startswith("wave")}


def means_of(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Mean over seeds of each entry."""
    return {key: float(np.mean(each)) for key, each in values.items()}


def compare_common_seeds(first: Sequence[float], second: Sequence[float], n_comparisons: int) -> Lead:
    """Compare the first seeds, as many as both systems have."""
    n_seeds = min(len(first), len(second))
    return compare_seeds(first[:n_seeds], second[:n_seeds], n_comparisons=n_comparisons)
