"""Summaries of runs that never took place."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from token2wave.metrics import evaluate_predictions, evaluated_texts
from token2wave.training.loop import Epoch
from token2wave.training.result import Summary

CAVEATS = ("The test texts overlap the training texts by 3%.", "Labels <are> noisy & few.")
BASELINE = {"name": "naive Bayes", "accuracy": 0.5, "macro_f1": 0.25, "train_seconds": 0.5}


def words_of(index: int, label: int, against: int | None) -> list[tuple[str, float]]:
    return [("text", 1.0), (f" {index} ", 0.0), ("<b>", -0.6)]


def a_summary(n_classes: int = 3, *, label_names: tuple[str, ...] | None = None, **changes: Any) -> Summary:
    names = label_names or tuple(f"class {i}" for i in range(n_classes))
    random = np.random.default_rng(len(names))
    truth = random.integers(0, len(names), 20 * len(names))
    guess = random.integers(0, len(names), len(truth))
    predicted = np.where(random.random(len(truth)) < 0.8, truth, guess)
    evaluation = evaluate_predictions(truth, predicted, names)
    texts = [f"text {i} <b>" for i in range(len(truth))]
    probabilities = random.random((len(truth), len(names)))
    chosen = evaluated_texts(texts, truth, predicted, names, probabilities, np.arange(len(truth)), words_of)
    history = [Epoch(i, 1 / i, 1 - 0.5 / i, 1.25 / i, 1 - 0.625 / i) for i in range(1, 5)]
    values: dict[str, Any] = {
        "accuracy": evaluation.accuracy,
        "macro_f1": evaluation.macro_f1,
        "validation_accuracy": 0.875,
        "train_seconds": 83.25,
        "total_seconds": 91.0,
        "texts_per_second": 15234.4,
        "peak_memory_bytes": 812_345_678,
        "parameters": 7_712_345,
        "parameters_without_embedding": 1_182_340,
        "model_bytes": 30_912_345,
        "preset": "wave",
        "operation": "modulation",
        "epochs": 4,
        "seed": 7,
        "rows": 1000,
        "data": "made-up",
        "caveats": CAVEATS,
        "train_rows": 900,
        "validation_rows": 100,
        "test_rows": len(truth),
        "best_epoch": 3,
        "history": [asdict(epoch) for epoch in history],
        "evaluation": evaluation.to_dict(),
        "evaluated_on": "test",
        "label_names": names,
        "baseline": None,
        "evaluated_texts": chosen,
        "settings": {
            "features": {"kind": "words"},
            "network": {"dim": 64, "sentence_ends": False},
            "recipe": {"lr": 0.001, "patience": None},
        },
        "versions": {"python": "3.11.0", "token2wave": "0.1.0"},
        "machine": {"processor": "a processor", "threads": 2, "platform": "Linux", "device": "cpu"},
        "command": "token2wave train --data 'a & b.csv' --report out",
    }
    return Summary(**(values | changes))


def without_test_set(**changes: Any) -> Summary:
    """A run that was evaluated on held-out rows."""
    return a_summary(**({"test_rows": None, "evaluated_on": "held-out"} | changes))


def without_evaluation(**changes: Any) -> Summary:
    nothing = dict.fromkeys(("accuracy", "macro_f1", "test_rows", "evaluated_on", "evaluation"))
    return a_summary(**(nothing | {"evaluated_texts": ()} | changes))
