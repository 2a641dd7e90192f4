"""Build wheels with and without a compiler, install each with its base dependencies alone, and test it there.

    python tools/test_base_install.py

For each variant: a copy of the sources becomes a wheel, the wheel goes into a fresh virtual environment
without torch, and the tests of the runtime run against it, away from the sources.
One line a variant says what came of it; the exit status is 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
TEST_TOOLS = ("pytest", "hypothesis", "pytest-xdist")
TESTED = ("tests/inference", "tests/storage")
# These compare with networks in torch; test_without_torch.py tests the same without.
NEED_TORCH = ("test_compiled.py", "test_state.py")
BESIDE = ("pyproject.toml", "src/token2wave/features/unicode.npz")  # what tests read of the project itself
# Settings that would let the sources in, leave the core out, or slow the tests down.
LEFT_OUT = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "TOKEN2WAVE_NATIVE", "CC", "VIRTUAL_ENV")
LOOK = """
import importlib.metadata, importlib.util, json, token2wave.core
print(json.dumps({
    "torch": importlib.util.find_spec("torch") is not None,
    "core": token2wave.core.load_core() is not None,
    "file": token2wave.__file__,
    "packages": sorted(each.name for each in importlib.metadata.distributions()),
}))
"""


class Variant(NamedTuple):
    """A way to build the wheel.

    Attributes:
        name: what the line of the variant begins with.
        compiler: what stands in ``CC``; None leaves it to the build.
        has_core: whether the native core is to be there.
        tag: what the wheel's name holds.
    """

    name: str
    compiler: str | None
    has_core: bool
    tag: str


# setuptools names a wheel before it builds it: that without the core has the same tag, and works as well.
VARIANTS = (
    Variant("with compiler", None, True, "-cp311-abi3-"),
    Variant("without compiler", "false", False, "-cp311-abi3-"),
)


class InstallError(Exception):
    """Something is not as it should be."""


def main() -> None:
    """Test the variants, and say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--processes", default="auto", help="processes that run the tests, a number or auto")
    processes = parser.parse_args().processes
    with ThreadPoolExecutor(len(VARIANTS)) as pool:
        lines = list(pool.map(lambda variant: line_of(variant, processes), VARIANTS))
    print("\n".join(line for line, _ in lines))
    sys.exit(not all(is_good for _, is_good in lines))


def line_of(variant: Variant, processes: str) -> tuple[str, bool]:
    """Test one variant, and say in a line what came of it, and whether that is good."""
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="token2wave-") as folder:
            said, is_good = tested(variant, Path(folder), processes), True
    except InstallError as error:
        said, is_good = f"FAILED: {error}", False
    return f"{variant.name}: {said} [{time.monotonic() - started:.0f} s]", is_good


def tested(variant: Variant, folder: Path, processes: str) -> str:
    """Build, install and test one variant, and say what came of it.

    Raises:
        InstallError: a step fails, or what was installed is not what it should be.
    """
    environment = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    environment |= {"PIP_CONSTRAINT": str(CONSTRAINTS), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment |= {"PYTHONNOUSERSITE": "1", "OMP_NUM_THREADS": "1"}
    wheel = built_wheel(variant, folder, environment)
    python = folder / "venv" / "bin" / "python"
    run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], folder, environment)
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-compile"]
    run([*install, wheel, *TEST_TOOLS], folder, environment)
    check_installed(variant, json.loads(run([python, "-c", LOOK], folder, environment)), folder / "venv")
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in BESIDE:
        copy(name, folder)
    pytest = [python, "-m", "pytest", "--numprocesses", processes, "-p", "no:cacheprovider", *TESTED]
    output = run([*pytest, *(f"--ignore={TESTED[0]}/{name}" for name in NEED_TORCH)], folder, environment)
    return f"{output.splitlines()[-1]}; {wheel.name}, no torch, {core_or_none(variant.has_core)}"


def built_wheel(variant: Variant, folder: Path, environment: Mapping[str, str]) -> Path:
    """Build the wheel from a copy of the files that git knows or does not ignore.

    Raises:
        InstallError: it cannot be built, or has another tag.
    """
    sources = folder / "sources"
    tracked = run(["git", "ls-files", "-z", "-co", "--exclude-standard"], ROOT, environment)
    for name in tracked.split("\0"):
        if name and (ROOT / name).is_file():  # not one that was deleted
            copy(name, sources)
    compiler = {} if variant.compiler is None else {"CC": variant.compiler}
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder / "wheel", sources]
    run(build, folder, {**environment, **compiler})
    (wheel,) = (folder / "wheel").iterdir()
    if variant.tag not in wheel.name:
        raise InstallError(f"expected a wheel with the tag {variant.tag.strip('-')}, found {wheel.name}")
    return wheel


def copy(name: str, folder: Path) -> None:
    """Copy a file of the project to its place below a folder."""
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / name, target)


def check_installed(variant: Variant, found: Mapping[str, object], venv: Path) -> None:
    """Hold what an interpreter of the new environment says against what it should say.

    Raises:
        InstallError: it is not so.
    """
    if found["torch"]:
        raise InstallError(f"expected no torch, found it among {found['packages']}")
    if not str(found["file"]).startswith(str(venv)):
        raise InstallError(f"expected the package that was installed, found {found['file']}")
    if found["core"] is not variant.has_core:
        wanted, is_there = core_or_none(variant.has_core), core_or_none(bool(found["core"]))
        raise InstallError(f"expected {wanted}, found {is_there}")


def core_or_none(has_core: bool) -> str:
    """Say whether the native core is there."""
    return "native core" if has_core else "no native core"


def run(command: Sequence[object], folder: Path, environment: Mapping[str, str]) -> str:
    """Run a command in a folder and return what it printed.

    Raises:
        InstallError: it fails; what it printed goes to standard error.
    """
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        raise InstallError(f"{' '.join(map(str, command[:4]))} ... exits with {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
