"""The classifiers that ``benchmarks/compare.py`` compares.

A module of this folder makes the systems that ``SYSTEMS`` names, and imports what they need meanwhile: the
time of loading a system is that of its packages. A system of your own is a ``.py`` file with a constant
``SYSTEM``, a :class:`System`: ``--systems fast,path/to/mine.py``.
"""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SYSTEMS = {
    "fast": "token2wave_presets",
    "small": "token2wave_presets",
    "paper": "token2wave_presets",
    "small_no_prior": "token2wave_presets",
    "fasttext_lr025": "fasttext_systems",
    "fasttext_lr05": "fasttext_systems",
    "fasttext_tuned": "fasttext_systems",
    "fasttext_autotune": "fasttext_systems",
    "tfidf_svc": "tuned_linear",
    "tfidf_svc_tuned": "tuned_linear",
    "tfidf_logistic_tuned": "tuned_linear",
    "tfidf_words_tuned": "tuned_linear",
    "tfidf_characters_tuned": "tuned_linear",
    "tfidf_segmented_tuned": "tuned_linear",
    "nbsvm": "tuned_linear",
    "model2vec_logistic": "static_vectors",
    "model2vec_finetuned": "static_vectors",
    "minilm_logistic": "frozen_encoder",
    "setfit": "setfit",
}
"""Module of each system."""
ONE_RUN = frozenset(SYSTEMS) - {
    "fast",
    "small",
    "paper",
    "small_no_prior",
    "fasttext_lr025",
    "fasttext_lr05",
    "setfit",
}
"""Systems that hardly depend on the seed, or take long: they are run once however many runs are asked for."""
HOLDOUT = 0.1  # of the training rows, to choose settings by
FEW_ROWS = 2000  # with fewer, a tenth says too little


@dataclass(frozen=True)
class Task:
    """What a system is given; the test texts are not among it.

    Attributes:
        texts: ``N`` strings to learn from.
        labels: ``(N,)`` int64, their classes.
        label_names: names of the ``C`` classes; some may have no text.
        seed: of every random choice.
        threads: how many may compute.
        folder: an empty folder for files that training needs.
    """

    texts: Sequence[str]
    labels: NDArray[np.int64]
    label_names: tuple[str, ...]
    seed: int
    threads: int
    folder: Path


class System:
    """A classifier and its fixed settings.

    Attributes:
        name: what tables and figures call it.
        family: what it is compared as; those of ``token2wave`` are ours.
        description: one sentence with all settings.
        bias: what in the comparison favours it or its rivals.
    """

    name: str
    family: str
    description: str
    bias: str

    def prepare(self, task: Task) -> None:
        """Write the files that training needs into ``task.folder``; timed apart from training."""
        return

    def fit(self, task: Task) -> Any:
        """Train, and return a model that is ready to predict."""
        raise NotImplementedError

    def predict(self, model: Any, texts: Sequence[str]) -> NDArray[np.int64]:
        """Predict the class of every text, ``(N,)``."""
        raise NotImplementedError

    def calibration_error(self, model: Any, texts: Sequence[str], labels: NDArray[np.int64]) -> float | None:
        """Expected calibration error of the predictions; None where it is not of interest."""
        return None

    def save(self, model: Any, folder: Path) -> Path:
        """Write the model to a file in ``folder``, and return its path."""
        raise NotImplementedError

    def passes(self, model: Any, task: Task) -> float | None:
        """How often training went through all texts on average; None where that has no meaning."""
        return None


@cache
def load_system(name: str) -> System:
    """Import the system of a name in ``SYSTEMS``, or of a ``.py`` file."""
    system: System
    if not name.endswith(".py"):
        system = import_module(f"systems.{SYSTEMS[name]}").make_system(name)
    else:
        system = runpy.run_path(name)["SYSTEM"]
    return system


def key_of(name: str) -> str:
    """What results call a system: its name in ``SYSTEMS``, or its file's name without the suffix."""
    return Path(name).stem


def assign_folds(labels: NDArray[np.int64], n_folds: int, seed: int) -> NDArray[np.int64]:
    """A fold for each row, ``(N,)``; each class is spread evenly over the folds."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    folds = np.empty(len(labels), dtype=np.int64)
    folds[order] = np.arange(len(labels)) % n_folds
    return folds
