"""From data to a trained, evaluated, saved classifier: the steps of ``train``, in order."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from token2wave.classifier import Classifier
from token2wave.compression.compressor import shrink
from token2wave.compression.size_limits import require_reachable
from token2wave.config import accept_options, parse_size
from token2wave.data import DataOptions, TextDataset, load_splits
from token2wave.distillation.embedding_init import EncoderInit
from token2wave.errors import ConfigError
from token2wave.options import TrainOptions
from token2wave.reporting.record import Origin, identity_of, plan_of, record_of, summary_of
from token2wave.reporting.report import check_report, write_report
from token2wave.storage.atomic import atomic_write, check_writable
from token2wave.storage.model_file import size_of_model_file
from token2wave.training.auto_settings import auto_settings
from token2wave.training.baseline import fit_baseline
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.checkpoint import Checkpoint, require_free_path
from token2wave.training.distributed import require_one_process, together
from token2wave.training.preparation import RECOGNISED, EncodedTexts, in_memory, prepare
from token2wave.training.presets import Preset, overrides_of, preset_named
from token2wave.training.recipe import Recipe
from token2wave.training.requirements import require_trainable
from token2wave.training.result import Baseline, TrainingResult
from token2wave.training.run import TrainingRun
from token2wave.training.search_history import SearchHistory
from token2wave.training.streaming.stream_run import open_stream, prepare_stream_run, require_streams
from token2wave.tuning.budget import Budget, parse_seconds
from token2wave.tuning.tune import tune

Data = str | os.PathLike[str] | TextDataset | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class _PreparedRun:
    """A run that is ready to train, and where its texts and settings come from.

    Attributes:
        run: the steps of training.
        teacher_info: what the model file records of a teacher.
        search: the settings search, if there was one.
        baseline: figures of the baseline, if it was trained.
    """

    run: TrainingRun
    teacher_info: Mapping[str, Any] = field(default_factory=dict)
    search: SearchHistory | None = None
    baseline: Baseline | None = None


@together
@accept_options(options=TrainOptions, data_options=DataOptions)
def train(
    data: Data,
    *,
    options: TrainOptions,
    data_options: DataOptions,
    callbacks: Sequence[Callback] = (),
    command: str | None = None,
) -> TrainingResult:
    """Train a text classifier.

    You give the fields of `TrainOptions` and `DataOptions` as keyword arguments.

    Args:
        data: a file, a folder with train and test files, the name of a data set
            (:func:`token2wave.data.load_splits`), or texts in memory; with ``stream`` also a pattern or list.
        options: how to train (:class:`token2wave.TrainOptions`).
        data_options: how to read the data (:class:`token2wave.DataOptions`).
        callbacks: called as training goes on.
        command: the command line, for the record.

    Raises:
        DataError: the data cannot be read or used.
        ConfigError: a setting is illegal.
        OutputError: ``out`` or ``report`` cannot be written to. This is checked before training starts.
        CheckpointError: the checkpoint is damaged, belongs to another run, or must not be resumed.
        MissingExtraError: an optional package is needed and not installed.
    """
    start, callback_list = time.perf_counter(), CallbackList(callbacks)
    preset = preset_named(options.preset).with_settings(overrides_of(options))
    require_trainable(preset, options.device)
    if options.checkpoint is not None:
        require_free_path(Path(options.checkpoint), options.resume)
    limit, out, report = options.max_bytes, options.out, options.report
    budget = Budget(
        None if options.time_budget is None else parse_seconds(options.time_budget), options.candidates, start
    )
    if out is not None:
        check_writable(Path(out))
    if report is not None:
        check_report(Path(report))
    if options.stream:
        prepared = _prepare_stream(data, preset, options, data_options, callback_list)
    else:
        prepared = _prepare(data, options, data_options, budget, callback_list)
    run = prepared.run
    if options.checkpoint is not None:
        identity = identity_of(run, prepared.teacher_info)
        run.checkpoint = Checkpoint.open(Path(options.checkpoint), identity, options.resume)
    with callback_list.run(plan_of(run, command)):
        first = run.fit_first()
        last = run.fit_all_rows(first)
        origin = Origin(
            weight_column=None if isinstance(data, TextDataset) else data_options.weight_column,
            label_separator=data_options.label_separator,
            class_weights=options.class_weights,
            teacher_info=prepared.teacher_info,
            search=prepared.search,
            baseline=prepared.baseline,
            max_bytes=limit,
            command=command,
        )
        record = record_of(run, first, last, origin)
        # The holdout model has not seen the validation texts, so they can judge it.
        classifier, holdout_model = first.classifiers(last, run.texts.label_names, record)
        validated = first.validated
        if limit is not None and size_of_model_file(classifier.to_file()) > limit:
            refit = classifier if last.is_refit else None
            classifier, (holdout_model, validated) = shrink(
                holdout_model, refit, run.texts, limit, callback_list
            )
        evaluation = run.evaluate(classifier, holdout_model)
        with ExitStack() as stack:  # the model file appears last, when everything else went well
            model_bytes = None
            if out is not None:
                model_bytes = classifier.save(stack.enter_context(atomic_write(Path(out))))
            summary = summary_of(
                run,
                first,
                last,
                origin,
                classifier,
                validated,
                evaluation,
                model_bytes=model_bytes,
                start=start,
            )
            written = [] if report is None else write_report(summary, Path(report))
    if run.checkpoint is not None:
        run.checkpoint.remove()
    callback_list.end(summary, [*([] if out is None else [Path(out)]), *written])
    return TrainingResult(classifier, summary)


def _prepare(
    data: Data, options: TrainOptions, data_options: DataOptions, budget: Budget, callback_list: CallbackList
) -> _PreparedRun:
    """Read the data, choose the settings, and encode the texts."""
    if not isinstance(data, str | os.PathLike | TextDataset):
        raise ConfigError("several files are only read as a stream", location="data", hint="add --stream")
    splits = _read(data, data_options, options.test)
    overrides, limit = overrides_of(options), options.max_bytes

    def preset_with(changes: Mapping[str, Any]) -> Preset:
        """The preset with your settings and further ones; the data decides the rest."""
        settings = {**overrides, **changes}
        preset = preset_named(options.preset).with_settings(settings)
        return auto_settings(preset, splits.train.texts, settings)

    preset = preset_with({})
    texts = prepare(splits, preset.recipe, options.seed, options.class_weights)
    # The baseline comes first, as its package may be missing.
    baseline = fit_baseline(texts, splits.name, callback_list) if options.baseline else None
    if limit is not None:
        require_reachable(limit, preset, texts.label_names)
    embedding_init = None if options.init_from is None else EncoderInit(os.fspath(options.init_from))
    run = TrainingRun(
        splits, texts, preset, options.seed, options.device, callback_list, options.vocabulary, embedding_init
    )
    search: SearchHistory | None = None
    if options.searches:
        budget.exclude(0.0 if baseline is None else baseline["train_seconds"])
        fit_to_size = None
        if limit is not None:
            origin = Origin(class_weights=options.class_weights, max_bytes=limit)
            fit_to_size = partial(_fit_to_size, limit=limit, origin=origin)
        search = tune(run, overrides, preset_with, options.class_weights, budget, fit_to_size)
        preset = preset_with(search.settings)
        texts = replace(texts, caveats=(*texts.caveats, *search.caveats()))
    texts, teacher_info = _add_teacher(
        options, texts, splits, preset.recipe, data_options.text_column, callback_list
    )
    return _PreparedRun(replace(run, texts=texts, preset=preset), teacher_info, search, baseline)


def _prepare_stream(
    data: Data,
    preset: Preset,
    options: TrainOptions,
    data_options: DataOptions,
    callback_list: CallbackList,
) -> _PreparedRun:
    """Make a first pass over a stream, which counts labels and words."""
    require_one_process("training on a stream")
    require_streams(preset, options.device)
    if isinstance(data, TextDataset):
        raise ConfigError("expected files, found texts in memory", location="stream", hint="leave it out")
    inputs, source = open_stream(data, options.test, data_options, options.seed)
    run = prepare_stream_run(
        inputs,
        source,
        preset,
        overrides_of(options),
        options.class_weights,
        memory=parse_size(options.memory, "memory"),
        max_rejected=options.max_rejected,
        callback_list=callback_list,
    )
    if options.max_bytes is not None:
        require_reachable(options.max_bytes, run.preset, run.texts.label_names)
    return _PreparedRun(run)


def _fit_to_size(run: TrainingRun, limit: int, origin: Origin) -> Classifier:
    """Train on the training texts alone, and compress the model to a size."""
    first = run.fit_first()
    record = record_of(run, first, first.fitted, origin)
    classifier, holdout_model = first.classifiers(first.fitted, run.texts.label_names, record)
    if size_of_model_file(classifier.to_file()) <= limit:
        return classifier
    return shrink(holdout_model, None, run.texts, limit, run.callback_list)[0]


def _read(
    data: str | os.PathLike[str] | TextDataset,
    options: DataOptions,
    test: str | os.PathLike[str] | None,
) -> TextDataset:
    """Read the data, or take it from memory; a caveat says when several labels were recognised."""
    if isinstance(data, TextDataset):
        splits = in_memory(data, options.multi_label)
    else:
        splits = load_splits(data, options, test=test)
    if splits.multi_label and options.multi_label is None and options.label_separator is None:
        return replace(splits, caveats=(*splits.caveats, RECOGNISED))
    return splits


def _add_teacher(
    options: TrainOptions,
    texts: EncodedTexts,
    splits: TextDataset,
    recipe: Recipe,
    text_column: str,
    callback_list: CallbackList,
) -> tuple[EncodedTexts, Mapping[str, Any]]:
    """Add a teacher's probabilities to the texts, if there is a teacher, and say so for the model file."""
    if options.teacher is not None:
        from token2wave.distillation.targets import (
            distillation_targets,  # here, since few runs have a teacher
        )

        return distillation_targets(
            options.teacher,
            options.unlabelled,
            texts,
            splits,
            recipe,
            text_column=text_column,
            callbacks=callback_list.callbacks,
        )
    if options.unlabelled is not None:
        raise ConfigError(
            "text without labels needs a teacher to label it",
            location="unlabelled",
            hint="name one with --teacher, e.g. all-MiniLM-L6-v2",
        )
    return texts, {}
