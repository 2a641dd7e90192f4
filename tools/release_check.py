"""Check whether the working tree is fit for a release: version, README, source archive and wheels.

    python tools/release_check.py

``build/release`` gets the source archive, and a wheel that is built from the archive, away from the
repository. Both are checked, and so are the wheels of this version that ``make wheels`` left in
``build/wheels``. One line a check says what came of it; the exit status is 1 where something is wrong.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = "token2wave/core/_core.abi3.so"
METADATA = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "licenses/LICENSE")
BUILDING = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "CHANGELOG.md")
GENERATED = re.compile(r"PKG-INFO|setup\.cfg|MANIFEST\.in|src/token2wave\.egg-info/.*")


class ReleaseError(Exception):
    """Something is not fit for a release."""


def check_version(root: Path) -> str:
    """Compare the versions of package, code and changelog.

    Raises:
        ReleaseError: they differ.
    """
    package = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    code = re.search(r'^__version__ = "(.*)"', (root / "src/token2wave/versions.py").read_text(), re.M)
    heading = re.search(r"^## (\S+)(.*)", (root / "CHANGELOG.md").read_text(), re.M)
    found = {
        "pyproject.toml": package,
        "versions.py": code and code[1],
        "CHANGELOG.md": heading and heading[1],
    }
    if len(set(found.values())) > 1 or heading is None:
        raise ReleaseError(f"expected one version, found {found}")
    return f"{package}{heading[2]}"


def check_links(root: Path) -> str:
    """Check the links of the README.

    Raises:
        ReleaseError: a link is neither absolute nor a file.
    """
    links = re.findall(r"\]\(([^)\s]+)", (root / "README.md").read_text())
    relative = [link.partition("#")[0] for link in links if not re.match("[a-z]+:", link)]
    if missing := [link for link in relative if link and not (root / link).exists()]:
        raise ReleaseError(f"expected files that README.md links to, found none at {', '.join(missing)}")
    return f"{len(links)} links"


def check_names(names: Iterable[str], expected: Collection[str]) -> str:
    """Compare the files of an archive with those that it should hold.

    Raises:
        ReleaseError: a file is missing, or one too many.
    """
    names, expected = set(names), set(expected)
    differences = [f"{name} is missing" for name in sorted(expected - names)]
    differences += [f"{name} does not belong there" for name in sorted(names - expected)]
    if differences:
        raise ReleaseError("; ".join(differences[:5]) + (" ..." if len(differences) > 5 else ""))
    return f"{len(names)} files"


def check_wheel(wheel: Path, package_files: Collection[str]) -> str:
    """Check that a wheel holds the package, its metadata, the core if it has a platform, and nothing else.

    Args:
        wheel: its path.
        package_files: paths below the root of the repository.
    """
    project, version, *tags = wheel.stem.split("-")
    expected = [name.removeprefix("src/") for name in package_files if not name.endswith((".c", ".h"))]
    expected += [f"{project}-{version}.dist-info/{name}" for name in METADATA]
    with zipfile.ZipFile(wheel) as archive:
        return check_names(archive.namelist(), expected if tags[-1] == "any" else [*expected, CORE])


def check_sdist(sdist: Path, package_files: Collection[str]) -> str:
    """Check that a source archive holds the package with its C sources, what builds it, and nothing else."""
    with tarfile.open(sdist) as archive:
        names = [member.name.partition("/")[2] for member in archive if member.isfile()]
    return check_names([name for name in names if not GENERATED.fullmatch(name)], [*BUILDING, *package_files])


def run_tool(*command: object) -> str:
    """Run a module of this environment's Python, and return that it passed.

    Raises:
        ReleaseError: it fails.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    arguments = [sys.executable, "-m", *map(str, command)]
    done = subprocess.run(
        arguments, cwd=ROOT, capture_output=True, text=True, env=environment | {"NO_COLOR": "1"}
    )
    output = (done.stdout + done.stderr).strip()
    if done.returncode:
        raise ReleaseError(f"{command[0]} exits with {done.returncode}: {output[-500:]}")
    return "passed"


def main() -> int:
    """Run all checks.

    Returns:
        The exit status: 1 if one fails.
    """
    is_good = True

    def report(name: str, check: Callable[..., str], *arguments: object) -> None:
        nonlocal is_good
        try:
            print(f"{name}: {check(*arguments)}", flush=True)
        except ReleaseError as error:
            is_good = False
            print(f"{name}: FAILED: {error}", flush=True)

    output = ROOT / "build" / "release"
    shutil.rmtree(output, ignore_errors=True)
    listed = ["git", "ls-files", "-z", "-co", "--exclude-standard", "src/token2wave"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    package_files = [name for name in names if name and (ROOT / name).is_file()]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    report("version", check_version, ROOT)
    report("README links", check_links, ROOT)
    report("build", run_tool, "build", "--outdir", output)
    for sdist in output.glob("*.tar.gz"):
        report(f"contents of {sdist.name}", check_sdist, sdist, package_files)
    wheels = [*output.glob("*.whl"), *sorted((ROOT / "build" / "wheels").glob(f"*-{version}-*.whl"))]
    for wheel in wheels:
        report(f"contents of {wheel.name}", check_wheel, wheel, package_files)
    if wheels:
        report(
            "README renders, metadata", run_tool, "twine", "check", "--strict", *output.iterdir(), *wheels[1:]
        )
    return int(not is_good)


if __name__ == "__main__":
    sys.exit(main())
