"""From data to a trained, evaluated, saved classifier."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from token2wave.classifier import Classifier
from token2wave.compression.compressor import shrink
from token2wave.compression.size_limits import require_reachable
from token2wave.config import parse_size
from token2wave.data import DataOptions, TextDataset, load_splits
from token2wave.distillation.embedding_init import EncoderInit
from token2wave.errors import ConfigError
from token2wave.reporting.record import Origin, identity_of, plan_of, record_of, summary_of
from token2wave.reporting.report import check_report, write_report
from token2wave.storage.atomic import atomic_write, check_writable
from token2wave.storage.model_file import size_of_model_file
from token2wave.training.auto_settings import auto_settings
from token2wave.training.baseline import fit_baseline
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.checkpoint import Checkpoint
from token2wave.training.distributed import require_one_process, together
from token2wave.training.options import (
    collect_overrides,
    require_checkpoints,
    require_seed,
    require_trainable,
)
from token2wave.training.preparation import RECOGNISED, ClassWeights, EncodedTexts, in_memory, prepare
from token2wave.training.presets import Preset, preset_named
from token2wave.training.recipe import Recipe
from token2wave.training.result import Summary
from token2wave.training.run import TrainingRun
from token2wave.training.search_history import SearchHistory
from token2wave.training.streaming.stream_setup import open_stream, require_alone, require_streams, stream_run
from token2wave.tuning.budget import Budget, parse_seconds
from token2wave.tuning.tune import tune

if TYPE_CHECKING:
    from token2wave.distillation.unlabelled import Unlabelled


@dataclass(frozen=True)
class TrainingResult:
    """What :func:`train` gives.

    Attributes:
        classifier: the trained model, with the weights of the best epoch.
        summary: all figures of the run.
    """

    classifier: Classifier
    summary: Summary


@together
def train(
    data: str | os.PathLike[str] | TextDataset | Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] | None = None,
    test: str | os.PathLike[str] | None = None,
    preset: str = "small",
    operation: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int = 0,
    device: str = "auto",
    text_column: str = "text",
    label_column: str = "label",
    weight_column: str | None = None,
    class_weights: ClassWeights = None,
    multi_label: bool | None = None,
    label_separator: str | None = None,
    vocabulary: str | os.PathLike[str] | None = None,
    teacher: str | os.PathLike[str] | None = None,
    unlabelled: Unlabelled | None = None,
    init_from: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    baseline: bool = False,
    report: str | os.PathLike[str] | None = None,
    time_budget: float | str | None = None,
    candidates: int | None = None,
    max_size: int | str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    stream: bool = False,
    memory: int | str = "1GB",
    max_rejected: float = 0.01,
    callbacks: Sequence[Callback] = (),
    command: str | None = None,
) -> TrainingResult:
    """Train a text classifier.

    Args:
        data: a file, a folder with train and test files, or the name of a data set
            (:func:`token2wave.data.load_splits`); or texts in memory. A stream may also be a pattern, such as
            ``crawl/*.parquet``, any folder with all its files, or a list of these.
        out: where the model file goes; nowhere, if not given.
        test: data to evaluate on at the end, where ``data`` has none of its own, or instead of it.
        preset: ``small``, ``fast`` or ``paper``.
        operation: ``interference`` or ``modulation``; the preset's, if not given.
        epochs: passes over the training texts.
        batch_size: texts in a step.
        lr: peak rate of the dense part; the rows' rate changes in proportion.
        seed: of validation split, initial weights, order of texts and dropout.
        device: ``auto`` (the native core for what it can train, else CUDA where there is one), ``cpu`` or
            ``cuda``.
        text_column: column of the texts, in files with columns.
        label_column: column of the labels, in files with columns.
        weight_column: column that says how much each training text counts, if there is one.
        class_weights: ``balanced``, by which every class counts the same however rare, or the weight of each
            label, 1 where it is not named; by default every text counts the same. Where a text may have
            several labels, it is the weight of that label's decision in the texts that have it.
        multi_label: whether a text may have several labels, or none: each is then decided by itself. If None,
            it may where the data says so: by lists of labels, by several labels on a line of fastText.
        label_separator: what stands between the labels of a text in one string, as CSV has them; a text may
            then have several, or none.
        vocabulary: a WordPiece ``vocab.txt`` for the ``paper`` preset. If not given, that of
            ``bert-base-uncased`` in the folder that ``TOKEN2WAVE_DATA`` names is used, and where there is
            none, one is trained on the texts.
        teacher: whose probabilities to learn from beside the labels: an encoder of the BERT family,
            ``all-MiniLM-L6-v2``, a folder or a name on the Hugging Face hub, which is fine-tuned on the
            training rows; a folder with a classifier of ``transformers`` that is fine-tuned already; or a
            file of probabilities (:mod:`token2wave.distillation.probabilities`).
        unlabelled: text that the teacher alone labels: a readable file, a data set, or texts.
        init_from: an encoder, as for ``teacher``, whose output for each word the word's row begins with.
        settings: further settings by full name, e.g. ``{"network.width": 256}``.
        baseline: also train TF-IDF + LinearSVC on the same rows, for comparison.
        report: folder for ``report.json``, ``report.html`` and the figures.
        time_budget: search for better settings (:mod:`token2wave.tuning`), so that all takes about so long:
            seconds, or e.g. ``"60s"`` or ``"5min"``. Settings that are given here stay as they are. Ctrl-C
            ends the search, and what it found so far is trained.
        candidates: how many settings to try at most, those given here included; alone, it makes a search that
            does not depend on the time.
        max_size: most bytes of the model file, a number or e.g. ``"1MB"``; it is compressed to fit
            (:mod:`token2wave.compression`), and a search judges what the compressed file says.
        checkpoint: file that holds, after every epoch, all that is needed to go on from there
            (:mod:`token2wave.training.checkpoint`). It is removed when all is done.
        resume: go on from the checkpoint, if it is there; the model is the same, byte for byte, as if nothing
            had come between. Data, settings and seed must be the same.
        stream: read the data anew for each pass, instead of holding it in memory
            (:mod:`token2wave.training.streaming`).
        memory: what a stream's training may take, about, beside Python and its libraries: bytes, or e.g.
            ``"1GB"``.
        max_rejected: share of a stream's rows that may be unreadable; they are left out, and counted.
        callbacks: told how it goes.
        command: what the user typed, for the record.

    Raises:
        DataError: data that cannot be read or used.
        ConfigError: an illegal setting.
        OutputError: ``out`` or ``report`` cannot be written to; found out before training starts.
        CheckpointError: the checkpoint is damaged, of another run, or there and not to be gone on from.
        MissingExtraError: an optional package is needed and not installed.
    """
    start = time.perf_counter()
    named = preset_named(preset)
    overrides = collect_overrides(named, operation, epochs, batch_size, lr, settings or {})
    chosen = named.with_settings(overrides)
    require_trainable(chosen, device)
    seed = require_seed(seed)
    require_checkpoints(checkpoint, resume, out, searches=time_budget is not None or candidates is not None)
    budget = Budget(None if time_budget is None else parse_seconds(time_budget), candidates, start)
    limit = None if max_size is None else parse_size(max_size)
    if out is not None:
        check_writable(Path(out))
    if report is not None:
        check_report(Path(report))
    callback_list, baseline_figures, teacher_info = CallbackList(callbacks), None, dict[str, Any]()
    search: SearchHistory | None = None
    data_options = DataOptions(text_column, label_column, weight_column, multi_label, label_separator)
    if stream:
        require_one_process("training on a stream")
        require_alone(
            {
                "--baseline": baseline,
                "--time-budget": time_budget,
                "--candidates": candidates,
                "--teacher": teacher,
                "--unlabelled": unlabelled,
                "--init-from": init_from,
                "--vocabulary": vocabulary,
            }
        )
        require_streams(chosen, device)
        if isinstance(data, TextDataset):
            raise ConfigError("expected files, found texts in memory", location="stream", hint="leave it out")
        inputs, source = open_stream(data, test, data_options, seed)
        run: TrainingRun = stream_run(
            inputs,
            source,
            chosen,
            overrides,
            class_weights,
            memory=parse_size(memory, "memory"),
            most_rejected=max_rejected,
            callback_list=callback_list,
        )
        if limit is not None:
            require_reachable(limit, run.preset, run.texts.label_names)
    else:
        if not isinstance(data, str | os.PathLike | TextDataset):
            raise ConfigError(
                "several files are read as a stream alone", location="data", hint="ask for --stream"
            )
        splits = _read(data, data_options, test)

        def preset_with(changes: Mapping[str, Any]) -> Preset:
            """The preset with the user's settings and further ones; what is not set suits the data."""
            settings = {**overrides, **changes}
            return auto_settings(named.with_settings(settings), splits.train.texts, settings)

        chosen = preset_with({})
        texts = prepare(splits, chosen.recipe, seed, class_weights)
        baseline_figures = (
            fit_baseline(texts, splits.name, callback_list) if baseline else None
        )  # first, as it may lack a package
        if limit is not None:
            require_reachable(limit, chosen, texts.label_names)
        embedding_init = None if init_from is None else EncoderInit(os.fspath(init_from))
        run = TrainingRun(splits, texts, chosen, seed, device, callback_list, vocabulary, embedding_init)
        if time_budget is not None or candidates is not None:
            budget.exclude(0.0 if baseline_figures is None else baseline_figures["train_seconds"])
            fit_to_size = None
            if limit is not None:
                origin = Origin(class_weights=class_weights, max_bytes=limit)
                fit_to_size = partial(_fit_to_size, limit=limit, origin=origin)
            search = tune(run, overrides, preset_with, class_weights, budget, fit_to_size)
            chosen = preset_with(search.settings)
            texts = replace(texts, caveats=(*texts.caveats, *search.caveats()))
        texts, teacher_info = _taught(
            teacher, unlabelled, texts, splits, chosen.recipe, text_column, callbacks
        )
        run = replace(run, texts=texts, preset=chosen)
    if checkpoint is not None:
        run.checkpoint = Checkpoint.open(Path(checkpoint), identity_of(run, teacher_info), resume)
    with callback_list.run(plan_of(run, command)):
        first = run.fit_first()
        last = run.fit_all_rows(first)
        origin = Origin(
            weight_column=None if isinstance(data, TextDataset) else weight_column,
            label_separator=label_separator,
            class_weights=class_weights,
            teacher_info=teacher_info,
            search=search,
            baseline=baseline_figures,
            max_bytes=limit,
            command=command,
        )
        record = record_of(run, first, last, origin)
        classifier, apart = first.classifiers(last, run.texts.label_names, record)
        validated = first.validated
        if limit is not None and size_of_model_file(classifier.to_file()) > limit:
            refit = classifier if last.is_refit else None
            classifier, (apart, validated) = shrink(apart, refit, run.texts, limit, callback_list)
        evaluation = run.evaluate(classifier, apart)
        with ExitStack() as stack:  # the model takes its place last, when all else went well
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


def _fit_to_size(run: TrainingRun, limit: int, origin: Origin) -> Classifier:
    """Train on the training texts alone, and compress the model to a size."""
    first = run.fit_first()
    record = record_of(run, first, first.fitted, origin)
    classifier, apart = first.classifiers(first.fitted, run.texts.label_names, record)
    if size_of_model_file(classifier.to_file()) <= limit:
        return classifier
    return shrink(apart, None, run.texts, limit, run.callback_list)[0]


def _read(
    data: str | os.PathLike[str] | TextDataset,
    options: DataOptions,
    test: str | os.PathLike[str] | None,
) -> TextDataset:
    """Read data, or take what is in memory; what was recognised is said."""
    if isinstance(data, TextDataset):
        splits = in_memory(data, options.multi_label)
    else:
        splits = load_splits(data, options, test=test)
    if splits.multi_label and options.multi_label is None and options.label_separator is None:
        return replace(splits, caveats=(*splits.caveats, RECOGNISED))
    return splits


def _taught(
    teacher: str | os.PathLike[str] | None,
    unlabelled: Unlabelled | None,
    texts: EncodedTexts,
    splits: TextDataset,
    recipe: Recipe,
    text_column: str,
    callbacks: Sequence[Callback],
) -> tuple[EncodedTexts, dict[str, Any]]:
    """Let a teacher speak of the texts, if there is one; and what the model file says of it."""
    if teacher is not None:
        from token2wave.distillation.targets import (
            distillation_targets,  # here, since most runs have no teacher
        )

        return distillation_targets(
            teacher, unlabelled, texts, splits, recipe, text_column=text_column, callbacks=callbacks
        )
    if unlabelled is not None:
        raise ConfigError(
            "text without labels needs a teacher to label it",
            location="unlabelled",
            hint="name one with --teacher, e.g. all-MiniLM-L6-v2",
        )
    return texts, {}
