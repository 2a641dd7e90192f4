"""Verdicts of the study of depth."""

from __future__ import annotations

from collections.abc import Iterator

from paper.claim import OPERATIONS, Claim
from paper.studies.depth_comparisons import COMPARED_DEPTH, DROPOUT, NO_LOSS, NORMED, differences, shape_of
from paper.study import Document
from paper.verdicts import MARGIN, judge_lead, judge_no_loss


def judge(document: Document) -> Iterator[Claim]:
    """Whether several layers are better than one, and whether four lose."""
    compared = differences(document)
    for operation in OPERATIONS:
        shapes = [shape for shape in map(shape_of, document["networks"]) if shape.key in compared]
        normed = operation, NORMED, DROPOUT
        several = [s for s in shapes if (s.operation, s.layer_norm, s.dropout) == normed]
        if not several:
            continue
        best = max(several, key=lambda shape: compared[shape.key].mean)
        yield Claim(
            f"Several layers are better than one, {operation} (eq. 8; the papers report no result)",
            judge_lead(compared[best.key]),
            f"the best of {len(several)} measured, {best.layers} layers of width {best.width}: "
            f"{compared[best.key]}",
            f"by more than {MARGIN} points, in the network with the largest gain; the interval counts all "
            "networks",
        )
        deep = [shape for shape in several if shape.layers == COMPARED_DEPTH]
        if deep:
            worst = min(deep, key=lambda shape: compared[shape.key].mean)
            yield Claim(
                f"Four layers lose no more than a point to one, {operation}",
                judge_no_loss(compared[worst.key], NO_LOSS),
                f"width {worst.width}: {compared[worst.key]}",
                f"the interval lies above -{NO_LOSS:g} point, at the width with the largest loss",
            )
