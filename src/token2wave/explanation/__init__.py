"""Explains predictions: the effect of each part of a text, in the terminal or as a page."""

from token2wave.explanation.console import print_explanation
from token2wave.explanation.effects import Explanation, Part
from token2wave.explanation.html_page import explanation_page

__all__ = ["Explanation", "Part", "explanation_page", "print_explanation"]
