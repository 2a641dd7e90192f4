"""Verdicts of the study of complexity."""

from __future__ import annotations

from collections.abc import Iterator

from paper.claim import Claim, describe_values, verdict_of
from paper.studies.flops import overtaking_length
from paper.study import Document
from paper.verdicts import OPEN


def judge(document: Document) -> Iterator[Claim]:
    """Whether costs grow with the length as the papers' formulas say, and explain what Wave saves."""
    for name, regime in (("length", "wide"), ("length-narrow", "narrow")):
        sweep = document["sweeps"].get(name, {"curves": {}})
        fits = {key: curve["step"]["fit"] for key, curve in sweep["curves"].items()}
        wave, transformer = fits.get("wave-all"), fits.get("transformer-all")
        if wave is None or transformer is None:
            continue
        counted = sweep["curves"]["transformer-all"]["flops_fit"]["exponent"]
        exponents = {key: fit["exponent"] for key, fit in fits.items() if fit is not None}
        width = sweep["rest"]["width"]
        crossing = overtaking_length(width, 4 * width)
        verdict = verdict_of(wave["exponent"] < 1.3 and transformer["exponent"] > 1.5)
        yield Claim(
            f"With the length of the text, Wave costs n and the Transformer n² ({regime} networks)",
            verdict if wave["from"] >= crossing else OPEN,
            f"width {sweep['rest']['width']}, {wave['from']} to {wave['to']} tokens, exponents of the time "
            f"of a step: {describe_values(exponents, '.2f')}; exponent of the Transformer's operations "
            f"{counted:.2f}; its n² d overtakes the rest of its operations at {crossing:,} tokens",
            "with the states of all tokens computed, below 1.3 and above 1.5; cannot be told from texts "
            "shorter than those where n² d overtakes",
        )
    counts = next(row for row in document["flops"] if (row["length"], row["width"]) == (45, 768))
    networks = counts["networks"]
    claimed = counts["papers_transformer"] / counts["papers_wave"]
    ratio = networks["transformer-all"] / networks["wave-all"]
    yield Claim(
        "On texts as long as those of AG News, n² d is the larger part of a Transformer layer's operations",
        verdict_of(counts["length"] > counts["overtaking"]),
        f"45 tokens of width 768: n² d over n d² is {claimed:.2f}, the operations of one layer are "
        f"{ratio:.2f} to one; n² d overtakes only at {counts['overtaking']:,.0f} tokens. With only [CLS] "
        f"read out, Wave needs {networks['wave-cls'] / 1e6:,.1f} and the Transformer "
        f"{networks['transformer-cls'] / 1e6:,.1f} million operations a text",
        "45 tokens, the mean of AG News, lie above the length at which n² d overtakes the rest, by counting",
    )
