"""Why a text got its class: the effect of each of its parts, shown on a page or in a terminal."""

from token2wave.explanation.console import print_explanation
from token2wave.explanation.effects import Explanation, Part
from token2wave.explanation.html_page import explanation_page

__all__ = ["Explanation", "Part", "explanation_page", "print_explanation"]
