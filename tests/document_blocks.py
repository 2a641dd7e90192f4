"""Finds the code blocks of a document and runs them.

A block runs unless ``<!-- not run: REASON -->`` precedes it. A block that takes minutes can be changed before
it runs: ``<!-- run with: 5min -> 2s; ag_news -> debian-sections -->``. ``token2wave train`` runs
for two epochs; so does ``token2wave.train``, see ``test_documents.py``. A block after
``<!-- saved as: NAME -->`` is saved as a file that later blocks use.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from token2wave.cli import main as cli

ROOT = Path(__file__).parent.parent
RUN = ("python", "console")
SHOWN = ("text", "json", "toml", "yaml", "ini", "html", "dockerfile")
"""Languages of blocks that are shown and not run."""
SERVERS = (["tensorboard"], ["mlflow", "ui"], ["mlflow", "server"])
"""First words of commands that run until they are stopped. Tests only check that their packages exist."""
_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>not run|run with|saved as): (?P<note>[^\n]*?) -->\n+)?"
    r"^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_SHELL = re.compile(r"[|<>;&$`*]")


@dataclass(frozen=True)
class Block:
    """A code block: its language, its text as it runs, and its line.

    If it does not run, why not, or the file that it is saved as.
    """

    language: str
    text: str
    line: int
    skip_reason: str | None
    file: str | None = None


def blocks(path: Path) -> list[Block]:
    """Find all code blocks of a document, in order."""
    document = path.read_text(encoding="utf-8")
    result = []
    for match in _BLOCK.finditer(document):
        text, line = match["text"], document[: match.start("text")].count("\n") + 1
        if match["mark"] == "run with":
            for change in match["note"].split(";"):
                old, new = (side.strip() for side in change.split("->"))
                assert old in text, f"{path.name}, line {line}: {old!r} is not in the block"
                text = text.replace(old, new)
        skip_reason = match["note"] if match["mark"] == "not run" else None
        file = match["note"] if match["mark"] == "saved as" else None
        result.append(Block(match["language"], text, line, skip_reason, file))
    return result


def _path() -> str:
    """The search path of commands, with the folder of this Python first."""
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def commands(text: str) -> list[str]:
    """Split a console block into commands: what follows a ``$``, with continued lines joined."""
    joined = text.replace("\\\n", " ")
    return [line[2:].strip() for line in joined.splitlines() if line.startswith("$ ")]


class Session:
    """Runs blocks in order in the current folder, as a reader would type them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self._names: dict[str, Any] = {"__name__": "__main__"}

    def run(self, block: Block) -> None:
        """Run a block, and check that it prints something; or save it as its file."""
        if block.file is not None:
            Path(block.file).write_text(block.text, encoding="utf-8")
            sys.modules.pop(Path(block.file).stem, None)  # of a document that ran before
            self._monkeypatch.syspath_prepend(Path.cwd())
            return
        if block.language == "python":
            exec(compile(block.text, f"block of line {block.line}", "exec"), self._names)
            assert self._capsys.readouterr().out, block
            return
        lines = commands(block.text)
        assert lines, block
        for command in lines:
            self._command(command)

    def _command(self, command: str) -> None:
        words = shlex.split(command, comments=True)
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self._monkeypatch.setenv(name, value)
        elif words[:2] == ["pip", "install"]:
            self._check_packages(words[2:])
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), command
        elif any(words[: len(server)] == server for server in SERVERS):
            assert find_spec(words[0]), command
        elif words[0] == "token2wave" and not _SHELL.search(re.sub(r"'[^']*'|\"[^\"]*\"", "", command)):
            self._token2wave(words, command)
        else:
            checkout = f"{ROOT}{os.pathsep}{ROOT / 'src'}"  # where a reader of the pages on `paper` stands
            environment = {**os.environ, "PATH": _path(), "PYTHONPATH": checkout}
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command], env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def _check_packages(self, packages: list[str]) -> None:
        """Check that the extras which a document installs exist; nothing is installed."""
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        for package in packages:
            match = re.fullmatch(r"token2wave(?:\[(?P<extras>[\w,-]+)\])?", package)
            assert match, f"unknown package {package}"
            for extra in filter(None, (match["extras"] or "").split(",")):
                assert extra in extras, f"there is no extra {extra}"

    def _token2wave(self, words: list[str], command: str) -> None:
        """Run the command line in this process, with short training."""
        if words[1] == "train" and "--epochs" not in words:
            words = [*words, "--epochs", "2"]
        self._monkeypatch.setattr(sys, "argv", words)
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b""), encoding="utf-8"))
        status: Any = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code or 0
        printed = self._capsys.readouterr()
        assert status == 0, f"{command}\n{printed.err}"
        assert printed.out, command
