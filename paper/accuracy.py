"""The papers' accuracy comparison: their systems under their protocol, beside everyday ones."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from paper.result_store import Result, ResultStore
from paper.statistics import pack_answers
from paper.study import StudyData
from paper.systems import (
    System,
    encoder_system,
    literal_system,
    train_system,
    transformer_system,
    wave_system,
)
from token2wave.data import TextDataset, TextSplit
from token2wave.models.encoder_sources import MINILM
from token2wave.pipeline import train
from token2wave.training.baseline import NAME as TFIDF
from token2wave.training.baseline import train_predictor
from token2wave.training.examples import Examples
from token2wave.training.presets import preset_named
from token2wave.training.validation import validate

EVERYDAY = {"tfidf": TFIDF, "fast": "token2wave, preset fast"}
"""Everyday systems by key."""
OPERATIONS = ("interference", "modulation")


def accuracy_systems(encoder_epochs: int = 1) -> dict[str, System]:
    """The systems of the papers' tables by key.

    ``-literal`` ones have what the papers state and nothing else, ``-unregularised`` ones the preset's
    optimisers and choice of epoch without dropout, weight decay and decay of the rate.
    """
    named = [
        *map(wave_system, OPERATIONS),
        *map(literal_system, OPERATIONS),
        transformer_system(MINILM),
        transformer_system(None),
        encoder_system(MINILM, encoder_epochs, readout="mean"),  # as in its pretraining
    ]
    systems = {system.key: system for system in named}
    for operation in OPERATIONS:
        systems[f"wave-{operation}-unregularised"] = wave_system(operation, unregularised=True)
    systems["transformer-pretrained-unregularised"] = transformer_system(MINILM, unregularised=True)
    systems["transformer-random-unregularised"] = transformer_system(None, unregularised=True)
    return systems


def measure_accuracy(store: ResultStore, data: StudyData, system: System, key: str, seed: int) -> Result:
    """Train a system and test the weights of its best epoch by validation, or of its last one if literal.

    Accuracies are those of the tested weights without dropout, or None for an encoder's training texts; in
    ``history``, training accuracy is counted during training.
    """

    def compute() -> Result:
        encoded = system.encode(data)
        trained = train_system(store, system, encoded, seed)
        parameters = trained.network.parameter_count()
        skipped = system.kind == "encoder"  # it takes half as long as training
        right = trained.network.logits(encoded.test.features).argmax(axis=1) == encoded.test.labels
        return {
            "test_accuracy": float(right.mean()),
            "right": pack_answers(right),
            "validation_accuracy": trained.best["validation_accuracy"],
            "train_accuracy": None if skipped else validate(trained.network, encoded.train)[1],
            "best_epoch": trained.best["epoch"],
            "history": trained.history,
            "parameters": parameters.total,
            "parameters_without_embedding": parameters.without_embedding,
        }

    settings = {"system": system.settings(), "data": data.settings, "seed": seed}
    stage = f"{system.title}, {data.name}, seed {seed}"
    return store.compute(accuracy_name(data, key, seed), settings, compute, stage)


def accuracy_name(data: StudyData, key: str, seed: int) -> str:
    """Name of a result of :func:`measure_accuracy` in the store."""
    return f"accuracy/{data.name}/{key}-{seed}"


def measure_everyday(store: ResultStore, data: StudyData, key: str) -> Result:
    """``test_accuracy`` and ``right`` of an everyday system of :data:`EVERYDAY`, trained on the same rows."""
    splits, test = data.texts, data.texts.test
    assert test is not None
    names = splits.label_names

    def split(rows: Examples, source: str) -> TextSplit:
        return TextSplit(list(rows.texts), [names[label] for label in rows.labels.tolist()], source)

    def compute() -> Result:
        if key == "tfidf":
            right = train_predictor(splits.train)(test.texts) == test.labels
        else:
            training = split(splits.train, "training")
            dataset = TextDataset(data.name, training, None, None, names, splits.caveats)
            model = train(dataset, preset="fast").classifier
            right = np.array(model.labels(list(test.texts))) == np.array(names)[test.labels]
        return {"test_accuracy": float(right.mean()), "right": pack_answers(right)}

    settings = {"data": data.settings, "system": key, "seed": 0}
    if key == "fast":  # another preset is measured again
        settings["preset"] = asdict(preset_named("fast"))
    return store.compute(f"everyday/{data.name}/{key}", settings, compute, f"{EVERYDAY[key]}, {data.name}")


def mean_and_deviation(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation (None for a single value), and number of values."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "deviation": deviation, "n": len(values)}
