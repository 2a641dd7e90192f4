"""What a claim is, and how verdicts are named."""

from __future__ import annotations

from typing import NamedTuple

from paper.study import Document

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"
OPERATIONS = ("interference", "modulation")
NEAR = 1.0  # points of accuracy


class Claim(NamedTuple):
    """A claim, and what became of it.

    Attributes:
        claim: as the papers put it, in short.
        verdict: :data:`HOLDS`, :data:`FAILS` or :data:`OPEN`.
        evidence: the figures.
        rule: by which the verdict follows from them.
    """

    claim: str
    verdict: str
    evidence: str
    rule: str


def first_document(document: Document, name: str) -> Document | None:
    """What a study measured on the first data set; None if it has not been run."""
    found = document["studies"].get(name)
    return None if not found else dict(found[0])
