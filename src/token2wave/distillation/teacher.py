"""Gets a teacher's probabilities: from a file, a saved classifier, or a stack that is trained here."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from token2wave.distillation.cache import TeacherCache, cached_outputs, hash_checkpoint, hash_training
from token2wave.distillation.encoder_settings import MAX_TOKENS, fine_tuning_settings, n_fine_tuning_folds
from token2wave.distillation.probabilities import SUFFIXES, KnownProbabilities, read_probabilities
from token2wave.distillation.recombination import nearest_words, recombine
from token2wave.distillation.stack import SEED, Member, SmallMember, Stack
from token2wave.errors import ConfigError, DataError, import_extra
from token2wave.models.encoder_sources import is_classifier, source_of
from token2wave.options import SMALL_TEACHER
from token2wave.training.callbacks import Callback, CallbackList
from token2wave.training.examples import Examples

if TYPE_CHECKING:
    from token2wave.distillation.encoders import SavedClassifier

MAX_WORDS = 20_000  # the most frequent ones, which recombined texts replace
MAX_RECOMBINED = 4_000_000  # characters of recombined texts: the encoder reads them in minutes

Floats = NDArray[np.float32]


@dataclass
class TeacherPredictions:
    """A teacher's probabilities. A stack is trained first."""

    name: str  # ``all-MiniLM-L6-v2``, a name on the hub, a folder, a file of probabilities, or ``small``
    label_names: tuple[str, ...]
    train: Examples  # for the stack: none that choose or report anything
    rows: Sequence[str]  # all texts of the training data, to which row numbers in a file refer
    callbacks: Sequence[Callback] = ()
    cached_only: bool = False  # refuses to train

    def predict(self, texts: Sequence[str]) -> KnownProbabilities:
        """Return the probabilities of some texts; from a file, those that it has.

        A stack labels training texts out of fold.

        Raises:
            ConfigError: the teacher cannot be loaded or has other classes, or is not cached as it must be.
            DataError: a file of probabilities cannot be read or used.
            MissingExtraError: transformers, or the package of MiniLM, is not installed.
            OutputError: the cache's folder cannot be written to.
        """
        if is_probability_file(self.name):
            return read_probabilities(self.name, self.label_names, self.rows)
        return self._cache().complete(texts, self._compute, len(self.label_names))

    def recombined(self, n_copies: int) -> list[str]:
        """Recombine the training texts; none where the teacher is no encoder that is trained here.

        Raises:
            MissingExtraError: transformers, or the package of MiniLM, is not installed.
        """
        if is_probability_file(self.name) or self.name == SMALL_TEACHER or is_classifier(self.name):
            return []
        with import_extra("encoders", "a teacher"):
            from token2wave.distillation import encoders
        callback_list, texts = CallbackList(self.callbacks), self.train.texts

        def compute(words: list[str]) -> Floats:
            callback_list.stage("the encoder's words", len(words))
            return encoders.encode_texts(self.name, words, callback_list.advance)

        counts = Counter(word for text in texts for word in text.lower().split())
        words = [word for word, _ in counts.most_common(MAX_WORDS)]
        vocabulary = list(dict.fromkeys([*words, *encoders.whole_words(self.name)]))
        vectors = cached_outputs(self.name, vocabulary, compute).of(vocabulary)
        n_copies = min(n_copies, -(-MAX_RECOMBINED // sum(map(len, texts))))
        new = recombine(texts, n_copies, nearest_words(words, vocabulary, vectors), SEED)
        return new[: int(np.searchsorted(np.cumsum([len(text) for text in new]), MAX_RECOMBINED))]

    def _cache(self) -> TeacherCache:
        settings: dict[str, Any] = {"labels": list(self.label_names)}
        if self.name != SMALL_TEACHER:
            settings |= {"checkpoint": hash_checkpoint(source_of(self.name)), "tokens": MAX_TOKENS}
            if is_classifier(self.name):
                return TeacherCache(self.name, hash_training(settings, (), np.zeros(0, np.int64)))
            settings["fine_tuning"] = fine_tuning_settings(len(self.train))
        if self.train.weights is not None:
            settings["weights"] = self.train.weights.tolist()
        return TeacherCache(self.name, hash_training(settings, self.train.texts, self.train.labels))

    def _compute(self, texts: list[str]) -> Floats:
        if self.cached_only:
            raise ConfigError("the teacher's probabilities are not in the cache", location=self.name)
        model, callback_list = self.model, CallbackList(self.callbacks)
        callback_list.stage("the teacher's probabilities", len(texts))
        probabilities = model.probabilities(texts, callback_list.advance)
        if isinstance(model, Stack):
            out_of_fold = model.out_of_fold.of(texts)
            is_train = ~np.isnan(out_of_fold[:, 0])
            probabilities[is_train] = out_of_fold[is_train]
        return probabilities

    @cached_property
    def model(self) -> Stack | SavedClassifier:
        """The teacher, which is not a file of probabilities; a stack is trained."""
        callback_list, members = CallbackList(self.callbacks), list[Member]()
        if self.name != SMALL_TEACHER:
            with import_extra("encoders", "a teacher"):
                from token2wave.distillation import encoders
            if is_classifier(self.name):
                return encoders.SavedClassifier(self.name, self.label_names)
            vectors = encoders.EncoderVectors(self.name, self.rows, callback_list)
            n_folds = n_fine_tuning_folds(len(self.train))
            members = [encoders.FrozenMember(vectors), encoders.FineTunedMember(vectors, n_folds)]
        return Stack([*members, SmallMember()], self.train, len(self.label_names), callback_list)


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
