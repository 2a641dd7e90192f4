"""Renders a confusion matrix as a table of HTML whose cells open their texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any

from token2wave.explanation.effects import displayable
from token2wave.formatting import NOTHING, columns, count, percent, shorten
from token2wave.reporting.html_report import Html, escaped

MAX_ROOMY = 20  # classes; of more, the percentages stand in the cells' titles
MAX_HORIZONTAL = 8  # columns of a label above a cell
LABEL_COLUMNS = 40
MIN_SHADE, MAX_SHADE = 0.1, 0.6  # opacity of cells; on more, the ink would be hard to read

Pair = tuple[str | None, str | None]  # a true and a predicted label, as in token2wave.metrics.EvaluatedText


class TextPanels:
    """Panels with the texts of each pair of a true and a predicted label, and buttons that open them.

    The panels are popovers, which need no script.

    Args:
        texts: see :attr:`token2wave.training.result.Summary.evaluated_texts`.
        confusion: the number of texts of each pair, for what the panels leave out.
        names: of the rows of the confusion matrix.
    """

    def __init__(
        self,
        texts: Iterable[Mapping[str, Any]],
        confusion: Sequence[Sequence[int]] = (),
        names: Sequence[str] = (),
    ) -> None:
        self._by_pair: dict[Pair, list[Mapping[str, Any]]] = {}
        for text in texts:
            self._by_pair.setdefault((text["label"], text["predicted"]), []).append(text)
        self._numbers = {pair: number for number, pair in enumerate(self._by_pair, start=1)}
        self._n_texts: dict[Pair, int] = {
            (names[i], names[j]): n for i, row in enumerate(confusion) for j, n in enumerate(row)
        }

    def button(self, pair: Pair, content: str) -> Html:
        """A button that opens the texts of a pair, or the content alone if there are none."""
        if pair not in self._numbers:
            return Html(content)
        return Html(f'<button popovertarget="texts-{self._numbers[pair]}">{content}</button>')

    def count(self, pair: Pair) -> int:
        """Number of texts of a pair."""
        return len(self._by_pair.get(pair, ()))

    def html(self) -> str:
        """The panels."""
        return "\n".join(self._panel(pair, texts) for pair, texts in self._by_pair.items())

    def _panel(self, pair: Pair, texts: Sequence[Mapping[str, Any]]) -> str:
        anchor, (label, predicted) = f"texts-{self._numbers[pair]}", pair
        title = f"{_label(label)} predicted as {_label(predicted)}"
        order, against = "surest", f"for {_label(label)}"
        if predicted is None:
            title, against = f"{_label(label)} missed", f"against {_label(label)}"
        elif label is None:
            title, against = f"{_label(predicted)} predicted wrongly", f"against {_label(predicted)}"
        elif label == predicted:
            title, order, against = f"{_label(label)} predicted rightly", "least sure", "for the next label"
        n_texts = max(self._n_texts.get(pair, 0), len(texts))
        about = f"The {order} first" + (
            f", {count(len(texts))} of {count(n_texts)}." if len(texts) < n_texts else "."
        )
        if any(text.get("words") for text in texts):
            target = _label(label if predicted is None else predicted)
            about += (
                f' <span class="f2">Words</span> speak for {target}, <span class="a2">words</span> {against}.'
            )
        items = "".join(
            f'<li><span class="number">{percent(text["probability"], 1)}</span> '
            f"<bdi>{_coloured(text.get('words') or ()) or escaped(text['text']) or NOTHING}</bdi>"
            + ("" if text["row"] is None else f" <small>row {count(text['row'])}</small>")
            + "</li>"
            for text in texts
        )
        return (
            f'<div popover id="{anchor}" class="texts" autofocus tabindex="-1" role="dialog" '
            f'aria-labelledby="{anchor}-title">'
            f'<button class="close" popovertarget="{anchor}" popovertargetaction="hide">Close</button>'
            f'<h3 id="{anchor}-title">{title}</h3>'
            f"<p>{about}</p><ol>{items}</ol></div>"
        )


def _coloured(words: Sequence[tuple[str, float]]) -> str:
    """Words in colours for and against, each in one of three shades; weak effects have none."""
    strongest = max((abs(effect) for _, effect in words), default=0.0) or 1.0
    runs: list[tuple[str, str]] = []
    for word, effect in words:
        level = int(3.999 * abs(effect) / strongest)  # of a quarter of the strongest each
        style = f"{'f' if effect > 0 else 'a'}{level}" if level else ""
        if runs and runs[-1][1] == style == "":
            word = runs.pop()[0] + word
        runs.append((word, style))
    pieces = ((escape(displayable(word)), style) for word, style in runs)
    return "".join(
        f'<span class="{style}">{piece}</span>' if style else piece for piece, style in pieces
    ).strip()


def confusion_table(
    confusion: Sequence[Sequence[int]], names: Sequence[str], caption: str, panels: TextPanels
) -> str:
    """Render a confusion matrix ``(C, C)``, the truth along the rows."""
    roomy = len(names) <= MAX_ROOMY
    upright = "" if all(columns(name) <= MAX_HORIZONTAL for name in names) else " upright"
    head = "".join(f'<th scope="col" title="{_short(name)}">{_label(name)}</th>' for name in names)
    rows = []
    for i, row in enumerate(confusion):
        cells, n_texts = [], max(sum(row), 1)
        for is_empty, run in groupby(enumerate(row), key=lambda cell: not cell[1]):
            if is_empty:  # one element for all of them keeps a page of many classes small
                cells.append(f'<td class="none" colspan="{len(list(run))}"></td>')
                continue
            for j, n in run:
                fraction = n / n_texts
                title = f"{_short(names[i])} as {_short(names[j])}: {count(n)} ({percent(fraction, 1)})"
                rounded = percent(fraction, 0) if fraction >= 0.005 else "&lt;1%"
                content = f"{count(n)}<small>{rounded}</small>" if roomy else _compact(n)
                content = panels.button((names[i], names[j]), content)
                style = "right" if i == j else "wrong"
                shade = f"{MIN_SHADE + (MAX_SHADE - MIN_SHADE) * fraction**0.5:.2f}"
                cells.append(f'<td class="{style}" style="--shade:{shade}" title="{title}">{content}</td>')
        rows.append(
            f'<tr><th scope="row" title="{_short(names[i])}">{_label(names[i])}</th>{"".join(cells)}</tr>'
        )
    style, body = ("roomy" if roomy else "compact") + upright, "\n".join(rows)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escaped(caption)}">'
        f'<table class="matrix {style}" style="--n:{len(names)}"><caption>{escaped(caption)}</caption>\n'
        f'<colgroup><col class="names"><col span="{len(names)}"></colgroup>\n'
        f"<thead><tr><td>true \\ predicted</td>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _short(name: str | None) -> str:
    return escaped(shorten(name or "", LABEL_COLUMNS)) or NOTHING


def _label(name: str | None) -> str:
    return f"<bdi>{_short(name)}</bdi>"


def _compact(n: int) -> str:
    """Write a number in at most four characters, up to 999 million."""
    for size, unit in ((1_000_000, "M"), (1000, "k")):
        if n >= size:
            return f"{n / size:.1f}{unit}" if n < 10 * size - size / 20 else f"{n / size:.0f}{unit}"
    return str(n)
