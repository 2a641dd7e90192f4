"""What the fuzzer has found, what it should go on trying, and what it finds in five seconds more."""

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
from token2wave.core import core

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "fuzz_corpus"
sys.path.insert(0, str(ROOT / "tools"))
fuzz = pytest.importorskip("fuzz", reason="the tools are not part of this tree")

WAYS = [True, False] if core() is not None else [False]
each_way = pytest.mark.parametrize("natively", WAYS, ids=lambda natively: "native" if natively else "numpy")
WHOLE: dict[str, Any] = {
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


@each_way
@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.json")), ids=lambda path: path.stem)
def test_corpus(path: Path, natively: bool) -> None:
    for name, case in fuzz.read_cases(path).items():
        print(name)
        fuzz.run(case, natively)


def test_the_corpus_stays_small() -> None:
    sizes = [path.stat().st_size for path in CORPUS.iterdir()]
    assert len(sizes) >= 24
    assert sum(sizes) < 300_000


@each_way
def test_five_seconds(tmp_path: Path, natively: bool) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"python tools/fuzz.py --seed {seed}")
    command = [sys.executable, ROOT / "tools" / "fuzz.py", "--seconds", "5", "--seed", str(seed)]
    done = subprocess.run(
        [*command, "--corpus", CORPUS / "states-damaged-headers.json", "--findings", tmp_path],
        env=os.environ | {"TOKEN2WAVE_NATIVE": str(int(natively))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [*tmp_path.iterdir()]


@each_way
def test_what_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, natively: bool) -> None:
    fuzzer = fuzz.Fuzzer(tmp_path)
    fuzzer.one(WHOLE, natively, "good")
    assert (fuzzer.n_accepted, fuzzer.n_operations, [*tmp_path.iterdir()]) == (1, 1, [])
    monkeypatch.setattr(Classifier, "labels", lambda self, texts: ["no class"])
    fuzzer.one(WHOLE, natively, "wrong")
    monkeypatch.setattr(Classifier, "labels", lambda self, texts: [][0])
    fuzzer.one(WHOLE, natively, "raises")
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["raises", "wrong"]
    assert "IndexError" in (tmp_path / "raises.json").read_text()
    found = fuzz.read_cases(tmp_path / "wrong.json")["wrong"]
    with pytest.raises(IndexError):
        fuzz.run(found, natively)
    monkeypatch.undo()
    assert fuzz.run(found, natively)


def test_ways_that_differ_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    agree = WHOLE | {"operations": [["agree", [[["good film", 1]], [["bad", 1]]]]]}
    assert fuzz.run(agree, natively=True)
    whole = Classifier.probabilities

    def inexact(self: Classifier, texts: list[str], advance: Any = None) -> Any:
        error = 1e-4 if os.environ["TOKEN2WAVE_NATIVE"] == "0" else 0.0
        return whole(self, texts, advance) + np.float32(error)

    monkeypatch.setattr(Classifier, "probabilities", inexact)
    with pytest.raises(Exception, match="the native core and numpy differ"):
        fuzz.run(agree, natively=True)
