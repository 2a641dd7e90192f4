"""The documentation site builds without warnings, and loads nothing from other hosts."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import token2wave

ROOT = Path(__file__).parent.parent
_LOADED = re.compile(
    r"<(?:script|link|img|iframe|source|object)\b[^>]*?(?:src|href|data)=\"?(?:https?:)?//[^\s>]+"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    build = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert build.returncode == 0, build.stdout + build.stderr
    return folder


def test_every_document_is_a_page(site):
    for path in (ROOT / "docs").glob("*.md"):
        assert "<h1" in (site / f"{path.stem}.html").read_text(), path.name


def test_no_markdown_is_left_in_the_pages(site):
    """The site and the forge agree on what is a list, a table or a fence."""
    for page in site.rglob("*.html"):
        for paragraph in re.findall(r"<p>(.*?)</p>", page.read_text(), re.DOTALL):
            assert not re.search(r"\n\s*(?:- |\d\. |\|)|```|\*\*", paragraph), (page.name, paragraph[:300])


def test_pages_load_nothing_from_other_hosts(site):
    for page in site.rglob("*.html"):
        assert not _LOADED.findall(page.read_text()), page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", sheet.read_text()), sheet.name


def test_formulas_are_mathml(site):
    page = (site / "mathematics.html").read_text()
    assert page.count("<math") > 20
    assert "arithmatex" not in page


def test_api_page_has_all_public_names(site):
    page = (site / "api.html").read_text()
    for name in (*token2wave.__all__, "TextDataset", "load_splits", "read_labelled"):
        if name != "__version__":
            assert re.search(rf'id="token2wave[\w.]*\.{name}"', page), f"{name}: add it to docs/api.md"
    assert not re.search(r":(?:func|class|meth):", page)
