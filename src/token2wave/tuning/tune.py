"""Searches for better settings of a training run."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from token2wave.classifier import Classifier
from token2wave.training.calibration import Numbers, branch_logits, fit_weights
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.examples import Examples
from token2wave.training.preparation import EncodedTexts, prepare
from token2wave.training.presets import Preset
from token2wave.training.run import TrainingRun
from token2wave.training.search_history import SearchHistory
from token2wave.training.weighting import ClassWeights
from token2wave.tuning.budget import Budget
from token2wave.tuning.candidates import Candidates
from token2wave.tuning.comparison import CandidateScores, evaluate_candidate
from token2wave.tuning.search import EARLY, Search

ENOUGH_ROWS = 4_000  # validation rows to compare candidates, if splits can give as many
MAX_SPLITS = 5
MAX_SPLITS_WITH_SIZE = 2  # as compression takes several times as long as training
EARLY_FRACTION = 1 / 3  # of the training rows that a candidate learns from first
MIN_EARLY_ROWS = 1_000
SVM_SETTINGS = ("features.", "recipe.prior_scale", "recipe.char_ngrams", "network.linear_svm")
"""Settings with other ones of these have a linear SVM of their own."""
SLACK = 1.15  # factor by which the end of the run may take longer than estimated


def tune(
    run: TrainingRun,
    overrides: Collection[str],
    preset_with: Callable[[Mapping[str, Any]], Preset],
    class_weights: ClassWeights,
    budget: Budget,
    fit_to_size: Callable[[TrainingRun], Classifier] | None = None,
) -> SearchHistory:
    """Search for better settings. Only validation rows decide; test rows are not used.

    Each candidate is a run of its own on the texts of ``run``, which are hashed once for all candidates. The
    linear SVM, which takes half of the time, is solved once for all candidates with the same features.

    Args:
        run: the run to find settings for. Its preset is the first candidate.
        overrides: full names of your settings, which do not change.
        preset_with: makes the preset of a run with changed settings.
        class_weights: as for training.
        budget: of the whole run.
        fit_to_size: trains and compresses a model, if its file has a size limit.
    """
    texts, preset, seed = run.texts, run.preset, run.seed
    full_train = texts.train if texts.full_train is None else texts.full_train
    hashed = replace(run.splits.train, texts=full_train.texts)
    splits = replace(run.splits, train=hashed, test=None, label_names=texts.label_names)
    n_rows = len(texts.validation)
    max_splits = MAX_SPLITS if fit_to_size is None else MAX_SPLITS_WITH_SIZE
    n_splits = min(max(math.ceil(ENOUGH_ROWS / n_rows), 1), max_splits)
    rows = texts.other_rows  # rows held out to report on choose nothing
    if splits.validation is not None:
        own = splits.validation if rows is None else splits.validation.take(rows)
        splits, n_splits = replace(splits, validation=replace(own, texts=texts.validation.texts)), 1
    elif rows is not None:
        splits = replace(splits, train=hashed.take(rows))
    history = SearchHistory(preset.recipe.chooses_by(texts.multi_label), n_rows, n_splits)
    if texts.learns_from_validation:
        history.ended_by = "too few rows"
        return history

    def seed_of(split: int) -> int:
        return (seed + max(split, 0)) % (1 << 63)

    svm_logits: dict[Any, Numbers] = {}  # of the validation texts, by split and settings

    @lru_cache(maxsize=MAX_SPLITS + 1)
    def texts_of(split: int) -> EncodedTexts:
        if split == EARLY:
            return _with_early_rows(texts_of(0), seed)
        return prepare(splits, preset.recipe, seed_of(split), class_weights)

    def score(settings: Mapping[str, Any], split: int, callbacks: Sequence[Callback]) -> CandidateScores:
        candidate = replace(
            run,
            splits=splits,
            texts=texts_of(split),
            preset=preset_with({**settings, "recipe.refit_below": 0}),
            seed=seed_of(split),
            callback_list=CallbackList(callbacks),
        )
        if fit_to_size is None:
            key = split, *sorted(item for item in settings.items() if item[0].startswith(SVM_SETTINGS))
            logits, validation = _mixture(candidate, key, svm_logits)
        else:
            classifier = fit_to_size(candidate)
            validation = candidate.texts.validation.encode(classifier.features)
            logits = classifier.network.logits(validation.features).astype(np.float64)
        return evaluate_candidate(logits, validation.labels, validation.weights, history.select_by)

    def seconds_to_finish(seconds: float) -> float:
        """Estimate the rest of the run: a fit, perhaps another on all rows, and the test texts."""
        n_train, n_all = len(texts.train), len(texts.full_train or ())
        refits = sum(map(len, splits.train.texts)) < preset.recipe.refit_below
        n_test = len(texts.test) if texts.test is not None else 0
        # Predicting a text takes about as long as learning it in one of the epochs.
        fits = 1 + refits * n_all / n_train + n_test / (preset.recipe.epochs * n_train)
        return SLACK * fits * seconds

    fixed = frozenset(overrides) if run.prior is not None else frozenset(overrides) | {"recipe.prior_scale"}
    candidates = Candidates(preset, fixed, seed, fit_to_size is not None)
    Search(score, candidates, history, budget, seconds_to_finish, run.callback_list).run()
    return history


def _with_early_rows(texts: EncodedTexts, seed: int) -> EncodedTexts:
    """The same texts with a part of the training rows."""
    n_rows = len(texts.train)
    n_early = min(max(math.ceil(EARLY_FRACTION * n_rows), MIN_EARLY_ROWS), n_rows)
    rows = np.sort(np.random.default_rng(seed).permutation(n_rows)[:n_early])
    return replace(texts, train=texts.train.take(rows))


def _mixture(run: TrainingRun, key: Any, svm_logits: dict[Any, Numbers]) -> tuple[Numbers, Examples]:
    """Train a candidate; the calibrated logits of its validation texts, ``(N, C)``, and these texts.

    ``svm_logits`` keeps the logits of the linear SVM under a key, for candidates that only have other waves.
    """
    if key in svm_logits:
        run = replace(run, preset=run.preset.with_settings({"network.linear_svm": False}))
    fitted = run.fit(run.preset.recipe, run.texts.train, run.texts.validation)
    validation = fitted.validation
    assert validation is not None
    logits = branch_logits(fitted.network, validation.features)
    if key in svm_logits:
        logits = np.concatenate([logits, svm_logits[key][None]])
    elif fitted.network.config.linear_svm:
        svm_logits[key] = logits[-1]
    truth = validation.labels if validation.targets is None else validation.targets
    weights = fit_weights(logits, truth, validation.weights)
    return np.tensordot(weights, logits, axes=1), validation
