"""From data to a trained, evaluated, saved classifier."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from token2wave.classifier import Classifier
from token2wave.data import DataSplits, encode_labels, label_names_of, load_splits, validation_split
from token2wave.errors import ConfigError, DataError
from token2wave.features import Features, WordPieceConfig, fit_features
from token2wave.models import WaveNetwork
from token2wave.presets import Preset, preset_named
from token2wave.runtime.files import check_writable, make_folder
from token2wave.training.baseline import train_baseline
from token2wave.training.loop import Callback, Examples, Teller, fit
from token2wave.training.recipe import Recipe
from token2wave.training.report import write_report
from token2wave.training.summary import Baseline, Summary, machine, process_peak_memory, versions

VOCABULARY = "bert-base-uncased"  # folder of the data folder where the papers' vocabulary is looked for


@dataclass(frozen=True)
class TrainingResult:
    """What :func:`train` gives.

    Attributes:
        classifier: the trained model, with the weights of the best epoch.
        summary: all figures of the run.
    """

    classifier: Classifier
    summary: Summary


def train(
    data: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    test: str | os.PathLike[str] | None = None,
    preset: str = "small",
    op: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    device: str = "auto",
    text_column: str = "text",
    label_column: str = "label",
    vocabulary: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    baseline: bool = False,
    report: str | os.PathLike[str] | None = None,
    callbacks: Sequence[Callback] = (),
    command: str | None = None,
) -> TrainingResult:
    """Train a text classifier.

    Args:
        data: a file, a folder with train and test files, or the name of a data set
            (:func:`token2wave.data.load_splits`).
        out: where the model file goes; nowhere, if not given.
        test: data to evaluate on at the end, where ``data`` has none of its own, or instead of it.
        preset: ``small``, ``fast`` or ``paper``.
        op: ``interference`` or ``modulation``; the preset's, if not given.
        epochs: passes over the training texts.
        batch_size: texts in a step.
        learning_rate: peak rate of the dense part; the rows' rate changes in proportion.
        seed: of validation split, initial weights, order of texts and dropout.
        device: ``auto`` (CUDA where there is one), ``cpu`` or ``cuda``.
        text_column: column of the texts, in files with columns.
        label_column: column of the labels, in files with columns.
        vocabulary: a WordPiece ``vocab.txt`` for the ``paper`` preset. If not given, that of
            ``bert-base-uncased`` in the folder that ``TOKEN2WAVE_DATA`` names is used, and where there is
            none, one is trained on the texts.
        settings: further settings by full name, e.g. ``{"network.width": 256}``.
        baseline: also train TF-IDF + LinearSVC on the same rows, for comparison.
        report: folder for ``report.json``, ``report.html`` and the figures.
        callbacks: told how it goes.
        command: what the user typed, for the record.

    Raises:
        DataError: data that cannot be read or used.
        ConfigError: an illegal setting.
        OutputError: ``out`` or ``report`` cannot be written to; found out before training starts.
        MissingExtraError: an optional package is needed and not installed.
    """
    start = time.perf_counter()
    chosen = _changed(preset_named(preset), op, epochs, batch_size, learning_rate, settings or {})
    torch_device = _device(device)
    if seed < 0:
        raise ConfigError(f"expected 0 or more, found {seed}", where="seed")
    if out is not None:
        check_writable(Path(out))
    if report is not None:
        make_folder(Path(report))
    splits = load_splits(data, test=test, text_column=text_column, label_column=label_column)
    texts = _prepare(splits, chosen.recipe, seed)
    if baseline and texts.test is None:
        raise DataError("a baseline needs a test set", where=splits.name, cure="name one with --test")

    tell = Teller(callbacks)
    features = _fit_features(texts.train.texts, chosen, vocabulary)
    train_examples = _featurise(features, texts.train, tell, "features of the training texts")
    validation_examples = _featurise(features, texts.validation, tell, "features of the validation texts")
    network = _network(chosen, features, len(texts.label_names), seed).to(torch_device)
    history = fit(
        network,
        train_examples,
        validation_examples,
        chosen.recipe,
        seed=seed,
        device=torch_device,
        has_cls=not chosen.features_lack_cls,
        callbacks=callbacks,
    )
    assert history.best is not None
    classifier = Classifier(
        features,
        network,
        texts.label_names,
        training={
            "data": splits.name,
            "rows": len(splits.train),
            "preset": chosen.name,
            "seed": seed,
            "recipe": chosen.recipe.to_dict(),
            "history": [asdict(epoch) for epoch in history.epochs],
            "best_epoch": history.best.epoch,
            "validation_accuracy": history.best.validation_accuracy,
        },
    )
    held_out = texts.validation if texts.test is None else texts.test
    tell.stage("evaluation", len(held_out.texts))
    evaluation = classifier.evaluate(held_out.texts, held_out.labels, tell.advance)
    rival = _baseline(texts, splits, tell) if baseline else None
    model_bytes = classifier.save(out) if out is not None else None
    parameters = network.parameter_count()
    tested = texts.test is not None
    summary = Summary(
        accuracy=evaluation.accuracy if tested else None,
        macro_f1=evaluation.macro_f1 if tested else None,
        validation_accuracy=history.best.validation_accuracy,
        train_seconds=history.train_seconds,
        total_seconds=time.perf_counter() - start,
        texts_per_second=history.texts_per_second,
        peak_memory_bytes=_peak_memory(torch_device),
        parameters=parameters.total,
        parameters_without_embedding=parameters.without_embedding,
        model_bytes=model_bytes,
        preset=chosen.name,
        op=network.config.operation,
        epochs=chosen.recipe.epochs,
        seed=seed,
        rows=len(splits.train),
        data=splits.name,
        caveats=texts.caveats,
        train_rows=len(texts.train.texts),
        validation_rows=len(texts.validation.texts),
        test_rows=len(texts.test.texts) if texts.test is not None else None,
        best_epoch=history.best.epoch,
        history=tuple(history.epochs),
        evaluation=evaluation,
        evaluated_on="test" if tested else "validation",
        label_names=texts.label_names,
        baseline=rival,
        settings={
            "features": {"kind": features.kind, **features.config.to_dict()},
            "network": network.config.to_dict(),
            "recipe": chosen.recipe.to_dict(),
        },
        versions=versions(),
        machine=machine(torch.get_num_threads(), torch_device.type),
        command=command,
    )
    if report is not None:
        write_report(summary, Path(report))
    return TrainingResult(classifier, summary)


@dataclass(frozen=True)
class _Labelled:
    texts: Sequence[str]
    labels: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> _Labelled:
        return _Labelled([self.texts[i] for i in rows], self.labels[rows])


@dataclass(frozen=True)
class _Texts:
    """Texts and classes of each part of a run."""

    train: _Labelled
    validation: _Labelled
    test: _Labelled | None
    label_names: tuple[str, ...]
    caveats: tuple[str, ...]


def _prepare(splits: DataSplits, recipe: Recipe, seed: int) -> _Texts:
    """Encode the labels, and hold back validation rows where none are given."""
    names = label_names_of(splits.train, splits.label_names)
    train = _Labelled(splits.train.texts, encode_labels(splits.train, names))
    test = None
    if splits.test is not None:
        test = _Labelled(splits.test.texts, encode_labels(splits.test, names))
    caveats = splits.caveats
    if splits.validation is not None:
        validation = _Labelled(splits.validation.texts, encode_labels(splits.validation, names))
    else:
        kept, held_back = validation_split(train.labels, recipe.validation_fraction, seed)
        if len(held_back):
            train, validation = train.take(kept), train.take(held_back)
        else:
            validation = train
            caveats = (
                *caveats,
                "Too few rows to hold any back: validation figures are of the training rows.",
            )
    return _Texts(train, validation, test, names, caveats)


def _changed(
    preset: Preset,
    op: str | None,
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    settings: Mapping[str, Any],
) -> Preset:
    """Apply the caller's wishes to a preset."""
    wishes: dict[str, Any] = {}
    if op is not None:
        wishes["network.operation"] = op
    if epochs is not None:
        wishes["recipe.epochs"] = epochs
    if batch_size is not None:
        wishes["recipe.batch_size"] = batch_size
    if learning_rate is not None:
        recipe = preset.recipe
        wishes["recipe.learning_rate"] = learning_rate
        wishes["recipe.row_learning_rate"] = recipe.row_learning_rate * learning_rate / recipe.learning_rate
    return preset.with_settings({**wishes, **settings})


def _device(name: str) -> torch.device:
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"expected auto, cpu or cuda, found {name!r}", where="device")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device can be used here", where="device", cure="choose cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _fit_features(
    texts: Sequence[str], preset: Preset, vocabulary: str | os.PathLike[str] | None
) -> Features:
    wordpiece = isinstance(preset.features, WordPieceConfig)
    if vocabulary is not None and not wordpiece:
        raise ConfigError(
            f"preset {preset.name!r} uses words and takes no vocabulary",
            where="vocabulary",
            cure="leave it out, or choose preset 'paper'",
        )
    folder = os.environ.get("TOKEN2WAVE_DATA")
    if vocabulary is None and wordpiece and folder:
        known = Path(folder, VOCABULARY, "vocab.txt")
        vocabulary = known if known.is_file() else None
    return fit_features(texts, preset.features, None if vocabulary is None else Path(vocabulary))


def _featurise(features: Features, texts: _Labelled, tell: Teller, stage: str) -> Examples:
    tell.stage(stage, len(texts.texts))
    return Examples(features(texts.texts, tell.advance), texts.labels)


def _network(preset: Preset, features: Features, n_classes: int, seed: int) -> WaveNetwork:
    """Network with initial weights that depend on the seed alone."""
    config = preset.network_config(features.n_rows, n_classes, features.sentence_ends)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return WaveNetwork(config)


def _baseline(texts: _Texts, splits: DataSplits, tell: Teller) -> Baseline | None:
    """Train the baseline on all training rows, those included that were held back for validation."""
    if texts.test is None:
        return None
    tell.stage("baseline", 0)
    labels = encode_labels(splits.train, texts.label_names)
    return train_baseline(splits.train.texts, labels, texts.test.texts, texts.test.labels, texts.label_names)


def _peak_memory(device: torch.device) -> int | None:
    """Most memory in use so far, in bytes: of the GPU if one computes, else of this process."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else process_peak_memory()
