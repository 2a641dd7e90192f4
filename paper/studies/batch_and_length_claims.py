"""Verdicts of the study of batches and lengths."""

from __future__ import annotations

from collections.abc import Iterator

from paper.claim import Claim
from paper.studies.batch_comparisons import judged_questions
from paper.study import Document
from paper.verdicts import MIN_SEEDS


def judge(document: Document) -> Iterator[Claim]:
    """Whether large batches and long texts make a network learn faster."""
    for part in ("batch", "length"):
        for question in judged_questions(document, part):
            yield Claim(
                f"{question.text} ({document[part]['data']}; open question)",
                question.verdict,
                "; ".join(f"{system}: {each}" for system, each in question.differences.items()),
                f"{question.rule}; in {' and '.join(question.differences)}; cannot be told with fewer than "
                f"{MIN_SEEDS} seeds",
            )
