"""Trains without the labels that look wrong, unless the validation rows speak against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.data import TextSplit
from token2wave.errors import DataError
from token2wave.formatting import count, percent
from token2wave.training.examples import Examples
from token2wave.training.label_quality import assess_labels
from token2wave.training.preparation import encode_rows
from token2wave.training.run import FitResult, TrainingRun, ValidatedFit
from token2wave.training.weighting import ClassWeights

MIN_WEIGHT = 0.05
MIN_TRUST = 0.7
"""A label less likely to be right looks wrong. More than a half, as models of noisy labels are too unsure."""
N_ASSESSMENTS = 3  # whose mean is surer than one
PRIOR_ROWS = 50.0  # how many rows the smoothed estimate of the noise counts like
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
    names, multi_label = run.texts.label_names, run.texts.multi_label
    assessments = [
        assess_labels(rows, names, seed=(run.seed + i) % (1 << 63), callback_list=run.callback_list)
        for i in range(N_ASSESSMENTS)
    ]
    labels = assessments[0].labels
    probabilities = np.mean([each.probabilities for each in assessments], axis=0)
    posteriors = label_posteriors(probabilities, labels)
    cleaned = clean_rows(rows, names, labels, posteriors, way)
    return encode_rows(cleaned, names, multi_label, class_weights), trust_of(labels, posteriors) < MIN_TRUST


def label_posteriors(probabilities: Numbers, labels: NDArray[Any]) -> Numbers:
    """Probability of each label to be the right one, given the text and the label it has, ``(N, C)``.

    By Bayes' rule it is in proportion to the label's probability given the text, and to how often rows of
    this label have the label given. The latter is estimated as in confident learning (arXiv 1911.00068,
    section 3.1), and smoothed. Of multi-label texts each decision has such a probability.

    Args:
        probabilities: ``(N, C)``, of models that have not seen the row.
        labels: ``(N,)``, or ``(N, C)`` bool for multi-label texts, the labels given.
    """
    if labels.ndim == 2:
        columns = zip(probabilities.T, labels.T.astype(np.int64), strict=True)
        decisions = [label_posteriors(np.stack([1 - p, p], axis=1), given)[:, 1] for p, given in columns]
        return np.stack(decisions, axis=1)
    rows, n_classes = np.arange(len(labels)), probabilities.shape[1]
    counts, given = np.bincount(labels, minlength=n_classes), probabilities[rows, labels]
    thresholds = np.bincount(labels, given, n_classes) / np.maximum(counts, 1)
    confident = np.where(probabilities >= thresholds - 1e-9, probabilities, 0)
    is_confident = confident.any(axis=1)
    joint = np.zeros((n_classes, n_classes))  # of right labels and given ones
    np.add.at(joint, (confident.argmax(axis=1)[is_confident], labels[is_confident]), 1)
    totals = joint.sum(axis=0)
    joint = np.where(totals, joint / np.maximum(totals, 1) * counts, np.diag(counts))
    noise = 1 - np.trace(joint) / joint.sum()
    prior = np.full((n_classes, n_classes), noise / (n_classes - 1))
    np.fill_diagonal(prior, 1 - noise)
    noise_of = (joint + PRIOR_ROWS * prior) / (joint.sum(axis=1, keepdims=True) + PRIOR_ROWS)
    posteriors = np.maximum(probabilities, 1e-9) * noise_of[:, labels].T
    return np.asarray(posteriors / posteriors.sum(axis=1, keepdims=True))


def trust_of(labels: NDArray[Any], posteriors: Numbers) -> Numbers:
    """Probability that the label given is right, ``(N,)``; of multi-label texts of the worst decision."""
    if labels.ndim == 2:
        return np.asarray(np.where(labels, posteriors, 1 - posteriors).min(axis=1))
    return np.asarray(posteriors[np.arange(len(labels)), labels])


def clean_rows(
    rows: TextSplit, label_names: Sequence[str], labels: NDArray[Any], posteriors: Numbers, way: str
) -> TextSplit:
    """Leave out, weigh or relabel rows; ``way`` is one of :data:`WAYS`."""
    trust = trust_of(labels, posteriors)
    if labels.ndim == 1:
        for label in np.setdiff1d(labels, labels[trust >= MIN_TRUST]):  # a class needs a row to learn from
            of_label = np.flatnonzero(labels == label)
            trust[of_label[trust[of_label].argmax()]] = 1.0
    if way == "drop_suspicious":
        return rows.take(np.flatnonzero(trust >= MIN_TRUST))
    if way == "relabel":
        best = np.eye(len(label_names), dtype=bool)[posteriors.argmax(axis=1)]
        proposed = posteriors > 0.5 if labels.ndim == 2 else best
        sets, names = rows.label_sets, np.array(label_names, dtype=object)
        is_wrong = trust < 0.5
        for row in np.flatnonzero(is_wrong):
            sets[row] = tuple(names[proposed[row]].tolist())
        rows = replace(rows, labels=sets if rows.multi_label else [label for (label,) in sets])
        certainty = np.maximum(posteriors, 1 - posteriors).min(axis=1)  # of the worst decision
        trust = np.where(is_wrong, certainty if labels.ndim == 2 else posteriors.max(axis=1), trust)
    else:
        trust = trust**2
    weights = np.ones(len(rows)) if rows.weights is None else np.array(rows.weights)
    return replace(rows, weights=(weights * np.maximum(trust, MIN_WEIGHT)).tolist())
