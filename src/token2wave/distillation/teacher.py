"""Who teaches: an encoder to be fine-tuned, a classifier that is fine-tuned already, or a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from token2wave.distillation.cache import TeacherCache, identity, key_of
from token2wave.distillation.encoder_settings import TEACHER_TOKENS, decisive_settings
from token2wave.distillation.probabilities import SUFFIXES, KnownProbabilities, read_probabilities
from token2wave.errors import ConfigError, DataError, MissingExtraError
from token2wave.models.encoder_sources import is_classifier, source_of
from token2wave.storage.atomic import make_folder
from token2wave.training.callbacks import Callback, CallbackList

if TYPE_CHECKING:
    from token2wave.training.examples import Examples

Floats = NDArray[np.float32]


class TeacherModel(Protocol):
    """A teacher that computes."""

    def probabilities(self, texts: Sequence[str], advance: Callable[[int], None] | None = None) -> Floats:
        """Probability of every class for every text, ``(N, C)`` float32."""


@dataclass
class TeacherPredictions:
    """What a teacher says of texts, fine-tuned on the training texts where it has to be.

    Attributes:
        name: the teacher's: ``all-MiniLM-L6-v2``, a name on the hub, a folder, or a file of probabilities.
        label_names: names of the ``C`` classes.
        train: what it may be fine-tuned on: no text that anything is chosen or reported by.
        rows: all rows of the training data, which numbers of rows in a file mean.
        callbacks: called as the work goes on.
        cached_only: give what is kept, and fine-tune nothing.
    """

    name: str
    label_names: tuple[str, ...]
    train: Examples
    rows: Sequence[str]
    callbacks: Sequence[Callback] = ()
    cached_only: bool = False

    def of(self, texts: Sequence[str]) -> KnownProbabilities:
        """Probabilities of some texts; of a file those that it has.

        Raises:
            ConfigError: the teacher cannot be had, or knows other classes; or nothing is kept, and
                ``cached_only``.
            DataError: a file of probabilities cannot be read or used.
            MissingExtraError: transformers, or the package of MiniLM, is not installed.
            OutputError: the folder of what is kept cannot be written to.
        """
        if is_file_of_probabilities(self.name):
            return read_probabilities(self.name, self.label_names, self.rows)
        kept = self._kept()
        return kept.completed(self.label_names, texts, lambda some: self._asked(kept, some))

    def _kept(self) -> TeacherCache:
        settings: dict[str, Any] = {
            "checkpoint": identity(source_of(self.name)),
            "labels": list(self.label_names),
            "tokens": TEACHER_TOKENS,
        }
        if is_classifier(self.name):
            return TeacherCache(self.name, key_of(settings, (), np.zeros(0, np.int64)))
        settings["fine_tuning"] = decisive_settings(len(self.train))
        if self.train.weights is not None:
            settings["weights"] = self.train.weights.tolist()
        return TeacherCache(self.name, key_of(settings, self.train.texts, self.train.labels))

    def _asked(self, kept: TeacherCache, texts: list[str]) -> Floats:
        """Ask the teacher, which is fine-tuned where that has not been done yet."""
        if self.cached_only:
            raise ConfigError("what the teacher said is not kept here", location=self.name)
        teacher, callback_list = self._opened(kept), CallbackList(self.callbacks)
        callback_list.stage("the teacher's probabilities", len(texts))
        return teacher.probabilities(texts, callback_list.advance)

    def opened(self) -> TeacherModel:
        """The teacher itself, which is no file, to be asked anew."""
        return self._opened(self._kept())

    def _opened(self, kept: TeacherCache) -> TeacherModel:
        try:
            from token2wave.distillation import encoders
        except ModuleNotFoundError as error:
            raise MissingExtraError(error.name or "torch", "encoders", purpose="a teacher") from error
        if is_classifier(self.name):
            return encoders.SavedClassifier(self.name, self.label_names)
        untrained = partial(encoders.FineTunedEncoder.untrained, self.name, len(self.label_names))
        teacher = untrained()
        if kept.weights_path.is_file():
            with suppress(SafetensorError, RuntimeError, OSError):
                teacher.load(kept.weights_path)
                return teacher
            teacher = untrained()  # the file is damaged
        teacher.fit(self.train.texts, self.train.labels, self.train.weights, self.callbacks)
        make_folder(kept.weights_path.parent)
        teacher.save(kept.weights_path)
        return teacher


def is_file_of_probabilities(name: str) -> bool:
    """Whether a teacher's name is that of a file.

    Raises:
        DataError: it looks like one, and is not there.
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
