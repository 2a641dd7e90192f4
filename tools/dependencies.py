"""All that an installed token2wave depends on, and its licences; one that is not known here is refused.

    python tools/dependencies.py
    python tools/dependencies.py --sizes     # prints as JSON how many bytes they take

A dependency is what some extra asks for, what that asks for, and so on, as far as it is installed. A licence
is what a package says of itself. The exit status is 1 if a package says nothing, or something that is not on
the list below.
"""

from __future__ import annotations

import json
import re
import sys
from collections import deque
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ALLOWED = {
    "0BSD": "asks for nothing",
    "Apache-2.0": "permissive, with a patent grant; token2wave's own",
    "Apache-2.0 WITH LLVM-exception": "Apache-2.0, with less to ask of binaries",
    "BSD": "permissive; 2 or 3 clauses, the classifier does not say which",
    "BSD-2-Clause": "permissive",
    "BSD-3-Clause": "permissive",
    "BSL-1.0": "permissive",
    "CC0-1.0": "in the public domain",
    "CNRI-Python": "permissive; parts of old Python",
    "ISC": "permissive",
    "MIT": "permissive",
    "MIT-0": "asks for nothing",
    "MIT-CMU": "permissive",
    "MPL-2.0": "files that are changed stay under it; nothing of it is changed or shipped here",
    "PSF-2.0": "permissive; Python's own",
    "Unlicense": "in the public domain",
    "Zlib": "permissive",
}
"""Licences that a dependency may have, and why."""

CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
WRITTEN = {  # in the free text of older packages
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "bsd": "BSD",
    "bsd license": "BSD",
    "mit license": "MIT",
}
READ = {"atheris": "Apache-2.0", "pyelftools": "Unlicense"}
"""Packages that say nothing in their description; their licence file was read."""


class Dependency(NamedTuple):
    """An installed package.

    Attributes:
        distribution: its description.
        is_base: whether token2wave without extras needs it.
        needs: canonical names of what it needs in turn, as far as it is installed.
    """

    distribution: Distribution
    is_base: bool
    needs: list[str]


def dependencies(of: str = "token2wave") -> dict[str, Dependency]:
    """Installed dependencies by canonical name, the package itself included, in the order of their names."""
    base, everything = closure(set(), of), closure(extras_of(of), of)
    return {
        name: Dependency(distribution(name), name in base, sorted(everything[name]))
        for name in sorted(everything)
    }


def extras_of(name: str) -> set[str]:
    """Names of a package's extras."""
    return set(distribution(name).metadata.get_all("Provides-Extra") or [])


def closure(extras: set[str], of: str = "token2wave") -> dict[str, set[str]]:
    """What a package with some of its extras needs, and so on, as far as it is installed.

    Returns:
        For each package, by canonical name, the names of what it needs itself.
    """
    root = canonicalize_name(of)
    reached: dict[str, set[str]] = {}  # the extras of each package that are asked for
    needs: dict[str, set[str]] = {}
    waiting = deque([(root, extras)])
    while waiting:
        name, asked = waiting.popleft()
        if name in reached and asked <= reached[name]:
            continue
        reached[name] = reached.get(name, set()) | asked
        needs.setdefault(name, set())
        for requirement in _requirements(distribution(name), reached[name]):
            needed = canonicalize_name(requirement.name)
            if needed == root:
                waiting.append((root, set(requirement.extras)))
            elif _is_installed(needed):
                needs[name].add(needed)
                waiting.append((needed, set(requirement.extras)))
    return needs


def sizes(of: str = "token2wave") -> dict[str, dict[str, int]]:
    """Bytes of each package of the base, and bytes that each extra adds to the base."""
    base = closure(set(), of)
    added = {extra: closure({extra}, of).keys() - base.keys() for extra in sorted(extras_of(of))}
    return {
        "packages": {name: _n_bytes(name) for name in sorted(base)},
        "extras": {extra: sum(map(_n_bytes, names)) for extra, names in added.items()},
    }


def _n_bytes(name: str) -> int:
    """Size of a package's files, byte code included, if pip made it."""
    paths = {Path(str(file.locate())).resolve() for file in distribution(name).files or []}
    return sum(path.stat().st_size for path in paths if path.is_file())


def _requirements(package: Distribution, extras: set[str]) -> Iterator[Requirement]:
    for line in package.requires or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def licences(package: Distribution) -> set[str]:
    """Identifiers of a package's licences, by what it says of itself; empty if that is nothing known."""
    about = package.metadata
    if expression := about.get("License-Expression"):
        return _of_expression(expression)
    named = [
        line.rpartition(" :: ")[2]
        for line in about.get_all("Classifier") or []
        if line.startswith("License ::")
    ]
    if known := {CLASSIFIERS[name] for name in named if name in CLASSIFIERS}:
        return known
    written = (about.get("License") or "").strip()
    if written.lower() in WRITTEN:
        return {WRITTEN[written.lower()]}
    if found := _of_expression(written) & ALLOWED.keys():
        return found
    name = canonicalize_name(about["Name"])
    return {READ[name]} if name in READ else set()


def _of_expression(expression: str) -> set[str]:
    """Licences of an SPDX expression; of several to choose from, all count."""
    return {part.strip(" ()") for part in re.split(r"\bAND\b|\bOR\b", expression)} - {""}


def refused(packages: dict[str, Dependency]) -> list[str]:
    """What is wrong with the licences of packages, a line each."""
    found = []
    for name, dependency in packages.items():
        theirs = licences(dependency.distribution)
        if not theirs:
            found.append(f"{name}: it does not say its licence; read it, and write it into READ")
        elif odd := theirs - ALLOWED.keys():
            found.append(f"{name}: {', '.join(sorted(odd))} is not among ALLOWED")
    return found


def main() -> int:
    """Check the licences of what is installed.

    Returns:
        The exit status: 1 if one is refused.
    """
    if sys.argv[1:] == ["--sizes"]:
        print(json.dumps(sizes()))
        return 0
    packages = dependencies()
    wrong = refused(packages)
    print("\n".join([*wrong, f"licences of {len(packages)} packages: {len(wrong)} refused"]))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
