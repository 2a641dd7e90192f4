"""What the package depends on: pinned, hashed, licensed, listed, and audited where that can be."""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
import tomllib
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
dependencies = pytest.importorskip("dependencies", reason="the tools are not part of this tree")
audit, hash_constraints, sbom = (pytest.importorskip(name) for name in ("audit", "hash_constraints", "sbom"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
BROUGHT_BY_VENV = ("pip", "setuptools")
PINNED = hash_constraints.pins(hash_constraints.PINNED.read_text().splitlines())


@pytest.fixture(scope="module")
def packages() -> Any:
    return dependencies.dependencies()


def about(**fields: str | list[str]) -> Any:
    """A distribution that says so of itself."""
    message = Message()
    message["Name"] = "made-up"
    for name, values in fields.items():
        for value in [values] if isinstance(values, str) else values:
            message[name.replace("_", "-")] = value

    class Made(importlib.metadata.Distribution):
        metadata = message  # type: ignore[assignment]

        def read_text(self, filename: str) -> None:
            return None

        def locate_file(self, path: Any) -> Any:
            raise NotImplementedError

    return Made()


# ---- pins and hashes ----


def test_every_direct_dependency_is_pinned() -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    lines = [*PROJECT["project"]["dependencies"], *(line for lines in extras for line in lines)]
    pinned = {canonicalize_name(name) for name in PINNED}
    asked = {canonicalize_name(Requirement(line).name) for line in lines} - {"token2wave", "datasets"}
    assert asked <= pinned  # datasets, of the extra hub, is not installed in development


def test_what_is_installed_is_what_is_pinned(packages: Any) -> None:
    pinned = {canonicalize_name(name): version for name, version in PINNED.items()}
    for name, package in packages.items():
        if name not in ("token2wave", *BROUGHT_BY_VENV):
            assert package.distribution.version.partition("+")[0] == pinned.get(name), name


def test_every_pinned_version_has_a_hash() -> None:
    text = hash_constraints.HASHED.read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[^ =]+ --hash=sha256:[0-9a-f]{64}", line)
    wanted = {name: version for name, version in PINNED.items() if name not in hash_constraints.LEFT_OUT}
    assert hash_constraints.pins(text.splitlines()) == wanted
    assert "torch" in PINNED
    assert "://" not in text
    assert len({line.partition(":")[2] for line in lines}) == len(lines)


def test_a_hash_is_of_the_version_that_is_pinned() -> None:
    def report(version: str, **hashes: str) -> dict[str, Any]:
        about = {"name": "Some_Thing", "version": version}
        return {"install": [{"metadata": about, "download_info": {"archive_info": {"hashes": hashes}}}]}

    found = hash_constraints.hashed_lines({"some-thing": "1.0"}, report("1.0", sha256="ab"))
    assert found == ["some-thing==1.0 --hash=sha256:ab"]
    for other in (report("1.1", sha256="ab"), report("1.0", md5="ab"), {"install": []}):
        with pytest.raises(ValueError, match="expected a hash of some-thing=="):
            hash_constraints.hashed_lines({"some-thing": "1.0"}, other)


# ---- licences ----


def test_all_licences_are_known(packages: Any) -> None:
    assert {"numpy", "safetensors", "tokenizers", "typer", "rich", "torch"} <= set(packages)
    assert dependencies.refused(packages) == []


@pytest.mark.parametrize(
    ("fields", "licences"),
    [
        (
            {"License_Expression": "MIT AND (Apache-2.0 OR BSD-3-Clause)"},
            {"MIT", "Apache-2.0", "BSD-3-Clause"},
        ),
        ({"License_Expression": "GPL-3.0-only", "License": "MIT"}, {"GPL-3.0-only"}),
        ({"Classifier": ["License :: OSI Approved :: MIT License", "Typing :: Typed"]}, {"MIT"}),
        ({"Classifier": "License :: OSI Approved", "License": "Apache 2.0"}, {"Apache-2.0"}),
        ({"License": "GNU General Public License"}, set()),
        ({"License": "All rights reserved"}, set()),
        ({}, set()),
    ],
)
def test_licences(fields: Any, licences: set[str]) -> None:
    assert dependencies.licences(about(**fields)) == licences


def test_a_licence_that_is_not_known_is_refused() -> None:
    def refused(**fields: str) -> list[str]:
        found: list[str] = dependencies.refused(
            {"made-up": dependencies.Dependency(about(**fields), True, [])}
        )
        return found

    assert refused(License="MIT") == []
    assert refused() == ["made-up: it does not say its licence; read it, and write it into READ"]
    assert refused(License_Expression="MIT AND GPL-3.0-only") == [
        "made-up: GPL-3.0-only is not among ALLOWED"
    ]


# ---- the bill of materials ----


def test_the_bill_of_materials(packages: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "build" / "sbom.json"
    monkeypatch.setattr(sys, "argv", ["sbom.py", str(path)])
    assert sbom.main() == 0
    found = json.loads(path.read_text())
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.5")
    by_name = {one["name"]: one for one in found["components"]}
    assert set(by_name) == set(packages) - {"token2wave"}
    required = {name for name, one in by_name.items() if one["scope"] == "required"}
    assert {"numpy", "safetensors", "typer", "rich"} <= required
    assert not required & {"torch", "tokenizers", "pyarrow", "pydantic", "uvicorn", "pytest"}
    assert by_name["numpy"]["purl"] == f"pkg:pypi/numpy@{PINNED['numpy']}"
    assert re.fullmatch("[0-9a-f]{64}", by_name["numpy"]["hashes"][0]["content"])
    assert "hashes" not in by_name["torch"]
    assert all(one["licenses"] for one in by_name.values())
    references = {one["bom-ref"] for one in [*found["components"], found["metadata"]["component"]]}
    assert {one["ref"] for one in found["dependencies"]} == references
    assert all(set(one["dependsOn"]) <= references for one in found["dependencies"])
    assert sbom.document(packages, sbom.hashes()) == found


# ---- the audit ----


def test_an_audit_that_reaches_nobody_says_so_in_a_line() -> None:
    for answer in (None, {"dependencies": [{"name": "packaging", "skip_reason": "not found"}]}):
        status, lines = audit.audit(PINNED, lambda pins, answer=answer: answer)
        assert status == 0
        [line] = lines
        assert "nothing was audited" in line


def test_an_audit_that_finds_something_fails() -> None:
    def ask(pins: Any, found: Any = ()) -> dict[str, Any]:
        return {
            "dependencies": [
                {
                    "name": (name := pin.partition("==")[0]),
                    "version": "1",
                    "vulns": found if name == "numpy" else [],
                }
                for pin in pins
            ]
        }

    assert audit.audit(PINNED, ask) == (0, [f"pip-audit: {len(PINNED)} packages, 0 findings"])
    known = [{"id": "MADE-UP-1", "fix_versions": ["2"]}]
    status, lines = audit.audit(PINNED, lambda pins: ask(pins, known))
    assert status == 1
    assert lines == ["numpy 1: MADE-UP-1, mended in 2", f"pip-audit: {len(PINNED)} packages, 1 findings"]
    answers = iter([ask(["packaging==1"]), None])
    assert audit.audit(PINNED, lambda pins: next(answers))[0] == 1


# ---- wheels ----


def test_wheels_are_built_for_the_version_that_is_tested() -> None:
    said = [line for line in PROJECT["project"]["classifiers"] if re.search(r":: 3\.\d", line)]
    assert said == ["Programming Language :: Python :: 3.11"]
    wheels = PROJECT["tool"]["cibuildwheel"]
    assert all(one.startswith("cp311-") for one in wheels["build"])
    assert "load_core() is not None" in wheels["test-command"][0]
    for name in re.findall(r"\*/(test_\w+\.py)", wheels["test-command"][1]):
        assert (ROOT / "tests" / "inference" / name).is_file()
