"""Ask pip-audit for known vulnerabilities of the pinned versions, where its service can be reached.

    python tools/audit.py

One package is asked for first. Where there is no answer, one line says so and the exit status is 0: nobody's
work waits for somebody else's service. Where there is one, the exit status is 1 if anything is found.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hash_constraints import PINNED, pins

FIRST = "packaging"
Ask = Callable[[Iterable[str]], dict[str, Any] | None]


def ask(lines: Iterable[str]) -> dict[str, Any] | None:
    """What pip-audit says of pinned versions; None if it says nothing."""
    with tempfile.TemporaryDirectory() as folder:
        selected = Path(folder) / "pins.txt"
        selected.write_text("".join(f"{line}\n" for line in lines))
        done = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "pip_audit",
                    "--requirement",
                    selected,
                    "--no-deps",
                    "--disable-pip",
                ),
                *("--format", "json", "--progress-spinner", "off"),
            ],
            capture_output=True,
            text=True,
        )
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def audit(pinned: dict[str, str], asked: Ask = ask) -> tuple[int, list[str]]:
    """The exit status, and lines that say why."""
    first = asked([f"{FIRST}=={pinned[FIRST]}"])
    if first is None or any("skip_reason" in one for one in first["dependencies"]):
        return 0, ["pip-audit: its service cannot be reached from here, so nothing was audited"]
    every = asked(f"{name}=={version}" for name, version in pinned.items())
    if every is None:
        return 1, ["pip-audit: it answered for one package, and not for all"]
    found = [
        f"{one['name']} {one['version']}: {vulnerability['id']}, mended in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version'}"
        for one in every["dependencies"]
        for vulnerability in one.get("vulns", [])
    ]
    skipped = [one["name"] for one in every["dependencies"] if "skip_reason" in one]
    counted = f"pip-audit: {len(pinned) - len(skipped)} packages, {len(found)} findings"
    return int(bool(found)), [
        *found,
        counted + (f"; not known to it: {', '.join(skipped)}" if skipped else ""),
    ]


def main() -> int:
    """Audit what is pinned."""
    status, lines = audit(pins(PINNED.read_text().splitlines()))
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main())
