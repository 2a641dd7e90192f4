"""Verdicts of the ablations."""

from __future__ import annotations

from collections.abc import Iterator

from paper.claim import RULE_OF_ALL, Claim, describe_leads, verdict_of_leads
from paper.studies.ablation_comparisons import leads_of
from paper.study import Document
from paper.verdicts import MARGIN


def judge(document: Document) -> Iterator[Claim]:
    """Whether waves are better than real numbers, paired over seeds and test texts."""
    leads = leads_of(document, {"averages": "real-means", "magnitudes alone": "magnitudes-alone"})
    if leads:
        yield Claim(
            f"Modulation of complex waves is more accurate than real twins with as many parameters, "
            f"{document['data']}, width {document['width']} (open question)",
            verdict_of_leads(leads.values()),
            f"lead over real twins, {len(document['seeds'])} seeds: {describe_leads(leads)}",
            f"the lead is above {MARGIN} points in every comparison; {RULE_OF_ALL}. The twins have no "
            "product, and averages no squares, so a lead is that of all of these together",
        )
