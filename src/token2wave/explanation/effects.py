"""Explanations as data: each part of a text, and its effect on every class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from token2wave.errors import ConfigError
from token2wave.formatting import NOTHING, REPLACEMENT, Described, percent, shorten

UNITS = ("token", "word", "sentence")
NOISE = 1e-6  # smaller effects come from rounding, and are shown as zero
MIN_DECIMALS, MAX_DECIMALS = 2, 6
NONCHARACTERS = "\ufffe\uffff"


@dataclass(frozen=True, slots=True)
class TextPart:
    """A token, word or sentence of a text, and its effect.

    Attributes:
        start: first character in the text.
        end: one past the last character.
        energy: its fraction of the text's wave energy. The fractions sum to 1, or to 0 if the model knows
            nothing in the text.
        effects: for each class, its probability minus its probability without this part.
        logit_effects: the same for the logits.
        known: whether the model has any word of the part, or any character n-gram of a word without a row.
            Even an unknown part has an effect, since its neighbours become adjacent without it.
        shared: whether both texts of a pair have all words of the part; None for a single text.
    """

    start: int
    end: int
    energy: float
    effects: tuple[float, ...]
    logit_effects: tuple[float, ...]
    known: bool
    shared: bool | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"expected 0 <= start < end of a part, found {self.start} and {self.end}")


@dataclass(frozen=True, repr=False)
class Explanation(Described):
    """A prediction and the effect of each part of the text.

    Attributes:
        text: the classified text; it may contain lone surrogates. The second text of a pair is on a new
            line.
        unit: ``token``, ``word`` or ``sentence``.
        label_names: the classes, in the order of the model.
        probabilities: of each class.
        logits: of each class.
        parts: in reading order, without overlap. Characters between them belong to none.
        complete: false if the explanation was stopped, so that the parts end before the text does.
        known: whether the model has any word, word n-gram or character n-gram of the text; else the
            prediction rests on nothing.
        passage: first and past-the-last character of the window that is strongest for the predicted class, of
            a model with a window level; else None.
    """

    text: str
    unit: str
    label_names: tuple[str, ...]
    probabilities: tuple[float, ...]
    logits: tuple[float, ...]
    parts: tuple[TextPart, ...]
    complete: bool = True
    known: bool = True
    passage: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        n_classes = len(self.label_names)
        if self.unit not in UNITS:
            raise ValueError(f"expected a unit of {', '.join(UNITS)}, found {self.unit!r}")
        if not n_classes or not n_classes == len(self.probabilities) == len(self.logits):
            raise ValueError(
                "expected a probability and a logit for each class, "
                f"found {n_classes} classes, {len(self.probabilities)} and {len(self.logits)}"
            )
        if any(not n_classes == len(unit.effects) == len(unit.logit_effects) for unit in self.parts):
            raise ValueError(f"expected the effects of each part on {n_classes} classes")
        if any(left.end > right.start for left, right in pairwise(self.parts)):
            raise ValueError("expected parts in reading order that do not overlap")
        if self.parts and self.parts[-1].end > len(self.text):
            raise ValueError(
                f"expected parts within {len(self.text)} characters, found one up to {self.parts[-1].end}"
            )

    def _describe(self) -> tuple[str, dict[str, str]]:
        best = self.predicted
        effects = [
            f"{shorten(self.text[span.start : span.end], 40)} {100 * span.effects[best]:+.2f}"
            for span in self.strongest(n=5)
        ]
        sentence = f"{self.label} ({percent(self.probabilities[best])}): {shorten(self.text, 60)}"
        return sentence, {f"points by {self.unit}": ", ".join(effects) or NOTHING}

    @property
    def predicted(self) -> int:
        """Index of the most probable class; the first of several."""
        return self.ranking()[0]

    @property
    def label(self) -> str:
        """Name of the most probable class."""
        return self.label_names[self.predicted]

    def ranking(self) -> list[int]:
        """Indices of the classes, the most probable first."""
        return sorted(range(len(self.label_names)), key=lambda i: -finite(self.probabilities[i]))

    def strongest(self, label: str | None = None, n: int = 10) -> list[TextPart]:
        """Return the parts with the largest effects on a class, whether they raise or lower it.

        Args:
            label: name of the class; the predicted one if None.
            n: how many parts at most.

        Raises:
            ConfigError: the model has no such class.
        """
        label = self.label if label is None else label
        if label not in self.label_names:
            names = ", ".join(map(repr, self.label_names[:8]))
            names += ", ..." if len(self.label_names) > 8 else ""
            raise ConfigError(
                f"expected a class of the model, found {label!r}", hint=f"choose one of {names}"
            )
        index = self.label_names.index(label)
        ordered = sorted(self.parts, key=lambda unit: -abs(finite(unit.effects[index])))
        return ordered[: max(n, 0)]

    def pieces(self, label: int, against: int | None = None) -> list[tuple[str, float]]:
        """Cut the text into pieces, each with its effect on the logit of a class, or on its log-odds.

        The pieces make up the text. What belongs to no part has no effect.

        Args:
            label: index of the class.
            against: index of another class, for the log-odds of the first against it.
        """
        pieces, end = [], 0
        for span in self.parts:
            pieces.append((self.text[end : span.start], 0.0))
            effect = span.logit_effects[label] - (0.0 if against is None else span.logit_effects[against])
            pieces.append((self.text[span.start : span.end], finite(effect)))
            end = span.end
        return [piece for piece in [*pieces, (self.text[end:], 0.0)] if piece[0]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold; a number that is not finite becomes None."""
        return {
            "text": self.text,
            "unit": self.unit,
            "label": self.label,
            "label_names": list(self.label_names),
            "probabilities": _plain(self.probabilities),
            "logits": _plain(self.logits),
            "parts": [
                {
                    "text": self.text[unit.start : unit.end],
                    "start": int(unit.start),
                    "end": int(unit.end),
                    "energy": _plain((unit.energy,))[0],
                    "effects": _plain(unit.effects),
                    "logit_effects": _plain(unit.logit_effects),
                    "known": bool(unit.known),
                    **({} if unit.shared is None else {"shared": unit.shared}),
                }
                for unit in self.parts
            ],
            "complete": self.complete,
            "known": self.known,
            **({} if self.passage is None else {"passage": list(self.passage)}),
        }


@dataclass(frozen=True)
class Figures:
    """A number for each part of a text, rounded for display.

    Attributes:
        decimals: digits after the decimal point, so that the largest number has three digits or more.
        values: in percentage points, times ten to the power of ``decimals``.
        largest: the largest of them, without its sign.
    """

    decimals: int
    values: tuple[int, ...]
    largest: int

    @classmethod
    def of_effects(cls, explanation: Explanation, label: int) -> Figures:
        """Round the effects on a class; if all are noise, they become zero."""
        return cls._rounded([unit.effects[label] for unit in explanation.parts])

    @classmethod
    def of_energy(cls, explanation: Explanation) -> Figures:
        """Round the fractions of the energy."""
        return cls._rounded([unit.energy for unit in explanation.parts])

    @classmethod
    def _rounded(cls, fractions: Sequence[float]) -> Figures:
        numbers = [finite(fraction) for fraction in fractions]
        largest = max(map(abs, numbers), default=0.0)
        if largest < NOISE:
            return cls(MIN_DECIMALS, (0,) * len(numbers), 0)
        decimals = 2 - math.floor(math.log10(100 * largest))
        decimals = min(max(MIN_DECIMALS, decimals), MAX_DECIMALS)
        factor = 100 * 10**decimals
        return cls(decimals, tuple(round(factor * number) for number in numbers), round(factor * largest))

    def text(self, i: int) -> str:
        """Figure ``i``, e.g. ``4.20``."""
        return self._text(self.values[i])

    def signed(self, i: int) -> str:
        """Figure ``i`` with its sign, e.g. ``+4.20``; zero has none."""
        return f"{'+' if self.values[i] > 0 else ''}{self.text(i)}"

    @property
    def shown_decimals(self) -> int:
        """Digits after the decimal point on a page, one less than a terminal shows."""
        return self.decimals - 1

    def write(self, value: int, decimals: int) -> str:
        """Write a value with so many digits after the decimal point; half is rounded up, as in the page."""
        scale = 10 ** (self.decimals - decimals)
        return f"{(2 * value + scale) // (2 * scale) / 10**decimals:.{decimals}f}"

    @property
    def strongest(self) -> str:
        """The largest figure, without its sign."""
        return self._text(self.largest)

    def _text(self, value: int) -> str:
        return f"{value / 10**self.decimals:.{self.decimals}f}"


def displayable(text: str) -> str:
    """Replace each character that HTML or a terminal cannot show by one character.

    Newlines and tabs stay; other control characters that are white space become a space; the rest of the
    control characters, lone surrogates and the noncharacters U+FFFE and U+FFFF become U+FFFD.
    """
    return "".join(map(_displayable_character, text))


def _displayable_character(character: str) -> str:
    if character in "\n\t" or character.isprintable():
        return character
    if character < "\x20" or "\x7f" <= character < "\xa0":
        return " " if character.isspace() else REPLACEMENT
    return REPLACEMENT if "\ud800" <= character <= "\udfff" or character in NONCHARACTERS else character


def finite(value: float) -> float:
    """Return the number, or zero if it is not finite."""
    return value if math.isfinite(value) else 0.0


def _plain(values: Sequence[float]) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]
