"""Cross-validates a whole training run, in several processes if it takes long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.core import n_threads
from token2wave.data import TextDataset
from token2wave.errors import ConfigError, DataError
from token2wave.features import Features
from token2wave.inference.model import Network
from token2wave.reporting.record import RunContext
from token2wave.run_steps import fit_run, make_classifiers, prepare_run
from token2wave.training.callbacks import CallbackList
from token2wave.training.cross_validation import CrossValidation, Fold, split_folds
from token2wave.training.distributed import is_distributed
from token2wave.training.processes import call_in_processes
from token2wave.training.run import FitResult, TrainingRun
from token2wave.tuning.budget import Budget

MIN_PARALLEL_SECONDS = 5.0
"""A cross-validation that probably takes less time needs no processes of its own."""


def cross_validate(run: TrainingRun, last: FitResult, context: RunContext) -> FitResult:
    """Cross-validate if you ask for it, or if nothing else measures the model; the fit with its figures."""
    if context.folds is not None:
        return replace(last, cross_validation=_predict_folds(run, last, context, context.folds))
    options, texts = context.options, run.texts
    is_measured = texts.test is not None or texts.held_out is not None or last.cross_validation is not None
    cannot_repeat = (
        not run.n_rows
        or texts.scale is not None
        or options.stream
        or options.teacher is not None
        or options.time_budget is not None
    )
    if is_measured or cannot_repeat or is_distributed():
        return last
    try:
        folds = split_folds(texts.all_rows, run.preset.recipe, None, options.seed)
        return replace(last, cross_validation=_predict_folds(run, last, context, folds))
    except (ConfigError, DataError):
        return last  # there are too few rows


def _predict_folds(
    run: TrainingRun, last: FitResult, context: RunContext, folds: Sequence[Fold]
) -> CrossValidation:
    """Train and predict without the rows of each fold, in several processes if it takes long."""
    unused: dict[str, Any] = dict.fromkeys(("cv", "out", "report", "checkpoint", "test", "validation"))
    fold_context = RunContext(
        options=replace(context.options, **unused, resume=False, baseline=False, figures=False),
        data_options=replace(context.data_options, multi_label=run.texts.multi_label),
    )
    keeps = context.options.report is not None  # its texts are explained
    n_processes = min(len(folds), n_threads())
    if run.computed_on == "cuda" or len(folds) * last.train_seconds < MIN_PARALLEL_SECONDS:
        n_processes = 1
    run.callback_list.stage("cross-validation", sum(len(fold.rows) for fold in folds))
    predictions = call_in_processes(
        predict_fold,
        [(_fold_data(run.splits, run.texts.label_names, fold), fold_context, keeps) for fold in folds],
        n_processes,
        lambda number: run.callback_list.advance(len(folds[number].rows)),
    )
    probabilities, decisions, models = zip(*predictions, strict=True)
    return CrossValidation(folds, probabilities, decisions, models if keeps else ())


def _fold_data(splits: TextDataset, label_names: tuple[str, ...], fold: Fold) -> TextDataset:
    """Make the data of a fold: its rows are the test set."""
    train, test = (replace(selected, texts=list(selected.texts)) for selected in map(splits.train.take, fold))
    if train.groups is not None and len(set(train.groups)) == 1:
        train = replace(train, groups=None)  # validation rows must come from this one
    return replace(splits, train=train, test=test, label_names=label_names, caveats=())


def predict_fold(
    data: TextDataset, context: RunContext, keeps: bool
) -> tuple[NDArray[np.floating], NDArray[Any], tuple[Features, Network] | None]:
    """Train as :func:`train` does, and predict the test rows: probabilities, and classes or decisions.

    The third value has features and network, if ``keeps``.
    """
    budget = Budget(None, context.options.candidates)
    run, context = prepare_run(data, context, budget, CallbackList(()))
    classifier = make_classifiers(*fit_run(run, context))[0]
    assert data.test is not None
    probabilities = classifier.probabilities(data.test.texts)
    model = (classifier.features, classifier.network) if keeps else None
    return probabilities, classifier.decide(probabilities), model
