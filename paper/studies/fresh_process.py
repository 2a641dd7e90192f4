"""Calls of functions in a process of their own, whose memory nothing else has touched."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from token2wave.errors import Token2WaveError

Plain = dict[str, Any]


class FreshProcessError(Token2WaveError):
    """A process that did not give a result: it failed, or the system ended it."""


def call_in_fresh_process(function: Callable[[Plain], Plain], argument: Plain) -> Plain:
    """Call a function in a Python of its own, and wait for what it gives.

    Args:
        function: of a module, found there by its name.
        argument: what JSON can hold.

    Returns:
        What the function gave, which JSON can hold as well.

    Raises:
        FreshProcessError: the function failed, or the process was ended, e.g. for want of memory.
    """
    named = f"{function.__module__}.{function.__name__}"
    with tempfile.TemporaryDirectory(prefix="token2wave-") as folder:
        out = Path(folder, "result.json")
        done = subprocess.run(
            [sys.executable, "-m", __name__, function.__module__, function.__name__, str(out)],
            input=json.dumps(argument),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode < 0:
            raise FreshProcessError(
                f"the process was ended by signal {-done.returncode}, as happens when memory runs out",
                location=named,
            )
        if done.returncode or not out.is_file():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise FreshProcessError(f"the process failed: {last}", location=named)
        result: Plain = json.loads(out.read_text(encoding="utf-8"))
    return result


def main(arguments: list[str]) -> None:
    """Call the named function with the argument on standard input; write what it gives to a file."""
    module, name, out = arguments
    function: Callable[[Plain], Plain] = getattr(import_module(module), name)
    Path(out).write_text(json.dumps(function(json.load(sys.stdin))), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
