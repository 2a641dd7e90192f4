"""Scores the labels of training rows by models that have not seen them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.classifier import Classifier
from token2wave.core import n_threads
from token2wave.data import TextDataset, TextSplit
from token2wave.features.hashed_texts import HashedTexts
from token2wave.training.auto_settings import auto_settings
from token2wave.training.calibration import HEADS, branch_logits
from token2wave.training.callbacks import CallbackList
from token2wave.training.cross_validation import FOLDS, split_folds
from token2wave.training.neighbours import neighbour_votes
from token2wave.training.noisy_labels import calibrate_with_noise
from token2wave.training.preparation import encode_rows, prepare
from token2wave.training.presets import preset_named
from token2wave.training.processes import call_in_processes
from token2wave.training.run import TrainingRun

PRESET = "fast"
N_PARTITIONS = 2  # into folds, each with other models; the mean of several is surer than one
MAX_NEIGHBOUR_ROWS = 50_000
"""Of more rows only so many get the labels of similar texts, which takes long."""
VOTE_PRIOR = 0.02  # added to the votes of similar texts, so that none is impossible
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
        fold: ``(N,)`` int64, number of the classifier that has not seen the row.
        classifiers: one a fold.
        probabilities: ``(N, C)`` float64, of each label, from models that have not seen the row and from the
            labels of similar texts.
        posteriors: ``(N, C)`` float64, probability of each label to be right, given the text and its label.
        suspicion: ``(N,)`` float64, probability that the label is wrong. For multi-label texts it is that of
            the worst decision.
        proposed: as ``labels``, the labels that fit best; those given where nothing fits better.
        is_suspicious: ``(N,)`` bool, the rows whose labels are estimated to be wrong.
        noise: estimated fraction of rows whose labels are wrong.
    """

    label_names: tuple[str, ...]
    labels: NDArray[Any]
    fold: Rows
    classifiers: tuple[Classifier, ...]
    probabilities: Numbers
    posteriors: Numbers
    suspicion: Numbers
    proposed: NDArray[Any]
    is_suspicious: NDArray[np.bool_]
    noise: float

    def proposed_trust(self) -> Numbers:
        """Probability that the label proposed is right, ``(N,)``, given the text and the label it has."""
        if self.labels.ndim == 2:
            certainty = np.where(self.proposed, self.posteriors, 1 - self.posteriors)
            return np.asarray(certainty.min(axis=1))
        return np.asarray(self.posteriors[np.arange(len(self.labels)), self.proposed])

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
    """Predict every row by models that have not seen it, and compare with its label.

    Rows of one group, and those whose texts are nearly the same, share a fold. Weights of rows count in
    training. The rows are split into folds :data:`N_PARTITIONS` times. The mean logits of the models and the
    labels of similar texts are calibrated with the noise of the labels
    (:func:`token2wave.training.noisy_labels.calibrate_with_noise`).

    Args:
        rows: texts and labels.
        label_names: names of the ``C`` classes.
        seed: of folds and models.
        callback_list: called as the work goes on.
        n_folds: number of models that share the rows.

    Raises:
        ConfigError: there are too few rows for the folds.
        DataError: the rows cannot be learnt from, e.g. all have one label.
    """
    callback_list = CallbackList(()) if callback_list is None else callback_list
    names = tuple(label_names)
    texts = HashedTexts.of(rows.texts)
    rows = replace(rows, texts=texts)
    preset = auto_settings(preset_named(PRESET), rows.texts, {}, len(names))
    examples = encode_rows(rows, names, rows.multi_label)
    seeds = [(seed + i) % (1 << 63) for i in range(N_PARTITIONS)]
    folds = [(fold, each) for each in seeds for fold in split_folds(examples, preset.recipe, n_folds, each)]
    n_models = len(folds) // N_PARTITIONS
    unseen = [np.setdiff1d(np.arange(len(rows)), fold.train_rows) for fold, _ in folds]
    callback_list.stage("models that have not seen the rows", sum(map(len, unseen)))
    n_processes = n_threads() if sum(map(len, rows.texts)) > MIN_PARALLEL_CHARACTERS else 1
    results = call_in_processes(
        fit_fold,
        [
            (_plain(rows.take(fold.train_rows)), _plain(rows.take(of_fold)), names, each)
            for (fold, each), of_fold in zip(folds, unseen, strict=True)
        ],
        n_processes,
        lambda number: callback_list.advance(len(unseen[number])),
    )
    logits = np.zeros((len(HEADS), len(rows), len(names)))
    n_predicted, fold_of_row = np.zeros(len(rows)), np.zeros(len(rows), dtype=np.int64)
    for number, (of_fold, result) in enumerate(zip(unseen, results, strict=True)):
        logits[:, of_fold] += result.logits
        n_predicted[of_fold] += 1
        if number < n_models:
            fold_of_row[of_fold] = number
    logits /= np.maximum(n_predicted, 1)[:, None]
    logits = logits[logits.any(axis=(1, 2))]
    if rows.multi_label:
        scores = _score_decisions(logits, examples.labels)
    else:
        callback_list.stage("labels of similar texts", 0)
        scores = _score_labels(logits, examples.labels, texts, seed)
    quality = LabelQuality(
        names,
        examples.labels,
        fold_of_row,
        tuple(result.classifier for result in results[:n_models]),
        *scores,
    )
    seen = n_predicted == 0  # by all models, e.g. short parts of several texts: nothing can be said of them
    quality.suspicion[seen], quality.is_suspicious[seen] = 0.0, False
    quality.proposed[seen] = quality.labels[seen]
    return quality


class FoldResult(NamedTuple):
    """A classifier that has not seen some rows, and the logits of its branches for them, ``(L, M, C)``."""

    classifier: Classifier
    logits: Numbers


def fit_fold(train: TextSplit, held_out: TextSplit, label_names: tuple[str, ...], seed: int) -> FoldResult:
    """Train a classifier on some rows, and predict others."""
    if train.groups is not None and len(set(train.groups)) == 1:
        train = replace(train, groups=None)  # validation rows must come from this one
    preset = auto_settings(preset_named(PRESET), train.texts, {}, len(label_names))
    splits = TextDataset(train.source, train, label_names=label_names)
    texts = prepare(splits, preset.recipe, seed)
    run = TrainingRun(splits, texts, preset, seed, "cpu", CallbackList(()))
    first = run.fit_first()
    last = run.fit_all_rows(first)
    classifier, _ = first.classifiers(last, label_names, {})
    logits = np.zeros((len(HEADS), len(held_out), len(label_names)))
    arrays = last.network.arrays()
    of_network = [number for number, head in enumerate(HEADS) if f"{head}.weight" in arrays]
    if len(held_out):
        logits[of_network] = branch_logits(last.network, last.features(held_out.texts))
    return FoldResult(classifier, logits)


def _plain(rows: TextSplit) -> TextSplit:
    """The same rows with a list of texts, which is quicker to pickle."""
    return replace(rows, texts=list(rows.texts), table=None)


class _Scores(NamedTuple):
    """Attributes of :class:`LabelQuality`."""

    probabilities: Numbers
    posteriors: Numbers
    suspicion: Numbers
    proposed: NDArray[Any]
    is_suspicious: NDArray[np.bool_]
    noise: float


def _score_labels(logits: Numbers, labels: Rows, texts: HashedTexts, seed: int) -> _Scores:
    """Calibrate logits ``(L, N, C)``, then also the labels of similar texts, with the noise of the labels.

    Of many rows only the most suspicious get the latter, beside a random sample to calibrate by.
    """
    n, n_classes = logits.shape[1:]
    votes = partial(neighbour_votes, texts, labels, n_classes)

    def with_votes(rows: Rows) -> Numbers:
        return np.concatenate([logits[:, rows], np.log(votes(rows) + VOTE_PRIOR)[None]])

    if n <= MAX_NEIGHBOUR_ROWS:
        probabilities, posteriors = calibrate_with_noise(with_votes(np.arange(n)), labels, seed)
    else:
        probabilities, posteriors = calibrate_with_noise(logits, labels, seed)
        half = MAX_NEIGHBOUR_ROWS // 2
        sample = np.random.default_rng(seed).choice(n, half, replace=False)
        by_suspicion = np.argsort(posteriors[np.arange(n), labels], kind="stable")
        rows = np.union1d(sample, by_suspicion[:half])
        again = calibrate_with_noise(with_votes(rows), labels[rows], seed, np.isin(rows, sample))
        probabilities[rows], posteriors[rows] = again
    suspicion = 1 - posteriors[np.arange(n), labels]
    return _Scores(
        probabilities,
        posteriors,
        suspicion,
        posteriors.argmax(axis=1),
        suspicion > 0.5,
        float(suspicion.mean()),
    )


def _score_decisions(logits: Numbers, labels: NDArray[np.bool_]) -> _Scores:
    """Score each decision of multi-label texts; a row is as suspicious as its worst decision.

    As in confident learning (arXiv 1911.00068, section 3.1), a decision looks wrong if the other one has at
    least the mean probability that it has where it was made.
    """
    probabilities = 1 / (1 + np.exp(-logits.sum(axis=0)))
    wrong = np.where(labels, 1 - probabilities, probabilities)
    n_positive, n_negative = labels.sum(axis=0), (~labels).sum(axis=0)
    for_negative = (probabilities * labels).sum(axis=0) / np.maximum(n_positive, 1)
    for_positive = ((1 - probabilities) * ~labels).sum(axis=0) / np.maximum(n_negative, 1)
    is_wrong = wrong >= np.maximum(np.where(labels, for_positive, for_negative), 0.5)
    suspicion, is_suspicious = wrong.max(axis=1), is_wrong.any(axis=1)
    proposed = np.where(is_suspicious[:, None] & (wrong > 0.5), ~labels, labels)
    return _Scores(
        probabilities, probabilities, suspicion, proposed, is_suspicious, float(is_suspicious.mean())
    )
