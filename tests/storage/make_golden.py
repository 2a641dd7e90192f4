"""Writes the model files in ``golden/`` that are not there yet, and what they predict. No test runs it.

PYTHONPATH=tests/inference python tests/storage/make_golden.py
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from stored_models import SPELLED, classifier_of

import token2wave
from token2wave.inference.novelty import NoveltyReference

FOLDER = Path(__file__).parent / "golden"
N_WORDS = 2  # "a" and "b": few, so that the files are small
FILES = {
    "plain": ("fast modulation", "plain"),
    "float32": ("fast", "float32"),
    "float16": ("trigrams", "float16"),
    "int8": ("linear", "int8"),
    "lzma": ("small", "lzma"),
    "wordpiece": ("paper", "lzma"),
    "multi_label": ("several", "int8"),
    "novelty": ("small", "int8"),
    "linear_svm": ("linear_svm", "float32"),
    "oov": ("oov", "lzma"),
}
USUAL = NoveltyReference(0.5, (0.45, 0.1), (2.5, 0.8), tuple(i / 2 - 3.5 for i in range(15)))
TEXTS = ["", "b good", "A good bad a b good!", "don't a b b \udc00 a", "unseen", "film b GOOD bad a. b"]


def main() -> None:
    """Write files that are not there yet."""
    path_of_expected = FOLDER / "probabilities.json"
    expected = json.loads(path_of_expected.read_text()) if path_of_expected.exists() else {}
    for name, (kind, storage) in FILES.items():
        path = FOLDER / f"{name}.safetensors"
        if path.exists():
            continue
        classifier = classifier_of(kind, storage, N_WORDS)
        if name == "novelty":
            classifier = replace(classifier, novelty_reference=USUAL)
            novelty = dict(zip(TEXTS, classifier.novelty(TEXTS).round(7).tolist(), strict=True))
            (FOLDER / "novelty.json").write_text(json.dumps({name: novelty}, indent=1) + "\n")
        classifier.save(path)
        texts = [*TEXTS, *SPELLED, "bad goodness"] if name == "oov" else TEXTS
        rows = token2wave.load(path).probabilities(texts).tolist()
        expected[name] = [
            [text, [round(share, 7) for share in row]] for text, row in zip(texts, rows, strict=True)
        ]
    lines = [f'"{name}": {json.dumps(rows)}' for name, rows in expected.items()]
    path_of_expected.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
