"""Write the hash of the file of every pinned version that pip chooses on this platform.

    python tools/hash_constraints.py

``constraints-hashed.txt`` has the lines of ``constraints.txt`` with a SHA-256 each, and pip refuses a file
that has another:

    pip install --no-deps --require-hashes -r constraints-hashed.txt

On another platform or another version of Python pip chooses other files, and the file has to be made anew
there. torch is left out: which of its builds is installed, for processors alone or for a card, is each
machine's own choice, and each build has a hash of its own. It has to be installed apart.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PINNED, HASHED = ROOT / "constraints.txt", ROOT / "constraints-hashed.txt"
LEFT_OUT = ("torch",)
HEAD = """\
# The hash of the file of each version in constraints.txt that pip chooses with {platform}.
# Made by tools/hash_constraints.py; torch is not in it, since each of its builds has another hash.
#   pip install --no-deps --require-hashes -r constraints-hashed.txt
"""


def pins(lines: Iterable[str]) -> dict[str, str]:
    """Versions by name, of lines ``NAME==VERSION`` with or without hashes."""
    written = (line.split(" ")[0].partition("==") for line in lines if line.strip() and line[0] not in "# ")
    return {name: version.strip() for name, _, version in written}


def hashed_lines(wanted: dict[str, str], report: dict[str, Any]) -> list[str]:
    """A line for each pinned version, in their order.

    Args:
        wanted: versions by name.
        report: what ``pip install --report`` wrote.

    Raises:
        ValueError: a version has no hash, or pip would install another.
    """
    found = {
        _plain(one["metadata"]["name"]): (
            one["metadata"]["version"],
            one["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256"),
        )
        for one in report["install"]
    }
    lines = []
    for name, version in wanted.items():
        there, sha256 = found.get(_plain(name), (None, None))
        if there != version or sha256 is None:
            raise ValueError(f"expected a hash of {name}=={version}, found version {there} with {sha256}")
        lines.append(f"{name}=={version} --hash=sha256:{sha256}")
    return lines


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def main() -> int:
    """Ask pip, and write the file."""
    wanted = {name: v for name, v in pins(PINNED.read_text().splitlines()).items() if name not in LEFT_OUT}
    with tempfile.TemporaryDirectory() as folder:
        pin_file, report = Path(folder) / "pins.txt", Path(folder) / "report.json"
        pin_file.write_text("".join(f"{name}=={version}\n" for name, version in wanted.items()))
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
                *("--dry-run", "--ignore-installed", "--no-deps", "-r", pin_file, "--report", report),
            ],
            check=True,
        )
        lines = hashed_lines(wanted, json.loads(report.read_text()))
    system = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    HASHED.write_text(HEAD.format(platform=system) + "\n".join(lines) + "\n")
    print(f"{HASHED.name}: {len(lines)} versions; without {', '.join(LEFT_OUT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
