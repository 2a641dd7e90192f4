"""Explains predictions: the effect of each part of a text, in the terminal or as a page."""

from typing import TYPE_CHECKING, Any

from token2wave.explanation.agreement import PartAgreement, part_agreement
from token2wave.explanation.effects import Explanation, TextPart
from token2wave.explanation.html_page import explanation_page

if TYPE_CHECKING:
    from token2wave.explanation.console import print_explanation

__all__ = [
    "Explanation",
    "PartAgreement",
    "TextPart",
    "explanation_page",
    "part_agreement",
    "print_explanation",
]


def __getattr__(name: str) -> Any:
    if name != "print_explanation":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from token2wave.explanation.console import print_explanation  # imports rich

    return print_explanation
