"""Evaluates a trained classifier on labelled data."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.classifier import Classifier
from token2wave.config import accept_options
from token2wave.data import TextSplit, encode_label_sets, encode_labels, load_split
from token2wave.data.bad_rows import check_bad_rows, write_bad_rows
from token2wave.data.datasets import possible_paths
from token2wave.data.objects import python_value
from token2wave.data.sources import is_name
from token2wave.data.values import is_missing, join_names
from token2wave.errors import ConfigError, DataError
from token2wave.formatting import NUMBER, Described, join_classes, percent
from token2wave.inference.score_evaluation import evaluate_scale
from token2wave.metrics import (
    Evaluation,
    GroupScore,
    evaluate_predictions,
    score_groups,
)
from token2wave.options import DataOptions
from token2wave.process_memory import peak_memory
from token2wave.reporting.summary import evaluation_headline, score_figures
from token2wave.storage.atomic import private_files
from token2wave.storage.outputs import Outputs
from token2wave.storage.tables import require_table_name, write_table
from token2wave.training.callbacks import Callback, CallbackList

FAMILIAR = 0.25
"""Texts of a lower mean novelty may be training texts; validation texts have 0.5."""
MAX_GROUPS = 30  # of a column; the other texts make one more
N_BINS = 5  # of lengths, and of numbers that are too many for groups of their own
LENGTH = "length"
MISSING = "(missing)"
_DATE = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])([T ].*)?", re.ASCII | re.DOTALL)


@dataclass(frozen=True, repr=False)
class EvaluationResult(Described):
    """What :func:`evaluate` returns.

    Attributes:
        evaluation: accuracy, F1, scores of each class, confusion matrix.
        figures: plain data, which the command line prints as JSON. Some come from the model's record.
        errors: the wrong predictions, the surest first, as columns of the table that ``errors`` writes: row,
            label, predicted, probability, label_probability, novelty, and the texts or, if a table is
            written, the columns of the data. For multi-label texts there are ``missed`` and ``extra`` labels
            instead of ``label_probability``, and the probability is that of the surest wrong decision.
        groups: scores of the groups of each column that ``by`` names.
    """

    evaluation: Evaluation
    figures: dict[str, Any]
    errors: Mapping[str, Sequence[object]] = field(default_factory=dict)
    groups: Mapping[str, Sequence[GroupScore]] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """Fraction of texts whose label is right; if there may be several, whose labels are all right."""
        return self.evaluation.accuracy

    @property
    def headline(self) -> str:
        """A sentence that says how many texts were right, and what the most frequent class would give."""
        evaluation, majority = self.evaluation, None
        if evaluation.micro_f1 is None and evaluation.classes and evaluation.rows:
            majority = max(score.support for score in evaluation.classes) / evaluation.rows
        return evaluation_headline(evaluation.to_dict(), None, majority)

    def _describe(self) -> tuple[str, dict[str, str]]:
        if self.evaluation.scores is not None:
            scores = score_figures(asdict(self.evaluation.scores))
            return self.headline, {name: f"{value}, {remark}" for name, value, remark in scores}
        facts = {"classes": join_classes([score.label for score in self.evaluation.classes])}
        facts["macro-F1"] = percent(self.evaluation.macro_f1)
        for column, groups in self.groups.items():
            if worse := [group.name for group in groups if group.is_worse]:
                facts[f"worse, by {column}"] = ", ".join(worse)
        facts |= {"note" if i == 0 else f"note {i + 1}": n for i, n in enumerate(self.figures["caveats"])}
        return self.headline, facts


@accept_options(data_options=DataOptions, leave_out=("weight_column", "group_column", "multi_label"))
def evaluate(
    classifier: Classifier,
    data: Any,
    labels: Any = None,
    *,
    split: str = "test",
    errors: str | os.PathLike[str] | None = None,
    by: str | Sequence[str] = (),
    cut: float | None = None,
    overwrite: bool = False,
    data_options: DataOptions,
    callbacks: Sequence[Callback] = (),
) -> EvaluationResult:
    """Evaluate a classifier.

    Args:
        classifier: the model.
        data: a file, a folder, a name, or rows in memory, as for :func:`token2wave.train`.
        labels: the true label, or labels, of each text, if ``data`` is texts.
        split: ``train``, ``validation`` or ``test``; a single file is all of it.
        errors: table to write, .csv, .tsv or .xlsx: the wrong predictions, the surest first, with all columns
            of the data.
        by: columns whose groups are scored, e.g. ``language``. Dates become months, and many different
            numbers five bins. ``length`` is the number of words, if no column has that name.
        cut: for a model of scores, the number that separates low from high scores in the area under the ROC
            curve. The default halves the texts.
        overwrite: replace a file of another kind than such a table. An input is never replaced.
        data_options: how to read the data (:class:`token2wave.DataOptions`). You give its fields as keyword
            arguments. The default label separator is that of training.
        callbacks: called as the work goes on.

    Raises:
        DataError: the data cannot be read, or the model knows none of its labels. If it knows some, the other
            rows count as wrong, and the caveats say so.
        ConfigError: ``cut``, but the model is one of labels; or ``errors`` or ``by``, but it is one of scores
            that are no grades.
    """
    start = time.perf_counter()
    record, multi_label, scale = classifier.training, classifier.multi_label, classifier.scale
    if cut is not None:
        classifier.require_scale("cut")
    outputs = Outputs(possible_paths(data), overwrite=overwrite)
    if errors is not None:
        outputs.check_file(errors, "table of wrong predictions")
        require_table_name(Path(errors))
    by = [by] if isinstance(by, str) else list(by)
    if scale is not None and scale.target == "score":
        for name, value in (("errors", errors), ("by", by)):
            if value:
                problem = "expected labels or grades, which are right or wrong, found a model of scores"
                raise ConfigError(problem, location=name, hint="leave it out, or train with target='ordinal'")
    with_table = errors is not None or bool(by)
    dataset = read_test_rows([classifier], data, labels, split, data_options, outputs, with_table=with_table)
    groups = {column: group_rows(dataset, column) for column in by}
    encode: Callable[..., NDArray[Any]] = encode_label_sets if multi_label else encode_labels
    if scale is None:
        classes = encode(dataset, classifier.label_names)
    else:
        true_scores = dataset.read_scores()
        classes = scale.classes_of(true_scores)
    callback_list = CallbackList.with_logging(callbacks)
    callback_list.stage("evaluation", len(dataset))
    predicting = time.perf_counter()
    probabilities, known = classifier.probabilities_and_known(dataset.texts, callback_list.advance)
    predicted = classifier.decide(probabilities)
    if scale is None:
        result = evaluate_predictions(classes, predicted, classifier.label_names, probabilities)
    else:
        result = evaluate_scale(scale, true_scores, probabilities, cut)
    seconds = time.perf_counter() - predicting
    novelty = classifier.novelty(dataset.texts)
    scored = {
        column: score_groups(index, names, classes, predicted) for column, (index, names) in groups.items()
    }
    n_unknown = len(dataset) - int(known.sum())
    caveats = [*dataset.notes, *dataset.unknown_label_notes()]
    if n_unknown:
        texts = f"{n_unknown:,} of {len(dataset):,} texts"
        caveats.append(f"The model knows nothing of {texts}, so their predictions rest on nothing.")
    if is_familiar(novelty):
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
        "coverage": [asdict(point) for point in result.answered],
        "by": {column: [asdict(score) for score in scores] for column, scores in scored.items()},
        "evaluation": result.to_dict(),
    }
    rows = {}
    if scale is None or scale.target == "ordinal":
        rows = error_rows(dataset, classifier.label_names, classes, predicted, probabilities, novelty)
    if errors is not None:
        segment = None if dataset.table is None else dataset.table.segment
        delimiter = ";" if segment is not None and segment.dialect.delimiter == ";" else ","
        with private_files(outputs.is_private):
            write_table(Path(errors), list(rows), zip(*rows.values(), strict=True), delimiter)
    return EvaluationResult(result, figures, rows, scored)


def read_test_rows(
    classifiers: Sequence[Classifier],
    data: Any,
    labels: Any,
    split: str,
    data_options: DataOptions,
    outputs: Outputs,
    *,
    with_table: bool = False,
) -> TextSplit:
    """Read rows to measure models on, with labels named as their classes; arguments as :func:`evaluate`.

    Raises:
        DataError: as :func:`evaluate`; or a label is the number of a class, and the models differ in it.
    """
    if len({each.is_pairs for each in classifiers}) > 1:
        problem = "expected models of pairs alone or none, found both"
        raise ConfigError(problem, location="compare", hint="compare models that read the same rows")
    records, multi_label = [each.training for each in classifiers], classifiers[0].multi_label
    separators = [value for each in records if isinstance(value := each.get("label_separator"), str)]
    normalise = data_options.normalise_labels or any(each.get("normalise_labels") for each in records)
    data_options = replace(
        data_options.for_pairs(classifiers[0].is_pairs),
        multi_label=multi_label,
        label_separator=data_options.label_separator
        or (separators[0] if multi_label and separators else None),
        normalise_labels=normalise,
    )
    check_bad_rows(data_options, outputs)
    has_scores = classifiers[0].scale is not None
    dataset = load_split(
        data, split, data_options, labels=labels, with_table=with_table, as_numbers=has_scores
    )
    write_bad_rows(data_options, dataset.bad_rows, outputs)
    if has_scores:
        return dataset
    names = tuple(dict.fromkeys(name for each in classifiers for name in each.label_names))
    renamed = dataset.rename_labels(names, normalise)
    for each in classifiers[1:]:
        own = dataset.rename_labels(each.label_names, normalise)
        for row, (labels_of_row, others) in enumerate(zip(own.label_sets, renamed.label_sets, strict=True)):
            if labels_of_row != others and set(labels_of_row) & set(each.label_names):
                problem = "expected a name of a class, found a number that means another class in each model"
                raise DataError(problem, location=dataset.location(row), hint="write the names as labels")
    return renamed.for_classes(names)


def error_rows(
    rows: TextSplit,
    label_names: Sequence[str],
    truth: NDArray[Any],
    predicted: NDArray[Any],
    probabilities: NDArray[np.floating],
    novelty: NDArray[np.float64] | None,
) -> dict[str, list[object]]:
    """Columns of the wrong predictions, the surest first, with all columns of the data or the texts.

    Args:
        rows: ``N`` texts.
        label_names: the ``C`` classes.
        truth: ``(N,)`` true classes, or ``(N, C)`` bool for multi-label texts.
        predicted: likewise.
        probabilities: ``(N, C)``.
        novelty: ``(N,)``, if it is known.
    """
    multi_label = truth.ndim == 2
    padding = (0, truth.shape[1] - len(label_names) if multi_label else 1)  # labels without a class
    probabilities = np.pad(probabilities, ((0, 0), padding))
    if multi_label:
        is_wrong = truth != np.pad(predicted, ((0, 0), padding))
        sureness = np.where(is_wrong, np.abs(truth - probabilities), -1).max(axis=1, initial=-1)
    else:
        is_wrong = (truth != predicted)[:, None]
        sureness = probabilities[np.arange(len(truth)), predicted]
    order = np.flatnonzero(is_wrong.any(axis=1))
    order = order[np.argsort(-sureness[order], kind="stable")]
    numbers: list[int] = order.tolist()
    sets = list(map(rows.label_sets.__getitem__, numbers)) if multi_label else []
    values: dict[str, Sequence[object]] = {"row": [rows.row(i) for i in numbers]}
    if multi_label:
        names = [[label_names[c] for c in np.flatnonzero(predicted[i]).tolist()] for i in numbers]
        pairs = list(zip(sets, names, strict=True))
        values |= {"label": sets, "predicted": names}
        values |= {"missed": [sorted({*true} - {*answer}) for true, answer in pairs]}
        values |= {"extra": [sorted({*answer} - {*true}) for true, answer in pairs]}
    else:
        values |= {"label": [rows.labels[i] for i in numbers]}
        values |= {"predicted": [label_names[c] for c in predicted[order].tolist()]}
    values["probability"] = sureness[order].astype(float).round(4).tolist()
    if not multi_label:
        values["label_probability"] = probabilities[order, truth[order]].astype(float).round(4).tolist()
    values["novelty"] = [None] * len(order) if novelty is None else novelty[order].round(4).tolist()
    columns = {name: list(map(table_cell, of_name)) for name, of_name in values.items()}
    table = {"text": rows.texts} if rows.table is None else rows.table.columns
    for name, of_name in table.items():
        cells = [table_cell(of_name[i]) for i in numbers]
        if name in columns and all(map(_same_label, cells, columns[name])):
            continue
        while name in columns:
            name = f"input_{name}"
        columns[name] = cells
    return columns


def is_familiar(novelty: NDArray[np.float64] | None) -> bool:
    """Whether texts are so much like those of training that a model may have learned from them."""
    return novelty is not None and len(novelty) > 0 and float(novelty.mean()) < FAMILIAR


def table_cell(value: object) -> object:
    """A value as a cell of a table: empty if it is missing, JSON if it has several parts."""
    value = python_value(value)
    if is_missing(value):
        return ""
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value if isinstance(value, str | int | float) else str(value)


def _same_label(cell: object, label: object) -> bool:
    """Whether a cell of the data says no more than the label made of it, e.g. ``["x"]`` in fastText."""
    return str(cell) in (str(label), json.dumps([label], ensure_ascii=False, default=str))


def group_rows(rows: TextSplit, column: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Put rows into groups by the values of a column, or by the number of words.

    Returns:
        The index of each row's group, ``(N,)``, and the names of the groups: months and numbers in their
        order, others by size, the missing values, and the rest of more than :data:`MAX_GROUPS`.

    Raises:
        DataError: there is no such column.
    """
    columns = {} if rows.table is None else rows.table.columns
    if column not in columns and column != LENGTH:
        raise DataError(
            f"there is no column {column!r}; the columns are {join_names(columns)}",
            location=rows.source,
            hint=f"name one of them with --by, or {LENGTH} for the number of words",
        )
    if column not in columns:
        names, order = _bin_numbers([len(text.split()) for text in rows.texts])
    else:
        names, order = _name_values(columns[column])
    counts = Counter(name for name in names if name is not None)
    largest = dict(counts.most_common(MAX_GROUPS))
    if len(counts) > MAX_GROUPS:
        largest = {name: n for name, n in largest.items() if n > 1}
    index: dict[str | None, int] = {
        name: i for i, name in enumerate(name for name in order if name in largest)
    }
    groups = list(map(str, index))
    if len(counts) < len(set(names)):
        index[None] = len(groups)
        groups.append(MISSING)
    if n_others := len(counts) - len(largest):
        groups.append(f"({n_others:,} others)")
    return np.array([index.get(name, len(groups) - 1) for name in names], dtype=np.int64), tuple(groups)


def _name_values(values: Sequence[object]) -> tuple[list[str | None], list[str]]:
    """The name of each value's group, None if it is missing, and the order of the groups."""
    texts = [None if is_missing(value) else str(value).strip() or None for value in values]
    present = Counter(text for text in texts if text is not None)
    if all(map(_DATE.fullmatch, present)):
        return [text and text[:7] for text in texts], sorted({text[:7] for text in present})
    if len(present) > MAX_GROUPS and all(NUMBER.fullmatch(text) for text in present):
        return _bin_numbers([None if text is None else float(text) for text in texts])
    return texts, [text for text, _ in present.most_common()]


def _bin_numbers(values: Sequence[float | None]) -> tuple[list[str | None], list[str]]:
    """Put numbers into bins of about equal size; results as of :func:`_name_values`."""
    numbers = np.array([value for value in values if value is not None], dtype=np.float64)
    numbers = np.clip(numbers, -sys.float_info.max / 4, sys.float_info.max / 4)  # 1e999 is infinite
    edges = np.quantile(numbers, np.arange(1, N_BINS) / N_BINS)
    bins = np.searchsorted(edges, numbers)
    within = {i: numbers[bins == i] for i in np.unique(bins).tolist()}
    order = {i: f"{some.min():,.15g} to {some.max():,.15g}" for i, some in within.items()}
    names = iter(bins.tolist())
    return [None if value is None else order[next(names)] for value in values], list(order.values())
