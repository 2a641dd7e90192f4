"""What mkdocs does for the site beyond its own: pages from outside ``docs/``, and formulas as MathML.

``mkdocs.yml`` names it as a hook. Links in the documents are right on the forge, where ``docs/`` is a folder
among others; on the site the report of the reproduction lies below it, and other files are not there.
"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "paper"
_LINK_OUT = re.compile(r"\[(?P<words>[^\]]*)\]\(\.\./(?P<target>[^)#]+)(?P<anchor>#[^)]*)?\)")
_ROLE = re.compile(r":(?:func|class|meth|data|mod|attr):<code")
_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<formula>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)


def on_files(files: Files, config: Any) -> Files:
    """Add the report of the reproduction, its findings and its figures."""
    pages = [REPORT / "reproduction.md", REPORT / "findings.md"]
    for path in [*pages, *sorted((REPORT / "results" / "figures").glob("*.svg"))]:
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point links that lead out of ``docs/`` to where the site has the file; of the others keep the words."""

    def there(match: re.Match[str]) -> str:
        words, target = match["words"], match["target"]
        if files.get_file_from_path(target):
            return f"[{words}]({target}{match['anchor'] or ''})"
        if not (ROOT / target).exists():
            raise FileNotFoundError(f"{page.file.src_uri}: there is no {target}")
        return words

    return _LINK_OUT.sub(there, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Write formulas as MathML, which browsers show without a script; drop the roles of docstrings."""

    def formula(match: re.Match[str]) -> str:
        display = "block" if match["tag"] == "div" else "inline"
        return str(convert(unescape(match["formula"]).strip(), display=display))

    return _ROLE.sub("<code", _FORMULA.sub(formula, html))
