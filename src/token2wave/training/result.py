"""All figures of a training run, as plain data."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from token2wave.formatting import Described, count, percent

CPUINFO = Path("/proc/cpuinfo")


class Baseline(TypedDict):
    """Figures of another classifier, trained and evaluated on the same rows."""

    name: str
    accuracy: float
    macro_f1: float
    micro_f1: NotRequired[float]
    train_seconds: float


class Machine(TypedDict):
    """The machine of a run."""

    processor: str
    threads: int
    platform: str
    device: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Summary(Described):
    """Everything a training run reports.

    Attributes:
        accuracy: on rows that chose nothing, which ``evaluated_on`` names; None if there are none. For
            multi-label texts the fraction of texts whose labels are right and complete.
        macro_f1: on these rows.
        micro_f1: on these rows, for multi-label texts; else None.
        validation_accuracy: of the best epoch's weights with calibrated branches, on validation rows.
        validation_micro_f1: of these weights with thresholds of a half, for multi-label texts; else None.
        train_seconds: wall time of the training loop, validation included.
        total_seconds: wall time of the command.
        texts_per_second: training texts over the wall time of training steps alone.
        peak_memory_bytes: most memory the process held; None if unknown.
        parameters: number of trained numbers.
        parameters_without_embedding: those outside the embedding.
        model_bytes: size of the model file; None if none was written.
        preset: name of the preset.
        operation: the wave operation, e.g. ``modulation``.
        epochs: the setting; ``history`` has those that ran.
        seed: of every random choice.
        rows: training texts before the validation split.
        data: name of the data set.
        caveats: sentences to print beside the figures.
        train_rows: texts trained on.
        validation_rows: texts held out to choose the epoch; 0 if there are too few rows, so that the training
            texts choose it.
        test_rows: texts of the test set; None without one.
        best_epoch: the epoch whose weights the model has.
        refit: whether the model was then trained again, for as many epochs, on all ``rows``.
        history: one `Epoch` a pass; a dictionary, so that a report's JSON makes a summary again.
        evaluation: `Evaluation` on the texts that ``evaluated_on`` names, or None; a dictionary.
        evaluated_on: ``test``; without a test set ``held-out``, rows that a model without them was evaluated
            on, or ``cross-validation``, all of few rows, each evaluated by a model without it; or None.
        label_names: the classes, in order.
        prior: code of the language prior's language, such as ``en``; None if the model starts without it.
        majority: what predicting the most frequent class of training gives on the same texts: the accuracy,
            for multi-label texts micro-F1 of the most frequent classes; None without an evaluation.
        baseline: another classifier, trained and evaluated on the same rows; None if there was none.
        cv: figures of the cross-validation, if there was one
            (:meth:`token2wave.training.cross_validation.CrossValidation.figures`).
        settings: of features, network and recipe.
        versions: of the packages that computed this.
        machine: that computed this.
        command: the command line, if there was one.
        max_bytes: the size limit of the model file, if there was one.
        search: the settings search (`SearchHistory`), if there was one; a dictionary.
        label_cleaning: what was done about labels that look wrong
            (:class:`token2wave.training.label_cleaning.LabelCleaning`), if you asked for it; a dictionary.
        evaluated_texts: `EvaluatedText` of each true and predicted label, on the rows of ``evaluation``;
            dictionaries. Only the report shows them: they hold texts.
        traffic: mean bytes that each of several training processes sent in a step: ``row_bytes`` for the
            gradients of ``rows`` of the embedding, ``dense_bytes`` for all others; and ``processes``.
    """

    accuracy: float | None
    macro_f1: float | None
    validation_accuracy: float | None
    train_seconds: float
    total_seconds: float
    texts_per_second: float
    peak_memory_bytes: int | None
    parameters: int
    parameters_without_embedding: int
    model_bytes: int | None
    preset: str
    operation: str
    epochs: int
    seed: int
    rows: int
    data: str
    caveats: Sequence[str]
    train_rows: int
    validation_rows: int
    test_rows: int | None
    best_epoch: int | None
    refit: bool = False
    history: Sequence[Any]
    evaluation: Any
    evaluated_on: str | None
    label_names: Sequence[str]
    baseline: Baseline | None
    settings: Mapping[str, Mapping[str, Any]]
    versions: Mapping[str, str]
    machine: Machine
    command: str | None
    majority: float | None = None
    cv: Mapping[str, Any] | None = None
    micro_f1: float | None = None
    validation_micro_f1: float | None = None
    max_bytes: int | None = None
    prior: str | None = None
    search: Mapping[str, Any] | None = None
    label_cleaning: Mapping[str, Any] | None = None
    traffic: Mapping[str, float] | None = None
    evaluated_texts: Sequence[Any] = ()

    def __post_init__(self) -> None:
        for name in ("history", "evaluated_texts"):
            object.__setattr__(self, name, tuple(map(_dictionary, getattr(self, name))))
        object.__setattr__(self, "evaluation", _dictionary(self.evaluation))

    def _describe(self) -> tuple[str, dict[str, str]]:
        rows = f"{count(self.rows)} rows, {len(self.label_names)} classes"
        return f"training on {self.data}, {rows}", {
            name: percent(getattr(self, measure)) for name, measure in self.measures
        }

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels, or none."""
        return self.validation_micro_f1 is not None

    @property
    def measures(self) -> list[tuple[str, str]]:
        """Names of the measures, the most important first, and the fields that hold them."""
        if self.evaluation is not None and self.evaluation["scores"] is not None:
            return []  # they are no fractions: see the scores of the evaluation
        if not self.multi_label:
            return [("Accuracy", "accuracy"), ("Macro-F1", "macro_f1")]
        return [("Micro-F1", "micro_f1"), ("Macro-F1", "macro_f1"), ("Exact match", "accuracy")]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold, without texts; a number that is not finite becomes None."""
        names = [field.name for field in fields(self) if field.name != "evaluated_texts"]
        return {name: _plain(getattr(self, name)) for name in names}


def machine(threads: int, device: str) -> Machine:
    """Describe this machine, with the number of threads and the device that torch uses."""
    system = platform.platform()
    return {"processor": _processor(), "threads": threads, "platform": system, "device": device}


def _processor() -> str:
    """Model name of the processor; its architecture if the system does not say."""
    try:
        for line in CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"


def _dictionary(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, np.generic):
        return _plain(value.item())
    return value if value is None or isinstance(value, str | int | float) else str(value)
