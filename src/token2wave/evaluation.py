"""Evaluates a trained classifier on labelled data."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from token2wave.classifier import Classifier
from token2wave.config import accept_options
from token2wave.data import encode_label_sets, encode_labels, load_split
from token2wave.data.bad_rows import check_bad_rows, write_bad_rows
from token2wave.data.datasets import possible_paths
from token2wave.data.sources import is_name
from token2wave.formatting import Described, join_classes, percent
from token2wave.metrics import Evaluation
from token2wave.options import DataOptions
from token2wave.process_memory import peak_memory
from token2wave.reporting.summary import evaluation_headline
from token2wave.storage.outputs import Outputs
from token2wave.training.callbacks import Callback, CallbackList

FAMILIAR = 0.25
"""Texts of a lower mean novelty may be training texts; validation texts have 0.5."""


@dataclass(frozen=True, repr=False)
class EvaluationResult(Described):
    """What :func:`evaluate` returns.

    Attributes:
        evaluation: accuracy, F1, scores of each class, confusion matrix.
        figures: plain data, which the command line prints as JSON. Some come from the model's record.
    """

    evaluation: Evaluation
    figures: dict[str, Any]

    @property
    def accuracy(self) -> float:
        """Fraction of texts whose label is right; if there may be several, whose labels are all right."""
        return self.evaluation.accuracy

    @property
    def headline(self) -> str:
        """A sentence that says how many texts were right, and what the most frequent class would give."""
        evaluation, majority = self.evaluation, None
        if evaluation.micro_f1 is None and evaluation.rows:
            majority = max(score.support for score in evaluation.classes) / evaluation.rows
        return evaluation_headline(evaluation.to_dict(), None, majority)

    def _describe(self) -> tuple[str, dict[str, str]]:
        facts = {"classes": join_classes([score.label for score in self.evaluation.classes])}
        facts["macro-F1"] = percent(self.evaluation.macro_f1)
        facts |= {"note" if i == 0 else f"note {i + 1}": n for i, n in enumerate(self.figures["caveats"])}
        return self.headline, facts


@accept_options(data_options=DataOptions, leave_out=("weight_column", "group_column", "multi_label"))
def evaluate(
    classifier: Classifier,
    data: Any,
    labels: Any = None,
    *,
    split: str = "test",
    data_options: DataOptions,
    callbacks: Sequence[Callback] = (),
) -> EvaluationResult:
    """Evaluate a classifier.

    Args:
        classifier: the model.
        data: a file, a folder, a name, or rows in memory, as for :func:`token2wave.train`.
        labels: the true label, or labels, of each text, if ``data`` is texts.
        split: ``train``, ``validation`` or ``test``; a single file is all of it.
        data_options: how to read the data (:class:`token2wave.DataOptions`). You give its fields as keyword
            arguments. The default label separator is that of training.
        callbacks: called as the work goes on.

    Raises:
        DataError: the data cannot be read, or the model knows none of its labels. If it knows some, the other
            rows count as wrong, and the caveats say so.
    """
    start = time.perf_counter()
    record, multi_label = classifier.training, classifier.multi_label
    separator = data_options.label_separator
    if separator is None and multi_label and isinstance(recorded := record.get("label_separator"), str):
        separator = recorded
    data_options = replace(
        data_options,
        multi_label=multi_label,
        label_separator=separator,
        normalise_labels=data_options.normalise_labels or bool(record.get("normalise_labels")),
    )
    outputs = Outputs(possible_paths(data))
    check_bad_rows(data_options, outputs)
    dataset = load_split(data, split, data_options, labels=labels)
    write_bad_rows(data_options, dataset.bad_rows, outputs)
    dataset = dataset.rename_labels(classifier.label_names, data_options.normalise_labels)
    dataset = dataset.for_classes(classifier.label_names)
    classes = (encode_label_sets if multi_label else encode_labels)(dataset, classifier.label_names)
    callback_list = CallbackList.with_logging(callbacks)
    callback_list.stage("evaluation", len(dataset))
    predicting = time.perf_counter()
    result = classifier.evaluate(dataset.texts, classes, callback_list.advance)
    seconds = time.perf_counter() - predicting
    novelty = classifier.novelty(dataset.texts)
    n_unknown = len(dataset) - int(classifier.known(dataset.texts).sum())
    caveats = [*dataset.notes, *dataset.unknown_label_notes()]
    if n_unknown:
        texts = f"{n_unknown:,} of {len(dataset):,} texts"
        caveats.append(f"The model knows no word of {texts}, so their predictions rest on nothing.")
    if novelty is not None and len(novelty) and novelty.mean() < FAMILIAR:
        caveats.append(
            "These texts are much like those of training. If the model has learned from them, their figures "
            "flatter it."
        )
    parameters = classifier.network.parameter_count()
    figures = {
        "accuracy": result.accuracy,
        "macro_f1": result.macro_f1,
        **({"micro_f1": result.micro_f1} if multi_label else {}),
        "mean_novelty": None if novelty is None or not len(novelty) else float(novelty.mean()),
        "interval": result.interval,
        "train_seconds": None,
        "total_seconds": time.perf_counter() - start,
        "texts_per_second": len(dataset) / seconds,
        "peak_memory_bytes": peak_memory(),
        "parameters": parameters.total,
        "parameters_without_embedding": parameters.without_embedding,
        "model_bytes": None,
        "preset": record.get("preset"),
        "operation": classifier.network.config.operation,
        "epochs": recipe.get("epochs") if isinstance(recipe := record.get("recipe"), dict) else None,
        "seed": record.get("seed"),
        "rows": len(dataset),
        "data": os.fspath(data) if is_name(data) else dataset.source,
        "split": split,
        "unknown_texts": n_unknown,
        "caveats": caveats,
        "evaluation": result.to_dict(),
    }
    return EvaluationResult(result, figures)
