"""Runs the command line inside this process, and one tiny trained model for all."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer.main
from cli_helpers import CSV, TINY

from token2wave.cli import main as cli

COMMAND_LINE = typer.main.get_command(cli.app)
"""What the application builds of itself at each call, which takes time; built once, as in a program."""


@dataclass(frozen=True)
class Outcome:
    """Status and output of one run of the command line."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON that stands alone on standard output; RFC 8259 knows no NaN."""
        return json.loads(self.out, parse_constant=_refuse)

    @property
    def error(self) -> str:
        """The one line of an error of ours; stages may have been logged before it."""
        written = [line for line in self.err.splitlines() if line.strip()]
        assert self.status == 2, (self.status, self.err)
        assert self.out == ""
        assert [line for line in written if line.startswith("error: ")] == written[-1:], self.err
        assert "Traceback" not in self.err
        return written[-1]


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


Cli = Callable[..., Outcome]


@pytest.fixture
def run_cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    monkeypatch.setattr(cli, "app", COMMAND_LINE)

    def run(*arguments: object, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "argv", ["token2wave", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        status: Any = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code or 0
        return Outcome(status, *capsys.readouterr())

    return run


@pytest.fixture(autouse=True)
def unchanged_model(request: pytest.FixtureRequest) -> Iterator[None]:
    """The model that tests share is as it was."""
    path = request.getfixturevalue("model") if "model" in request.fixturenames else None
    content = path and path.read_bytes()
    yield
    assert path is None or path.read_bytes() == content


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder; no half-written file may remain in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOKEN2WAVE_DATA", raising=False)
    yield tmp_path
    assert not list(tmp_path.rglob("*.part"))


@pytest.fixture
def train_csv(workplace: Path) -> Path:
    path = workplace / "reviews.csv"
    path.write_text(CSV)
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model; no test may change it."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "reviews.csv").write_text(CSV)
    arguments, previous_folder = sys.argv, os.getcwd()
    os.chdir(folder)
    sys.argv = ["token2wave", "train", "reviews.csv", "--out", "model.safetensors", *TINY]
    try:
        with pytest.raises(SystemExit) as stop:
            cli.main()
    finally:
        sys.argv = arguments
        os.chdir(previous_folder)
    assert not stop.value.code
    return folder / "model.safetensors"
