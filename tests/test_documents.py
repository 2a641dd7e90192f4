"""What the documents say is what the code does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import token2wave

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def python_blocks(path):
    return re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)


@pytest.mark.parametrize("path", list(filter(python_blocks, DOCUMENTS)), ids=lambda path: path.name)
def test_code_blocks_run(path, tmp_path, monkeypatch, capsys):
    """One after the other, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in python_blocks(path):
        exec(compile(block, "block", "exec"), names)
        assert capsys.readouterr().out, block


def test_figures_are_those_of_the_results():
    check = subprocess.run(
        [sys.executable, ROOT / "tools" / "render_results.py", "--check"], capture_output=True, text=True
    )
    assert check.returncode == 0, check.stdout + check.stderr


def test_version_is_in_the_changelog():
    assert f"## {token2wave.__version__} " in (ROOT / "CHANGELOG.md").read_text()
    assert f'version = "{token2wave.__version__}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_public_names_are_those_that_can_be_imported():
    for name in token2wave.__all__:
        assert getattr(token2wave, name) is not None
    assert set(dir(token2wave)) == set(token2wave.__all__)
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        token2wave.nothing_of_the_kind  # noqa: B018
