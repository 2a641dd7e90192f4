"""Gets a teacher's probabilities: from a file, a saved classifier, or an encoder fine-tuned here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from token2wave.distillation.cache import TeacherCache, hash_checkpoint, hash_training
from token2wave.distillation.encoder_settings import MAX_TOKENS, fine_tuning_settings
from token2wave.distillation.probabilities import SUFFIXES, KnownProbabilities, read_probabilities
from token2wave.errors import ConfigError, DataError, import_extra
from token2wave.models.encoder_sources import is_classifier, source_of
from token2wave.storage.atomic import make_folder
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.examples import Examples

if TYPE_CHECKING:
    from token2wave.distillation.encoders import FineTunedEncoder, SavedClassifier

Floats = NDArray[np.float32]


@dataclass
class TeacherPredictions:
    """A teacher's probabilities. An encoder is fine-tuned first."""

    name: str  # ``all-MiniLM-L6-v2``, a name on the hub, a folder, or a file of probabilities
    label_names: tuple[str, ...]
    train: Examples  # for fine-tuning: none that choose or report anything
    rows: Sequence[str]  # all texts of the training data, to which row numbers in a file refer
    callbacks: Sequence[Callback] = ()
    cached_only: bool = False  # refuses to fine-tune

    def predict(self, texts: Sequence[str]) -> KnownProbabilities:
        """Return the probabilities of some texts; from a file, those that it has.

        Raises:
            ConfigError: the teacher cannot be loaded or has other classes, or is not cached as it must be.
            DataError: a file of probabilities cannot be read or used.
            MissingExtraError: transformers, or the package of MiniLM, is not installed.
            OutputError: the cache's folder cannot be written to.
        """
        if is_probability_file(self.name):
            return read_probabilities(self.name, self.label_names, self.rows)
        return self._cache().complete(texts, self._compute, len(self.label_names))

    def _cache(self) -> TeacherCache:
        settings: dict[str, Any] = {
            "checkpoint": hash_checkpoint(source_of(self.name)),
            "labels": list(self.label_names),
            "tokens": MAX_TOKENS,
        }
        if is_classifier(self.name):
            return TeacherCache(self.name, hash_training(settings, (), np.zeros(0, np.int64)))
        settings["fine_tuning"] = fine_tuning_settings(len(self.train))
        if self.train.weights is not None:
            settings["weights"] = self.train.weights.tolist()
        return TeacherCache(self.name, hash_training(settings, self.train.texts, self.train.labels))

    def _compute(self, texts: list[str]) -> Floats:
        if self.cached_only:
            raise ConfigError("the teacher's probabilities are not in the cache", location=self.name)
        teacher, callback_list = self.load_model(), CallbackList(self.callbacks)
        callback_list.stage("the teacher's probabilities", len(texts))
        return teacher.probabilities(texts, callback_list.advance)

    def load_model(self) -> FineTunedEncoder | SavedClassifier:
        """Load the teacher, which is not a file of probabilities; fine-tune it unless that is cached."""
        with import_extra("encoders", "a teacher"):
            from token2wave.distillation import encoders
        if is_classifier(self.name):
            return encoders.SavedClassifier(self.name, self.label_names)
        weights = self._cache().path(".safetensors")
        teacher = encoders.FineTunedEncoder(self.name, len(self.label_names))
        if weights.is_file():
            with suppress(SafetensorError, RuntimeError, OSError):
                teacher.load(weights)
                return teacher
            teacher = encoders.FineTunedEncoder(self.name, len(self.label_names))  # the file is damaged
        teacher.fit(self.train.texts, self.train.labels, self.train.weights, self.callbacks)
        make_folder(weights.parent)
        teacher.save(weights)
        return teacher


def is_probability_file(name: str) -> bool:
    """Whether a teacher is a file of probabilities.

    Raises:
        DataError: the file is missing or has another format.
    """
    path = Path(name)
    if path.suffix.lower() in SUFFIXES:
        if not os.path.isfile(path):
            raise DataError("there is no such file of probabilities", location=name, hint="check the path")
        return True
    if os.path.isfile(path):
        raise DataError(
            "expected a file of probabilities or the folder of an encoder",
            location=name,
            hint=f"use one of the formats {' '.join(SUFFIXES)}",
        )
    return False
