"""What the bytes of a model file depend on: data, settings, seed, machine and, in torch, threads.

A job is trained in processes that differ in one thing each. Where files differ, the largest difference
between their probabilities of the same test texts is given, and that of their accuracies.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from kills import Job
from measuring import ROOT
from numpy.typing import NDArray

import token2wave
from token2wave.data import TextSplit
from token2wave.errors import Token2WaveError

Floats = NDArray[np.float32]

PACKAGE = ROOT / "src" / "token2wave"
C_FLAGS = ("-std=c11", "-O2", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-Wno-psabi")
ORDINARY = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
PLACES: dict[str, dict[str, str]] = {
    "the same again": {},
    "PYTHONHASHSEED=1": {"PYTHONHASHSEED": "1"},
    "PYTHONHASHSEED=4242": {"PYTHONHASHSEED": "4242"},
    "another folder": {},
    "locale C, time zone Tokyo": {"LC_ALL": "C", "LANG": "C", "TZ": "Asia/Tokyo"},
    "UTF-8 mode off": {"PYTHONUTF8": "0", "LC_ALL": "POSIX"},
}
"""Must change nothing."""
THREADS: dict[str, dict[str, str]] = {
    "2 threads": {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
    "3 threads": {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"},
    "2 threads of BLAS alone": {"OPENBLAS_NUM_THREADS": "2"},
}
INSTRUCTIONS: dict[str, dict[str, str]] = {
    "core without AVX2 and FMA": {"PYTHONPATH": "PLAIN"},
    "BLAS of Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "BLAS of Nehalem": {"OPENBLAS_CORETYPE": "Nehalem"},
    "all of these, and torch without AVX2": {
        "PYTHONPATH": "PLAIN",
        "OPENBLAS_CORETYPE": "Nehalem",
        "ATEN_CPU_CAPABILITY": "default",
    },
}
ENGINES: dict[str, dict[str, str]] = {
    "numpy": {"TOKEN2WAVE_NATIVE": "0"},
    "core without AVX2 and FMA": {"PYTHONPATH": "PLAIN"},
}
PREDICT = """
import sys
from pathlib import Path
import numpy as np
import token2wave
classifier = token2wave.load(sys.argv[1])
exec(sys.argv[4])
texts = Path(sys.argv[2]).read_text(encoding="utf-8").split("\\x00")
np.save(sys.argv[3], classifier.probabilities(texts))
"""
IN_TORCH = """
from dataclasses import replace
from token2wave.models import WaveNetwork
network = WaveNetwork(classifier.network.config)
for name, values in classifier.network.arrays().items():
    network.load(name, np.array(values))
classifier = replace(classifier, network=network.eval())
"""


class NoCompilerError(Token2WaveError):
    """The core cannot be built for other processors here."""


@dataclass(frozen=True)
class Bench:
    """Where jobs are trained on the rows of a file, and compared on test texts.

    ``plain`` is a folder with the package, its core built for plain x86-64; None if it cannot be built.
    """

    folder: Path
    data: Path
    test: TextSplit
    plain: Path | None = None

    def train(self, job: Job, changes: dict[str, str], subfolder: str = ".") -> Path:
        """Train in a process of its own, in a working folder of its own; returns the model file."""
        working = self.folder / subfolder
        working.mkdir(exist_ok=True)
        out = self.folder / "trained.safetensors"
        command = [sys.executable, "-m", "token2wave", "train", os.path.relpath(self.data, working)]
        command += ["--device", "cpu", *job.arguments, "--out", str(out)]
        subprocess.run(command, cwd=working, env=self._environment(changes), check=True, capture_output=True)
        return out

    def predict(self, model: Path, changes: dict[str, str], change: str = "") -> Floats:
        """Probabilities of the test texts, from a process of its own."""
        texts, out = self.folder / "texts", self.folder / "predicted.npy"
        texts.write_text("\x00".join(self.test.texts), encoding="utf-8")
        command = [sys.executable, "-c", PREDICT, str(model), str(texts), str(out), change]
        subprocess.run(command, env=self._environment(changes), check=True, capture_output=True)
        probabilities: Floats = np.load(out)
        return probabilities

    def _environment(self, changes: dict[str, str]) -> dict[str, str]:
        if changes.get("PYTHONPATH") == "PLAIN":
            changes = changes | {"PYTHONPATH": str(self.plain)}
        return {**os.environ, **ORDINARY, **changes}

    def possible(self, conditions: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        """Conditions that can be had here."""
        return {
            name: changes
            for name, changes in conditions.items()
            if self.plain is not None or changes.get("PYTHONPATH") != "PLAIN"
        }


def build_plain(folder: Path) -> Path:
    """Copy the package, and build its core for plain x86-64; the folder is for ``PYTHONPATH``.

    Raises:
        NoCompilerError: there is no compiler.
    """
    copy = folder / "token2wave"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("_core*.so", "__pycache__"))
    if shutil.which("gcc") is None:
        raise NoCompilerError("gcc is not installed")
    command = ["gcc", "-shared", "-fPIC", *C_FLAGS, "-DTOKEN2WAVE_PLAIN"]
    command += [f"-I{sysconfig.get_path('include')}", "-o", str(copy / "core" / "_core.abi3.so")]
    command += [*map(str, sorted((copy / "core").glob("*.c"))), "-lm", "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NoCompilerError(f"gcc: {done.stderr[-300:]}")
    return folder


def same_everywhere(bench: Bench, job: Job) -> dict[str, Any]:
    """Train where nothing may make a difference."""
    hashes = {}
    for number, (name, changes) in enumerate(PLACES.items()):
        path = bench.train(job, changes, subfolder=f"folder {number}" if name == "another folder" else ".")
        hashes[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    first = next(iter(hashes.values()))
    other = [name for name, digest in hashes.items() if digest != first]
    return {"job": job.name, "processes": len(hashes), "other": other}


def compared(bench: Bench, job: Job, conditions: dict[str, dict[str, str]]) -> list[dict[str, Any]]:
    """Train under conditions, and hold each model against that of one thread and all instructions."""
    first = bench.train(job, {}).read_bytes()
    whole = bench.folder / "first.safetensors"
    whole.write_bytes(first)
    expected = token2wave.load(whole).probabilities(bench.test.texts)
    rows = []
    for name, changes in bench.possible(conditions).items():
        path = bench.train(job, changes)
        row: dict[str, Any] = {"job": job.name, "condition": name, "same": path.read_bytes() == first}
        if not row["same"]:
            actual = token2wave.load(path).probabilities(bench.test.texts)
            names = token2wave.load(whole).label_names
            labels = np.array([names.index(label) for label in bench.test.labels])
            right = [(each.argmax(axis=1) == labels).mean() for each in (expected, actual)]
            row |= {
                "probability": float(np.abs(actual - expected).max()),
                "mean": float(np.abs(actual - expected).mean()),
                "labels": int((actual.argmax(axis=1) != expected.argmax(axis=1)).sum()),
                "accuracy": float(right[1] - right[0]),
            }
        rows.append(row)
    return rows


def engines(bench: Bench, job: Job) -> list[dict[str, Any]]:
    """Let one model predict in every way, and hold each against the native core with all instructions."""
    model = bench.folder / "engines.safetensors"
    model.write_bytes(bench.train(job, {}).read_bytes())
    expected = bench.predict(model, {})
    predicted = {name: bench.predict(model, changes) for name, changes in bench.possible(ENGINES).items()} | {
        "2 threads": bench.predict(model, {"OMP_NUM_THREADS": "2"}),
        "torch": bench.predict(model, {}, IN_TORCH),
    }
    return [
        {
            "job": job.name,
            "engine": name,
            "same": bool((actual == expected).all()),
            "probability": float(np.abs(actual - expected).max()),
            "labels": int((actual.argmax(axis=1) != expected.argmax(axis=1)).sum()),
        }
        for name, actual in predicted.items()
    ]
