"""FastText: its lines (lower case, punctuation apart, ``__label__`` in front), training and prediction."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systems import HOLDOUT, System, Task, assign_folds

TRAIN, VALIDATION, ALL = "train.txt", "validation.txt", "all.txt"
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
SECONDS = 300  # of the search for settings, fastText's own default
EPOCHS, RATES = (5, 10, 25, 50), (0.1, 0.25, 0.5, 1.0)
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


class Tuned(FastText):
    """Epochs and rate chosen on validation rows, then trained on all rows."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.name = "fastText, tuned"
        epochs, rates = (", ".join(map(str, values)) for values in (EPOCHS, RATES))
        self.description = (
            f"`fasttext.train_supervised` with dim=10, wordNgrams=2, epoch of {epochs} and lr of {rates} by "
            f"{HOLDOUT:.0%} of the training rows, then on all rows; {FILES}."
        )
        self.bias = f"{BIAS} The search for settings is in its time."

    def prepare(self, task: Task) -> None:
        """Write three files: the rows to learn from, those to choose by, and all."""
        order = np.random.default_rng(SPLIT_SEED).permutation(len(task.texts))
        held_out = assign_folds(task.labels, round(1 / HOLDOUT), SPLIT_SEED)[order] == 0
        for name, rows in ((VALIDATION, order[held_out]), (TRAIN, order[~held_out]), (ALL, order)):
            write_lines(task.folder / name, task.texts, task.labels, rows)

    def fit(self, task: Task) -> Any:
        """Search, then train on all rows with the best settings."""
        settings = self.search(task)
        return self._train(task, ALL, settings)

    def search(self, task: Task) -> dict[str, Any]:
        """The settings whose model has most validation rows right."""
        best: tuple[float, dict[str, Any]] = (-1.0, {})
        for epoch, rate in itertools.product(EPOCHS, RATES):
            settings = {"dim": 10, "wordNgrams": 2, "epoch": epoch, "lr": rate}
            with suppress(RuntimeError):  # "Encountered NaN.": the rate is too large
                model = self._train(task, TRAIN, settings)
                _, precision, _ = model.test(str(task.folder / VALIDATION))
                best = max(best, (precision, settings), key=lambda pair: pair[0])
        return best[1]

    def _train(self, task: Task, name: str, settings: dict[str, Any]) -> Any:
        return self.fasttext.train_supervised(
            input=str(task.folder / name), thread=task.threads, seed=task.seed, verbose=0, **settings
        )

    def passes(self, model: Any, task: Task) -> None:
        """Nothing: the search goes through the texts, too."""


class Autotune(Tuned):
    """Settings chosen by fastText's own search on validation rows, then trained on all rows."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "fastText, autotune"
        self.description = (
            f"`fasttext.train_supervised` with autotuneDuration={SECONDS} and {HOLDOUT:.0%} of the training "
            f"rows to choose by, then on all rows with the settings found; {FILES}."
        )
        self.bias = (
            f"{BIAS} Its time is the budget it was given, {SECONDS} seconds, and the training that follows."
        )

    def search(self, task: Task) -> dict[str, Any]:
        """The settings that fastText finds in its time."""
        tuning = {"autotuneValidationFile": str(task.folder / VALIDATION), "autotuneDuration": SECONDS}
        arguments = self._train(task, TRAIN, tuning).f.getArgs()
        names = ("lr", "dim", "epoch", "wordNgrams", "minn", "maxn", "bucket", "minCount", "ws", "neg")
        return {**{name: getattr(arguments, name) for name in names}, "loss": arguments.loss.name}


def make_system(name: str) -> FastText:
    """Make a system by its name."""
    rates = {"fasttext_lr025": 0.25, "fasttext_lr05": 0.5}
    if name in rates:
        return FastText(rates[name])
    return Tuned() if name == "fasttext_tuned" else Autotune()
