"""What stands before training: labels encoded, validation texts held back, features chosen."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.data import (
    TextDataset,
    TextSplit,
    encode_label_sets,
    encode_labels,
    label_names_of,
    require_usable,
    strata,
    validation_split,
)
from token2wave.errors import ConfigError, DataError
from token2wave.features import Features, Ragged, WordPieceConfig, fit_features
from token2wave.training.examples import Examples
from token2wave.training.grouped_holdout import grouped_holdout
from token2wave.training.presets import Preset
from token2wave.training.recipe import Recipe
from token2wave.training.weighting import positive_weights, text_weights

ClassWeights = str | Mapping[str, float] | None
VOCABULARY = "bert-base-uncased"  # folder of the data folder where the papers' vocabulary is looked for

RECOGNISED = "The data has texts with several labels: each label is decided by itself (multi-label)."


@dataclass(frozen=True)
class Labelled:
    """Texts and their classes.

    Attributes:
        texts: ``N`` strings.
        labels: ``(N,)`` int64; or ``(N, C)`` bool, where a text may have several classes.
        weights: ``(N,)`` float32, how much each text counts; all the same, if None.
        targets: ``(N, C)`` float32, the share of each class that is to be learnt; the label's alone, if None.
        n_unlabelled: how many at the end have no label but a teacher's class.
    """

    texts: Sequence[str]
    labels: NDArray[Any]
    weights: NDArray[np.float32] | None = None
    targets: NDArray[np.float32] | None = None
    n_unlabelled: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> Labelled:
        """Select rows by number, of texts that all have labels."""
        weights = None if self.weights is None else self.weights[rows]
        targets = None if self.targets is None else self.targets[rows]
        return Labelled([self.texts[i] for i in rows], self.labels[rows], weights, targets)

    def checksum(self) -> int:
        """Number that depends on every text, and on what is to be learnt of it."""
        found = 0
        for array in (self.labels, self.weights, self.targets):
            found = zlib.crc32(b"" if array is None else array.tobytes(), found)
        for text in self.texts:
            found = zlib.crc32(text.encode("utf-8", "surrogatepass"), zlib.crc32(b"\n", found))
        return found

    def examples(self, features: Ragged, positive_weights: NDArray[np.float32] | None = None) -> Examples:
        """The same texts as features.

        Args:
            features: of the ``N`` texts.
            positive_weights: see :class:`Examples`.
        """
        if self.labels.ndim == 1:
            return Examples(features, self.labels, self.weights, self.targets)
        return Examples.of_targets(features, self.labels.astype(np.float32), self.weights, positive_weights)


@dataclass(frozen=True)
class EncodedTexts:
    """Texts and classes of each part of a run.

    Attributes:
        train: what to learn from.
        validation: what to choose the epoch by; weighted by the texts' own weights, not by those of classes.
        full_train: all training rows, where validation was cut off them.
        test: what to report on, if there is such.
        label_names: names of the ``C`` classes.
        caveats: sentences that belong beside every figure.
        positive_weights: ``(C,)`` float32, how much each class counts in the loss of the training texts that
            have it, where a text may have several; all the same, if None.
    """

    train: Labelled
    validation: Labelled
    full_train: Labelled | None
    test: Labelled | None
    label_names: tuple[str, ...]
    caveats: tuple[str, ...]
    positive_weights: NDArray[np.float32] | None = None

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several classes, or none."""
        return self.train.labels.ndim == 2

    @property
    def learns_from_validation(self) -> bool:
        """Whether the validation texts are the training texts, for want of rows to hold back."""
        return self.validation is self.train


def in_memory(data: TextDataset, multi_label: bool | None) -> TextDataset:
    """Texts in memory, as ones that may have several labels where they are to be that.

    Raises:
        DataError: texts have several labels, and one each was asked for; or texts, labels or weights are not
            what they should be.
    """
    for part in (data.train, data.validation):  # test texts are looked at when all is trained
        if part is not None:
            require_usable(part)
    if data.multi_label and multi_label is False:
        raise DataError(
            "texts have several labels, and one each was asked for",
            location=data.name,
            hint="leave out multi_label, or give each text one label",
        )
    return data.as_multi_label() if multi_label or data.multi_label else data


def prepare(
    splits: TextDataset, recipe: Recipe, seed: int, class_weights: ClassWeights = None
) -> EncodedTexts:
    """Encode the labels, weigh the texts, and hold back validation rows where none are given.

    Where a text may have several classes, a weight of a class is that of its decisions in the texts that have
    it: it cannot be the weight of a text.

    Raises:
        ConfigError: as for :func:`token2wave.training.weighting.text_weights`.
        DataError: fewer than two classes, or a label in validation or test that training never saw.
    """
    names = label_names_of(splits.train, splits.label_names)
    multi_label = splits.multi_label
    labels = _encoded(splits.train, names, multi_label)
    layers = strata(labels) if multi_label else labels
    own = text_weights(np.zeros_like(layers), names, None, splits.train.weights)
    positive = positive_weights(labels, names, class_weights) if multi_label else None
    weights = own if multi_label else text_weights(labels, names, class_weights, splits.train.weights)
    train = Labelled(splits.train.texts, labels, weights)
    test = None
    if splits.test is not None:
        test = Labelled(splits.test.texts, _encoded(splits.test, names, multi_label))
    caveats, full_train = splits.caveats, None
    if splits.validation is not None:
        validation = Labelled(splits.validation.texts, _encoded(splits.validation, names, multi_label))
    else:
        fraction = recipe.validation_fraction
        if recipe.validation == "random":
            kept, held_out = validation_split(layers, fraction, seed)
        else:
            kept, held_out = grouped_holdout(train.texts, layers, fraction, seed)
        if len(held_out):
            validation = Labelled(train.texts, labels, own).take(held_out)
            full_train, train = train, train.take(kept)
            if not (_counts(train) and _counts(validation)):
                raise ConfigError(
                    "expected rows of some weight both to train on and to hold back, found too few",
                    location="weights",
                    hint="give more rows a weight above zero, or a validation set",
                )
        else:
            validation = train
            caveats = (
                *caveats,
                "Too few rows to hold any back: validation figures are of the training rows.",
            )
    return EncodedTexts(train, validation, full_train, test, names, caveats, positive)


def _encoded(part: TextSplit, names: Sequence[str], multi_label: bool) -> NDArray[Any]:
    """Classes of texts as :class:`Labelled` has them."""
    return encode_label_sets(part, names) if multi_label else encode_labels(part, names)


def _counts(labelled: Labelled) -> bool:
    """Whether any of the texts has a weight."""
    return labelled.weights is None or bool(labelled.weights.any())


def features_for(
    texts: Sequence[str],
    preset: Preset,
    vocabulary: str | os.PathLike[str] | None,
    source: str,
    advance: Callable[[int], None] | None = None,
) -> tuple[Features, Ragged]:
    """Make the features of a preset, with the vocabulary given, found in the data folder, or trained.

    Returns:
        The features, and the texts turned into them.

    Raises:
        ConfigError: a vocabulary for features that have none.
        DataError: a bad vocabulary, or texts without words.
    """
    wordpiece = isinstance(preset.features, WordPieceConfig)
    if vocabulary is not None and not wordpiece:
        raise ConfigError(
            f"preset {preset.name!r} uses words and takes no vocabulary",
            location="vocabulary",
            hint="leave it out, or choose preset 'paper'",
        )
    if vocabulary is None and wordpiece:
        vocabulary = default_vocabulary()
    try:
        path = None if vocabulary is None else Path(vocabulary)
        return fit_features(texts, preset.features, path, advance)
    except DataError as error:
        raise DataError(error.problem, location=error.location or source, hint=error.hint) from error


def default_vocabulary() -> Path | None:
    """The papers' vocabulary in the folder that ``TOKEN2WAVE_DATA`` names, if it is there."""
    folder = os.environ.get("TOKEN2WAVE_DATA")
    path = Path(folder, VOCABULARY, "vocab.txt") if folder else None
    return path if path is not None and path.is_file() else None
