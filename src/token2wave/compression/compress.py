"""Writes smaller model files: rows that matter little are dropped, and numbers take fewer bits.

Rows are ranked by the energy that they bring to the training texts, ``df * |w|^2``: the number of texts with
the feature, times its squares. Words of the language prior that no text has come last. The remaining
rows may be retrained from scratch, to learn what the others knew; validation decides.
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
from token2wave.compression.encoder import prune_oov
from token2wave.config import accept_options, parse_size, require_choice
from token2wave.data import DataOptions, TextDataset, load_splits
from token2wave.data.datasets import possible_paths
from token2wave.distillation.targets import distillation_targets
from token2wave.errors import ConfigError, DataError, MissingExtraError
from token2wave.formatting import Described, count, percent, size
from token2wave.reporting.record import evaluation_record
from token2wave.storage.atomic import atomic_write, private_files
from token2wave.storage.model_file import write_model_file
from token2wave.storage.outputs import Outputs
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.examples import Examples
from token2wave.training.preparation import EncodedTexts, prepare
from token2wave.training.score_targets import scale_decisions

STORAGES = ("auto", "float32", "float16", "int8", "lzma")
TEACHER_UNKNOWN = "The model had a teacher, which is not available, so the rows learn from the labels alone"


@dataclass(frozen=True, repr=False)
class Compression(Described):
    """What :func:`compress` returns.

    Attributes:
        classifier: the compressed model, as the file holds it.
        summary: plain data: sizes and rows before and after, the storage, the fraction of validation texts
            for which both models decide the same, and figures of rows that chose nothing, if there are any.
    """

    classifier: Classifier
    summary: dict[str, Any]

    def _describe(self) -> tuple[str, dict[str, str]]:
        summary = self.summary
        sentence = f"{size(summary['bytes_before'])} before, {size(summary['bytes_after'])} after"
        texts = f"{percent(summary['agreement'])} of {count(summary['validation_rows'])} validation texts"
        rows = f"{count(summary['rows_before'])} before, {count(summary['rows_after'])} after"
        facts = {"same labels": texts, "rows": rows}
        if summary["accuracy_before"] is not None:
            accuracies = [percent(summary[f"accuracy_{when}"]) for when in ("before", "after")]
            facts["accuracy"] = " before, ".join(accuracies) + " after"
        return sentence, facts


@accept_options(
    data_options=DataOptions,
    leave_out=(
        *("weight_column", "group_column", "multi_label", "label_separator", "normalise_labels", "bad_rows"),
    ),
)
def compress(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    data: Any,
    test: Any = None,
    max_size: int | str | None = None,
    storage: str = "auto",
    retrain: bool = True,
    data_options: DataOptions,
    overwrite: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Compression:
    """Write a smaller model file.

    Args:
        model: the file of a trained model.
        out: the file to write.
        data: the model's training data, to rank, retrain and validate rows: a file, a folder, a name, or rows
            in memory, as for :func:`token2wave.train`.
        test: a test set, to measure the model before and after; by default that of the data, or else the rows
            that training held out to report on, if the model has not learned from them since.
        max_size: largest size of the file, in bytes or e.g. ``"1MB"``. Without it, no row is dropped.
        storage: ``float32``, ``float16``, ``int8`` (a scale for each row), or ``lzma`` (one step for all
            numbers, compressed by LZMA). ``auto`` is lzma with ``max_size``, else int8.
        retrain: whether the remaining rows may be retrained, if that is better on the validation texts. A
            model that was trained on all rows never is, as it has no such texts.
        data_options: the columns, and how files are written. You give its fields as keyword arguments.
            Where they are left open, it is as in training.
        overwrite: whether ``out`` may be the file of the model, or a file of another kind.
        callbacks: called as the work goes on.

    Raises:
        ConfigError: ``max_size`` cannot be reached, an option is illegal, or the model has a window level.
            Nothing is written then.
        ModelFileError: the model cannot be read.
        DataError: the data cannot be read, or has labels that the model does not know.
        OutputError: the file cannot be written, or something else would be lost.
    """
    start = time.perf_counter()
    require_choice(storage, "storage", STORAGES)
    limit = None if max_size is None else parse_size(max_size)
    if storage == "auto":
        storage = "int8" if limit is None else "lzma"
    old = load(model)
    old.require_no_windows("compress")
    recorded = (old.training.get(name) for name in ("teacher", "unlabelled"))
    outputs = Outputs([model, *possible_paths(data, test, *recorded)], overwrite=overwrite)
    outputs.check_file(out, "model file", replaceable=model)
    texts = _load_texts(old, data, test, data_options)
    compressor = Compressor(prune_oov(old, limit), texts, CallbackList.with_logging(callbacks))
    new = compressor.with_novelty(compressor.best(storage, limit, retrain).classifier, limit)
    n_bytes_before = Path(model).stat().st_size  # the same file may be written
    figures = _compare(old, new, texts, compressor.has_seen_validation)
    with private_files(outputs.is_private), atomic_write(Path(out)) as temporary:
        write_model_file(temporary, new.to_file())
        n_bytes = temporary.stat().st_size
        if limit is not None and n_bytes > limit:
            raise ConfigError(f"expected at most {limit:,} bytes, found {n_bytes:,}", location="max_size")
        written = load(temporary)
    summary = {
        "storage": storage,
        "retrained": new.training["compression"]["retrained"],
        "bytes_before": n_bytes_before,
        "bytes_after": n_bytes,
        "max_size": limit,
        "rows_before": old.features.n_rows,
        "rows_after": new.features.n_rows,
        "agreement": _agreement(old, written, texts.validation),
        "validation_rows": len(texts.validation),
        **figures,
        "caveats": compressor.caveats,
        "seconds": time.perf_counter() - start,
    }
    return Compression(written, summary)


def _compare(old: Classifier, new: Classifier, texts: EncodedTexts, has_seen_rows: bool) -> dict[str, Any]:
    """Measure both models on test texts, or on held-out rows that neither has learned from."""
    rows = texts.test if texts.test is not None or has_seen_rows else texts.held_out
    figures: dict[str, Any] = {"evaluated_on": None, "evaluated_rows": 0}
    if rows is not None:
        figures = {"evaluated_on": "held-out" if texts.test is None else "test", "evaluated_rows": len(rows)}
    for when, classifier in (("before", old), ("after", new)):
        scores = None
        if rows is not None:
            truth = rows.labels if rows.scores is None else rows.scores
            scores = classifier.evaluate(list(rows.texts), truth)
        figures[f"accuracy_{when}"] = None if scores is None else scores.accuracy
        if classifier.scale is not None:
            of_scores = None if scores is None else scores.scores
            figures[f"spearman_{when}"] = None if of_scores is None else of_scores.spearman
        if classifier.multi_label:
            figures[f"micro_f1_{when}"] = None if scores is None else scores.micro_f1
    new.training["evaluation"] = evaluation_record(scores, figures["evaluated_on"])
    return figures


def _agreement(old: Classifier, new: Classifier, examples: Examples) -> float:
    """Fraction of texts for which both models decide the same."""
    decisions = []
    for classifier in (old, new):
        logits = classifier.network.logits(examples.encode(classifier.features).features)
        decisions.append(classifier.decide(classifier.class_probabilities(logits)).reshape(len(logits), -1))
    return float((decisions[0] == decisions[1]).all(axis=1).mean())


def _load_texts(
    classifier: Classifier,
    data: Any,
    test: Any,
    options: DataOptions,
) -> EncodedTexts:
    """Load the training texts, and hold out the rows that were held out in training."""
    record = classifier.training
    options = replace(
        options.for_pairs(classifier.is_pairs),
        weight_column=_string(record, "weight_column"),
        group_column=_string(record, "group_column"),
        multi_label=classifier.multi_label,
        label_separator=_string(record, "label_separator") if classifier.multi_label else None,
        delimiter=options.delimiter or _string(record, "delimiter"),
        encoding=options.encoding or _string(record, "encoding"),
        header=options.header if options.header is not None else record.get("header"),
        quoting=_string(record, "quoting") or "auto" if options.quoting == "auto" else options.quoting,
        normalise_labels=bool(record.get("normalise_labels")),
    )
    try:
        splits = load_splits(data, options, test=test, as_numbers=classifier.scale is not None)
    except DataError:
        if options.weight_column is None and options.group_column is None:
            raise
        options = replace(options, weight_column=None, group_column=None)  # other rows may lack these
        splits = load_splits(data, options, test=test, as_numbers=classifier.scale is not None)
    class_weights, evaluation = record.get("class_weights"), record.get("evaluation")
    if classifier.scale is None:
        test_split = splits.test and splits.test.for_classes(classifier.label_names)
        splits = replace(splits, label_names=classifier.label_names, test=test_split)
    else:
        splits = scale_decisions(splits, classifier.scale)
    texts = prepare(
        splits,
        recipe_of(record),
        seed_of(record),
        class_weights if isinstance(class_weights, str | dict) else None,
        holds_out=isinstance(evaluation, dict) and evaluation.get("evaluated_on") == "held-out",
    )
    texts = _add_teacher_targets(texts, splits, record)
    if record.get("rows") not in (None, len(splits.train)):
        caveat = f"The model was trained on {record['rows']} rows, and {splits.name} has {len(splits.train)}."
        texts = replace(texts, caveats=(*texts.caveats, caveat))
    return texts


def _add_teacher_targets(texts: EncodedTexts, splits: TextDataset, record: dict[str, Any]) -> EncodedTexts:
    """Add the teacher's cached probabilities to the training texts, if the model had a teacher."""
    teacher, unlabelled = _string(record, "teacher"), _string(record, "unlabelled")
    if teacher is None:
        return texts
    try:
        return distillation_targets(teacher, unlabelled, texts, splits, recipe_of(record), cached_only=True)[
            0
        ]
    except (ConfigError, DataError, MissingExtraError) as error:
        return replace(texts, caveats=(*texts.caveats, f"{TEACHER_UNKNOWN} ({error})."))


def _string(record: dict[str, Any], key: str) -> str | None:
    value = record.get(key)
    return value if isinstance(value, str) else None
