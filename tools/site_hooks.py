"""What mkdocs does for the site beyond its own: pages from outside ``docs/``, and mathematics as MathML.

``mkdocs.yml`` names it as a hook. Links in the documents are right on the forge, where ``docs/`` is a folder
among others; on the site the report of the reproduction lies below it.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
REPORT = Path("results/reproduction")
_LINK_OUT = re.compile(r"\]\(\.\./(?P<target>[^)]+)\)")
_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<formula>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)


def on_files(files: Files, config: Any) -> Files:
    """Add the report of the reproduction and its figures."""
    for path in [ROOT / REPORT / "report.md", *sorted((ROOT / REPORT / "figures").glob("*.svg"))]:
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point links that lead out of ``docs/`` to where the site has the file; else keep the words alone."""
    if page.file.src_uri.startswith(REPORT.as_posix()):
        return markdown

    def there(match: re.Match[str]) -> str:
        target = match["target"]
        return f"]({target})" if files.get_file_from_path(target) else "](https://invalid.invalid)"

    return _LINK_OUT.sub(there, markdown)


def on_page_content(html_text: str, **_: Any) -> str:
    """Write formulas as MathML, which browsers show without a script."""

    def formula(match: re.Match[str]) -> str:
        display = "block" if match["tag"] == "div" else "inline"
        return convert(html.unescape(match["formula"]).strip(), display=display)

    return _FORMULA.sub(formula, html_text)
