"""A trained model as a small file: rows that matter little go, numbers get fewer bits.

Rows are dropped by the energy that they bring to the training texts, ``df * |w|^2``: the number of texts with
the feature, times its squares. The rows that stay may then learn what the others did, by training again from
scratch; validation decides between the two.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from token2wave.classifier import Classifier, load
from token2wave.compression.compressor import Compressor, recipe_of, seed_of
from token2wave.config import parse_size, require_choice
from token2wave.data import DataOptions, TextDataset, load_splits
from token2wave.errors import ConfigError, DataError, MissingExtraError
from token2wave.storage.atomic import atomic_write, check_writable
from token2wave.storage.model_file import write_model_file
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.preparation import ClassWeights, EncodedTexts, prepare
from token2wave.training.validation import validate

STORAGES = ("auto", "float32", "float16", "int8", "lzma")
TEACHER_UNKNOWN = "The model had a teacher, and what it said is not at hand: labels alone are learnt from"
CURE = "name the training data with --data"


@dataclass(frozen=True)
class Compression:
    """What :func:`compress` gives.

    Attributes:
        classifier: the compressed model, as the file holds it.
        summary: plain data: sizes, rows and validation accuracies before and after, and how it was done.
    """

    classifier: Classifier
    summary: dict[str, Any]


def compress(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    max_size: int | str | None = None,
    storage: str = "auto",
    retrain: bool = True,
    text_column: str = "text",
    label_column: str = "label",
    callbacks: Sequence[Callback] = (),
) -> Compression:
    """Write a smaller model file.

    Args:
        model: the file of a trained model.
        out: where the small file goes.
        data: training data to rank rows, retrain and validate by; the data that the model was trained on,
            if None. Its test split is not looked at.
        max_size: most bytes of the file, a number or e.g. ``"1MB"``; if None, no row is dropped.
        storage: ``float32``, ``float16``, ``int8`` (a scale for each row), ``lzma`` (one step for all
            numbers, then LZMA); ``auto`` is lzma with ``max_size``, else int8.
        retrain: whether the rows that stay may be trained again, where that is better on validation texts; a
            model that was trained on all rows never is, as there are no such texts.
        text_column: column of the texts, in files with columns.
        label_column: column of the labels, in files with columns.
        callbacks: called as the work goes on.

    Raises:
        ConfigError: ``max_size`` cannot be reached, or a setting is illegal. Nothing is written then.
        ModelFileError: the model cannot be read.
        DataError: the data cannot be read, or has labels that the model does not know.
        OutputError: the file cannot be written.
    """
    start = time.perf_counter()
    require_choice(storage, "storage", STORAGES)
    limit = None if max_size is None else parse_size(max_size)
    if storage == "auto":
        storage = "int8" if limit is None else "lzma"
    check_writable(Path(out))
    callback_list = CallbackList(callbacks)
    classifier = load(model)
    work = Compressor(classifier, _texts(classifier, data, text_column, label_column), callback_list)
    before = validate(classifier.network, work.validation)
    small, found = work.best(storage, limit, retrain)
    small = work.with_novelty(small, limit)
    summary = {
        "storage": storage,
        "retrained": small.training["compression"]["retrained"],
        "bytes_before": Path(model).stat().st_size,
        "bytes_after": None,
        "max_size": limit,
        "rows_before": classifier.features.n_rows,
        "rows_after": small.features.n_rows,
        "accuracy_before": before[1],
        "accuracy_after": found.accuracy,
        "loss_before": before[0],
        "loss_after": found.loss,
        "validation_rows": len(work.texts.validation),
        "caveats": work.caveats,
        "seconds": None,
    }
    with atomic_write(Path(out)) as aside:
        write_model_file(aside, small.to_file())
        size = aside.stat().st_size
        if limit is not None and size > limit:
            raise ConfigError(f"expected at most {limit:,} bytes, found {size:,}", location="max_size")
        written = load(aside)  # what counts is what the file says
        again = validate(written.network, work.texts.validation.encode(written.features))
        summary |= {"bytes_after": size, "accuracy_after": again[1], "loss_after": again[0]}
        if classifier.multi_label:
            summary |= {"micro_f1_before": before.micro_f1, "micro_f1_after": again.micro_f1}
    summary["seconds"] = time.perf_counter() - start
    return Compression(written, summary)


def _texts(
    classifier: Classifier, data: str | os.PathLike[str] | None, text_column: str, label_column: str
) -> EncodedTexts:
    """The training texts, with the rows held back that were held back in training."""
    record = classifier.training
    named = record.get("data") if data is None else data
    if not isinstance(named, str | os.PathLike):
        raise ConfigError("the model does not say what it was trained on", location="data", hint=CURE)
    try:
        options = DataOptions(
            text_column=text_column,
            label_column=label_column,
            weight_column=_text_or_none(record, "weight_column") if data is None else None,
            multi_label=classifier.multi_label,
            label_separator=_text_or_none(record, "label_separator") if classifier.multi_label else None,
        )
        splits = load_splits(named, options)
    except DataError as error:
        if data is not None:
            raise
        # The record has no more than a name: that of a file lacks folder and suffix.
        raise DataError(
            f"what the model was trained on cannot be read: {error.problem}",
            location=error.location,
            hint=CURE,
        ) from error
    texts = prepare(
        replace(splits, label_names=classifier.label_names, test=None),
        recipe_of(record),
        seed_of(record),
        _class_weights(record),
    )
    texts = _add_teacher_targets(texts, splits, record)
    if record.get("rows") not in (None, len(splits.train)):
        caveat = f"The model was trained on {record['rows']} rows, and {splits.name} has {len(splits.train)}."
        texts = replace(texts, caveats=(*texts.caveats, caveat))
    return texts


def _add_teacher_targets(texts: EncodedTexts, splits: TextDataset, record: dict[str, Any]) -> EncodedTexts:
    """Add the teacher's cached probabilities to the training texts, if the model had a teacher."""
    teacher = _text_or_none(record, "teacher")
    if teacher is None:
        return texts
    from token2wave.distillation.targets import distillation_targets  # here, since most models had no teacher

    try:
        unlabelled = _text_or_none(record, "unlabelled")
        return distillation_targets(teacher, unlabelled, texts, splits, recipe_of(record), cached_only=True)[
            0
        ]
    except (ConfigError, DataError, MissingExtraError) as error:
        return replace(texts, caveats=(*texts.caveats, f"{TEACHER_UNKNOWN} ({error})."))


def _class_weights(record: dict[str, Any]) -> ClassWeights:
    """The weights of the classes in a model's training."""
    wish = record.get("class_weights")
    return wish if isinstance(wish, str | dict) else None


def _text_or_none(record: dict[str, Any], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) else None
