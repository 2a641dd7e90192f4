"""Renders the parts of HTML reports. All text from outside is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from html import escape
from pathlib import Path

from token2wave.formatting import printable
from token2wave.storage.atomic import atomic_write, check_writable, make_folder


def write_all(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write files into a folder; older ones are replaced once every new one is complete."""
    make_folder(folder)
    paths = [folder / name for name in files]
    for path in paths:
        check_writable(path)
    with ExitStack() as stack:
        for path, content in zip(paths, files.values(), strict=True):
            stack.enter_context(atomic_write(path)).write_bytes(content)
    return paths


class Html(str):
    """Rendered HTML, which is not escaped again."""


def escaped(text: str) -> str:
    """Escape a text for HTML."""
    return text if isinstance(text, Html) else escape(printable(text))


def breakable(text: str) -> str:
    """Escape a name, which may break after a mark between two words."""
    return text if isinstance(text, Html) else re.sub(r"(?<=\w)([_:/.-]+)(?=\w)", r"\1<wbr>", escaped(text))


def prose(text: str) -> str:
    """Render a paragraph with *emphasis* and `code` as in Markdown."""
    pieces = re.split(r"`([^`]+)`", escaped(text))  # every second one is code
    for i, piece in enumerate(pieces):
        emphasised = re.sub(r"(?<![\w*])\*(\w[^*]*)\*(?![\w*])", r"<em>\1</em>", piece)
        pieces[i] = f"<code>{piece}</code>" if i % 2 else emphasised
    return "".join(pieces)


def section(title: str, content: str) -> str:
    """Render a section; its title becomes its anchor."""
    anchor = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    heading = f'<h2 id="{anchor}">{escaped(title)}</h2>'
    return f'<section aria-labelledby="{anchor}">\n{heading}\n{content}\n</section>'


def definitions(entries: Iterable[tuple[str, str, str]], style: str = "") -> str:
    """Render a list of figures, each with name, value and remark."""
    items = []
    for name, value, remark in entries:
        small = f"<small>{escaped(remark)}</small>" if remark else ""
        items.append(f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}{small}</dd></div>")
    opening = f'<dl class="{style}">' if style else "<dl>"
    return f"{opening}{''.join(items)}</dl>"


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, n_names: int = 1) -> str:
    """Render a table. Its first column names the row; numbers follow after ``n_names`` columns."""

    def cell(tag: str, column: int, value: str, scope: str = "") -> str:
        style = "number" if column >= n_names else "name"
        content = escaped(value) if style == "number" else breakable(value)
        return f'<{tag}{scope} class="{style}">{content}</{tag}>'

    top = "".join(
        cell("th" if name else "td", i, name, ' scope="col"' if name else "") for i, name in enumerate(head)
    )
    body = "\n".join(
        "<tr>"
        + cell("th", 0, row[0], ' scope="row"')
        + "".join(cell("td", i, value) for i, value in enumerate(row[1:], start=1))
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escaped(caption)}"><table>'
        f"<caption>{prose(caption)}</caption>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )
