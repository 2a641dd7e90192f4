"""Prepares a run: encodes labels, weighs texts, splits off validation rows, chooses features."""

from __future__ import annotations

import os
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
from token2wave.features.hashed_texts import HashedTexts
from token2wave.training.examples import Examples
from token2wave.training.grouped_holdout import grouped_holdout
from token2wave.training.presets import Preset
from token2wave.training.recipe import Recipe
from token2wave.training.weighting import positive_weights, text_weights

ClassWeights = str | Mapping[str, float] | None
VOCABULARY = "bert-base-uncased"  # folder of the data folder where the papers' vocabulary is looked for

RECOGNISED = "The data has texts with several labels: each label is decided by itself (multi-label)."


@dataclass(frozen=True)
class EncodedTexts:
    """The examples of each part of a run.

    Attributes:
        train: the texts to learn from.
        validation: the texts to choose the epoch by; weighted by the texts' own weights, not by those of
            classes.
        full_train: all training rows, where the validation rows were split off from them.
        test: the texts to report on, if there are any.
        label_names: names of the ``C`` classes.
        caveats: sentences that belong beside every figure.
    """

    train: Examples
    validation: Examples
    full_train: Examples | None
    test: Examples | None
    label_names: tuple[str, ...]
    caveats: tuple[str, ...]

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several classes, or none."""
        return self.train.multi_label

    @property
    def learns_from_validation(self) -> bool:
        """Whether the validation texts are the training texts, because there are too few rows to split."""
        return self.validation is self.train


def in_memory(data: TextDataset, multi_label: bool | None) -> TextDataset:
    """Check texts in memory, and make them multi-label where that is asked for.

    Raises:
        DataError: texts have several labels although one each was asked for; or texts, labels or weights are
            not usable.
    """
    for part in (data.train, data.validation):  # test texts are checked after training
        if part is not None:
            require_usable(part)
    if data.multi_label and multi_label is False:
        raise DataError(
            "expected one label for each text, found several",
            location=data.name,
            hint="leave out multi_label, or give each text one label",
        )
    return data.as_multi_label() if multi_label or data.multi_label else data


def prepare(
    splits: TextDataset, recipe: Recipe, seed: int, class_weights: ClassWeights = None
) -> EncodedTexts:
    """Encode the labels, weigh the texts, and split off validation rows where none are given.

    Where a text may have several classes, the weight of a class applies to its decision in the texts that
    have it: it cannot be the weight of a text.

    Raises:
        ConfigError: as for :func:`token2wave.training.weighting.text_weights`.
        DataError: fewer than two classes, or a label in validation or test that training does not have.
    """
    names = label_names_of(splits.train, splits.label_names)
    multi_label = splits.multi_label
    texts, labels = HashedTexts.of(splits.train.texts), _encoded(splits.train, names, multi_label)
    layers = strata(labels) if multi_label else labels
    own = text_weights(np.zeros_like(layers), names, None, splits.train.weights)
    positive = positive_weights(labels, names, class_weights) if multi_label else None
    weights = own if multi_label else text_weights(labels, names, class_weights, splits.train.weights)
    train = Examples.of_texts(texts, labels, weights, positive)
    given_validation, test = (
        None if part is None else Examples.of_texts(part.texts, _encoded(part, names, multi_label))
        for part in (splits.validation, splits.test)
    )
    if given_validation is not None:
        return EncodedTexts(train, given_validation, None, test, names, splits.caveats)
    if recipe.validation == "random":
        rows, validation_rows = validation_split(layers, recipe.validation_fraction, seed)
    else:
        rows, validation_rows = grouped_holdout(texts, layers, recipe.validation_fraction, seed)
    if not len(validation_rows):
        caveat = "Too few rows to hold any back: validation figures are of the training rows."
        return EncodedTexts(train, train, None, test, names, (*splits.caveats, caveat))
    validation = Examples.of_texts(texts, labels, own).take(validation_rows)
    full_train, train = train, train.take(rows)
    if not (_has_weight(train) and _has_weight(validation)):
        raise ConfigError(
            "expected rows of some weight both to train on and to hold back, found too few",
            location="weights",
            hint="give more rows a weight above zero, or a validation set",
        )
    return EncodedTexts(train, validation, full_train, test, names, splits.caveats)


def _encoded(part: TextSplit, names: Sequence[str], multi_label: bool) -> NDArray[Any]:
    """Classes of texts as :class:`Examples` has them."""
    return encode_label_sets(part, names) if multi_label else encode_labels(part, names)


def _has_weight(examples: Examples) -> bool:
    return examples.weights is None or bool(examples.weights.any())


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
