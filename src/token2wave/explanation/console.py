"""Prints an explanation in a terminal, or as plain text to a file."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from token2wave.explanation.effects import Explanation, Figures, displayable
from token2wave.formatting import BIDI_CONTROLS, NOTHING, percent, shorten

MAX_CLASSES, MAX_PARTS = 3, 8
LABEL_COLUMNS, PART_COLUMNS = 32, 32
SHADES = (0.08, 0.25, 0.6)  # fractions of the strongest effect at which each shade begins
MIN_MARKED = 0.25  # fraction of the strongest effect at which marks begin, if there are no colours
# The terminal may be dark or light: the weakest shade colours the letters alone, in a tone visible on both.
RAISES = ("#2f86d6", "#ffffff on #4a7ba6", "bold #ffffff on #0059c9")
LOWERS = ("#cc7518", "#ffffff on #a0703f", "bold #ffffff on #bd4b00")
# For terminals with sixteen colours.
RAISES_SIXTEEN = ("bright_blue", "bright_white on blue", "bold bright_white on blue")
LOWERS_SIXTEEN = ("red", "bright_white on red", "bold bright_white on red")


def print_explanation(explanation: Explanation, console: Console | None = None) -> None:
    """Print a prediction, the text in colours or with marks, and the strongest parts.

    Without colours, as in a file, ``[+word+]`` marks what raises the probability of the predicted class and
    ``[-word-]`` what lowers it. Text and labels cannot send commands to the terminal: see `displayable`.
    Characters that control the direction of writing are left out.

    Args:
        explanation: what to print.
        console: where; standard output if None.
    """
    console = Console() if console is None else console
    coloured = console.color_system is not None and not console.no_color
    sixteen = console.color_system in ("standard", "windows")
    view = _ColouredView(explanation, sixteen) if coloured else _MarkedView(explanation)
    blocks: list[Text | Table] = [view.prediction(), view.text(), view.legend()]
    if explanation.parts:
        blocks.append(view.strongest())
    if explanation.passage is not None:
        blocks.append(view.passage(*explanation.passage))
    for i, block in enumerate(blocks):
        if i:
            console.print()
        # A terminal wraps lines between words. A file keeps the lines of the text.
        console.print(block, soft_wrap=not console.is_terminal, highlight=False)


class _ColouredView:
    """An explanation in colours."""

    def __init__(self, explanation: Explanation, sixteen: bool = False) -> None:
        self.explanation = explanation
        self.ranking = explanation.ranking()
        self.effects = Figures.of_effects(explanation, self.ranking[0])
        self.names = [shorten(name, LABEL_COLUMNS) or NOTHING for name in explanation.label_names]
        self.raises = RAISES_SIXTEEN if sixteen else RAISES
        self.lowers = LOWERS_SIXTEEN if sixteen else LOWERS

    def prediction(self) -> Text:
        """The most probable classes."""
        best, *others = [
            f"{self.names[i]} {percent(self.explanation.probabilities[i])}"
            for i in self.ranking[:MAX_CLASSES]
        ]
        n_more = len(self.ranking) - 1 - len(others)
        rest = "".join(f", {other}" for other in others) + (f" and {n_more} more" if n_more else "")
        return Text.assemble((best, "bold"), (rest, "dim"))

    def text(self) -> Text:
        """The whole text, each part as `piece` shows it."""
        text, line, end = self.explanation.text, Text(), 0
        for i, unit in enumerate(self.explanation.parts):
            line.append(_clean(text[end : unit.start]))
            line.append(*self.piece(i, _clean(text[unit.start : unit.end])))
            end = unit.end
        return line.append(_clean(text[end:]))

    def piece(self, i: int, text: str) -> tuple[str, str]:
        """The text of a part, and its style."""
        value = self.effects.values[i]
        shade = sum(value != 0 and abs(value) >= fraction * self.effects.largest for fraction in SHADES)
        style = (self.lowers if value < 0 else self.raises)[shade - 1] if shade else ""
        return text, style if self.explanation.parts[i].known else f"{style} underline"

    def legend(self) -> Text:
        """The meaning of the colours or marks."""
        unit, name = self.explanation.unit, self.names[self.ranking[0]]
        if not self.explanation.parts:
            return Text(f"The text has no {unit}s.", "dim")
        if not self.effects.largest:
            return Text(f"No {unit} on its own changes the probability of {name}.", "dim")
        legend = self.key()
        legend.append(f" the probability of {name} by up to {self.effects.strongest} points", "dim")
        return legend.append_text(self.remark())

    def key(self) -> Text:
        """The start of the legend."""
        key = Text()
        for verb, styles in (("raises", self.raises), ("lowers", self.lowers)):
            key.append(f"{' ' if key else ''}{verb} ", "dim")
            for style in styles:
                key.append(f" {self.explanation.unit} ", style)
        return key

    def remark(self) -> Text:
        """The end of the legend."""
        if all(unit.known for unit in self.explanation.parts):
            return Text()
        return Text.assemble("; ", ("underlined", "underline"), ": unknown to the model", style="dim")

    def passage(self, start: int, end: int) -> Text:
        """The window that decides most."""
        place = f"strongest passage, characters {start:,} to {end:,}: "
        return Text.assemble((place, "dim"), _clean(self.explanation.text[start:end]))

    def strongest(self) -> Table:
        """A table of the parts with the largest effects on the predicted class."""
        parts, energy = self.explanation.parts, Figures.of_energy(self.explanation)
        columns = [Figures.of_effects(self.explanation, i) for i in self.ranking[:2]]
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column(Text(self.explanation.unit))
        for i in self.ranking[:2]:
            table.add_column(Text(f"effect on {self.names[i]}"), justify="right")
        table.add_column(Text("energy"), justify="right")
        is_pair = any(unit.shared is not None for unit in parts)
        if is_pair:
            table.add_column(Text("texts"))
        order = sorted(range(len(parts)), key=lambda i: -abs(self.effects.values[i]))
        for i in order[:MAX_PARTS]:
            piece = self.explanation.text[parts[i].start : parts[i].end]
            cells = [shorten(piece, PART_COLUMNS) or NOTHING, *(column.signed(i) for column in columns)]
            texts = ["both" if parts[i].shared else "one"] if is_pair else []
            table.add_row(*map(Text, [*cells, f"{energy.text(i)}%", *texts]))
        return table


class _MarkedView(_ColouredView):
    """An explanation with marks instead of colours."""

    def piece(self, i: int, text: str) -> tuple[str, str]:
        value = self.effects.values[i]
        if value == 0 or abs(value) < MIN_MARKED * self.effects.largest:
            return text, ""
        sign = "-" if value < 0 else "+"
        return f"[{sign}{text}{sign}]", ""

    def key(self) -> Text:
        return Text("[+raises+] or [-lowers-]")

    def remark(self) -> Text:
        return Text(f"; a {self.explanation.unit} with less than a quarter of that is not marked")


def _clean(text: str) -> str:
    return "".join(character for character in displayable(text) if character not in BIDI_CONTROLS)
