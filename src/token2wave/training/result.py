"""What a training run returns: its figures as plain data."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from token2wave.classifier import Classifier

CPUINFO = Path("/proc/cpuinfo")


class Baseline(TypedDict):
    """Figures of another classifier on the same test set."""

    name: str
    accuracy: float
    macro_f1: float
    micro_f1: NotRequired[float]
    train_seconds: float


class Settings(TypedDict):
    """What was asked for."""

    features: dict[str, Any]
    network: dict[str, Any]
    recipe: dict[str, Any]


class Machine(TypedDict):
    """Where a run took place."""

    processor: str
    threads: int
    platform: str
    device: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Everything a training run reports.

    Attributes:
        accuracy: on the test set; None without one. Where a text may have several labels, the share of texts
            whose labels are right and complete.
        macro_f1: on the test set; None without one.
        micro_f1: on the test set, where a text may have several labels; else None.
        validation_accuracy: of the weights that were kept, once its levels are weighed.
        validation_micro_f1: of these weights, with thresholds of a half, where a text may have several
            labels; else None.
        train_seconds: wall time of the training loop, validation included.
        total_seconds: wall time of the command.
        texts_per_second: training texts over the wall time of training steps alone.
        peak_memory_bytes: most memory the process held; None if unknown.
        parameters: trained numbers.
        parameters_without_embedding: those outside the embedding table.
        model_bytes: size of the model file; None if none was written.
        preset: name of the preset the settings started from.
        operation: the wave operation, e.g. ``modulation``.
        epochs: passes asked for; ``history`` says how many were made.
        seed: of every random choice.
        rows: training texts given, before the validation split.
        data: name of the data set.
        caveats: sentences that must stand beside the figures wherever they are shown.
        train_rows: texts trained on.
        validation_rows: texts held out to choose the epoch by.
        test_rows: texts of the test set; None without one.
        best_epoch: the epoch whose weights were kept.
        refit: whether the model was then trained again, for as many epochs, on all ``rows``.
        history: one `Epoch` a pass; kept as dictionaries, so that a report's JSON makes a summary again.
        evaluation: `Evaluation` on the texts that ``evaluated_on`` names, or None; kept as a dictionary.
        evaluated_on: ``test`` or ``validation``.
        label_names: the classes, in order.
        baseline: another classifier on the same test set.
        settings: of features, network and recipe.
        versions: of the packages that computed this.
        machine: where it was computed.
        command: the command line, where there was one.
        max_bytes: how large the model file may be, where that was asked for.
        search: what a search for settings tried (`Record`), where one was asked for; kept as a dictionary.
        traffic: what a process sent to the others in a step, in the mean, where several trained together:
            ``row_bytes`` for the gradients of ``rows`` of the embedding, ``dense_bytes`` for all others;
            and ``processes``, how many there were.
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
    evaluated_on: str
    label_names: Sequence[str]
    baseline: Baseline | None
    settings: Settings
    versions: Mapping[str, str]
    machine: Machine
    command: str | None
    micro_f1: float | None = None
    validation_micro_f1: float | None = None
    max_bytes: int | None = None
    search: Mapping[str, Any] | None = None
    traffic: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "history", tuple(_dictionary(epoch) for epoch in self.history))
        object.__setattr__(self, "evaluation", _dictionary(self.evaluation))

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels, or none."""
        return self.validation_micro_f1 is not None

    @property
    def measures(self) -> list[tuple[str, str]]:
        """Names of the measures of right labels, the most telling first, and the fields that hold them."""
        if not self.multi_label:
            return [("Accuracy", "accuracy"), ("Macro-F1", "macro_f1")]
        return [("Micro-F1", "micro_f1"), ("Macro-F1", "macro_f1"), ("Exact match", "accuracy")]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold; a number that is not finite becomes None."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


@dataclass(frozen=True)
class TrainingResult:
    """What :func:`token2wave.train` returns.

    Attributes:
        classifier: the trained model, with the weights of the best epoch.
        summary: all figures of the run.
    """

    classifier: Classifier
    summary: Summary


def machine(threads: int, device: str) -> Machine:
    """Describe this machine.

    Args:
        threads: that torch computes with.
        device: that torch computes on, e.g. ``cpu``.
    """
    return {
        "processor": _processor(),
        "threads": threads,
        "platform": platform.platform(),
        "device": device,
    }


def _processor() -> str:
    """Model name of the processor; its architecture where the system does not tell."""
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
