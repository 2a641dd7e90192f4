"""Formats numbers and texts for people."""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Sequence

NOTHING = "-"  # shown where there is no figure
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
FORMULA = re.compile(r"[=+\-@\uff1d\uff0b\uff0d\uff20\x00-\x1f\x7f-\x9f]")  # the wide forms count, too
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def percent(fraction: float | None, digits: int = 2) -> str:
    """Format a fraction as a percentage."""
    return NOTHING if fraction is None or not math.isfinite(fraction) else f"{100 * fraction:.{digits}f}%"


def count(number: float | None) -> str:
    """Format a number of things, with separated thousands."""
    if number is None or not math.isfinite(number):
        return NOTHING
    return f"{number:,.1f}" if 0 < number < 10 and number != int(number) else f"{round(number):,}"


def duration(seconds: float | None) -> str:
    """Format seconds in the unit that a person would choose."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def size(n_bytes: int | None) -> str:
    """Format a number of bytes in decimal units."""
    if n_bytes is None:
        return NOTHING
    if n_bytes < 1000:
        return f"{n_bytes} B"
    amount, unit = float(n_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.3g} {unit}"


def printable(text: str) -> str:
    """Make a text one line without control characters, lone surrogates or changes of direction.

    Labels come from files. They must not move a terminal's cursor or break XML.
    """
    line = " ".join(text.split())
    if line.isascii() and line.isprintable():  # most texts are
        return line
    return "".join(
        REPLACEMENT if unicodedata.category(c) in ("Cc", "Cs") or c in "\ufffe\uffff" else c
        for c in line
        if c not in BIDI_CONTROLS
    )


def spreadsheet_cell(value: object) -> object:
    """Keep spreadsheets from computing a cell of CSV: an apostrophe goes before what could be a formula.

    Numbers stay as they are, also those written as text. ``serving/page/table.js`` does the same.
    """
    if isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value):
        return f"'{value}"
    return value


class Described:
    """Shows a result as a sentence and a few facts, in the interpreter and in a notebook."""

    def _describe(self) -> tuple[str, dict[str, str]]:
        """The sentence, and the facts by name."""
        raise NotImplementedError

    def __repr__(self) -> str:
        sentence, facts = self._describe()
        width = max(map(len, facts), default=0)
        lines = [f"  {name:<{width}}  {printable(fact)}" for name, fact in facts.items()]
        return "\n".join([f"{type(self).__name__}: {printable(sentence)}", *lines])

    def _repr_html_(self) -> str:
        sentence, facts = self._describe()
        rows = (
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(printable(fact))}</td></tr>"
            for name, fact in facts.items()
        )
        return f"<p><b>{html.escape(printable(sentence))}</b></p><table>{''.join(rows)}</table>"


def join_classes(names: Sequence[str], limit: int = 8) -> str:
    """Count classes and name the first, e.g. ``2: bad, good``."""
    more = ", ..." if len(names) > limit else ""
    return f"{len(names)}: {', '.join(shorten(name, 30) for name in names[:limit])}{more}"


def columns(text: str) -> int:
    """Count the columns of a terminal that a text takes."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.east_asian_width(character) in "WF":
        return 2
    return 0 if unicodedata.combining(character) else 1


def shorten(text: str, limit: int) -> str:
    """Make a text printable, and cut it to ``limit`` columns with an ellipsis at the end."""
    beginning = printable(text[: 8 * limit])  # says enough, unless most of it is blanks
    text = beginning if columns(beginning) > limit else printable(text)
    if text.isascii():
        return text if len(text) <= limit else text[: limit - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
    width, end = 0, 0  # `end` is where one column is left, for the ellipsis
    for place, character in enumerate(text):
        width += _columns_of(character)
        if width > limit:
            return text[:end].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
        if width < limit:
            end = place + 1
    return text
