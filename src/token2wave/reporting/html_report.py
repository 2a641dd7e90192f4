"""Pieces of the HTML pages that reports consist of; whatever comes from outside is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from html import escape
from pathlib import Path

from token2wave.formatting import printable
from token2wave.reporting.figures import CSS
from token2wave.storage.atomic import atomic_write, check_writable, make_folder


def write_all(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write files of a folder, replacing older ones only after every new one is complete."""
    make_folder(folder)
    paths = [folder / name for name in files]
    for path in paths:
        check_writable(path)
    with ExitStack() as stack:
        for path, content in zip(paths, files.values(), strict=True):
            stack.enter_context(atomic_write(path)).write_bytes(content)
    return paths


def escaped(text: str) -> str:
    """Text as HTML shows it, whatever stands in it."""
    return escape(printable(text))


def prose(text: str) -> str:
    """A paragraph's text, with *emphasis* and `code` marked as in Markdown."""
    parts = re.split(r"`([^`]+)`", escaped(text))  # every second one is code
    emphasised = [re.sub(r"(?<![\w*])\*(\w[^*]*)\*(?![\w*])", r"<em>\1</em>", part) for part in parts[::2]]
    coded = [f"<code>{part}</code>" for part in parts[1::2]]
    return "".join(piece for pair in zip(emphasised, [*coded, ""], strict=True) for piece in pair)


def section(title: str, content: str) -> str:
    """A part of a page; the title becomes its anchor."""
    anchor = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    heading = f'<h2 id="{anchor}">{escaped(title)}</h2>'
    return f'<section aria-labelledby="{anchor}">\n{heading}\n{content}\n</section>'


def definitions(entries: Iterable[tuple[str, str, str]], style: str = "") -> str:
    """A list of figures: what, how much, and a remark."""
    items = []
    for name, value, remark in entries:
        small = f"<small>{escaped(remark)}</small>" if remark else ""
        items.append(f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}{small}</dd></div>")
    opening = f'<dl class="{style}">' if style else "<dl>"
    return f"{opening}{''.join(items)}</dl>"


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, n_names: int = 1) -> str:
    """A table whose first column names the row; after ``n_names`` columns come numbers."""

    def cell(tag: str, column: int, value: str, scope: str = "") -> str:
        kind = "number" if column >= n_names else "name"
        return f'<{tag}{scope} class="{kind}">{escaped(value)}</{tag}>'

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


def figure(name: str, svg: bytes, about: str, caption: str) -> str:
    """Set an SVG file into the page: no foreign addresses, ids of its own, colours of the page."""
    text = svg.decode("utf-8")
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)

    def adapt(tag: re.Match[str]) -> str:
        inside = re.sub(r"""\sxmlns(:\w+)?="[^"]*\"""", "", tag[0])
        inside = re.sub(r'(\sid="|"#|url\(#)', rf"\g<1>{name}-", inside)
        for colour, variable in CSS.items():
            inside = inside.replace(colour, variable)
        return inside

    text = re.sub(r"<[^<>]+>", adapt, text)  # text between tags has its < and > escaped
    opening = re.match(r'<svg[^>]*?viewBox="(\S+ \S+ (\S+) \S+)"[^>]*>', text)
    if opening is None:
        raise AssertionError("matplotlib wrote an SVG without a viewBox")
    width = float(opening[2])  # points
    min_width = 0.55 * width + (0 if name == "learning" else 80)  # on a phone; beyond it, the figure scrolls
    style = f"max-width:{width:.0f}pt;min-width:{min_width:.0f}pt"
    text = (
        f'<svg role="img" aria-label="{escaped(about)}" viewBox="{opening[1]}" style="{style}">'
        + text[opening.end() :].strip()
    )
    return (
        f'<figure><div class="scroll figure" role="region" tabindex="0" aria-label="Figure: {name}">'
        f"{text}</div>"
        f"<figcaption>{escaped(caption)}</figcaption></figure>\n"
    )
