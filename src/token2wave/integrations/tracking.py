"""What trackers of experiments have in common: which figures of a run they are given, by which names."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from token2wave.training.callbacks import Callback, Epoch, RunPlan
from token2wave.training.result import Summary

FINAL = (
    "accuracy",
    "macro_f1",
    "micro_f1",
    "validation_accuracy",
    "validation_micro_f1",
    "best_epoch",
    "train_seconds",
    "total_seconds",
    "texts_per_second",
    "peak_memory_bytes",
    "parameters",
    "parameters_without_embedding",
    "model_bytes",
)
OF_EVALUATION = ("hamming_loss", "calibration_error")


class Tracker(Callback):
    """Base of trackers, which say what is done with a run's settings, figures and end.

    Figures of a stage of training are named after it, e.g. ``training/validation_accuracy`` at each epoch and
    ``training/step_loss`` on the way; a stage that comes again, as in cross-validation, ends in its number.
    Epochs before the run itself, which a search or a teacher makes, are not tracked.

    Where a tracker fails, a warning says so, and training goes on without it.
    """

    name = "tracker"

    def __init__(self) -> None:
        self._is_tracking = False
        self._forget()

    def _forget(self) -> None:
        self._stages: Counter[str] = Counter()
        self._stage, self._step = "training", 0

    def begin(self, plan: RunPlan) -> None:
        """Make a place for the run, and write down its settings."""
        raise NotImplementedError

    def track(self, figures: Mapping[str, float], step: int) -> None:
        """Take figures by name at a step, or at an epoch."""
        raise NotImplementedError

    def finish(self, figures: Mapping[str, float], summary: Summary | None, files: Sequence[Path]) -> None:
        """Take the last figures and close the run; ``summary`` is None where it failed."""
        raise NotImplementedError

    def abandon(self) -> None:
        """Leave a run in order that is tracked no further."""

    def on_begin(self, plan: RunPlan) -> None:
        """Begin."""
        self._forget()
        self._is_tracking = True
        self._guarded(self.begin, plan)

    def on_stage(self, name: str, total: int) -> None:
        """Give the figures to come the name of the stage."""
        self._stages[name] += 1
        number = f" {self._stages[name]}" if self._stages[name] > 1 else ""
        self._stage, self._step = re.sub(r"[^a-z0-9]+", "_", f"{name}{number}".lower()), 0

    def on_advance(self, amount: int) -> None:
        """Count steps."""
        self._step += amount

    def on_loss(self, loss: float, texts_per_second: float) -> None:
        """Take the loss on the way."""
        self._guarded(self.track, self._named(step_loss=loss, texts_per_second=texts_per_second), self._step)

    def on_epoch(self, epoch: Epoch) -> None:
        """Take the figures of an epoch."""
        figures = asdict(epoch)
        number = figures.pop("epoch")
        self._guarded(self.track, self._named(**figures), number)

    def on_end(self, summary: Summary | None, files: Sequence[Path]) -> None:
        """End."""
        figures = {} if summary is None else final_figures(summary)
        self._guarded(self.finish, figures, summary, files)
        self._is_tracking = False

    def _named(self, **figures: float | None) -> dict[str, float]:
        """Figures that are numbers, by the name of the stage and their own."""
        return {f"{self._stage}/{name}": value for name, value in _finite(figures).items()}

    def _guarded(self, call: Callable[..., None], *arguments: Any) -> None:
        """Let a tracker do something; what goes wrong in it must not end training."""
        if not self._is_tracking:
            return
        try:
            call(*arguments)
        except Exception as error:
            self._is_tracking = False
            with suppress(Exception):
                self.abandon()
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            warnings.warn(
                f"{self.name} tracks this run no further, and training goes on: {reason:.300}",
                RuntimeWarning,
                stacklevel=2,
            )


def parameters_of(plan: RunPlan) -> dict[str, bool | int | float | str]:
    """Everything that settles a run, by name; lists as JSON, and without what is not set."""
    found = {key: value for key, value in asdict(plan).items() if key not in ("settings", "label_names")}
    found |= {"n_classes": len(plan.label_names), **plan.settings}
    plain = (bool, int, float, str)
    return {
        name: value if isinstance(value, plain) else json.dumps(value)
        for name, value in found.items()
        if value is not None
    }


def final_figures(summary: Summary) -> dict[str, float]:
    """Figures of a whole run that are numbers, by name."""
    evaluation = summary.evaluation or {}
    figures = {name: getattr(summary, name) for name in FINAL}
    return _finite(figures | {name: evaluation.get(name) for name in OF_EVALUATION})


def _finite(figures: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if value is not None and math.isfinite(value)}
