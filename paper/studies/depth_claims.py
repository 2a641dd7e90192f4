"""Verdicts of the study of depth."""

from __future__ import annotations

from collections.abc import Iterator

from paper.claim import OPERATIONS, RULE_OF_ALL, Claim, describe_leads
from paper.studies.depth_comparisons import (
    COMPARED_DEPTH,
    DROPOUT,
    NO_LOSS,
    NORMED,
    differences,
    shape_of,
    uses_of_lower_layers,
)
from paper.study import Document
from paper.verdicts import MARGIN, judge_above, judge_all, judge_any, judge_lead


def judge(document: Document) -> Iterator[Claim]:
    """Whether several layers are better than one, whether four lose, and whether the lower ones are used."""
    compared, uses = differences(document), uses_of_lower_layers(document)
    for operation in OPERATIONS:
        shapes = [shape for shape in map(shape_of, document["networks"]) if shape.key in compared]
        normed = operation, NORMED, DROPOUT
        several = [s for s in shapes if (s.operation, s.layer_norm, s.dropout) == normed]
        if not several:
            continue
        leads = {f"{s.layers} layers of width {s.width}": compared[s.key] for s in several}
        yield Claim(
            f"Some depth is better than one layer, {operation} (eq. 8; the papers report no result)",
            judge_any(map(judge_lead, leads.values())),
            describe_leads(leads),
            f"one network of several layers is ahead by more than {MARGIN} points; no difference if all are "
            "within this margin; does not hold if none is ahead; the intervals count all networks",
        )
        deep = {
            f"width {shape.width}": compared[shape.key] for shape in several if shape.layers == COMPARED_DEPTH
        }
        if deep:
            yield Claim(
                f"Four layers that begin as the identity lose no more than a point to one, {operation} "
                "(our question)",
                judge_all(judge_above(lead, -NO_LOSS) for lead in deep.values()),
                describe_leads(deep),
                f"the interval lies above -{NO_LOSS:g} point at every width that is measured; does not hold "
                "if one lies below. The start was chosen on validation rows after four layers without it had "
                "lost more with interference; it does not tell whether the lower layers are used",
            )
        used = {
            f"width {s.width}": uses[s.key] for s in several if s.layers == COMPARED_DEPTH and s.key in uses
        }
        if used:
            yield Claim(
                f"Networks of four layers use those below the last, {operation} (our question)",
                judge_all(map(judge_lead, used.values())),
                f"lead of the trained network over its last layer alone: {describe_leads(used)}",
                f"the lead is above {MARGIN} points at every width that is measured; {RULE_OF_ALL}. It tells "
                "that the last layer has come to rely on them, not that they are worth their cost",
            )
