"""Runs the archived cases of the fuzzer, and random cases for five seconds."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from token2wave.classifier import Classifier
from token2wave.core import load_core
from token2wave.inference.routes import NumpyRoute

run_cases = pytest.importorskip("fuzzing.run_cases", reason="the tools are not part of this tree")

from fuzzing.corpora import CORPORA, read_corpus  # noqa: E402

TOOLS = Path(__file__).parents[2] / "tools"
CASES = run_cases.read_cases(CORPORA / "cases.zip")
ENGINES = [True, False] if load_core() is not None else [False]
each_engine = pytest.mark.parametrize("natively", ENGINES, ids=lambda native: "native" if native else "numpy")
CASE: dict[str, Any] = {
    "recipe": {
        "features": {"kind": "words", "bits": 10, "ngrams": 2, "cls": False, "n_buckets": 512},
        "network": {"n_classes": 3, "width": 8, "variants": "rows", "readout": "text"},
        "numbers": "ordinary",
        "storage": None,
        "seed": 1,
    },
    "edits": [],
    "operations": [["labels", [[["good film", 1]]], 1]],
}


@each_engine
@pytest.mark.parametrize("name", CASES)
def test_archived_cases(name: str, natively: bool) -> None:
    run_cases.run(CASES[name], natively)


def test_there_are_enough_cases() -> None:
    assert len(read_corpus(CORPORA / "cases.zip")) >= 24


@each_engine
def test_five_seconds(tmp_path: Path, natively: bool) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"python -m fuzzing.run_cases --seed {seed}")
    corpus = tmp_path / "states-damaged-headers.json"
    corpus.write_bytes(read_corpus(CORPORA / "cases.zip")[corpus.name])
    findings = tmp_path / "findings"
    command = [sys.executable, "-m", "fuzzing.run_cases", "--seconds", "5", "--seed", str(seed)]
    process = subprocess.run(
        [*command, "--corpus", corpus, "--findings", findings],
        env=os.environ | {"TOKEN2WAVE_NATIVE": str(int(natively)), "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=TOOLS,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert not [*findings.iterdir()]


@each_engine
def test_wrong_behaviour_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, natively: bool
) -> None:
    fuzzer = run_cases.Fuzzer(tmp_path)
    fuzzer.run_case(CASE, natively, "good")
    assert (fuzzer.n_accepted, fuzzer.n_operations, [*tmp_path.iterdir()]) == (1, 1, [])
    monkeypatch.setattr(Classifier, "labels", lambda self, texts: ["no class"])
    fuzzer.run_case(CASE, natively, "wrong")
    monkeypatch.setattr(Classifier, "labels", lambda self, texts: [][0])
    fuzzer.run_case(CASE, natively, "raises")
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["raises", "wrong"]
    assert "IndexError" in (tmp_path / "raises.json").read_text()
    case = run_cases.read_cases(tmp_path / "wrong.json")["wrong"]
    with pytest.raises(IndexError):
        run_cases.run(case, natively)
    monkeypatch.undo()
    assert run_cases.run(case, natively)


def test_engines_that_differ_are_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASE | {"operations": [["agree", [[["good film", 1]], [["bad", 1]]]]]}
    assert run_cases.run(case, natively=True)
    predict = NumpyRoute.of_strings

    def inexact(self: NumpyRoute, texts: list[str], advance: Any) -> Any:
        probabilities, known = predict(self, texts, advance)
        error = 1e-4 if os.environ["TOKEN2WAVE_NATIVE"] == "0" else 0.0  # numpy is all there may be
        return probabilities + np.float32(error), known

    monkeypatch.setattr(NumpyRoute, "of_strings", inexact)
    with pytest.raises(Exception, match="the native core and numpy differ"):
        run_cases.run(case, natively=True)
