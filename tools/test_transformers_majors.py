"""Test the Hugging Face integration with each major version of transformers that it is to work with.

    python tools/test_transformers_majors.py

For each version: a virtual environment that sees the packages of this one, torch among them, and has only
transformers and what comes with it for itself; the tests of the integration run in it. Then each version
reads what the other has written. One line a version says what came of it; the exit status is 1 where
something is wrong.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
VERSIONS = {"5": "transformers>=5,<6", "4": "transformers>=4.57,<5"}
TESTED = sorted((ROOT / "tests" / "integrations").glob("test_huggingface*.py"))
CURRENT = next(iter(VERSIONS))  # the one of constraints.txt
PINNED = ("transformers", "huggingface_hub", "tokenizers")  # there, and otherwise by the other version
WRITE = """
import sys
sys.path.insert(0, sys.argv[2])
from huggingface_cases import random_classifier
from token2wave.integrations.huggingface import export_huggingface
for kind in ("small", "paper", "several labels"):
    export_huggingface(random_classifier(kind), f"{sys.argv[1]}/{kind}")
"""
READ = """
import sys
sys.path.insert(0, sys.argv[2])
from huggingface_cases import TEXTS, random_classifier
from token2wave.integrations.huggingface import from_huggingface
from transformers import AutoModelForSequenceClassification, AutoTokenizer
for kind in ("small", "paper", "several labels"):
    folder = f"{sys.argv[1]}/{kind}"
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    found = from_huggingface(model, AutoTokenizer.from_pretrained(folder))
    assert found.fingerprint == random_classifier(kind).fingerprint, kind
"""


class VersionError(Exception):
    """Something is not as it should be."""


def main() -> None:
    """Test the versions, and say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=VERSIONS, help="one major version alone")
    only = parser.parse_args().only
    good = True
    with tempfile.TemporaryDirectory(prefix="token2wave-") as folder:
        written: list[Path] = []
        for major in [only] if only else VERSIONS:
            started = time.monotonic()
            try:
                said = tested(major, Path(folder), written)
            except VersionError as error:
                said, good = f"FAILED: {error}", False
            print(f"transformers {major}: {said} [{time.monotonic() - started:.0f} s]", flush=True)
    sys.exit(not good)


def tested(major: str, folder: Path, written: list[Path]) -> str:
    """Test one major version, and say what came of it.

    Args:
        major: one of ``VERSIONS``.
        folder: to work in.
        written: folders with models of the versions before, which are read; this version's is appended.

    Raises:
        VersionError: a step fails.
    """
    python = environment(major, folder / major)
    found = run([python, "-c", "import transformers; print(transformers.__version__)"]).strip()
    if found.partition(".")[0] != major:
        raise VersionError(f"expected transformers {major}, found {found}")
    output = run([python, "-m", "pytest", "-p", "no:cacheprovider", *TESTED])
    helpers = TESTED[0].parent
    models = folder / f"models-{major}"
    models.mkdir()
    run([python, "-c", WRITE, models, helpers])
    for other in [*written, models]:
        run([python, "-c", READ, other, helpers])
    if written:  # and the other way round
        run([folder / CURRENT / "bin" / "python", "-c", READ, models, helpers])
    written.append(models)
    return f"{found}; {output.strip().splitlines()[-1].strip()}"


def environment(major: str, venv: Path) -> Path:
    """Make a virtual environment that sees this one's packages, with one version of transformers.

    Raises:
        VersionError: it cannot be installed.
    """
    run([sys.executable, "-m", "venv", "--without-pip", venv])
    python = venv / "bin" / "python"
    own = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    seen = [path for path in sys.path[1:] if path and path.endswith("site-packages")]
    (own / "seen.pth").write_text("\n".join([str(ROOT / "src"), *seen]) + "\n")
    kept = [
        line
        for line in CONSTRAINTS.read_text().splitlines()
        if major == CURRENT or line.partition("==")[0] not in PINNED
    ]
    constraints = venv / "constraints.txt"
    constraints.write_text("\n".join(kept) + "\n")
    install = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install"]
    run([*install, "--quiet", "--no-compile", "-c", constraints, VERSIONS[major]])
    return python


def run(command: Sequence[object]) -> str:
    """Run a command and return what it printed.

    Raises:
        VersionError: it fails; what it printed goes to standard error.
    """
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        raise VersionError(f"{' '.join(map(str, command[:4]))[:100]} ... exits with {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
