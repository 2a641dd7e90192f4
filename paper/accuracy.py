"""The papers' accuracy comparison: their systems under their protocol, beside everyday ones."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from paper.result_store import Result, ResultStore
from paper.study import StudyData
from paper.systems import System, encoder_system, train_system, transformer_system, wave_system
from token2wave.data import TextDataset, TextSplit
from token2wave.models.encoder_sources import MINILM
from token2wave.pipeline import train
from token2wave.training.baseline import NAME as TFIDF
from token2wave.training.baseline import train_baseline
from token2wave.training.presets import preset_named
from token2wave.training.validation import validate

EVERYDAY = {"tfidf": TFIDF, "fast": "token2wave, preset fast"}
"""Everyday systems by key."""
OPERATIONS = ("interference", "modulation")


def accuracy_systems(encoder_epochs: int = 1) -> dict[str, System]:
    """The systems of the papers' tables by key; ``-bare`` ones train with only what the papers state."""
    named = [
        *map(wave_system, OPERATIONS),
        transformer_system(MINILM),
        transformer_system(None),
        encoder_system(MINILM, encoder_epochs, readout="mean"),  # as in its pretraining
    ]
    bare = [wave_system(operation, bare=True) for operation in OPERATIONS]
    return {system.key: system for system in named} | {f"{system.key}-bare": system for system in bare}


def measure_accuracy(store: ResultStore, data: StudyData, system: System, key: str, seed: int) -> Result:
    """Train a system and test the weights of its best epoch by validation.

    Accuracies are those of the tested weights without dropout, or None for an encoder's training texts; in
    ``history``, training accuracy is counted during training.
    """

    def compute() -> Result:
        encoded = system.encode(data)
        trained = train_system(store, system, encoded, seed)
        parameters = trained.network.parameter_count()
        skipped = system.kind == "encoder"  # it takes half as long as training
        return {
            "test_accuracy": trained.best["test_accuracy"],
            "validation_accuracy": trained.best["validation_accuracy"],
            "train_accuracy": None if skipped else validate(trained.network, encoded.train)[1],
            "best_epoch": trained.best["epoch"],
            "history": trained.history,
            "parameters": parameters.total,
            "parameters_without_embedding": parameters.without_embedding,
        }

    settings = {"system": system.settings(), "data": data.settings, "seed": seed}
    stage = f"{system.title}, {data.name}, seed {seed}"
    return store.compute(f"accuracy/{data.name}/{key}-{seed}", settings, compute, stage)


def measure_everyday(store: ResultStore, data: StudyData, key: str) -> Result:
    """``test_accuracy`` of an everyday system of :data:`EVERYDAY`, trained on validation rows, too."""
    splits, test = data.texts, data.texts.test
    assert test is not None
    names = splits.label_names
    texts = [*splits.train.texts, *splits.validation.texts]
    labels = np.concatenate([splits.train.labels, splits.validation.labels])

    def split(texts: Sequence[str], labels: Any, source: str) -> TextSplit:
        return TextSplit(list(texts), [names[label] for label in labels.tolist()], source)

    def compute() -> Result:
        if key == "tfidf":
            accuracy = train_baseline(texts, labels, test.texts, test.labels, names)["accuracy"]
            return {"test_accuracy": accuracy}
        train_rows, test_rows = split(texts, labels, "training"), split(test.texts, test.labels, "test")
        dataset = TextDataset(data.name, train_rows, None, test_rows, names, splits.caveats)
        return {"test_accuracy": train(dataset, preset="fast").summary.accuracy}

    settings = {"data": data.settings, "system": key, "seed": 0}
    if key == "fast":  # another preset is measured again
        settings["preset"] = asdict(preset_named("fast"))
    return store.compute(f"everyday/{data.name}/{key}", settings, compute, f"{EVERYDAY[key]}, {data.name}")


def mean_and_deviation(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation (None for a single value), and number of values."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "deviation": deviation, "n": len(values)}
