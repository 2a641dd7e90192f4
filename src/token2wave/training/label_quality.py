"""Scores the labels of training rows by models that have not seen them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.classifier import Classifier
from token2wave.core import n_threads
from token2wave.data import TextDataset, TextSplit
from token2wave.training.auto_settings import auto_settings
from token2wave.training.callbacks import CallbackList
from token2wave.training.cross_validation import FOLDS, split_folds
from token2wave.training.preparation import encode_rows, prepare
from token2wave.training.presets import preset_named
from token2wave.training.processes import call_in_processes
from token2wave.training.run import TrainingRun

PRESET = "fast"
MIN_PARALLEL_CHARACTERS = 2_000_000
"""Fewer characters do not pay for processes of their own."""

Rows = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class LabelQuality:
    """How likely the labels of ``N`` rows are wrong.

    Attributes:
        label_names: names of the ``C`` classes.
        labels: ``(N,)`` int64, the labels given; for multi-label texts ``(N, C)`` bool.
        probabilities: ``(N, C)`` float64, of models that have not seen the row.
        fold: ``(N,)`` int64, number of the classifier that has not seen the row.
        classifiers: one a fold.
        suspicion: ``(N,)`` float64 from 0 to 1; the larger, the likelier the label is wrong. For multi-label
            texts it is that of the worst decision.
        proposed: as ``labels``, the labels that fit best; those given where nothing fits better.
        is_suspicious: ``(N,)`` bool, the rows whose labels are estimated to be wrong.
        noise: estimated fraction of rows whose labels are wrong.
    """

    label_names: tuple[str, ...]
    labels: NDArray[Any]
    probabilities: Numbers
    fold: Rows
    classifiers: tuple[Classifier, ...]
    suspicion: Numbers
    proposed: NDArray[Any]
    is_suspicious: NDArray[np.bool_]
    noise: float

    def ranking(self) -> Rows:
        """All rows, ``(N,)`` int64, the most suspicious first."""
        return np.argsort(-self.suspicion, kind="stable")


def assess_labels(
    rows: TextSplit,
    label_names: Sequence[str],
    *,
    seed: int = 0,
    callback_list: CallbackList | None = None,
    n_folds: int = FOLDS,
) -> LabelQuality:
    """Predict every row by a model that has not seen it, and compare with its label.

    Rows of one group, and those whose texts are nearly the same, share a fold. Weights of rows count in
    training. Confident learning (arXiv 1911.00068, section 3) estimates which labels are wrong.

    Args:
        rows: texts and labels.
        label_names: names of the ``C`` classes.
        seed: of folds and models.
        callback_list: called as the work goes on.
        n_folds: number of models.

    Raises:
        ConfigError: there are too few rows for the folds.
        DataError: the rows cannot be learnt from, e.g. all have one label.
    """
    callback_list = CallbackList(()) if callback_list is None else callback_list
    names, multi_label = tuple(label_names), rows.multi_label
    preset = auto_settings(preset_named(PRESET), rows.texts, {})
    examples = encode_rows(rows, names, multi_label)
    folds = split_folds(examples, preset.recipe, n_folds, seed)
    callback_list.stage("models that have not seen the rows", sum(len(fold.rows) for fold in folds))
    n_processes = min(len(folds), n_threads())
    if sum(map(len, rows.texts)) < MIN_PARALLEL_CHARACTERS:
        n_processes = 1

    def plain(selected: TextSplit) -> TextSplit:
        return replace(selected, texts=list(selected.texts))

    results = call_in_processes(
        fit_fold,
        [(plain(rows.take(fold.train_rows)), plain(rows.take(fold.rows)), names, seed) for fold in folds],
        n_processes,
        lambda number: callback_list.advance(len(folds[number].rows)),
    )
    probabilities = np.full((len(rows), len(names)), np.nan)
    fold_of_row = np.full(len(rows), -1)
    for number, (fold, (_, of_fold)) in enumerate(zip(folds, results, strict=True)):
        probabilities[fold.rows], fold_of_row[fold.rows] = of_fold, number
    classifiers = tuple(classifier for classifier, _ in results)
    missing = np.flatnonzero(fold_of_row < 0)  # parts of longer texts, which no fold holds out
    if len(missing):
        fold_of_row[missing] = 0
        probabilities[missing] = classifiers[0].probabilities([rows.texts[i] for i in missing.tolist()])
    score = _score_multi_label if multi_label else _score
    suspicion, proposed, is_suspicious, noise = score(probabilities, examples.labels)
    return LabelQuality(
        names,
        examples.labels,
        probabilities,
        fold_of_row,
        classifiers,
        suspicion,
        proposed,
        is_suspicious,
        noise,
    )


def fit_fold(
    train: TextSplit, held_out: TextSplit, label_names: tuple[str, ...], seed: int
) -> tuple[Classifier, NDArray[np.float32]]:
    """Train a classifier on some rows, and predict others, ``(M, C)`` float32."""
    if train.groups is not None and len(set(train.groups)) == 1:
        train = replace(train, groups=None)  # validation rows must come from this one
    preset = auto_settings(preset_named(PRESET), train.texts, {})
    splits = TextDataset(train.source, train, label_names=label_names)
    texts = prepare(splits, preset.recipe, seed)
    run = TrainingRun(splits, texts, preset, seed, "cpu", CallbackList(()))
    first = run.fit_first()
    classifier, _ = first.classifiers(run.fit_all_rows(first), label_names, {})
    return classifier, classifier.probabilities(held_out.texts)


def _score(probabilities: Numbers, labels: Rows) -> tuple[Numbers, Rows, NDArray[np.bool_], float]:
    """Suspicion, proposed labels, the rows that confident learning counts, and the noise."""
    n, n_classes = probabilities.shape
    given = probabilities[np.arange(n), labels]
    others = probabilities.copy()
    others[np.arange(n), labels] = -1
    best = others.argmax(axis=1)
    suspicion = (1 + others[np.arange(n), best] - given) / 2
    counts = np.bincount(labels, minlength=n_classes)
    thresholds = np.bincount(labels, given, n_classes) / np.maximum(counts, 1)
    confident = np.where(probabilities >= thresholds, probabilities, -1)
    joint = confident.argmax(axis=1)
    is_suspicious = (confident.max(axis=1) >= 0) & (joint != labels) & (best == joint) & (suspicion > 0.5)
    return suspicion, np.where(suspicion > 0.5, best, labels), is_suspicious, float(is_suspicious.mean())


def _score_multi_label(
    probabilities: Numbers, labels: NDArray[np.bool_]
) -> tuple[Numbers, NDArray[np.bool_], NDArray[np.bool_], float]:
    """The same for each decision of multi-label texts; a row is as suspicious as its worst decision."""
    wrong = np.where(labels, 1 - probabilities, probabilities)
    mean_wrong = 1 - np.array([wrong[:, c].mean() for c in range(labels.shape[1])])
    is_wrong = wrong >= np.maximum(mean_wrong, 0.5)
    rows = is_wrong.any(axis=1)
    return wrong.max(axis=1), labels ^ is_wrong, rows, float(rows.mean())
