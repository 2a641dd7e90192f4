"""Fuzz target: the command line with its arguments and standard input."""

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

from fuzzing.checks import check, classifier, temporary_folder, without_torch
from token2wave import pipeline
from token2wave.cli import main as cli
from token2wave.errors import ConfigError

COMMANDS = ("evaluate", "predict", "info", "compress", "explain", "export", "train", "update")


def command_line(data: bytes) -> None:
    """One argument a line, then NUL and standard input; the first byte chooses the command.

    Arguments that could name a path outside the folder are skipped, and nothing is trained.
    """
    if not data:
        return
    lines, _, stdin = data[1:].partition(b"\0")
    arguments = [part.decode("utf-8", "surrogateescape") for part in lines.split(b"\n")[:12]]
    if any("/" in part or ".." in part or "~" in part or "\\" in part for part in arguments):
        return
    folder = Path(temporary_folder().name, "working")
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
    check(not list(folder.glob("*.part")), "a partial file is left behind")


@cache
def _commands() -> Any:
    """The click command, made once instead of for every run."""
    return typer.main.get_command(cli.app)


def _refuse(*_: Any, **__: Any) -> None:
    raise ConfigError("training is off")


def _run(arguments: list[str], stdin: bytes, folder: Path) -> tuple[Any, str]:
    """Run the command line in this process, without network and training; returns status and stderr."""
    streams = [
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors, write_through=True)
        for errors in ("strict", "backslashreplace")  # as Python has them
    ]
    previous, interrupt = os.getcwd(), signal.getsignal(signal.SIGINT)
    status: Any = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(cli, "app", _commands()))
        stack.enter_context(mock.patch.object(sys, "argv", ["token2wave", *arguments]))
        stack.enter_context(mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8")))
        stack.enter_context(mock.patch.object(sys, "stdout", streams[0]))
        stack.enter_context(mock.patch.object(sys, "stderr", streams[1]))
        for name in ("TrainingRun", "prepare_stream_run"):
            stack.enter_context(mock.patch.object(pipeline, name, _refuse))
        stack.enter_context(mock.patch.object(socket.socket, "connect", _refuse))
        stack.enter_context(mock.patch.dict(os.environ, {"HF_HUB_OFFLINE": "1", "COLUMNS": "80"}))
        stack.enter_context(without_torch())
        os.chdir(folder)
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code or 0
        finally:
            os.chdir(previous)
            signal.signal(signal.SIGINT, interrupt)
        error = streams[1].buffer.getvalue().decode("utf-8", "replace")  # type: ignore[attr-defined]
    return status, error
