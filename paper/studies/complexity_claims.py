"""Verdicts of the study of complexity."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from scipy.stats import t as student

from paper.claim import Claim, verdict_of
from paper.studies.flops import overtaking_length
from paper.studies.timing import fit_exponent
from paper.study import Document
from paper.verdicts import FAILS, HOLDS, OPEN

MOST_OF_LINEAR, LEAST_OF_SQUARE = 1.3, 1.5  # exponents
NETWORKS = "wave-all", "transformer-all"


class Exponent(NamedTuple):
    """Exponent of growth and its interval of 95 %, over so many sizes."""

    value: float
    low: float
    high: float
    n_sizes: int

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def exponent_above(sweep: Document, key: str, least: int) -> Exponent | None:
    """Fit a network's time of a step to the sizes from ``least``; None for fewer than three.

    The interval is Student's, from the standard error of the fit.
    """
    pairs = zip(sweep["sizes"], sweep["curves"][key]["step"]["seconds"], strict=True)
    points = [(size, seconds) for size, seconds in pairs if size >= least]
    fit = fit_exponent(*zip(*points, strict=True)) if len(points) > 2 else None
    if fit is None:
        return None
    value, half = fit["exponent"], float(student.ppf(0.975, len(points) - 2)) * fit["standard_error"]
    return Exponent(value, value - half, value + half, len(points))


def judge_growth(wave: Exponent | None, transformer: Exponent | None) -> str:
    """Judge that the first grows about linearly and the second about with the square."""
    if wave is None or transformer is None:
        return OPEN
    if wave.low > MOST_OF_LINEAR or transformer.high < LEAST_OF_SQUARE:
        return FAILS
    return HOLDS if wave.high < MOST_OF_LINEAR and transformer.low > LEAST_OF_SQUARE else OPEN


def judge(document: Document) -> Iterator[Claim]:
    """Whether costs grow with the length as the papers' formulas say, and explain what Wave saves."""
    for name, regime in (("length", "wide"), ("length-narrow", "narrow")):
        sweep = document["sweeps"].get(name)
        if sweep is None:
            continue
        width, longest = sweep["rest"]["width"], sweep["sizes"][-1]
        crossing = overtaking_length(width, 4 * width)
        exponents = {key: exponent_above(sweep, key, crossing) for key in NETWORKS}
        told = ", ".join(f"{key} {each}" for key, each in exponents.items() if each is not None)
        yield Claim(
            f"With the length n of the text, the time of Wave grows more slowly than n^{MOST_OF_LINEAR} and "
            f"that of the Transformer faster than n^{LEAST_OF_SQUARE} ({regime} networks)",
            judge_growth(*exponents.values()),
            f"width {width}, from {crossing:,} tokens, where n² d overtakes the rest of the Transformer's "
            f"operations, to {longest:,}: "
            + (f"exponents of the time of a step {told}" if told else "too few sizes"),
            f"with the states of all tokens computed, intervals of 95 % below {MOST_OF_LINEAR} and above "
            f"{LEAST_OF_SQUARE}, of each fit by itself; cannot be told from fewer than three lengths",
        )
    counts = next(row for row in document["flops"] if (row["length"], row["width"]) == (45, 768))
    networks = counts["networks"]
    claimed = counts["papers_transformer"] / counts["papers_wave"]
    ratio = networks["transformer-all"] / networks["wave-all"]
    yield Claim(
        "On texts of 45 tokens, n² d is the larger part of a Transformer layer's operations (a calculation)",
        verdict_of(counts["length"] > counts["overtaking"]),
        f"45 tokens of width 768: n² d over n d² is {claimed:.2f}, the operations of one layer are "
        f"{ratio:.2f} to one; n² d overtakes only at {counts['overtaking']:,.0f} tokens. With only [CLS] "
        f"read out, Wave needs {networks['wave-cls'] / 1e6:,.1f} and the Transformer "
        f"{networks['transformer-cls'] / 1e6:,.1f} million operations a text",
        "45 tokens lie above the length at which n² d overtakes the rest, by counting",
    )
