"""A teacher that is a stack: an encoder, frozen or fine-tuned, beside models of preset ``small``.

Each member is trained on the rows of all folds but one, and predicts that one (Wolpert 1992, "Stacked
generalization"). These out-of-fold logits decide the members' weights. They also label the training rows, so
no row is labelled by a model that has learnt from it. Other texts get the mean of the folds' models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from token2wave.data.texts import TextDataset, TextSplit
from token2wave.distillation.probabilities import KnownProbabilities, digest
from token2wave.inference.reference import probabilities as softmax
from token2wave.options import SMALL_TEACHER
from token2wave.training.auto_settings import auto_settings
from token2wave.training.calibration import LinearSVMChoice, branch_logits, fit_weights
from token2wave.training.callbacks import CallbackList
from token2wave.training.cross_validation import FOLDS, assign_folds
from token2wave.training.examples import Examples
from token2wave.training.linear_svm import LinearSVMSettings
from token2wave.training.preparation import EncodedTexts
from token2wave.training.presets import preset_named
from token2wave.training.run import TrainingRun

SEED = 0  # of folds and models, whatever the student's seed: one teacher serves all students

TEXTS_CHUNK = 1 << 15

Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]
Predict = Callable[[Sequence[str]], Numbers]
"""Computes logits ``(L, N, C)`` of ``N`` texts."""


class Member(Protocol):
    """A kind of model in a stack."""

    title: ClassVar[str]

    @property
    def n_folds(self) -> int:
        """Number of folds that it is trained on."""

    def fit(self, train: Examples, n_classes: int) -> Predict:
        """Train on some rows."""


@dataclass(frozen=True)
class SmallMember:
    """Models of preset ``small``; each of their branches has its own logits."""

    title: ClassVar = "preset small"
    n_folds: int = FOLDS

    def fit(self, train: Examples, n_classes: int) -> Predict:
        """Train on some rows."""
        names = tuple(map(str, range(n_classes)))
        splits = TextDataset(
            SMALL_TEACHER, TextSplit(train.texts, [names[i] for i in train.labels], SMALL_TEACHER)
        )
        texts = EncodedTexts(train, train, None, None, names, ())
        preset = auto_settings(preset_named("small"), train.texts, (), n_classes)
        run = TrainingRun(splits, texts, preset, SEED, "auto", CallbackList(()))
        fitted = run.fit(preset.recipe, train, svm_choice=LinearSVMChoice(LinearSVMSettings()))
        return lambda texts: branch_logits(fitted.network, fitted.features(texts))


@dataclass
class Stack:
    """Members trained on the folds of ``train``, and their weights."""

    members: Sequence[Member]
    train: Examples
    n_classes: int
    callback_list: CallbackList
    weights: tuple[float, ...] = field(init=False)
    out_of_fold: KnownProbabilities = field(init=False)  # of the training texts
    models: list[list[Predict]] = field(init=False)  # those of the folds, for each member

    def __post_init__(self) -> None:
        train, groups = self.train, self.train.row_groups()
        self.models, logits = [], []
        for member in self.members:
            fold = assign_folds(train.labels, groups, member.n_folds, SEED)
            models: list[Predict] = []
            of_member: Numbers | None = None
            for number in np.unique(fold).tolist():
                self.callback_list.stage(f"the teacher: {member.title}, fold {number + 1}", 0)
                models.append(member.fit(train.take(np.flatnonzero(fold != number)), self.n_classes))
                of_fold = models[-1](train.texts.take(np.flatnonzero(fold == number)))
                if of_member is None:
                    of_member = np.zeros((len(of_fold), len(train), self.n_classes))
                of_member[:, fold == number] = of_fold
            assert of_member is not None
            self.models.append(models)
            logits.append(of_member)
        stacked = np.concatenate(logits)
        self.weights = fit_weights(stacked, train.labels, train.weights)
        self.out_of_fold = KnownProbabilities([digest(text) for text in train.texts], self._mix(stacked))

    def probabilities(self, texts: Sequence[str], advance: Callable[[int], None] | None = None) -> Floats:
        """Compute the probability of every class by the mean of the folds' models, ``(N, C)`` float32."""
        chunks = [np.zeros((0, self.n_classes), dtype=np.float32)]
        for first in range(0, len(texts), TEXTS_CHUNK):
            chunk = texts[first : first + TEXTS_CHUNK]
            logits = [np.mean([model(chunk) for model in models], axis=0) for models in self.models]
            chunks.append(self._mix(np.concatenate(logits)))
            if advance is not None:
                advance(len(chunk))
        return np.concatenate(chunks)

    def _mix(self, logits: Numbers) -> Floats:
        mixed = np.tensordot(self.weights, logits, axes=1)
        return softmax(mixed, False).astype(np.float32)
