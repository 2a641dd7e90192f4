"""Build wheels with and without a compiler, install each with its base dependencies alone, and test it there.

    python tools/test_base_install.py
    python tools/test_base_install.py --extras    # measures what each extra adds, too: downloads all

For each variant: a copy of the sources becomes a wheel, and the wheel goes into a fresh virtual environment
without any extra. There its size is held against ``MAX_BYTES``, everyday commands run, commands that need an
extra have to name it, and the tests of the runtime run, away from the sources. One line a variant says what
came of it; the exit status is 1 where something is wrong.

A size is that of the files in ``site-packages``, byte code included, without pip and setuptools. With
``--extras`` the sizes go into ``results/install.json``, for ``docs/install.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
RESULT = ROOT / "results" / "install.json"
MAX_BYTES = 100_000_000
TEST_TOOLS = ("pytest", "hypothesis", "pytest-xdist")
TESTED = ("tests/inference", "tests/storage")
# These compare with networks in torch; test_without_torch.py tests the same without.
NEED_TORCH = ("test_compiled.py", "test_state.py")
# What tests read of the project itself.
BESIDE = (
    "pyproject.toml",
    "src/token2wave/features/unicode.npz",
    "src/token2wave/serving/page",
    "docs/security.md",
)
# Settings that would let the sources in, leave the core out, or slow the tests down.
LEFT_OUT = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "TOKEN2WAVE_NATIVE", "CC", "VIRTUAL_ENV")
NOT_IN_BASE = ("torch", "tokenizers", "pyarrow", "matplotlib", "sklearn", "pydantic", "huggingface_hub")
LOOK = f"""
import importlib.util, json, re, token2wave.core
named = {{}}
for name in token2wave.__all__:
    try:
        getattr(token2wave, name)
    except token2wave.Token2WaveError as error:
        named[name] = re.findall(r"\\[(.*?)\\]", str(error))
print(json.dumps({{
    "named": named,
    "extra": [name for name in {NOT_IN_BASE} if importlib.util.find_spec(name) is not None],
    "core": token2wave.core.load_core() is not None,
    "file": token2wave.__file__,
}}))
"""
NEED_EXTRA = {"WaveClassifier": ["sklearn"], "WaveNetwork": ["torch"]}
"""Public names that need an extra, which they have to name."""

TRAIN = "train reviews.csv --out model.safetensors --report report"
EVERYDAY = (
    "evaluate model.safetensors reviews.jsonl",
    "predict model.safetensors 'a bright lamp'",
    "explain model.safetensors 'a bright lamp' --html why.html",
    "compress model.safetensors --out small.safetensors --max-size 100kB --data reviews.csv",
    "export model.safetensors --to html --out page.html",
    "score model.safetensors reviews.csv --columns text --format jsonl --output scored",
    "train reviews.jsonl --preset fast --out fast.safetensors",
    "train reviews.txt --preset fast --out lines.safetensors",
)
"""Commands that the base runs."""
NAMES_EXTRA = {
    "train reviews.csv --preset paper --out no.safetensors": "torch",
    "train reviews.csv --device cuda --out no.safetensors": "torch",
    "train reviews.csv --test reviews.txt --baseline --out no.safetensors": "sklearn",
    "train reviews.csv --teacher all-MiniLM-L6-v2 --out no.safetensors": "encoders",
    "train reviews.csv --tracker mlflow:runs --out no.safetensors": "trackers",
    "train owner/name --out no.safetensors": "hub",
    "evaluate model.safetensors reviews.parquet": "parquet",
    "score model.safetensors reviews.csv --columns text --format parquet --output no": "parquet",
    "score model.safetensors reviews.csv --columns text --format jsonl --engine ray --output no": "ray",
    "export model.safetensors --to onnx --out no.onnx": "onnx",
    "export model.safetensors --to huggingface --out no": "hf",
    "serve model.safetensors": "serve",
}
"""Commands that need an extra, and the extra that they have to name."""


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
    parser.add_argument("--extras", action="store_true", help="measure what each extra adds, too")
    arguments = parser.parse_args()
    with ThreadPoolExecutor(len(VARIANTS)) as pool:
        lines = list(pool.map(lambda variant: line_of(variant, arguments.processes), VARIANTS))
    print("\n".join(line for line, _ in lines))
    is_good = all(is_good for _, is_good in lines)
    if is_good and arguments.extras:
        with tempfile.TemporaryDirectory(prefix="token2wave-") as folder:
            write_sizes(Path(folder))
    sys.exit(not is_good)


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
    environment = clean_environment()
    return test_wheel(built_wheel(variant, folder, environment), variant, folder, environment, processes)


def test_wheel(
    wheel: Path, variant: Variant, folder: Path, environment: Mapping[str, str], processes: str
) -> str:
    """Install a wheel into a new environment in the folder, test it there, and say what came of it.

    Raises:
        InstallError: a step fails, or what was installed is not what it should be.
    """
    python = make_environment(folder / "venv", environment)
    install(python, environment, wheel)
    n_bytes = size_of(folder / "venv")
    if n_bytes > MAX_BYTES:
        raise InstallError(f"expected at most {MAX_BYTES / 1e6:.0f} MB, found {n_bytes / 1e6:.1f} MB")
    check_installed(variant, json.loads(run([python, "-c", LOOK], folder, environment)), folder / "venv")
    run_commands(python, folder / "everyday", environment, variant.has_core)
    install(python, environment, "--no-compile", f"{wheel}[wordpiece]", *TEST_TOOLS)  # tests read such models
    copy_tests(folder)
    pytest = [python, "-m", "pytest", "--numprocesses", processes, "-p", "no:cacheprovider", *TESTED]
    output = run([*pytest, *(f"--ignore={TESTED[0]}/{name}" for name in NEED_TORCH)], folder, environment)
    tests = output.splitlines()[-1]
    return f"{n_bytes / 1e6:.1f} MB; {tests}; {wheel.name}, no extra, {core_or_none(variant.has_core)}"


def copy_tests(folder: Path) -> None:
    """Copy the tests, and what they read of the project, into a folder."""
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in BESIDE:
        copy(name, folder)


def clean_environment() -> dict[str, str]:
    """Variables of the environment in which wheels are built, installed and tested."""
    environment = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    environment |= {"PIP_CONSTRAINT": str(CONSTRAINTS), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return environment | {"PYTHONNOUSERSITE": "1", "OMP_NUM_THREADS": "1"}


def make_environment(venv: Path, environment: Mapping[str, str]) -> Path:
    """Make an empty virtual environment, and return its Python."""
    run([sys.executable, "-m", "venv", "--without-pip", venv], venv.parent, environment)
    return venv / "bin" / "python"


def install(python: Path, environment: Mapping[str, str], *arguments: object) -> None:
    """Install into a virtual environment by the pip of this one."""
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    run([*pip, *arguments], python.parent, environment)


def size_of(venv: Path) -> int:
    """Bytes of all files in an environment's ``site-packages``."""
    (packages,) = venv.glob("lib/python3*/site-packages")
    return sum(path.stat().st_size for path in packages.rglob("*") if path.is_file())


def run_commands(python: Path, folder: Path, environment: Mapping[str, str], has_core: bool) -> None:
    """Run everyday commands, and those that need an extra, in a folder with a few files.

    Raises:
        InstallError: an everyday command fails, or another does not name its extra.
    """
    folder.mkdir()
    write_files(folder)
    command_line = f"{python} -m token2wave"
    if has_core:
        for command in (TRAIN, *EVERYDAY):
            run(["bash", "-c", f"{command_line} {command}"], folder, environment)
    for command, extra in (NAMES_EXTRA if has_core else {TRAIN: "torch"}).items():
        arguments = ["bash", "-c", f"{command_line} {command}"]
        done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True)
        *_, last = ["", *done.stderr.splitlines()]  # after the progress
        if done.returncode != 2 or not last.endswith(f"install it with: pip install 'token2wave[{extra}]'"):
            raise InstallError(
                f"expected an error that names [{extra}] from {command!r}, found {done.stderr}"
            )


def write_files(folder: Path) -> None:
    """Write texts of two classes as CSV, JSON lines and fastText lines, and the start of a Parquet file."""
    draw = random.Random(0).choice
    words = {"good": ("great", "bright", "sturdy"), "bad": ("broken", "dim", "flimsy")}
    things = ("lamp", "kettle", "chair", "radio", "clock", "shelf")
    rows = [
        (
            f"A {draw(words[label])} {draw(things)}, {draw(words[label])} beside the {draw(things)} {number}",
            label,
        )
        for number in range(60)
        for label in words
    ]
    csv = ["text,label", *(f'"{text}",{label}' for text, label in rows)]
    json_lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    lines = {"csv": csv, "jsonl": json_lines, "txt": [f"__label__{label} {text}" for text, label in rows]}
    for suffix, content in lines.items():
        (folder / f"reviews.{suffix}").write_text("\n".join(content) + "\n")
    (folder / "reviews.parquet").write_bytes(b"PAR1")


def write_sizes(folder: Path) -> None:
    """Install all extras, and write what the base takes and what each extra adds.

    Raises:
        InstallError: they cannot be installed.
    """
    environment = clean_environment()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wheel = built_wheel(VARIANTS[0], folder, environment)
    python = make_environment(folder / "venv", environment)
    install(python, environment, f"{wheel}[all]", "packaging")
    sizes: dict[str, Any] = json.loads(
        run([python, ROOT / "tools" / "dependencies.py", "--sizes"], folder, environment)
    )
    _, *users = re.findall(r"\w+", project["optional-dependencies"]["all"][0])  # without those of development
    sizes["extras"] = {extra: sizes["extras"][extra] for extra in [*users, "all"]}
    sizes["system"] = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    RESULT.write_text(json.dumps(sizes, indent=1, sort_keys=True) + "\n")


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
    """Copy a file or folder of the project to its place below a folder."""
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, target)


def check_installed(variant: Variant, found: Mapping[str, object], venv: Path) -> None:
    """Hold what an interpreter of the new environment says against what it should say.

    Raises:
        InstallError: it is not so.
    """
    if found["extra"]:
        raise InstallError(f"expected no packages of extras, found {found['extra']}")
    if found["named"] != NEED_EXTRA:
        raise InstallError(f"expected the extras {NEED_EXTRA} of public names, found {found['named']}")
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
