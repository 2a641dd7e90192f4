"""An error that names an extra names one that exists, holds the package, and is no larger than it must be."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DEVELOPMENT = {"all", "audit", "bench", "dev", "docs", "fuzz", "release"}
DISTRIBUTIONS = {"sklearn": "scikit-learn", "mlflow": "mlflow-skinny"}
"""Distributions of modules, where the name differs, or others have such a module, too."""


class Use(NamedTuple):
    """A place in the sources that names an extra, and the modules that it needs there."""

    where: str
    extra: str
    modules: frozenset[str]


def uses() -> Iterator[Use]:
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            calls = (node.items[0].context_expr, node) if isinstance(node, ast.With) else (node, None)
            call, block = calls
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                continue
            where = f"{path.relative_to(ROOT / 'src')}:{call.lineno}"
            if call.func.id == "MissingExtraError" and path.name != "errors.py":
                module, extra = call.args
                literal = isinstance(module, ast.Constant)
                yield Use(where, ast.literal_eval(extra), frozenset([module.value] if literal else []))
            elif call.func.id == "import_extra" and block is not None:
                extra, _, *named = call.args
                modules = {ast.literal_eval(module) for module in named} or imported(block)
                yield Use(where, ast.literal_eval(extra), frozenset(modules))


def imported(block: ast.With) -> set[str]:
    """Packages that a block imports, without the standard library and our own."""
    names = set()
    for node in ast.walk(block):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    packages = {name.partition(".")[0] for name in names}
    return packages - sys.stdlib_module_names - {"token2wave"}


def requirements(extra: str) -> set[str]:
    """Names of all distributions that an extra asks for, through other extras, too."""
    names: set[str] = set()
    for line in EXTRAS[extra]:
        requirement = Requirement(line)
        if requirement.name == "token2wave":
            names.update(*map(requirements, requirement.extras))
        else:
            names.add(canonicalize_name(requirement.name))
    return names


DISTRIBUTIONS_OF_MODULES = packages_distributions()  # which reads the metadata of every package


def distribution(module: str) -> str:
    names = DISTRIBUTIONS_OF_MODULES.get(module, [module])
    return canonicalize_name(DISTRIBUTIONS.get(module, names[0]))


USES = list(uses())


def test_the_sources_name_extras() -> None:
    assert len(USES) >= 20
    assert {use.extra for use in USES} <= EXTRAS.keys() - DEVELOPMENT


@pytest.mark.parametrize("use", USES, ids=lambda use: use.where)
def test_an_error_names_the_smallest_extra(use: Use) -> None:
    needed = {distribution(module) for module in use.modules}
    assert needed <= requirements(use.extra)
    if needed:
        smaller = [
            extra
            for extra in EXTRAS.keys() - DEVELOPMENT
            if needed <= requirements(extra) < requirements(use.extra)
        ]
        assert smaller == [], f"{smaller} would do"


def test_all_has_every_extra() -> None:
    users = EXTRAS.keys() - DEVELOPMENT
    assert requirements("all") == set().union(*map(requirements, users))
    page = (ROOT / "docs" / "install.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == users | {"all"}
