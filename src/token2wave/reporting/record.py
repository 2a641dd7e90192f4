"""Makes the records of a run: for its model file, its checkpoint and its summary."""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from token2wave.classifier import Classifier
from token2wave.core import n_threads
from token2wave.features import WordPieceConfig
from token2wave.metrics import EvaluatedText, Evaluation
from token2wave.options import DIALECT_OPTIONS, DataOptions, TrainOptions
from token2wave.process_memory import peak_memory
from token2wave.training.auto_settings import few_rows_of_many_classes
from token2wave.training.callbacks import RunPlan
from token2wave.training.cross_validation import Fold
from token2wave.training.distributed import traffic
from token2wave.training.label_cleaning import LabelCleaning
from token2wave.training.preparation import default_vocabulary
from token2wave.training.presets import Preset
from token2wave.training.result import Baseline, Summary, machine
from token2wave.training.run import FitResult, TrainingRun, ValidatedFit
from token2wave.training.search_history import SearchHistory
from token2wave.training.validation import Validation
from token2wave.versions import versions

RATES_TOO_LARGE = (
    "The loss stopped being a finite number, or grew beyond all measure: "
    "training was started again with rates divided by {:,.0f}."
)


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What the records of a run say beside what its steps know."""

    options: TrainOptions
    data_options: DataOptions
    command: str | None = None  # the command line, if there was one
    teacher_info: Mapping[str, Any] = field(default_factory=dict)  # what the model file records of a teacher
    search: SearchHistory | None = None
    folds: Sequence[Fold] | None = None  # of a cross-validation that you ask for
    cleaning: LabelCleaning | None = None  # once it is done


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """How good the model is: figures of rows that chose nothing; None if there are none.

    Attributes:
        evaluation: of the model.
        evaluated_texts: texts of each true and predicted label.
        majority: see :class:`Summary`, as the following.
        baseline: None also if it was not trained.
        cv: figures of a cross-validation.
        peak_memory_bytes: before the baseline was trained.
    """

    evaluation: Evaluation | None
    evaluated_texts: Sequence[EvaluatedText]
    majority: float | None
    baseline: Baseline | None
    cv: Mapping[str, Any] | None
    peak_memory_bytes: int | None


def make_record(
    run: TrainingRun, first: ValidatedFit, last: FitResult, context: RunContext
) -> dict[str, Any]:
    """Make the plain data of a model file, without times and the data's name: equal rows give equal files."""
    record = {
        "rows": run.n_rows,
        "preset": run.preset.name,
        "seed": run.seed,
        "recipe": run.preset.recipe.to_dict(),
        "history": [asdict(epoch) for epoch in first.fitted.history.epochs],
        "best_epoch": first.best.epoch,
        "refit": last.is_refit,
        "branch_weights": last.branch_weights,
        "linear_svm": last.svm_choice.settings._asdict(),
        "grades": last.grades is not None,
        "prior": None if run.prior is None else run.prior.language,
        **context.teacher_info,
        **run.facts(),
    }
    if run.embedding_init is not None:
        record["init_from"] = run.embedding_init.name
    if last.lr_factor < 1:
        record["lr_factor"] = last.lr_factor
    if run.is_weighted:
        record |= {"weighted": True, "weight_column": context.data_options.weight_column}
    if context.data_options.group_column is not None:
        record["group_column"] = context.data_options.group_column
    if run.texts.scale is not None:
        record["target"] = run.texts.scale.target
    elif run.texts.multi_label:
        record |= {
            "label_separator": context.data_options.label_separator,
        }
    for name in DIALECT_OPTIONS:
        if (value := getattr(context.data_options, name)) not in (None, "auto"):
            record[name] = value
    if context.data_options.normalise_labels:
        record["normalise_labels"] = True
    if run.splits.label_descriptions is not None:
        record["label_descriptions"] = len(run.splits.label_descriptions)
    weights = context.options.class_weights
    if weights is not None:
        record["class_weights"] = weights if isinstance(weights, str) else dict(weights)
    if context.search is not None:
        record["search"] = context.search.of_model()
    if context.cleaning is not None:
        record["label_cleaning"] = context.cleaning.to_dict()
    return record


def evaluation_record(evaluation: Evaluation | None, evaluated_on: str) -> dict[str, Any] | None:
    """Make the plain data of a model file about its evaluation; None if there was none."""
    if evaluation is None or evaluation.interval is None:
        return None
    measures = ["accuracy", "macro_f1"] + (["micro_f1"] if evaluation.micro_f1 is not None else [])
    scores = evaluation.scores
    if scores is not None and scores.spearman is not None:
        names = ["spearman", "mae", "rmse", "kappa"]
        return {
            "evaluated_on": evaluated_on,
            "rows": evaluation.rows,
            **{name: round(value, 6) for name in names if (value := getattr(scores, name)) is not None},
            "interval": [round(bound, 6) for bound in scores.intervals["spearman"]],
        }
    return {
        "evaluated_on": evaluated_on,
        "rows": evaluation.rows,
        **{measure: round(getattr(evaluation, measure), 6) for measure in measures},
        "interval": [round(bound, 6) for bound in evaluation.interval],
    }


def make_plan(run: TrainingRun, command: str | None) -> RunPlan:
    """Describe a run before it begins, once its data and settings are known."""
    texts, preset = run.texts, run.preset
    return RunPlan(
        data=run.splits.name,
        preset=preset.name,
        seed=run.seed,
        rows=run.n_rows,
        train_rows=run.n_train_rows,
        validation_rows=0 if texts.learns_from_validation else len(texts.validation),
        test_rows=None if texts.test is None else len(texts.test),
        label_names=texts.class_names,
        settings={
            f"{group}.{key}": value
            for group, values in _settings_of(preset).items()
            for key, value in values.items()
        },
        command=command,
    )


def _settings_of(preset: Preset) -> dict[str, dict[str, Any]]:
    return {
        "features": preset.features.to_dict(),
        "network": dict(preset.network),
        "recipe": preset.recipe.to_dict(),
    }


def make_identity(run: TrainingRun, context: RunContext) -> dict[str, Any]:
    """List all that the weights of a run depend on, for its checkpoint, as plain data for JSON."""
    preset, texts = run.preset, run.texts
    positive = texts.train.positive_weights
    vocabulary = run.vocabulary
    if vocabulary is None and isinstance(preset.features, WordPieceConfig):
        vocabulary = default_vocabulary()
    return {
        "version": versions()["token2wave"],
        "rows": run.n_rows,
        "labels": list(texts.label_names),
        "target": "label" if texts.scale is None else texts.scale.target,
        "class weights": None if positive is None else positive.tolist(),
        **_settings_of(preset),
        "seed": run.seed,
        "trained by": run.trained_by,
        "prior": None if run.prior is None else run.prior.language,
        "init from": None if run.embedding_init is None else run.embedding_init.name,
        "vocabulary": None if vocabulary is None else zlib.crc32(Path(vocabulary).read_bytes()),
        "teacher": dict(context.teacher_info),
        "label cleaning": context.options.label_cleaning,
        "texts and labels": run.checksums(),
    }


def make_summary(
    run: TrainingRun,
    first: ValidatedFit,
    last: FitResult,
    context: RunContext,
    classifier: Classifier,
    validated: Validation,
    measurement: Measurement,
    model_bytes: int | None,
    start: float,
) -> Summary:
    """Collect all figures of a run, which began at ``start`` by ``time.perf_counter``.

    ``last`` is the fit on all rows if there was one, or else the first.
    """
    texts, recipe, evaluation = run.texts, run.preset.recipe, measurement.evaluation
    parameters, sent = classifier.network.parameter_count(), traffic()
    caveats = texts.caveats + few_rows_of_many_classes(run.preset, len(texts.label_names), run.n_rows)
    if last.lr_factor < 1:
        caveats = (*caveats, RATES_TOO_LARGE.format(1 / last.lr_factor))
    if context.cleaning is not None:
        caveats = (*caveats, context.cleaning.caveat())
    plan = {**vars(make_plan(run, context.command))}
    del plan["settings"]  # here they include what the data decided
    return Summary(
        **plan,
        accuracy=None if evaluation is None else evaluation.accuracy,
        macro_f1=None if evaluation is None else evaluation.macro_f1,
        validation_accuracy=validated.accuracy,
        micro_f1=None if evaluation is None else evaluation.micro_f1,
        validation_micro_f1=validated.micro_f1 if texts.multi_label and texts.scale is None else None,
        train_seconds=last.train_seconds,
        total_seconds=time.perf_counter() - start,
        texts_per_second=first.fitted.history.texts_per_second,
        peak_memory_bytes=measurement.peak_memory_bytes,
        parameters=parameters.total,
        parameters_without_embedding=parameters.without_embedding,
        model_bytes=model_bytes,
        operation=last.network.config.operation,
        epochs=recipe.epochs,
        caveats=caveats,
        best_epoch=first.best.epoch,
        refit=last.is_refit,
        history=tuple(first.fitted.history.epochs),
        evaluation=evaluation,
        evaluated_on=None if evaluation is None else run.evaluated_on,
        evaluated_texts=measurement.evaluated_texts,
        majority=measurement.majority,
        baseline=measurement.baseline,
        cv=measurement.cv,
        settings={
            "features": {"kind": classifier.features.type_name, **classifier.features.config.to_dict()},
            "network": classifier.network.config.to_dict(),
            "recipe": recipe.to_dict(),
        },
        versions=versions(),
        machine=machine(n_threads(), run.computed_on),
        max_bytes=context.options.max_bytes,
        prior=None if run.prior is None else run.prior.language,
        search=None if context.search is None else context.search.to_dict(),
        label_cleaning=None if context.cleaning is None else context.cleaning.to_dict(),
        traffic=None if sent is None else sent.per_step(),
    )


def peak_memory_of(device: str) -> int | None:
    """Most memory in use so far, in bytes: of the GPU if one computes, else of this process."""
    if device != "cuda":
        return peak_memory()
    import torch

    return torch.cuda.max_memory_allocated()
