"""Write the software bill of materials of an installed token2wave, as CycloneDX has it.

    python tools/sbom.py build/sbom.json

The document lists what is installed here of all that some extra asks for: version, licence, the hash of the
file that ``constraints-hashed.txt`` names, and what needs what. The same packages give the same document.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from dependencies import Dependency, dependencies, licences
from hash_constraints import HASHED
from packaging.utils import canonicalize_name


def hashes() -> dict[tuple[str, str], str]:
    """SHA-256 in hexadecimal of each pinned version that has one, by name and version."""
    lines = [line for line in HASHED.read_text().splitlines() if not line.startswith("#")]
    found = {}
    for line in lines:
        pin, _, sha256 = line.partition(" --hash=sha256:")
        name, _, version = pin.partition("==")
        found[canonicalize_name(name), version] = sha256
    return found


def document(packages: dict[str, Dependency], known: dict[tuple[str, str], str]) -> dict[str, Any]:
    """The bill of materials, in CycloneDX 1.5.

    Args:
        packages: by canonical name; ``token2wave`` among them.
        known: SHA-256 by name and version.
    """
    components = {name: _component(name, package, known) for name, package in packages.items()}
    root = components.pop("token2wave") | {"type": "library"}
    del root["scope"]
    references = {"token2wave": root["bom-ref"]} | {name: one["bom-ref"] for name, one in components.items()}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": root},
        "components": list(components.values()),
        "dependencies": [
            {"ref": references[name], "dependsOn": [references[need] for need in package.needs]}
            for name, package in packages.items()
        ],
    }


def _component(name: str, package: Dependency, known: dict[tuple[str, str], str]) -> dict[str, Any]:
    version = package.distribution.version
    reference = f"pkg:pypi/{name}@{version}"
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": reference,
        "name": name,
        "version": version,
        "scope": "required" if package.is_base else "optional",
        "purl": reference,
        "licenses": [{"license": {"name": licence}} for licence in sorted(licences(package.distribution))],
    }
    if sha256 := known.get((name, version)):
        found["hashes"] = [{"alg": "SHA-256", "content": sha256}]
    return found


def main() -> int:
    """Write the document to the path that is given."""
    path = Path(sys.argv[1])
    found = document(dependencies(), hashes())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{path}: {len(found['components'])} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
