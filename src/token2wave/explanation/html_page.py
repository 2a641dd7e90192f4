"""Shows explanations as one self-contained HTML page, which loads nothing."""

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

SHADES = 10  # shades of a colour; page.html has a line for each
CLASSES_SHOWN = 10  # of the bars and of the columns of the table
PARTS_LISTED = 15
LABEL_COLUMNS, PART_COLUMNS, CONTENTS_COLUMNS = 40, 60, 90


def explanation_page(explanations: Sequence[Explanation], title: str) -> str:
    """Show explanations on one HTML page, in colours that a reader can switch between classes.

    The text on the page is the text that was classified, character for character, but for those that HTML
    cannot hold: see `displayable`. The page can be encoded in UTF-8 whatever stands in the texts.

    Args:
        explanations: in the order in which they are shown.
        title: of the page.
    """
    template = resources.files("token2wave.explanation").joinpath("page.html").read_text("utf-8")
    # Only this script may run: not even a label that slipped through escaping could bring another.
    script = re.search(r"<script>(.*?)</script>", template, re.DOTALL)
    if script is None:
        raise AssertionError("the template has no script")
    digest = hashlib.sha256(script[1].encode("utf-8")).digest()
    sections = [
        _section(number, each, len(explanations)) for number, each in enumerate(explanations, start=1)
    ]
    return Template(template).substitute(
        title=_text(title) or NOTHING,
        script_hash=base64.b64encode(digest).decode("ascii"),
        contents=_contents(explanations),
        sections="\n".join(sections) or "<section><p>There are no texts to explain.</p></section>",
    )


def _contents(explanations: Sequence[Explanation]) -> str:
    if len(explanations) < 2:
        return ""
    items = [
        f'<li><a href="#text-{number}"><bdi>{_label(each.label)}</bdi></a> '
        f'<span class="number">{percent(each.probabilities[each.predicted])}</span> '
        f'<bdi class="muted">{_short(each.text, CONTENTS_COLUMNS)}</bdi></li>'
        for number, each in enumerate(explanations, start=1)
    ]
    heading = f"{count(len(explanations))} texts"
    return (
        f'<section class="contents" aria-labelledby="contents">\n<h2 id="contents">{heading}</h2>\n'
        f"<ol>{''.join(items)}</ol>\n</section>"
    )


class _Measured:
    """The figures of one explanation: energy, and effects on each class."""

    def __init__(self, explanation: Explanation) -> None:
        self.energy = Figures.of_energy(explanation)
        self.effects = [Figures.of_effects(explanation, i) for i in range(len(explanation.label_names))]

    def effect(self, label: int, i: int) -> str:
        return self.effects[label].signed(i)

    def share(self, i: int) -> str:
        return f"{self.energy.text(i)}%"

    def json(self) -> str:
        """Return the figures as JSON; numbers need no escaping."""
        figures = [
            {"decimals": each.decimals, "values": each.values} for each in (self.energy, *self.effects)
        ]
        return json.dumps({"energy": figures[0], "effects": figures[1:]}, separators=(",", ":"))


# ------------------------------------------------------------------------------------ one explanation


def _section(number: int, explanation: Explanation, n_texts: int) -> str:
    ranking, parts = explanation.ranking(), explanation.parts
    measured = _Measured(explanation)
    effects = measured.effects[ranking[0]]
    selected = sorted(range(len(parts)), key=lambda i: -abs(effects.values[i]))[:PARTS_LISTED]
    anchor = f"text-{number}"
    heading = "Prediction" if n_texts == 1 else f"Text {number} of {n_texts}"
    lines = [
        f'<section class="explanation" id="{anchor}" data-unit="{explanation.unit}" '
        f'aria-labelledby="{anchor}-title">',
        f'<h2 id="{anchor}-title">{heading}</h2>',
        _headline(explanation, ranking),
        '<div class="panes">',
        _chooser(anchor, explanation, ranking),
        '<div class="reading">',
        _measure_switch(anchor),
        '<div class="text" dir="auto" role="region" tabindex="0" aria-label="The text, coloured by figures">'
        f"{_coloured(anchor, explanation, measured, selected)}</div>",
        _key(explanation, ranking[0], effects),
        '<p class="detail" role="status"></p>',
        "</div>",
        "</div>",
        _strongest(anchor, explanation, measured, ranking, selected),
        f'<script type="application/json">{measured.json()}</script>',
        "</section>",
    ]
    return "\n".join(line for line in lines if line)


def _headline(explanation: Explanation, ranking: Sequence[int]) -> str:
    entries = [
        (title, f"<bdi>{_label(explanation.label_names[i])}</bdi>", percent(explanation.probabilities[i]))
        for title, i in zip(("Predicted class", "Runner-up"), ranking, strict=False)
    ]
    n_unknown = sum(not part.known for part in explanation.parts)
    known = f"{count(n_unknown)} unknown to the model" if n_unknown else "all known to the model"
    unit = explanation.unit.capitalize() + "s"
    entries.append((unit, count(len(explanation.parts)), known if explanation.parts else ""))
    items = [
        f"<div><dt>{name}</dt><dd>{value}<small>{small}</small></dd></div>" for name, value, small in entries
    ]
    return f'<dl class="headline">{"".join(items)}</dl>'


def _chooser(anchor: str, explanation: Explanation, ranking: Sequence[int]) -> str:
    """Bars of the probabilities, which are also the buttons that choose a class."""
    rows = []
    for place, i in enumerate(ranking):
        probability = explanation.probabilities[i]
        width = 100 * min(max(finite(probability), 0.0), 1.0)
        rows.append(
            f'<label class="bar"><input type="radio" name="{anchor}-class" value="{i}"'
            f'{" checked" if place == 0 else ""}><span class="name"><bdi>{_label(explanation.label_names[i])}'
            f'</bdi></span><span class="number">{percent(probability)}</span>'
            f'<span class="track"><span style="width:{width:.4g}%"></span></span></label>'
        )
    shown, folded = rows[:CLASSES_SHOWN], rows[CLASSES_SHOWN:]
    rest = ""
    if folded:
        more = f"{count(len(folded))} more class{'' if len(folded) == 1 else 'es'}"
        rest = f"<details><summary>{more}</summary>{''.join(folded)}</details>"
    return (
        '<fieldset class="classes"><legend>Probability of each class</legend>'
        f"{''.join(shown)}{rest}</fieldset>"
    )


def _measure_switch(anchor: str) -> str:
    """A switch, hidden until its script runs."""
    choices = (("effect", "Effect on the class", " checked"), ("energy", "Energy share", ""))
    return (
        '<fieldset class="measure"><legend>Colours show</legend>'
        + "".join(
            f'<label><input type="radio" name="{anchor}-measure" value="{value}"{checked}>{name}</label>'
            for value, name, checked in choices
        )
        + "</fieldset>"
    )


def _coloured(anchor: str, explanation: Explanation, measured: _Measured, selected: Sequence[int]) -> str:
    """The text with an element around each part, and no other character within."""
    label = explanation.predicted
    effects = measured.effects[label]
    name = _plain_label(explanation.label_names[label])
    text = displayable(explanation.text)
    focusable = set(selected)  # every part would be too many to step through without the script
    pieces, end = [], 0
    for i, part in enumerate(explanation.parts):
        level = _level(effects, i)
        style = f"{'a' if level < 0 else 'f'}{abs(level)}" + ("" if part.known else " u")
        note = f"Effect on {name}: {measured.effect(label, i)} points. Energy: {measured.share(i)}."
        note += "" if part.known else " Unknown to the model."
        focus = ' tabindex="0"' if i in focusable else ""
        pieces.append(
            f'{escape(text[end : part.start])}<span id="{anchor}-{i}" class="{style}" title="{note}"{focus}>'
            f"{escape(text[part.start : part.end])}</span>"
        )
        end = part.end
    return "".join(pieces) + escape(text[end:])


def _level(figures: Figures, i: int) -> int:
    """How strong a figure is, from -SHADES to SHADES; computed in whole numbers, as the script does."""
    value, most = figures.values[i], figures.most
    level = (2 * SHADES * abs(value) + most) // (2 * most) if most else 0
    return -level if value < 0 else level


def _key(explanation: Explanation, label: int, effects: Figures) -> str:
    """What the colours mean. The script writes the same words for other classes."""
    name = f"<bdi>{_label(explanation.label_names[label])}</bdi>"
    most = effects.strongest
    low, high = f"lowers {name} (-{most})", f"raises {name} (+{most} points)"
    ramp = "diverging"
    if not effects.most:
        low, high, ramp = f"No {explanation.unit} on its own changes the probability of {name}.", "", "none"
    unknown = ""
    if not all(part.known for part in explanation.parts):
        unknown = '<span class="unknown"><span class="u">dotted</span>: unknown</span>'
    return (
        f'<p class="key"><span class="low">{low}</span><span class="ramp {ramp}"></span>'
        f'<span class="high">{high}</span>{unknown}</p>'
    )


def _strongest(
    anchor: str,
    explanation: Explanation,
    measured: _Measured,
    ranking: Sequence[int],
    selected: Sequence[int],
) -> str:
    """A table of the parts with the largest effects on the predicted class."""
    if not selected:
        return ""
    unit, columns, effects = explanation.unit, ranking[:CLASSES_SHOWN], measured.effects[ranking[0]]
    names = [f"<bdi>{_label(explanation.label_names[i])}</bdi>" for i in columns]
    styles = ["number ranked"] + ["number"] * (len(columns) - 1)  # by the first class are the parts ranked
    head = "".join(
        f'<th scope="col" class="{style}">{name}</th>' for style, name in zip(styles, names, strict=True)
    )
    rows = "\n".join(
        f'<tr><th scope="row"><a href="#{anchor}-{i}"><bdi>{_part_text(explanation, i)}</bdi></a></th>'
        f'<td class="number">{measured.share(i)}</td><td>{_balance(effects, i)}</td>'
        + "".join(
            f'<td class="{style}">{measured.effect(label, i)}</td>'
            for style, label in zip(styles, columns, strict=True)
        )
        + "</tr>"
        for i in selected
    )
    caption = f'<span class="lead">The strongest {unit}s for and against {names[0]}</span>: '
    caption += "effect on each class in percentage points, and energy share."
    if len(ranking) > CLASSES_SHOWN:
        caption += f" {CLASSES_SHOWN} of {len(ranking)} classes are shown."
    return (
        f'<p class="caption" id="{anchor}-caption">{caption}</p>\n'
        f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{anchor}-caption">'
        f'<table aria-labelledby="{anchor}-caption">\n<thead><tr><th scope="col">{unit}</th>'
        f'<th scope="col" class="number">energy</th><td></td>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _balance(figures: Figures, i: int) -> str:
    """A bar to the right of the middle, or to the left for a figure below zero."""
    value = figures.values[i]
    width = 50 * abs(value) / figures.most if figures.most else 0
    direction = "a" if value < 0 else "f"
    return f'<span class="balance"><span class="{direction}" style="width:{width:.4g}%"></span></span>'


# ------------------------------------------------------------------------------------ pieces of HTML


def _text(text: str) -> str:
    return escape(printable(text))


def _short(text: str, columns: int) -> str:
    return escape(shorten(text, columns))


def _plain_label(name: str) -> str:
    return _short(name, LABEL_COLUMNS) or NOTHING


def _label(name: str) -> str:
    """A label that may break after an underscore; not for attributes."""
    return _plain_label(name).replace("_", "_<wbr>")


def _part_text(explanation: Explanation, i: int) -> str:
    part = explanation.parts[i]
    return _short(explanation.text[part.start : part.end], PART_COLUMNS) or NOTHING
