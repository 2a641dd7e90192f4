"""Imports go one way: no module imports one above it, and no modules import each other in a circle."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import token2wave

PACKAGE = Path(token2wave.__file__).parent
# From the ground up. A room imports its own modules and those of the lines above it in this list; rooms that
# share a line do not import each other.
STAIRS = (
    ("errors", "formatting", "versions", "process_memory"),
    ("score_metrics", "score_scale"),
    ("config", "metrics"),
    ("paired_tests",),
    ("options",),
    ("core", "waves", "storage"),
    ("features",),
    ("prior",),
    ("data", "models"),
    ("inference",),
    ("explanation",),
    ("classifier",),
    ("training",),
    ("tuning", "distillation", "reporting"),
    ("compression",),
    ("run_steps",),
    ("run_cross_validation",),
    ("pipeline", "evaluation", "drift_report"),
    ("auditing", "labelling", "model_comparison"),
    ("scoring",),
    ("integrations", "serving"),
    ("cli",),
)
FACADE = ("token2wave", "token2wave.__main__")  # the public names, which come from everywhere


def imports_of(path: Path, module: str, modules: frozenset[str]) -> set[str]:
    """Modules of the package that a file imports, late and under TYPE_CHECKING, too."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parent, base]).rstrip(".")
            found |= {
                f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules else base for alias in node.names
            }
    return {name for name in found if name in modules and name != module}


def graph(package: Path) -> dict[str, set[str]]:
    """Every module of a package, and the modules that it imports."""
    paths = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    modules = frozenset(paths)
    return {module: imports_of(path, module, modules) for module, path in paths.items()}


def upward(edges: dict[str, set[str]]) -> list[str]:
    """Imports that run up the stairs or sideways, as ``importer -> imported``."""
    step = {room: number for number, rooms in enumerate(STAIRS) for room in rooms}
    wrong = []
    for module, imported in edges.items():
        if module in FACADE:
            continue
        own = module.split(".")[1]
        for name in sorted(imported):
            other = name.split(".")[1] if "." in name else None
            if other is None or (other != own and step[other] >= step[own]):
                wrong.append(f"{module} -> {name}")
    return wrong


def circle(edges: dict[str, set[str]]) -> str | None:
    """A circle of imports, as ``a -> b -> a``; None if there is none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return " -> ".join(reversed(error.args[1]))
    return None


def test_every_room_has_a_step() -> None:
    rooms = {module.split(".")[1] for module in graph(PACKAGE) if module not in FACADE}
    assert rooms == {room for rooms in STAIRS for room in rooms}


def test_no_import_runs_up_the_stairs() -> None:
    assert not upward(graph(PACKAGE))


def test_there_is_no_circle() -> None:
    assert circle(graph(PACKAGE)) is None


def test_a_late_import_up_the_stairs_and_a_circle_are_found(tmp_path: Path) -> None:
    package = tmp_path / "token2wave"
    for name, text in (
        ("__init__", ""),
        ("waves/__init__", ""),
        ("waves/low", "def f():\n    from token2wave.pipeline import train\n"),
        ("waves/typed", "if TYPE_CHECKING:\n    from token2wave.waves import other\n"),
        ("waves/other", "import token2wave.waves.typed\n"),
        ("pipeline", "from token2wave.waves import low\n"),
    ):
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    edges = graph(package)
    assert upward(edges) == ["token2wave.waves.low -> token2wave.pipeline"]
    found = circle(edges)
    assert found is not None
    assert found.count(" -> ") == 2
    edges["token2wave.waves.low"] = set()
    found = circle(edges)
    assert found is not None
    assert {"token2wave.waves.typed", "token2wave.waves.other"} == set(found.split(" -> "))


def test_no_two_modules_have_one_name() -> None:
    names = [module.rpartition(".")[2] for module in graph(PACKAGE) if module not in FACADE]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []
