"""What the systems of fastText share: files written, training, prediction."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from systems import System, Task
from systems.fasttext_lines import class_of, normalized, write_lines

fasttext: Any = import_module("fasttext")  # has no types
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


class FastText(System):
    """``fasttext.train_supervised`` with fixed settings.

    Args:
        name: what tables call it.
        settings: passed on.
        description: one sentence with all settings.
        bias: what favours it or its rivals.
    """

    family = "fastText"

    def __init__(self, name: str, settings: dict[str, Any], description: str, bias: str) -> None:
        self.name = name
        self.settings = settings
        self.description = description
        self.bias = bias

    def prepare(self, task: Task) -> None:
        """Write the training file. Its order is random, since fastText does not shuffle."""
        order = np.random.default_rng(task.seed).permutation(len(task.texts))
        write_lines(task.folder / TRAIN, task.texts, task.labels, order)

    def fit(self, task: Task) -> Any:
        """Train on the file."""
        return fasttext.train_supervised(
            input=str(task.folder / TRAIN), thread=task.threads, seed=task.seed, verbose=0, **self.settings
        )

    def predict(self, model: Any, texts: Sequence[str]) -> NDArray[np.int64]:
        """Predict the class of every text, preparation of the texts included."""
        # A list: of a single string, `predict` of fasttext 0.9.3 fails with NumPy 2.
        labels, _ = model.predict([normalized(text) for text in texts])
        return np.array([class_of(found[0]) for found in labels], dtype=np.int64)

    def save(self, model: Any, folder: Path) -> Path:
        """Write fastText's own binary file."""
        path = folder / "model.bin"
        model.save_model(str(path))
        return path

    def passes(self, model: Any, task: Task) -> float | None:
        """Epochs, where they are fixed."""
        epochs: float | None = self.settings.get("epoch")
        return epochs


def with_rate(rate: float) -> FastText:
    """FastText with word pairs as its authors' classification-results.sh sets it, but for the buckets."""
    settings = {"lr": rate, "dim": 10, "wordNgrams": 2, "epoch": 5}
    description = (
        f"`fasttext.train_supervised` with lr={rate}, dim=10, wordNgrams=2, epoch=5, and its defaults "
        f"bucket=2000000, minCount=1, minn=0, maxn=0, loss=softmax; {FILES}."
    )
    bias = (
        f"{BIAS} Its authors chose its rate on validation rows, 0.25 for AG News and 0.5 for DBpedia, both "
        "with 10,000,000 buckets. Its default of five epochs is few where rows are few. It learns from all "
        "rows."
    )
    return FastText(f"fastText, lr {rate}", settings, description, bias)
