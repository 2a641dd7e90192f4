"""The papers' accuracy comparison: their systems under their protocol, and what users would try first."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from paper.result_store import Result, ResultStore
from paper.study_data import StudyData
from paper.systems import System, encoder_system, train_system, transformer_system, wave_system
from token2wave.data import TextDataset, TextSplit
from token2wave.models.encoder_sources import MINILM
from token2wave.pipeline import train
from token2wave.training.baseline import NAME as TFIDF
from token2wave.training.baseline import train_baseline
from token2wave.training.validation import validate

EVERYDAY = {"tfidf": TFIDF, "fast": "token2wave, preset fast"}
"""What a user would try first, by key."""


def accuracy_systems(encoder_epochs: int = 1) -> dict[str, System]:
    """The systems of the papers' tables by key, and waves without what the papers do not state."""
    named = [
        *(wave_system(operation) for operation in ("interference", "modulation")),
        transformer_system(MINILM),
        transformer_system(None),
        encoder_system(MINILM, encoder_epochs, readout="mean"),  # as it was pre-trained
    ]
    bare = [wave_system(operation, bare=True) for operation in ("interference", "modulation")]
    return {system.key: system for system in named} | {f"{system.key}-bare": system for system in bare}


def measure_accuracy(store: ResultStore, data: StudyData, system: System, key: str, seed: int) -> Result:
    """Train a system with a seed; accuracy on training, validation and test texts.

    Returns:
        ``test_accuracy``, ``validation_accuracy`` and ``train_accuracy`` of the weights of the best epoch by
        validation, without dropout (on training
        texts None for an encoder); ``best_epoch``; ``history``, an entry an epoch, with ``train_accuracy``
        as counted while the weights moved, and ``test_accuracy``, by which nothing is chosen; the numbers of
        parameters.

    Raises:
        MissingExtraError: a checkpoint's package is not installed.
    """

    def compute() -> Result:
        store.callback_list.stage(f"{system.title}, {data.name}, seed {seed}", 0)
        cut = system.data(data)
        trained = train_system(
            system, cut, seed, device=store.device, callbacks=store.callbacks, test_every_epoch=True
        )
        epochs, best = trained.history.epochs, trained.history.best
        assert best is not None
        parameters = trained.network.parameter_count()
        tested = trained.test_accuracy
        skipped = system.kind == "encoder"  # it would take half as long as training
        return {
            "test_accuracy": tested[best.epoch - 1],
            "validation_accuracy": best.validation_accuracy,
            "train_accuracy": None if skipped else validate(trained.network, cut.train)[1],
            "best_epoch": best.epoch,
            "history": [
                {**asdict(epoch), "test_accuracy": test} for epoch, test in zip(epochs, tested, strict=True)
            ],
            "parameters": parameters.total,
            "parameters_without_embedding": parameters.without_embedding,
        }

    settings = {"system": system.settings(), "data": data.settings, "seed": seed}
    return store.compute(f"accuracy/{data.name}/{key}-{seed}", settings, compute)


def measure_everyday(store: ResultStore, data: StudyData, key: str) -> Result:
    """What a user would try first, on the same rows as the papers' systems; these learn from all of them.

    Args:
        store: keeps the result.
        data: the rows.
        key: of :data:`EVERYDAY`. Preset ``fast`` keeps a tenth of the rows for choosing its epoch.

    Returns:
        ``test_accuracy``.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    texts, test = data.texts, data.texts.test
    assert test is not None
    names = texts.label_names
    all_texts = [*texts.train.texts, *texts.validation.texts]
    all_labels = [*texts.train.labels.tolist(), *texts.validation.labels.tolist()]

    def compute() -> Result:
        store.callback_list.stage(f"{EVERYDAY[key]}, {data.name}", 0)
        if key == "tfidf":
            labels = np.array(all_labels)
            scores = train_baseline(all_texts, labels, test.texts, test.labels, names)
            return {"test_accuracy": scores["accuracy"]}
        splits = TextDataset(
            data.name,
            _labelled(all_texts, all_labels, names, "training rows"),
            None,
            _labelled(test.texts, test.labels.tolist(), names, "test rows"),
            names,
            texts.caveats,
        )
        return {"test_accuracy": train(splits, preset="fast").summary.accuracy}

    settings = {"data": data.settings, "system": key, "seed": 0}
    return store.compute(f"accuracy/{data.name}/{key}", settings, compute)


def _labelled(texts: Sequence[str], labels: Sequence[int], names: Sequence[str], source: str) -> TextSplit:
    return TextSplit(list(texts), [names[label] for label in labels], source)


def mean_and_deviation(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sample standard deviation (None for a single value), and number of values."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "deviation": deviation, "n": len(values)}
