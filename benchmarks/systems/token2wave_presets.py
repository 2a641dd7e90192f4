"""The presets of token2wave as systems: all that this comparison knows of the package's interface."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import token2wave.pipeline as training
from systems import System, Task
from token2wave.data import TextDataset, TextSplit
from token2wave.metrics import expected_calibration_error
from token2wave.training.auto_settings import LITTLE_TEXT, LONG_TEXTS
from token2wave.training.native_trainer import trains_natively
from token2wave.training.presets import Preset, preset_named

PRESETS = {
    "fast": "Ours, so its settings had more attention than those of the rivals. They were chosen on "
    "validation rows of all data sets of the project, with blocks of IMDB's films held out; what an "
    "earlier recipe had reached on IMDB's test set, less than fastText, was known and was the "
    "reason to look. It holds out a tenth of the training rows to choose the epoch by, and with "
    "fewer than 5,000,000 characters trains again on all rows; both are in its time.",
    "small": "As `fast`: more attention than the rivals had, and validation and the second training are in "
    "its time. With more characters only its linear SVM is fitted again on all rows.",
    "paper": "Ours, with regularisation chosen on validation rows of AG News. It trains on 80 % of the rows, "
    "as the papers do, and never on the rest, which costs accuracy where rows are few. Its "
    "vocabulary, BERT's, is read from a file where the data folder has it, and was made from far "
    "more text than the rivals see.",
}
"""What favours each preset or its rivals."""
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "small_no_prior": ("small", {"prior": False}),
}
"""Presets with an option, by the name of the system."""


class PresetSystem(System):
    """A preset as it is, on texts in memory."""

    family = "token2wave"

    def __init__(self, name: str) -> None:
        preset, self.options = OPTIONS.get(name, (name, {}))
        self.preset = preset
        settings = preset_named(preset)
        has_cls = settings.features.cls
        config = settings.network_config(1, 2, ()).replace(linear_svm=False)  # which are found apart
        if not trains_natively(config, settings.recipe, has_cls):
            import_module("token2wave.training.torch_trainer")  # else imported while training
        options = "".join(f" `{_flag(key, value)}`" for key, value in self.options.items())
        self.name = f"token2wave {preset}{options}"
        self.description = f"Preset `{preset}`{options} of token2wave: {_settings(settings)}."
        self.bias = PRESETS[preset]

    def fit(self, task: Task) -> training.TrainingResult:
        """Train as ``token2wave.train`` does: validation rows held out, best epoch, refit."""
        labels = [task.label_names[label] for label in task.labels]
        texts = TextSplit(list(task.texts), labels, "training texts")
        splits = TextDataset("benchmark", texts, None, None, task.label_names, ())
        common: dict[str, Any] = {"seed": task.seed, "device": "cpu", "baseline": False}
        return training.train(splits, preset=self.preset, **common, **self.options)

    def predict(self, model: training.TrainingResult, texts: Sequence[str]) -> NDArray[np.int64]:
        """Predict the most probable class of every text."""
        classes: NDArray[np.int64] = model.classifier.probabilities(texts).argmax(axis=1)
        return classes

    def calibration_error(
        self, model: training.TrainingResult, texts: Sequence[str], labels: NDArray[np.int64]
    ) -> float:
        """Expected calibration error of the test texts."""
        return float(expected_calibration_error(model.classifier.probabilities(texts), labels))

    def save(self, model: training.TrainingResult, folder: Path) -> Path:
        """Write the model file."""
        path = folder / "model.safetensors"
        model.classifier.save(path)
        return path

    def passes(self, model: training.TrainingResult, task: Task) -> float:
        """Epochs over the rows that were not held out, and those of training again on all rows."""
        summary = model.summary
        seen = summary.train_rows * len(summary.history)
        if summary.refit and summary.best_epoch is not None:
            seen += summary.rows * summary.best_epoch
        return seen / summary.rows


def _flag(key: str, value: Any) -> str:
    """An option as the command line has it, e.g. ``--no-prior``."""
    name = key.replace("_", "-")
    return f"--no-{name}" if value is False else f"--{name} {value}"


def _settings(preset: Preset) -> str:
    """All settings by their full names, e.g. ``network.width=64``."""
    sections: dict[str, dict[str, Any]] = {
        "features": preset.features.to_dict(),
        "network": dict(preset.network),
        "recipe": preset.recipe.to_dict(),
    }
    pairs = [f"{name}.{key}={value}" for name, section in sections.items() for key, value in section.items()]
    little, long_texts = f"fewer than {LITTLE_TEXT:,} characters", f"texts of {LONG_TEXTS} characters or more"
    for kind, changes in ((little, preset.for_little_text), (long_texts, preset.for_long_texts)):
        if changes:
            pairs[-1] += f"; with {kind} " + ", ".join(f"{name}={value}" for name, value in changes.items())
    return ", ".join(pairs)


make_system = PresetSystem
