"""Finished pieces of work, kept in files, so that nothing is done twice after an interruption."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from token2wave.errors import DataError
from token2wave.native import n_threads
from token2wave.runtime.files import make_folder, written_aside
from token2wave.training.progress import Callback, Teller
from token2wave.training.summary import machine
from token2wave.versions import versions

Unit = dict[str, Any]


class NotFinishedError(Exception):
    """A piece of work that is wanted from an earlier run, and is not there."""


@dataclass
class Store:
    """Runs units of work, and keeps what they gave.

    Attributes:
        folder: where the results are kept; nowhere, if None.
        callbacks: told how it goes.
        device: ``auto``, ``cpu`` or ``cuda``, for everything that is trained.
        finished_only: give what earlier runs have finished, and begin nothing.
        made: how each unit was made, by name.
    """

    folder: Path | None = None
    callbacks: Sequence[Callback] = ()
    device: str = "auto"
    finished_only: bool = False
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def tell(self) -> Teller:
        """Passes word to the callbacks."""
        return Teller(self.callbacks)

    def unit(self, name: str, settings: Mapping[str, Any], compute: Callable[[], Unit]) -> Unit:
        """Give the result of a piece of work, from an earlier run if it has the same settings.

        Args:
            name: of the unit, e.g. ``accuracy/ag_news/wave-modulation-0``; also its file's.
            settings: everything that decides the result, as JSON can hold it.
            compute: does the work; gives what JSON can hold.

        Raises:
            DataError: the file of an earlier run is damaged.
            OutputError: the result cannot be written.
            NotFinishedError: only finished work is wanted, and this is not.
        """
        wanted = json.loads(json.dumps(settings))
        path = None if self.folder is None else self.folder / f"{name}.json"
        if path is not None and path.is_file():
            kept = _read(path)
            if kept["settings"] == wanted:
                self.made[name] = kept["made"]
                return dict(kept["result"])
        if self.finished_only:
            raise NotFinishedError(name)
        start = time.perf_counter()
        result: Unit = json.loads(json.dumps(compute(), allow_nan=False))
        self.made[name] = made = {
            "seconds": time.perf_counter() - start,
            "versions": versions(),
            "machine": machine(n_threads(), self.device),
            "commit": commit(),
        }
        if path is not None:
            make_folder(path.parent)
            document = {"settings": wanted, "result": result, "made": made}
            with written_aside(path) as aside:
                aside.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return result


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not {"settings", "result", "made"} <= document.keys():
            raise ValueError("a key is missing")
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            f"expected the result of an earlier run, but it cannot be read ({error})",
            where=str(path),
            cure="remove the file, and this piece of work is done again",
        ) from error
    return dict(document)


@cache
def commit() -> str | None:
    """Commit of the code, with ``+`` if files differ from it; None outside a checkout of the project."""
    here = Path(__file__).resolve().parents[3]
    if not (here / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=here, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "src") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
