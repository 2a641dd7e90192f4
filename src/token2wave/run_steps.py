"""The steps that a training run shares with each fold of its cross-validation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from token2wave.classifier import Classifier
from token2wave.compression.compressor import require_reachable, shrink
from token2wave.compression.encoder import final_size
from token2wave.data import TextDataset
from token2wave.distillation.embedding_init import EncoderInit
from token2wave.distillation.targets import distillation_targets
from token2wave.errors import ConfigError
from token2wave.features.hashed_texts import HashedTexts
from token2wave.options import TrainOptions
from token2wave.reporting.record import RunContext, make_record
from token2wave.training.auto_settings import FEW_TO_BATCH, auto_settings
from token2wave.training.callbacks import CallbackList
from token2wave.training.cross_validation import split_folds
from token2wave.training.label_cleaning import fit_cleaned
from token2wave.training.preparation import prepare
from token2wave.training.presets import Preset, overrides_of, preset_of
from token2wave.training.recipe import Recipe
from token2wave.training.run import FitResult, TrainingRun, ValidatedFit
from token2wave.training.search_history import SearchHistory
from token2wave.training.validation import Validation
from token2wave.training.window_level import are_long, no_level_note
from token2wave.tuning.budget import Budget
from token2wave.tuning.tune import tune


def prepare_run(
    splits: TextDataset, context: RunContext, budget: Budget, callback_list: CallbackList
) -> tuple[TrainingRun, RunContext]:
    """Choose the settings, and encode the texts."""
    hashed = HashedTexts.of(splits.train.texts)  # once for both
    splits = replace(splits, train=replace(splits.train, texts=hashed))
    options, data_options = context.options, context.data_options
    overrides = overrides_of(options)
    classes = {label for labels in splits.train.label_sets for label in labels}
    n_classes = len(classes.union(splits.label_descriptions or ()))

    def preset_with(changes: Mapping[str, Any]) -> Preset:
        """The preset with your settings and further ones; the data decides the rest."""
        settings = {**overrides, **changes}
        preset = preset_of(options, data_options.pair, settings)
        return auto_settings(preset, splits.train.texts, settings, n_classes)

    preset = preset_with({})
    texts = prepare(
        splits,
        preset.recipe,
        options.seed,
        options.class_weights,
        holds_out=_holds_out(splits, preset.recipe, options),
    )
    does_without = options.max_bytes is not None or splits.scale is not None
    if does_without and not data_options.pair and are_long(hashed, preset.recipe):
        reason = "on scores" if options.max_bytes is None else "for a size limit"
        texts = replace(texts, caveats=(*texts.caveats, no_level_note(reason)))
    folds = None
    if options.cv is not None:
        folds = split_folds(texts.all_rows, preset.recipe, options.cv, options.seed)
    if options.max_bytes is not None:
        require_reachable(options.max_bytes, preset, texts.label_names)
    embedding_init = None if options.init_from is None else EncoderInit(os.fspath(options.init_from))
    run = TrainingRun(
        splits, texts, preset, options.seed, options.device, callback_list, options.vocabulary, embedding_init
    )
    run = replace(run, uses_prior=options.prior, tries_windows=options.max_bytes is None)
    if not run.n_rows and run.prior is None:
        raise ConfigError(
            "expected rows, found only descriptions of labels, which no language prior generalises from",
            location="label_descriptions",
            hint="add labelled rows; descriptions alone need texts in English, preset small and the prior",
        )
    search: SearchHistory | None = None
    if options.searches:
        fit_to_size = None if options.max_bytes is None else partial(_fit_to_size, context=context)
        search = tune(run, overrides, preset_with, options.class_weights, budget, fit_to_size)
        preset = preset_with(search.settings)
        texts = replace(texts, caveats=(*texts.caveats, *search.caveats()))
    teacher_info: Mapping[str, Any] = {}
    if options.teacher is not None:
        texts, teacher_info = distillation_targets(
            options.teacher,
            options.unlabelled,
            texts,
            splits,
            preset.recipe,
            text_options=data_options,
            callbacks=callback_list.callbacks,
        )
    context = replace(context, teacher_info=teacher_info, search=search, folds=folds)
    return replace(run, texts=texts, preset=preset), context


def _holds_out(splits: TextDataset, recipe: Recipe, options: TrainOptions) -> bool:
    """Whether rows are held out to report on: without a test set, unless the rows are cross-validated.

    Few rows are, except with a search, a teacher or a compression, which this does not repeat.
    """
    if splits.test is not None or options.cv is not None:
        return False
    if splits.scale is not None:
        return True
    has_few_rows = len(splits.train) < FEW_TO_BATCH and splits.validation is None
    is_refit = sum(map(len, splits.train.texts)) < recipe.refit_below
    has_more_choices = options.searches or options.max_bytes is not None or options.teacher is not None
    return has_more_choices or not (has_few_rows and is_refit)


def fit_run(run: TrainingRun, context: RunContext) -> tuple[TrainingRun, ValidatedFit, FitResult, RunContext]:
    """Fit, also to cleaned labels if you ask for it, and then to all rows.

    Returns:
        The run of the rows that the model has learnt from, the validated fit, the last one, and the context.
    """
    first, way = run.fit_first(), context.options.label_cleaning
    if way is None:
        return run, first, run.fit_all_rows(first), context
    run, first, cleaning = fit_cleaned(run, first, way, context.options.class_weights)
    last = replace(run.fit_all_rows(first), cross_validation=None)  # its rows are no longer those of the data
    return run, first, last, replace(context, cleaning=cleaning)


def make_classifiers(
    run: TrainingRun, first: ValidatedFit, last: FitResult, context: RunContext
) -> tuple[Classifier, Classifier, Validation]:
    """Make the classifier to keep, compressed where its file has a size limit.

    Returns:
        The classifier, the one that has not seen the validation texts, and the latter's validation.
    """
    record = make_record(run, first, last, context)
    classifier, holdout_model = first.classifiers(last, run.texts.class_names, record)
    limit = context.options.max_bytes
    if limit is None or final_size(classifier.to_file()) <= limit:
        return classifier, holdout_model, first.validated
    refit_model = classifier if last.is_refit else None
    classifier, compressed = shrink(holdout_model, refit_model, run.texts, limit, run.callback_list)
    return classifier, compressed.classifier, compressed.validation


def _fit_to_size(run: TrainingRun, context: RunContext) -> Classifier:
    """Train on the training texts alone, and compress the model to a size."""
    first = run.fit_first()
    return make_classifiers(run, first, first.fitted, context)[0]
