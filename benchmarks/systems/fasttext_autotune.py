"""FastText with its own search for settings."""

from __future__ import annotations

from typing import Any

import numpy as np

from systems import Task
from systems.fasttext_lines import write_lines
from systems.fasttext_training import BIAS, FILES, TRAIN, VALIDATION, FastText, fasttext

SECONDS = 60
HELD_BACK = 0.1
SPLIT_SEED = 0  # the same rows in every run


class Autotune(FastText):
    """Settings chosen by fastText on rows held out of training."""

    def prepare(self, task: Task) -> None:
        """Write two files, of the rows to learn from and of those to choose by."""
        order = np.random.default_rng(SPLIT_SEED).permutation(len(task.texts))
        held_out = max(1, round(HELD_BACK * len(order)))
        write_lines(task.folder / VALIDATION, task.texts, task.labels, order[:held_out])
        write_lines(task.folder / TRAIN, task.texts, task.labels, order[held_out:])

    def fit(self, task: Task) -> Any:
        """Search for the time given, then train with the best settings."""
        return fasttext.train_supervised(
            input=str(task.folder / TRAIN),
            autotuneValidationFile=str(task.folder / VALIDATION),
            autotuneDuration=SECONDS,
            thread=task.threads,
            seed=task.seed,
            verbose=0,
        )


SYSTEM = Autotune(
    "fastText, autotune",
    {},
    f"`fasttext.train_supervised` with autotuneDuration={SECONDS} on {HELD_BACK:.0%} of the training rows "
    f"held out, all other settings found by it; {FILES}.",
    f"{BIAS} Its time is the budget it was given, {SECONDS} seconds, and the training that follows; it "
    f"learns from {1 - HELD_BACK:.0%} of the rows. No other system looks for settings within its time.",
)
