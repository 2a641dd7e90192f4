"""Build the wheels of a release, check them, and test each where nothing is compiled.

    python tools/build_wheels.py
    python tools/build_wheels.py aarch64    # this one alone

``build/wheels`` gets a wheel for Linux on each architecture, made by Debian's compilers, and one of pure
Python for every other system. auditwheel, abi3audit and twine check them. Each then goes into a fresh
environment that takes binary packages alone, and the base tests run there. If the architecture is not this
machine's, the core's parity tests run under qemu-user, with Debian's Python of that architecture. One line a
wheel says what came of it; the exit status is 1 where something is wrong.
"""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from test_base_install import (
    CONSTRAINTS,
    ROOT,
    TEST_TOOLS,
    TRAIN,
    InstallError,
    Variant,
    built_wheel,
    clean_environment,
    copy_tests,
    run,
    test_wheel,
    write_files,
)

OUTPUT = ROOT / "build" / "wheels"
OLD_GLIBC = ROOT / "tools" / "old_glibc.h"
LINUX = "manylinux_2_17"  # glibc of 2012; numpy's own wheels ask for a later one
VARIANTS = {
    "x86_64": Variant("x86_64", "x86_64-linux-gnu-gcc", True, f"-cp311-abi3-{LINUX}_x86_64."),
    "aarch64": Variant("aarch64", "aarch64-linux-gnu-gcc", True, f"-cp311-abi3-{LINUX}_aarch64."),
    "any": Variant("any", None, False, "-py3-none-any."),
}
DEBIAN_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
PYTHON = "3.11"
DEBIAN_PYTHON = (f"python{PYTHON}-minimal", f"libpython{PYTHON}-stdlib", "libstdc++6")  # numpy needs the last
# The core against numpy and recorded answers: hashes, probabilities, states. qemu is too slow for the rest.
PARITY = (
    "tests/inference/test_parity.py",
    "tests/inference/test_without_torch.py::test_native_equals_numpy",
    "tests/inference/test_without_torch.py::test_probabilities_are_those_of_the_formulas",
    "tests/inference/test_row_sums.py",
    "tests/features/test_features_words.py",
    "tests/storage/test_golden.py",
)


def main() -> None:
    """Build, check and test wheels, and say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"wheels: {', '.join(VARIANTS)}; all by default"
    )
    parser.add_argument("--processes", default="auto", help="processes that run the tests, a number or auto")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - VARIANTS.keys():
        parser.error(f"expected names among {', '.join(VARIANTS)}, found {', '.join(sorted(unknown))}")
    variants = [VARIANTS[name] for name in arguments.names or VARIANTS]
    if packages := missing_packages(variants):
        sys.exit(f"tools to build or test wheels are missing: apt-get install {' '.join(packages)}")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(len(variants)) as pool:
        lines = list(pool.map(lambda variant: line_of(variant, arguments.processes), variants))
    print("\n".join(line for line, _ in lines))
    sys.exit(not all(is_good for _, is_good in lines))


def missing_packages(variants: list[Variant]) -> list[str]:
    """Return Debian's packages of the commands that these wheels need and that are not installed."""
    packages = []
    for variant in variants:
        if not variant.has_core:
            continue
        name = DEBIAN_NAMES[variant.name]
        if shutil.which(str(variant.compiler)) is None:
            packages += [f"gcc-{variant.name.replace('_', '-')}-linux-gnu", f"libc6-dev-{name}-cross"]
        if variant.name != platform.machine() and shutil.which(f"qemu-{variant.name}") is None:
            packages.append("qemu-user")
    return packages


def line_of(variant: Variant, processes: str) -> tuple[str, bool]:
    """Build, check and test one wheel, and say in a line what came of it, and whether that is good."""
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="token2wave-") as name:
            folder, environment = Path(name), clean_environment()
            wheel = built_wheel(variant, folder, environment | build_settings(variant, folder))
            check_wheel(wheel, variant, environment)
            wheel = Path(shutil.copy(wheel, OUTPUT))
            if variant.has_core and variant.name != platform.machine():
                outcome = test_emulated(wheel, variant, folder, environment)
            else:
                environment["PIP_ONLY_BINARY"] = ":all:"
                outcome = test_wheel(wheel, variant, folder, environment, processes)
            outcome, is_good = f"{wheel.stat().st_size / 1e6:.2f} MB; {outcome}", True
    except InstallError as error:
        outcome, is_good = f"FAILED: {error}", False
    return f"{variant.name}: {outcome} [{time.monotonic() - started:.0f} s]", is_good


def build_settings(variant: Variant, folder: Path) -> dict[str, str]:
    """Return the variables of the environment by which setuptools builds this wheel."""
    if not variant.has_core:
        return {"TOKEN2WAVE_PURE": "1"}
    options = folder / "wheel.cfg"
    options.write_text(f"[bdist_wheel]\nplat_name = {LINUX}_{variant.name}\n")
    return {
        "DIST_EXTRA_CONFIG": str(options),
        "LDSHARED": f"{variant.compiler} -shared",
        "CFLAGS": f"-g0 -include {OLD_GLIBC}",
        "LDFLAGS": "-Wl,-s",
    }


def check_wheel(wheel: Path, variant: Variant, environment: Mapping[str, str]) -> None:
    """Hold a wheel against its tags.

    Raises:
        InstallError: the core is missing, or needs more of Linux or Python than the tags say.
    """
    has_core = any(name.endswith(".abi3.so") for name in zipfile.ZipFile(wheel).namelist())
    if has_core is not variant.has_core:
        raise InstallError(f"expected {'a' if variant.has_core else 'no'} native core in {wheel.name}")
    if has_core:
        audit = run([sys.executable, "-m", "auditwheel", "show", wheel], ROOT, environment)
        tag = re.search(r'platform tag:\s+"(.*?)"', audit)
        if not tag or tag[1] != f"{LINUX}_{variant.name}":
            raise InstallError(
                f"expected {LINUX}_{variant.name}, found by auditwheel: {' '.join(audit.split())}"
            )
        run([sys.executable, "-m", "abi3audit", "--strict", wheel], ROOT, environment)
    run([sys.executable, "-m", "twine", "check", "--strict", wheel], ROOT, environment)


def test_emulated(wheel: Path, variant: Variant, folder: Path, environment: Mapping[str, str]) -> str:
    """Run parity tests of a wheel under qemu, train a model there, and say what came of it.

    Raises:
        InstallError: a step fails.
    """
    python = emulated_python(variant.name, folder, environment)
    packages = folder / "packages"
    platforms = [f"manylinux2014_{variant.name}", *(f"manylinux_2_{i}_{variant.name}" for i in range(17, 37))]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", packages, "--only-binary=:all:"]
    pip += [f"--python-version={PYTHON}", "--implementation=cp", "--abi=cp311", "--abi=abi3", "--abi=none"]
    pip += [f"--platform={name}" for name in platforms]
    run([*pip, "-c", CONSTRAINTS, f"{wheel}[wordpiece]", *TEST_TOOLS], folder, environment)
    environment = {**environment, "PYTHONPATH": str(packages), "OPENBLAS_NUM_THREADS": "1"}
    look = "from token2wave.core import load_core; print(load_core().__file__)"
    if not run([*python, "-c", look], folder, environment).startswith(str(packages)):
        raise InstallError("expected the native core of the wheel, found another or none")
    write_files(folder)
    run([*python, "-m", "token2wave", *TRAIN.split()], folder, environment)
    copy_tests(folder)
    pytest = [*python, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", "not page", *PARITY]
    tests = run(pytest, folder, environment).splitlines()[-1]
    return f"{tests}; {wheel.name}, trains, under qemu-{variant.name}"


def emulated_python(machine: str, folder: Path, environment: Mapping[str, str]) -> list[object]:
    """Unpack Debian's Python of another architecture below a folder, and return the command that runs it.

    apt keeps its lists there, too, so the system's own do not change.

    Raises:
        InstallError: a package cannot be had.
    """
    apt, root = folder / "apt", folder / "root"
    for name in ("lists", "cache"):
        (apt / name).mkdir(parents=True)
    (apt / "status").touch()
    name = DEBIAN_NAMES[machine]
    options = [f"Dir::State={apt}", f"Dir::State::Lists={apt}/lists", f"Dir::State::Status={apt}/status"]
    options += [f"Dir::Cache={apt}/cache", f"APT::Architecture={name}", f"APT::Architectures::={name}"]
    command = ["apt-get", "-qq", "--yes", *(f"-o{option}" for option in options)]
    run([*command, "update"], folder, environment)
    run(
        [*command, "--no-install-recommends", "--download-only", "install", *DEBIAN_PYTHON],
        folder,
        environment,
    )
    for package in (apt / "cache" / "archives").glob("*.deb"):
        run(["dpkg-deb", "--extract", package, root], folder, environment)
    return [f"qemu-{machine}", "-L", root, root / "usr" / "bin" / f"python{PYTHON}"]


if __name__ == "__main__":
    main()
