"""What benchmarks record beside times: versions, the state of the code, and the spread of runs."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from token2wave.storage.atomic import atomic_write, make_folder
from token2wave.versions import versions

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "benchmarks"


def all_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of what token2wave depends on, and of further packages where they are installed."""
    found = versions()
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def code_state() -> dict[str, Any]:
    """Commit of the code, and whether files other than results differ from it; None without git."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--", ".", ":!results")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest of several runs."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Write JSON so that a reader sees the old document or the new one."""
    make_folder(path.parent)
    with atomic_write(path) as aside:
        aside.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
