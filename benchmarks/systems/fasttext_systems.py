"""FastText: its lines (lower case, punctuation apart, ``__label__`` in front), training and prediction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systems import System, Task

TRAIN, VALIDATION = "train.txt", "validation.txt"
FILES = (
    "texts lower-cased and punctuation made words as in fastText's classification-example.sh, "
    "written to a file in random order"
)
BIAS = (
    "Its texts are prepared in Python and written to a file first, since it reads nothing else; that time is "
    "shown apart. With several threads its result differs from run to run with the same seed. Its model "
    "keeps 2,000,000 rows for word pairs however few occur; `quantize` would make it smaller, in more time. "
    "Version 0.9.3 draws a tenth of its initial rows for each thread and leaves the others as it finds the "
    "memory, mostly zero; where it is not, training can end with 'Encountered NaN'."
)
SECONDS, HOLDOUT = 60, 0.1  # of the search for settings
SPLIT_SEED = 0  # the same rows in every run
LABEL = "__label__"
# The rules of fastText's classification-example.sh: these marks become words, and those go.
_WORDS = "'.,()!?"
_DROPPED = {'"': "", ";": " ", ":": " "}
_MARKS = str.maketrans({mark: f" {mark} " for mark in _WORDS} | _DROPPED)


def normalized(text: str) -> str:
    """One line of lower-case words and marks, apart by single blanks."""
    line = " ".join(text.lower().replace("<br />", " ").translate(_MARKS).split())
    if LABEL in line:  # a text must not name its own class
        line = line.replace(LABEL, "label")
    return line if line.isascii() else line.encode("utf-8", "replace").decode()  # lone surrogates


def write_lines(path: Path, texts: Sequence[str], labels: NDArray[np.int64], rows: Iterable[int]) -> None:
    """Write the rows with their labels, in the order in which they are given."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(f"{LABEL}{labels[row]} {normalized(texts[row])}\n")


def class_of(label: str) -> int:
    """Class of a label that fastText predicts."""
    return int(label.removeprefix(LABEL))


class FastText(System):
    """``fasttext.train_supervised``: word pairs as in its classification-results.sh, but for the buckets."""

    family = "fastText"

    def __init__(self, rate: float) -> None:
        self.fasttext: Any = import_module("fasttext")  # has no types
        self.settings: dict[str, Any] = {"lr": rate, "dim": 10, "wordNgrams": 2, "epoch": 5}
        self.name = f"fastText, lr {rate}"
        self.description = (
            f"`fasttext.train_supervised` with lr={rate}, dim=10, wordNgrams=2, epoch=5, and its defaults "
            f"bucket=2000000, minCount=1, minn=0, maxn=0, loss=softmax; {FILES}."
        )
        self.bias = (
            f"{BIAS} Its authors chose its rate on validation rows, 0.25 for AG News and 0.5 for DBpedia, "
            "both with 10,000,000 buckets. Its default of five epochs is few where rows are few. It learns "
            "from all rows."
        )

    def prepare(self, task: Task) -> None:
        """Write the training file. Its order is random, since fastText does not shuffle."""
        order = np.random.default_rng(task.seed).permutation(len(task.texts))
        write_lines(task.folder / TRAIN, task.texts, task.labels, order)

    def fit(self, task: Task) -> Any:
        """Train on the file."""
        return self.fasttext.train_supervised(
            input=str(task.folder / TRAIN), thread=task.threads, seed=task.seed, verbose=0, **self.settings
        )

    def predict(self, model: Any, texts: Sequence[str]) -> NDArray[np.int64]:
        """Predict the class of every text, preparation of the texts included."""
        # A list: of a single string, `predict` of fasttext 0.9.3 fails with NumPy 2.
        labels, _ = model.predict([normalized(text) for text in texts])
        return np.array([class_of(first) for first, *_ in labels], dtype=np.int64)

    def save(self, model: Any, folder: Path) -> Path:
        """Write fastText's own binary file."""
        path = folder / "model.bin"
        model.save_model(str(path))
        return path

    def passes(self, model: Any, task: Task) -> float | None:
        """Epochs, where they are fixed."""
        epochs: float | None = self.settings.get("epoch")
        return epochs


class Autotune(FastText):
    """Settings chosen by fastText on rows held out of training."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.settings = {}
        self.name = "fastText, autotune"
        self.description = (
            f"`fasttext.train_supervised` with autotuneDuration={SECONDS} on {HOLDOUT:.0%} of the training "
            f"rows held out, all other settings found by it; {FILES}."
        )
        self.bias = (
            f"{BIAS} Its time is the budget it was given, {SECONDS} seconds, and the training that follows; "
            f"it learns from {1 - HOLDOUT:.0%} of the rows. No other system looks for settings within its "
            "time."
        )

    def prepare(self, task: Task) -> None:
        """Write two files, of the rows to learn from and of those to choose by."""
        order = np.random.default_rng(SPLIT_SEED).permutation(len(task.texts))
        held_out = max(1, round(HOLDOUT * len(order)))
        write_lines(task.folder / VALIDATION, task.texts, task.labels, order[:held_out])
        write_lines(task.folder / TRAIN, task.texts, task.labels, order[held_out:])

    def fit(self, task: Task) -> Any:
        """Search for the time given, then train with the best settings."""
        return self.fasttext.train_supervised(
            input=str(task.folder / TRAIN),
            autotuneValidationFile=str(task.folder / VALIDATION),
            autotuneDuration=SECONDS,
            thread=task.threads,
            seed=task.seed,
            verbose=0,
        )


def make_system(name: str) -> FastText:
    """Make a system by its name, which ends in the rate."""
    rates = {"fasttext_lr025": 0.25, "fasttext_lr05": 0.5}
    return FastText(rates[name]) if name in rates else Autotune()
