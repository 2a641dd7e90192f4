"""Renders explanations as one self-contained HTML page, which loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from html import escape
from importlib import resources
from string import Template

from token2wave.explanation.effects import Explanation, Figures, displayable, finite
from token2wave.formatting import NOTHING, count, percent, printable, shorten

SHADES = 10  # page.html has a line for each
MAX_CLASSES = 10  # bars that are not folded
MAX_COLUMNS = 5  # classes in the table
MAX_PARTS = 15  # rows of the table
LABEL_COLUMNS, PART_COLUMNS, CONTENTS_COLUMNS = 40, 60, 90
_MEASURE_SWITCH = (  # hidden until the script runs
    '<fieldset class="measure"><legend>Colours show</legend>'
    '<label><input type="radio" name="{anchor}-measure" value="effect" checked>Effect on the class</label>'
    '<label><input type="radio" name="{anchor}-measure" value="energy">Energy share</label></fieldset>'
)


def explanation_page(explanations: Sequence[Explanation], title: str) -> str:
    """Render explanations as an HTML page, in colours that a reader can switch between classes.

    The page shows each text character for character, except those that HTML cannot hold: see `displayable`.
    Any page can be encoded in UTF-8.

    Args:
        explanations: in the order of the page.
        title: of the page.
    """
    template = resources.files("token2wave.explanation").joinpath("page.html").read_text("utf-8")
    # Only this script may run, so that not even a label that escaped escaping could bring another.
    script = re.search(r"<script>(.*?)</script>", template, re.DOTALL)
    assert script is not None
    digest = hashlib.sha256(script[1].encode("utf-8")).digest()
    sections = [_Section(number, each).html(len(explanations)) for number, each in enumerate(explanations, 1)]
    return Template(template).substitute(
        title=escape(printable(title)) or NOTHING,
        script_hash=base64.b64encode(digest).decode("ascii"),
        contents=_contents(explanations),
        sections="\n".join(sections) or "<section><p>There are no texts to explain.</p></section>",
    )


def _contents(explanations: Sequence[Explanation]) -> str:
    if len(explanations) < 2:
        return ""
    items = [
        f'<li><a href="#text-{number}">{_label(each.label)}</a> '
        f'<span class="number">{percent(each.probabilities[each.predicted], 1)}</span> '
        f'<bdi class="muted">{escape(shorten(each.text, CONTENTS_COLUMNS))}</bdi></li>'
        for number, each in enumerate(explanations, start=1)
    ]
    heading = f"{count(len(explanations))} texts"
    return (
        f'<section class="contents" aria-labelledby="contents">\n<h2 id="contents">{heading}</h2>\n'
        f"<ol>{''.join(items)}</ol>\n</section>"
    )


class _Section:
    """One explanation of the page."""

    def __init__(self, number: int, explanation: Explanation) -> None:
        self.number, self.anchor, self.explanation = number, f"text-{number}", explanation
        self.parts, self.ranking = explanation.parts, explanation.ranking()
        self.energy = Figures.of_energy(explanation)
        self.effects = [Figures.of_effects(explanation, i) for i in range(len(explanation.label_names))]
        self.labels = [_label(name) for name in explanation.label_names]
        self.predicted_effects = self.effects[self.ranking[0]]
        order = sorted(range(len(self.parts)), key=lambda i: -abs(self.predicted_effects.values[i]))
        self.strongest = order[:MAX_PARTS]

    def html(self, n_texts: int) -> str:
        """Render the section."""
        anchor = self.anchor
        heading = "Prediction" if n_texts == 1 else f"Text {self.number} of {n_texts}"
        lines = [
            f'<section class="explanation" id="{anchor}" data-unit="{self.explanation.unit}" '
            f'aria-labelledby="{anchor}-title">',
            f'<h2 id="{anchor}-title">{heading}</h2>',
            self._headline(),
            '<div class="panes">',
            '<div class="words">',  # before the classes, which are many; a wide screen shows them to the left
            _MEASURE_SWITCH.format(anchor=anchor),
            '<div class="text" dir="auto" role="region" tabindex="0" '
            f'aria-label="Text {self.number}, coloured by figures">{self._coloured_text()}</div>',
            self._key(),
            '<p class="detail" role="status"></p>',
            *([self._table()] if self.parts else []),
            "</div>",
            self._classes(),
            "</div>",
            f'<script type="application/json">{self._json()}</script>',
            "</section>",
        ]
        return "\n".join(lines)

    def _headline(self) -> str:
        probabilities, n_parts = self.explanation.probabilities, len(self.parts)
        entries = [
            (title, self.labels[i], percent(probabilities[i], 1))
            for title, i in zip(("Predicted class", "Runner-up"), self.ranking, strict=False)
        ]
        n_unknown = sum(not unit.known for unit in self.parts)
        known = f"{count(n_unknown)} unknown to the model" if n_unknown else "all known to the model"
        unit = self.explanation.unit.capitalize() + "s"
        entries.append((unit, count(n_parts), known if n_parts else ""))
        items = [
            f"<div><dt>{name}</dt><dd>{value}<small>{note}</small></dd></div>"
            for name, value, note in entries
        ]
        return f'<dl class="headline">{"".join(items)}</dl>'

    def _classes(self) -> str:
        """Bars of the probabilities, which are also the buttons that choose a class."""
        bars = []
        for rank, i in enumerate(self.ranking):
            probability = self.explanation.probabilities[i]
            width = 100 * min(max(finite(probability), 0.0), 1.0)
            bars.append(
                f'<label class="bar"><input type="radio" name="{self.anchor}-class" value="{i}"'
                f'{" checked" if rank == 0 else ""}><span class="name">{self.labels[i]}</span>'
                f'<span class="number">{percent(probability, 1)}</span>'
                f'<span class="track"><span style="width:{width:.4g}%"></span></span></label>'
            )
        bars, folded = bars[:MAX_CLASSES], bars[MAX_CLASSES:]
        if folded:
            more = f"{count(len(folded))} more class{'' if len(folded) == 1 else 'es'}"
            bars.append(f"<details><summary>{more}</summary>{''.join(folded)}</details>")
        legend = "<legend>Probability of each class</legend>"
        return f'<fieldset class="classes">{legend}{"".join(bars)}</fieldset>'

    def _coloured_text(self) -> str:
        """The text with an element around each part, and no other character added."""
        name = _plain_label(self.explanation.label)
        text = displayable(self.explanation.text)
        focusable = set(self.strongest)  # without the script, every part would be too many to step through
        pieces, end = [], 0
        for i, unit in enumerate(self.parts):
            shade = _shade(self.predicted_effects, i)
            style = f"{'a' if shade < 0 else 'f'}{abs(shade)}" + ("" if unit.known else " u")
            note = f"Effect on {name}: {self._signed(self.predicted_effects, i)} points. "
            note += f"Energy: {self._energy(i)}%." + ("" if unit.known else " Unknown to the model.")
            note += " Both texts have it." if unit.shared else ""
            focus = ' tabindex="0"' if i in focusable else ""
            focus += " data-both" if unit.shared else ""  # not a class: the script sets these
            pieces.append(
                f'{escape(text[end : unit.start])}<span id="{self.anchor}-{i}" class="{style}" '
                f'title="{note}"{focus}>{escape(text[unit.start : unit.end])}</span>'
            )
            end = unit.end
        return "".join(pieces) + escape(text[end:])

    def _key(self) -> str:
        """The meaning of the colours. The script writes the same words for other classes."""
        name, effects = self.labels[self.ranking[0]], self.predicted_effects
        largest = effects.write(effects.largest, effects.shown_decimals)
        low, high, ramp = f"lowers {name} (−{largest})", f"raises {name} (+{largest} points)", "diverging"
        if not self.predicted_effects.largest:
            low = f"No {self.explanation.unit} on its own changes the probability of {name}."
            high, ramp = "", "none"
        unknown = ""
        if not all(unit.known for unit in self.parts):
            unknown = '<span class="unknown"><span class="u">dotted</span>: unknown</span>'
        if any(unit.shared for unit in self.parts):
            unknown += '<span class="unknown"><span data-both>bold</span>: in both texts</span>'
        return (
            f'<p class="key"><span class="low">{low}</span><span class="ramp {ramp}"></span>'
            f'<span class="high">{high}</span>{unknown}</p>'
        )

    def _table(self) -> str:
        """A table of the parts with the largest effects on the predicted class."""
        unit, (ranked, *others) = self.explanation.unit, self.ranking[:MAX_COLUMNS]
        head = "".join(f'<th scope="col" class="number other">{self.labels[label]}</th>' for label in others)
        rows = []
        for i in self.strongest:
            text = self.explanation.text[self.parts[i].start : self.parts[i].end]
            cells = "".join(
                f'<td class="number other">{self._signed(self.effects[label], i)}</td>' for label in others
            )
            rows.append(
                f'<tr><th scope="row"><a href="#{self.anchor}-{i}">'
                f"<bdi>{escape(shorten(text, PART_COLUMNS)) or NOTHING}</bdi></a></th>"
                f'<td class="number ranked">{self._signed(self.predicted_effects, i)}</td>'
                f"<td>{_balance(self.predicted_effects, i)}</td>"
                f'<td class="number">{self._energy(i)}%</td>{cells}</tr>'
            )
        caption = f'<span class="lead">The strongest {unit}s for and against {self.labels[ranked]}</span>'
        caption += ": points that each adds to a class or takes from it, and its energy."
        if len(self.ranking) > MAX_COLUMNS:
            n_classes = count(len(self.ranking))
            caption += f' <span class="other">{MAX_COLUMNS} of {n_classes} classes are shown.</span>'
        return (
            f'<p class="caption" id="{self.anchor}-caption">{caption}</p>\n'
            f'<div class="scroll" role="region" tabindex="0" '
            f'aria-label="Strongest {unit}s of text {self.number}">'
            f'<table aria-labelledby="{self.anchor}-caption">\n<thead><tr><th scope="col">{unit}</th>'
            f'<th scope="col" class="number ranked">{self.labels[ranked]}</th><td></td>'
            f'<th scope="col" class="number">energy</th>{head}</tr></thead>\n<tbody>\n'
            + "\n".join(rows)
            + "\n</tbody></table></div>"
        )

    def _signed(self, effects: Figures, i: int) -> str:
        """An effect with its sign, in as many digits as those on the predicted class."""
        sign = {1: "+", 0: "", -1: "−"}[(effects.values[i] > 0) - (effects.values[i] < 0)]
        digits = min(self.predicted_effects.shown_decimals, effects.decimals)
        written = effects.write(abs(effects.values[i]), digits)
        return (sign if float(written) else "") + written

    def _energy(self, i: int) -> str:
        return self.energy.write(self.energy.values[i], self.energy.shown_decimals)

    def _json(self) -> str:
        """The figures for the script; numbers need no escaping."""
        energy, *effects = (
            {"decimals": each.decimals, "values": each.values} for each in (self.energy, *self.effects)
        )
        return json.dumps({"energy": energy, "effects": effects}, separators=(",", ":"))


def _shade(figures: Figures, i: int) -> int:
    """How strong a figure is, from -SHADES to SHADES; in whole numbers, as in the script."""
    value, largest = figures.values[i], figures.largest
    shade = (2 * SHADES * abs(value) + largest) // (2 * largest) if largest else 0
    return -shade if value < 0 else shade


def _balance(figures: Figures, i: int) -> str:
    """A bar to the right of the middle, or to the left for a figure below zero."""
    value = figures.values[i]
    width = 50 * abs(value) / figures.largest if figures.largest else 0
    direction = "a" if value < 0 else "f"
    return f'<span class="balance"><span class="{direction}" style="width:{width:.4g}%"></span></span>'


def _plain_label(name: str) -> str:
    return escape(shorten(name, LABEL_COLUMNS)) or NOTHING


def _label(name: str) -> str:
    """A label as an element that may break after an underscore; not for attributes."""
    return f"<bdi>{_plain_label(name).replace('_', '_<wbr>')}</bdi>"
