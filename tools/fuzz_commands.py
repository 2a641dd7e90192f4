"""A target of the guided fuzzer: the command line, its arguments and its standard input."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import sys
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import typer
from fuzz_cases import check, without_torch
from fuzz_common import classifier, folder_in_memory

from token2wave.cli import main as cli
from token2wave.errors import ConfigError

COMMANDS = ("evaluate", "predict", "info", "compress", "explain", "export", "train", "update")
WORDS_OF_COMMANDS = ("model.safetensors", "rows.csv", "out.safetensors", "debian-sections")


def commandline(data: bytes) -> None:
    """Arguments, a line each, then NUL and standard input; the first byte chooses the command.

    Only arguments that name no place outside the folder it runs in are tried, and nothing is trained.
    """
    if not data:
        return
    said, _, stdin = data[1:].partition(b"\0")
    arguments = [part.decode("utf-8", "surrogateescape") for part in said.split(b"\n")[:12]]
    if any("/" in part or ".." in part or "~" in part or "\\" in part for part in arguments):
        return
    folder = Path(folder_in_memory().name, "place")
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()
    classifier("words").save(folder / "model.safetensors")
    (folder / "rows.csv").write_text("text,label\ngood film,class 0 é\nbad,class 1 é\n" * 4)
    status, error = _run([COMMANDS[data[0] % len(COMMANDS)], *arguments], stdin, folder)
    check(status in (0, 2), f"exit status {status}: {error[-300:]}")
    check("Traceback" not in error, error[-2000:])
    if status == 2 and error.startswith("error: "):
        check(error.count("\n") == 1, f"an error of several lines: {error}")
    check(not list(folder.glob("*.part")), "a file is left half written")


@cache
def _commands() -> Any:
    """The command line as click has it, which typer would make anew for every run."""
    return typer.main.get_command(cli.app)


def _refused(*_: Any, **__: Any) -> None:
    raise ConfigError("nothing is trained here")


def _run(arguments: list[str], stdin: bytes, folder: Path) -> tuple[Any, str]:
    """Run the command line inside this process, without network and without training."""
    from token2wave import pipeline as training

    streams = [
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors, write_through=True)
        for errors in ("strict", "backslashreplace")  # as Python has them
    ]
    before, interrupt = os.getcwd(), signal.getsignal(signal.SIGINT)
    status: Any = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(cli, "app", _commands()))
        stack.enter_context(mock.patch.object(sys, "argv", ["token2wave", *arguments]))
        stack.enter_context(mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8")))
        stack.enter_context(mock.patch.object(sys, "stdout", streams[0]))
        stack.enter_context(mock.patch.object(sys, "stderr", streams[1]))
        stack.enter_context(mock.patch.object(training, "TrainingRun", _refused))
        stack.enter_context(mock.patch.object(training, "tune", _refused))
        stack.enter_context(mock.patch.object(training, "_taught", _refused))
        stack.enter_context(mock.patch.object(socket.socket, "connect", _refused))
        stack.enter_context(mock.patch.dict(os.environ, {"HF_HUB_OFFLINE": "1", "COLUMNS": "80"}))
        stack.enter_context(without_torch())
        os.chdir(folder)
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code or 0
        finally:
            os.chdir(before)
            signal.signal(signal.SIGINT, interrupt)
        error = streams[1].buffer.getvalue().decode("utf-8", "replace")  # type: ignore[attr-defined]
    return status, error
