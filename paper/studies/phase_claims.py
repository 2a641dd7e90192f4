"""Verdicts of the study of phase and magnitude."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paper.claim import RULE_OF_ALL, Claim, describe_leads, verdict_of_leads
from paper.studies.phase_comparisons import READOUTS, REDUNDANT, TITLES, WIDE, compare_networks
from paper.study import Document
from paper.verdicts import MARGIN


def judge(document: Document) -> Iterator[Claim]:
    """What phase and magnitude bring, by the comparisons that are measured on all data sets."""
    compared = [
        each
        for each in compare_networks(document)
        if each.width != WIDE and each.of_sets.keys() == document["rows"].keys()
    ]
    own = [readout for readout in READOUTS if readout not in REDUNDANT]
    groups: list[tuple[str, Sequence[str], str]] = [
        ("phase", REDUNDANT, "at [CLS], where it is a function of the magnitude"),
        *(("phase", (readout,), f"where it is a number of its own: {TITLES[readout]}") for readout in own),
        ("magnitude", REDUNDANT, "at [CLS]"),
        ("magnitude", own, "where all tokens or two layers count"),
    ]
    for removed, readouts, where in groups:
        leads = {
            f"{TITLES[each.readout]}, {each.operation}": each.over_sets
            for each in compared
            if each.removed == removed and each.readout in readouts
        }
        if leads:
            yield Claim(
                f"The {removed} brings accuracy {where} (open question)",
                verdict_of_leads(leads.values()),
                f"lead over the network without {removed}, mean over {', '.join(document['rows'])}, "
                f"{len(document['seeds'])} seeds: {describe_leads(leads)}",
                f"the lead is above {MARGIN} points in every comparison; {RULE_OF_ALL}. Without the phase "
                "all tokens of a text have the same state, and imaginary parts are zero",
            )
