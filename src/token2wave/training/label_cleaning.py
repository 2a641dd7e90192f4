"""Trains without the labels that look wrong, unless the validation rows speak against it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.data import TextSplit
from token2wave.errors import DataError
from token2wave.formatting import count, percent
from token2wave.training.examples import Examples
from token2wave.training.label_quality import LabelQuality, assess_labels
from token2wave.training.preparation import encode_rows
from token2wave.training.run import FitResult, TrainingRun, ValidatedFit
from token2wave.training.weighting import ClassWeights

MIN_WEIGHT = 0.05
WAYS = {
    "drop_suspicious": "left out",
    "reweight": "given less weight",
    "relabel": "given the label that fits better, or less weight",
}
"""The options, and what they do to rows that look wrong."""


Numbers = NDArray[np.floating]


@dataclass(frozen=True)
class LabelCleaning:
    """What training did about labels that look wrong.

    Attributes:
        way: one of :data:`WAYS`.
        is_applied: whether the model has learnt from the cleaned rows.
        suspicious_rows: of ``rows``, those whose labels look wrong.
        rows: the training rows that were assessed: all rows, or without the validation rows if the model did
            not learn from these, or not from cleaned rows.
        validation_accuracy: of the fit to the rows as they are; fraction of right decisions for multi-label
            texts.
        cleaned_validation_accuracy: of the fit to the cleaned rows, on the same validation rows.
    """

    way: str
    is_applied: bool
    suspicious_rows: int
    rows: int
    validation_accuracy: float
    cleaned_validation_accuracy: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the summary and the model file."""
        return asdict(self)

    def caveat(self) -> str:
        """Say what was done, and why."""
        rows = f"{count(self.suspicious_rows)} of {count(self.rows)} rows with labels that look wrong"
        scores = percent(self.cleaned_validation_accuracy), percent(self.validation_accuracy)
        done = "were" if self.is_applied else "were not"
        figures = f"validation accuracy {scores[0]} with that, {scores[1]} without"
        return f"{rows} {done} {WAYS[self.way]}: {figures}. `token2wave audit` lists them."


def fit_cleaned(
    run: TrainingRun, first: ValidatedFit, way: str, class_weights: ClassWeights
) -> tuple[TrainingRun, ValidatedFit, LabelCleaning]:
    """Fit to cleaned training rows, too, and choose by the validation rows.

    The validation rows are not cleaned, and do not help to assess the training rows. If their labels are as
    noisy as those of training, both fits lose the same part of their accuracy in expectation.

    Args:
        run: whose rows are not cleaned.
        first: its validated fit.
        way: one of :data:`WAYS`.
        class_weights: as for training.

    Returns:
        The run and the validated fit to go on with, and what was done. The run of cleaned rows has these for
        a fit on all rows, too; its validation and test rows are as they were.

    Raises:
        DataError: there are too few rows to hold any out, or to assess their labels.
        ConfigError: likewise.
    """
    texts = run.texts
    rows = run.splits.train
    if texts.learns_from_validation:
        hint = "add rows, or correct the labels by hand: token2wave audit lists those that look wrong"
        raise DataError("there are too few rows to judge cleaned labels by", location=rows.source, hint=hint)
    if texts.train.rows is not None:
        rows = rows.take(texts.train.rows)
    train, looks_wrong = _clean(run, replace(rows, texts=texts.train.texts), way, class_weights)
    cleaned_run = replace(run, texts=replace(texts, train=train))
    cleaned = cleaned_run.fit_first()
    plain_accuracy, cleaned_accuracy = (_accuracy(fit.fitted) for fit in (first, cleaned))
    is_applied = cleaned_accuracy >= plain_accuracy
    if is_applied and texts.full_train is not None and run.preset.recipe.refit_below:
        all_rows = replace(run.splits.train, texts=texts.full_train.texts)
        full_train, looks_wrong = _clean(run, all_rows, way, class_weights)
        cleaned_run = replace(run, texts=replace(cleaned_run.texts, full_train=full_train))
    cleaning = LabelCleaning(
        way,
        is_applied,
        int(looks_wrong.sum()),
        len(looks_wrong),
        plain_accuracy,
        cleaned_accuracy,
    )
    return (cleaned_run, cleaned, cleaning) if is_applied else (run, first, cleaning)


def _accuracy(fit: FitResult) -> float:
    """Fraction of right decisions on the validation rows, each row counted by its weight."""
    assert fit.validation is not None
    logits, labels = fit.network.logits(fit.validation.features), fit.validation.labels
    is_right = ((logits > 0) == labels).mean(axis=1) if labels.ndim == 2 else logits.argmax(axis=1) == labels
    return float(np.average(is_right, weights=fit.validation.weights))


def _clean(
    run: TrainingRun, rows: TextSplit, way: str, class_weights: ClassWeights
) -> tuple[Examples, NDArray[np.bool_]]:
    """Clean the labels of rows; the examples, and the rows whose labels look wrong."""
    names = run.texts.label_names
    quality = assess_labels(rows, names, seed=run.seed, callback_list=run.callback_list)
    examples = encode_rows(clean_rows(rows, quality, way), names, run.texts.multi_label, class_weights)
    return examples, quality.is_suspicious


def clean_rows(rows: TextSplit, quality: LabelQuality, way: str) -> TextSplit:
    """Leave out, weigh or relabel rows; ``way`` is one of :data:`WAYS`."""
    is_suspicious, trust = quality.is_suspicious, 1 - quality.suspicion
    if quality.labels.ndim == 2:  # the worst of many decisions is nearly always unsure
        trust = np.where(is_suspicious, trust, 1.0)
    else:
        for label in np.setdiff1d(quality.labels, quality.labels[~is_suspicious]):
            of_label = np.flatnonzero(quality.labels == label)  # a class needs a row to learn from
            best = of_label[trust[of_label].argmax()]
            is_suspicious, trust = is_suspicious & (np.arange(len(rows)) != best), trust.copy()
            trust[best] = 1.0
    if way == "drop_suspicious":
        return rows.take(np.flatnonzero(~is_suspicious))
    if way == "relabel":
        sets, names = rows.label_sets, np.array(quality.label_names, dtype=object)
        for row in np.flatnonzero(is_suspicious).tolist():
            proposed = quality.proposed[row]
            sets[row] = tuple(names[proposed].tolist()) if proposed.ndim else (names[proposed],)
        rows = replace(rows, labels=sets if rows.multi_label else [label for (label,) in sets])
        trust = np.where(is_suspicious, quality.proposed_trust(), trust)
    weights = np.ones(len(rows)) if rows.weights is None else np.array(rows.weights)
    return replace(rows, weights=(weights * np.maximum(trust, MIN_WEIGHT)).tolist())
