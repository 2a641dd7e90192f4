"""From data to a trained, evaluated, saved classifier: the steps of ``train``, in order."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from token2wave.classifier import Classifier
from token2wave.compression.compressor import require_reachable
from token2wave.config import accept_options, parse_size
from token2wave.data import DataOptions, TextDataset, TextSplit, load_split, load_splits
from token2wave.data.bad_rows import MAX_BAD_FRACTION, check_bad_rows, write_bad_rows
from token2wave.data.datasets import possible_paths
from token2wave.data.label_descriptions import read_descriptions
from token2wave.data.labels import data_notes
from token2wave.data.sources import is_name, names_files
from token2wave.errors import ConfigError, DataError
from token2wave.formatting import Described, count, duration, join_classes, size
from token2wave.metrics import majority_score
from token2wave.options import LABEL, LABEL_CLEANINGS, TrainOptions
from token2wave.reporting.record import (
    Measurement,
    RunContext,
    evaluation_record,
    make_identity,
    make_plan,
    make_summary,
    peak_memory_of,
)
from token2wave.reporting.report import check_report, write_report
from token2wave.reporting.summary import headline
from token2wave.run_cross_validation import cross_validate
from token2wave.run_steps import fit_run, make_classifiers, prepare_run
from token2wave.storage.atomic import atomic_write, private_files
from token2wave.storage.outputs import Outputs
from token2wave.training.baseline import costs_less_than, fit_baseline, require_baseline
from token2wave.training.callbacks import WRITING, Callback, CallbackList
from token2wave.training.checkpoint import Checkpoint, require_free_path
from token2wave.training.distributed import is_distributed, rank, require_one_process, run_distributed
from token2wave.training.preparation import RECOGNISED, default_vocabulary
from token2wave.training.presets import Preset, overrides_of, preset_of
from token2wave.training.requirements import require_trainable
from token2wave.training.result import Summary
from token2wave.training.run import FitResult, TrainingRun
from token2wave.training.score_targets import grade_notes, to_decisions
from token2wave.training.streaming.stream_run import prepare_stream_run
from token2wave.training.streaming.stream_source import open_stream
from token2wave.tuning.budget import Budget, parse_seconds

RESULTS = logging.getLogger("token2wave.results")


@dataclass(frozen=True, repr=False)
class TrainingResult(Described):
    """The result of :func:`token2wave.train`: the trained classifier, and all figures of the run."""

    classifier: Classifier
    summary: Summary

    @property
    def accuracy(self) -> float:
        """Fraction of rows that were right, of rows that chose nothing; NaN if there are none.

        If a text may have several labels, all of them must be right.
        """
        return math.nan if self.summary.accuracy is None else self.summary.accuracy

    @property
    def headline(self) -> str:
        """A sentence that says how good the model is, and on how many rows."""
        return headline(self.summary)

    def _describe(self) -> tuple[str, dict[str, str]]:
        summary = self.summary
        written = "" if summary.model_bytes is None else f", model file {size(summary.model_bytes)}"
        return self.headline, {
            "classes": join_classes(summary.label_names),
            "size": f"{count(summary.parameters)} parameters{written}",
            "time": f"{duration(summary.total_seconds)} for {count(summary.rows)} rows",
            **({"notes": " ".join(summary.caveats)} if summary.caveats else {}),
        }


@accept_options(options=TrainOptions, data_options=DataOptions)
@run_distributed
def train(
    data: Any = None,
    labels: Any = None,
    *,
    options: TrainOptions,
    data_options: DataOptions,
    callbacks: Sequence[Callback] = (),
    command: str | None = None,
) -> TrainingResult:
    """Train a text classifier.

    Args:
        data: a file, a folder with train and test files, or the name of a data set; texts, with ``labels``;
            a frame, pairs of text and label, or dictionaries; with ``stream`` also a pattern or files.
        labels: the label, or the list of labels, of each text, if ``data`` is texts.
        options: how to train. You give its fields as keyword arguments.
        data_options: how to read the data, likewise.
        callbacks: called as training goes on.
        command: the command line, for the record.

    Raises:
        DataError: the data cannot be read or used.
        ConfigError: a setting is illegal.
        OutputError: an output cannot be written, or would replace another file.
        CheckpointError: the checkpoint is damaged, or of another run.
        MissingExtraError: an optional package is needed and not installed.
    """
    start = time.perf_counter()
    callback_list = CallbackList(callbacks) if rank() else CallbackList.with_logging(callbacks)
    data_options = data_options.for_pairs(options.pair)
    context = RunContext(options=options, data_options=data_options, command=command)
    preset = preset_of(options, data_options.pair, overrides_of(options))
    if options.target != LABEL:
        for name in ("multi_label", "label_separator"):
            if getattr(data_options, name):
                problem = "a text has one score, and cannot have several labels"
                raise ConfigError(problem, location=name, hint="leave it out, or train on labels")
    if options.stream:
        require_one_process("training on a stream")
        if data_options.group_column is not None:
            problem = "a stream draws validation rows one by one and cannot keep groups together"
            raise ConfigError(
                problem, location="group_column", hint="leave it out, or train without a stream"
            )
        if data_options.bad_rows is not None:
            problem = "a stream counts the rows that it leaves out, and does not list them"
            raise ConfigError(problem, location="bad_rows", hint="leave it out, or train without a stream")
    if options.cv is not None:
        require_one_process("a cross-validation")
    if options.label_cleaning is not None:
        require_one_process("training on cleaned labels")
    require_trainable(preset, options.device, options.stream)
    if options.baseline:
        require_baseline()
    out = None if options.out is None else Path(options.out)
    report = None if options.report is None else Path(options.report)
    checkpoint = None if options.checkpoint is None else Path(options.checkpoint)
    outputs = _check_outputs(data, labels, options)
    check_bad_rows(data_options, outputs)
    time_budget = None if options.time_budget is None else parse_seconds(options.time_budget)
    budget = Budget(time_budget, options.candidates, start)
    with private_files(outputs.is_private):
        if options.stream:
            run = _prepare_stream(data, preset, options, data_options, callback_list)
        else:
            splits = _read(data, labels, context)
            write_bad_rows(data_options, splits.bad_rows, outputs)
            run, context = prepare_run(splits, context, budget, callback_list)
        if checkpoint is not None:
            run.checkpoint = Checkpoint.open(checkpoint, make_identity(run, context), options.resume)
        with callback_list.run(make_plan(run, command)):
            learnt, first, last, context = fit_run(run, context)
            classifier, holdout_model, validated = make_classifiers(learnt, first, last, context)
            last = cross_validate(run, last, context)
            measured = _measure(run, last, classifier, holdout_model, options)
            classifier.training["evaluation"] = evaluation_record(measured.evaluation, run.evaluated_on)
            callback_list.stage(WRITING, 0)
            with ExitStack() as stack:  # the model file appears last, when everything else went well
                model_bytes = None
                if out is not None:
                    model_bytes = classifier.save(stack.enter_context(atomic_write(out)))
                summary = make_summary(
                    run, first, last, context, classifier, validated, measured, model_bytes, start
                )
                written = [] if report is None else write_report(summary, report, options.figures)
    if run.checkpoint is not None:
        run.checkpoint.remove()
    callback_list.end(summary, [*([] if out is None else [out]), *written])
    if not rank():
        for caveat in summary.caveats:
            RESULTS.info("Note: %s", caveat)
        RESULTS.info("%s", headline(summary))
    return TrainingResult(classifier, summary)


def _check_outputs(data: Any, labels: Any, options: TrainOptions) -> Outputs:
    """Check where a run writes, before any work."""
    names = data if labels is None and names_files(data) else [data]
    inputs = [
        *possible_paths(*names, options.test, options.validation, options.unlabelled),
        *possible_paths(options.label_descriptions),
        *(options.teacher, options.init_from, options.vocabulary or default_vocabulary()),
    ]
    outputs = Outputs(inputs, overwrite=options.overwrite, recursive=options.stream)
    if options.checkpoint is not None:
        outputs.check_file(options.checkpoint, "checkpoint")
        require_free_path(Path(options.checkpoint), options.resume)
    if options.out is not None:
        outputs.check_file(options.out, "model file")
    if options.report is not None:
        with private_files(outputs.is_private):
            check_report(Path(options.report), outputs, options.figures)
    return outputs


def _prepare_stream(
    data: Any,
    preset: Preset,
    options: TrainOptions,
    data_options: DataOptions,
    callback_list: CallbackList,
) -> TrainingRun:
    """Make a first pass over a stream, which counts labels and words."""
    if not (is_name(data) or names_files(data)):
        raise ConfigError("expected files, found texts in memory", location="stream", hint="leave it out")
    run = prepare_stream_run(
        open_stream(data, options.test, data_options, options.seed, options.validation),
        preset,
        overrides_of(options),
        options.class_weights,
        memory=parse_size(options.memory, "memory"),
        max_rejected=MAX_BAD_FRACTION if data_options.skip_bad_rows else options.max_rejected,
        callback_list=callback_list,
    )
    if options.max_bytes is not None:
        require_reachable(options.max_bytes, run.preset, run.texts.label_names)
    return replace(run, uses_prior=options.prior)


def _measure(
    run: TrainingRun,
    last: FitResult,
    classifier: Classifier,
    holdout_model: Classifier,
    options: TrainOptions,
) -> Measurement:
    """Evaluate, and compare with the most frequent class and a baseline of the same rows."""
    evaluation, texts = run.evaluate(last, classifier, holdout_model, explains=options.report is not None)
    pairs = run.evaluated_pairs(last)
    majority = baseline = None
    peak_memory_bytes = peak_memory_of(run.computed_on)
    if pairs and run.texts.scale is None:
        truth = np.concatenate([rows.labels for _, rows in pairs])
        majority = majority_score(pairs[0][0].labels if len(pairs) == 1 else truth, truth)
        wants_baseline = options.baseline
        if wants_baseline is None:
            wants_baseline = run.stream is None and not is_distributed()
        if wants_baseline:
            run.callback_list.stage("baseline", 0)
        if wants_baseline and (options.baseline or costs_less_than(last.train_seconds, pairs)):
            try:
                baseline = fit_baseline(pairs, run.texts.label_names)
            except DataError:  # e.g. a fold without words
                if options.baseline:
                    raise
    cross_validation = last.cross_validation
    if options.cv is None and run.evaluated_on != "cross-validation":
        cross_validation = None
    return Measurement(
        evaluation=evaluation,
        cv=None if cross_validation is None else cross_validation.figures(run.texts.all_rows.labels),
        evaluated_texts=texts,
        majority=majority,
        baseline=baseline,
        peak_memory_bytes=peak_memory_bytes,
    )


def _read(data: Any, labels: Any, context: RunContext) -> TextDataset:
    """Read the data, from a file or from memory; a caveat says when several labels were recognised."""
    options, tests = context.data_options, context.options
    if labels is None and names_files(data):
        hint = "add --stream (stream=True), or join them into one"
        raise ConfigError("several files are only read as a stream", location="data", hint=hint)
    if data is None and tests.label_descriptions is not None:
        splits = _without_rows(tests, options)
    else:
        splits = load_splits(
            data,
            options,
            labels=labels,
            test=tests.test,
            validation=tests.validation,
            as_numbers=tests.target != LABEL,
        )
    if tests.label_descriptions is not None:
        splits = replace(splits, label_descriptions=read_descriptions(tests.label_descriptions))
    if tests.target != LABEL:
        return to_decisions(splits, tests.target)
    notes = data_notes(splits.train.texts, splits.train.label_sets, splits.train.source)
    if splits.label_names is None:
        notes += grade_notes(splits.train.label_sets)
    if splits.test is not None and splits.label_names is None:
        classes = {label for labels in splits.train.label_sets for label in labels}
        test_split = splits.test.for_classes((*classes, *(splits.label_descriptions or ())))
        notes += test_split.unknown_label_notes()
        splits = replace(splits, test=test_split)
    splits = replace(splits, caveats=(*splits.caveats, *notes))
    if splits.multi_label and options.multi_label is None and options.label_separator is None:
        return replace(splits, caveats=(*splits.caveats, RECOGNISED))
    return splits


def _without_rows(options: TrainOptions, data_options: DataOptions) -> TextDataset:
    """Make a data set without training rows, for labels that have descriptions.

    Raises:
        ConfigError: an option needs rows.
    """
    for name in ("cv", "teacher", "time_budget", "candidates", *LABEL_CLEANINGS):
        if getattr(options, name):
            problem = "needs rows, found only descriptions of labels"
            raise ConfigError(problem, location=name, hint="name labelled data, or leave it out")
    validation, test = (
        None if data is None else load_split(data, split, data_options)
        for split, data in (("validation", options.validation), ("test", options.test))
    )
    source = "label descriptions"
    return TextDataset(source, TextSplit([], [], source), validation, test)
