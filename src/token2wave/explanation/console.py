"""Prints an explanation in a terminal, or as plain text to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from token2wave.explanation.effects import Explanation, Figures, displayable
from token2wave.formatting import BIDI_CONTROLS, NOTHING, percent, shorten

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

CLASSES_SHOWN = 3
PARTS_LISTED = 8
LABEL_COLUMNS, PART_COLUMNS = 32, 32
SHADES = (0.08, 0.25, 0.6)  # shares of the strongest effect, from which on each shade is used
MARKED = 0.25  # share of the strongest effect from which on a part is marked where there are no colours
# The terminal may be dark or light: the weakest shade colours the letters alone, in a tone that both show.
RAISES = ("#2f86d6", "#ffffff on #4a7ba6", "bold #ffffff on #0059c9")
LOWERS = ("#cc7518", "#ffffff on #a0703f", "bold #ffffff on #bd4b00")
# Where the terminal has its own sixteen colours and no others.
RAISES_SIXTEEN = ("bright_blue", "bright_white on blue", "bold bright_white on blue")
LOWERS_SIXTEEN = ("red", "bright_white on red", "bold bright_white on red")


def print_explanation(explanation: Explanation, console: Console | None = None) -> None:
    """Print a prediction, the text in colours or with marks, and the strongest parts.

    Where the console has no colours, as in a file, ``[+word+]`` marks what raises the probability of the
    predicted class and ``[-word-]`` what lowers it. Nothing in the text or the labels reaches the terminal as
    a command: see `displayable`; controls of the direction of writing are left out.

    Args:
        explanation: what to print.
        console: where; standard output if None.
    """
    from rich.console import Console

    console = Console() if console is None else console
    coloured = console.color_system is not None and not console.no_color
    sixteen = console.color_system in ("standard", "windows")
    view = _View(explanation, sixteen=sixteen) if coloured else _PlainView(explanation)
    blocks: list[Text | Table] = [view.prediction(), view.text(), view.legend()]
    if explanation.parts:
        blocks.append(view.strongest())
    for i, block in enumerate(blocks):
        if i:
            console.print()
        # In a file the lines of the text are those it has; a terminal breaks them between words.
        console.print(block, soft_wrap=not console.is_terminal, highlight=False)


class _View:
    """One explanation, in colours."""

    def __init__(self, explanation: Explanation, *, sixteen: bool = False) -> None:
        self.explanation = explanation
        self.ranking = explanation.ranking()
        self.effects = Figures.of_effects(explanation, self.ranking[0])
        self.names = [shorten(name, LABEL_COLUMNS) or NOTHING for name in explanation.label_names]
        self.raises = RAISES_SIXTEEN if sixteen else RAISES
        self.lowers = LOWERS_SIXTEEN if sixteen else LOWERS

    def prediction(self) -> Text:
        """Return the most probable classes."""
        from rich.text import Text

        shares = [
            f"{self.names[i]} {percent(self.explanation.probabilities[i])}"
            for i in self.ranking[:CLASSES_SHOWN]
        ]
        line = Text(shares[0], "").append("".join(f", {share}" for share in shares[1:]), "dim")
        line.stylize("bold", 0, len(shares[0]))
        left_out = len(self.ranking) - len(shares)
        return line.append(f" and {left_out} more" if left_out else "", "dim")

    def text(self) -> Text:
        """Return the whole text, each part as `piece` shows it."""
        from rich.text import Text

        text, shown, end = self.explanation.text, Text(), 0
        for i, part in enumerate(self.explanation.parts):
            shown.append(_clean(text[end : part.start]))
            shown.append(*self.piece(i, _clean(text[part.start : part.end])))
            end = part.end
        return shown.append(_clean(text[end:]))

    def piece(self, i: int, text: str) -> tuple[str, str]:
        """Return what to print for a part, and its style."""
        value = self.effects.values[i]
        reached = sum(value != 0 and abs(value) >= share * self.effects.most for share in SHADES)
        style = (self.lowers if value < 0 else self.raises)[reached - 1] if reached else ""
        return text, style if self.explanation.parts[i].known else f"{style} underline"

    def legend(self) -> Text:
        """Return the meaning of the colours or marks."""
        from rich.text import Text

        unit, name = self.explanation.unit, self.names[self.ranking[0]]
        if not self.explanation.parts:
            return Text(f"The text has no {unit}s.", "dim")
        if not self.effects.most:
            return Text(f"No {unit} on its own changes the probability of {name}.", "dim")
        legend = self.key()
        legend.append(f" the probability of {name} by up to {self.effects.strongest} points", "dim")
        return legend.append_text(self.remark())

    def key(self) -> Text:
        """Return the start of the legend."""
        from rich.text import Text

        key = Text()
        for verb, styles in (("raises", self.raises), ("lowers", self.lowers)):
            key.append(f"{' ' if key else ''}{verb} ", "dim")
            for style in styles:
                key.append(f" {self.explanation.unit} ", style)
        return key

    def remark(self) -> Text:
        """Return the end of the legend."""
        from rich.text import Text

        remark = Text("", "dim")
        if not all(part.known for part in self.explanation.parts):
            remark.append("; ").append("underlined", "underline").append(": unknown to the model")
        return remark

    def strongest(self) -> Table:
        """Return a table of the parts with the largest effects on the predicted class."""
        from rich.table import Table
        from rich.text import Text

        parts, energy = self.explanation.parts, Figures.of_energy(self.explanation)
        columns = [Figures.of_effects(self.explanation, i) for i in self.ranking[:2]]
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column(Text(self.explanation.unit))
        for i in self.ranking[:2]:
            table.add_column(Text(f"effect on {self.names[i]}"), justify="right")
        table.add_column(Text("energy"), justify="right")
        order = sorted(range(len(parts)), key=lambda i: -abs(self.effects.values[i]))
        for i in order[:PARTS_LISTED]:
            piece = self.explanation.text[parts[i].start : parts[i].end]
            cells = [shorten(piece, PART_COLUMNS) or NOTHING, *(each.signed(i) for each in columns)]
            table.add_row(*map(Text, [*cells, f"{energy.text(i)}%"]))
        return table


class _PlainView(_View):
    """One explanation, with marks in place of colours."""

    def piece(self, i: int, text: str) -> tuple[str, str]:
        value = self.effects.values[i]
        if value == 0 or abs(value) < MARKED * self.effects.most:
            return text, ""
        sign = "-" if value < 0 else "+"
        return f"[{sign}{text}{sign}]", ""

    def key(self) -> Text:
        from rich.text import Text

        return Text("[+raises+] or [-lowers-]")

    def remark(self) -> Text:
        from rich.text import Text

        return Text(f"; a {self.explanation.unit} with less than a quarter of that is not marked")


def _clean(text: str) -> str:
    return "".join(character for character in displayable(text) if character not in BIDI_CONTROLS)
