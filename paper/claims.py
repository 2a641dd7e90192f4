"""The verdicts of a report: those of the accuracy tables, and each study's own."""

from __future__ import annotations

from collections import Counter

from paper import accuracy_claims
from paper.claim import Claim
from paper.studies import STUDIES, load_study
from paper.study import Document, Table
from paper.verdicts import FAILS, HOLDS, OPEN, SAME


def judge_claims(document: Document) -> list[Claim]:
    """Judge every claim for which the report holds figures, the studies' in the order of the report."""
    return [claim for part in ("accuracy", *STUDIES) for claim in judge_part(document, part)]


def judge_part(document: Document, part: str) -> list[Claim]:
    """Judge the claims on accuracy (and those that follow from the papers alone), or those of a study."""
    if part == "accuracy":
        return list(accuracy_claims.judge(document))
    return [claim for study in document["studies"].get(part, []) for claim in load_study(part).claims(study)]


def claims_table(document: Document) -> Table:
    """Every claim with verdict, evidence and rule."""
    rows = [list(claim[:4]) for claim in judge_claims(document)]
    caption = "Claims of the papers, questions that they leave open, and our own."
    return Table(caption, ["claim", "verdict", "evidence", "rule of the verdict"], rows, n_names=4)


def summarise_claims(document: Document) -> str:
    """How many claims hold, in one sentence."""
    claims = judge_claims(document)
    counts = Counter(claim.verdict for claim in claims)
    n_out_of_reach = sum(claim.out_of_reach for claim in claims)
    return (
        f"Of {counts.total()} claims and open questions, {counts[HOLDS]} hold, {counts[FAILS]} do not, "
        f"{counts[SAME]} show no difference, and {counts[OPEN]} cannot be told, {n_out_of_reach} of these "
        "since BERT's weights or a graphics card are not at hand."
    )
