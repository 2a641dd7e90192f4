"""Prepares a run: encodes labels, weighs texts, splits off validation rows, makes features."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from token2wave.data import (
    TextDataset,
    TextSplit,
    encode_label_sets,
    encode_labels,
    label_names_of,
    strata,
)
from token2wave.data.duplicates import count_shared, group_duplicates
from token2wave.data.label_descriptions import described_names
from token2wave.data.values import join_names, quote
from token2wave.errors import ConfigError, DataError
from token2wave.features import Features, Ragged, WordPieceConfig, fit_features
from token2wave.prior.language_prior import LanguagePrior
from token2wave.score_scale import ScoreScale
from token2wave.training.described_examples import add_descriptions, encode_descriptions
from token2wave.training.examples import Examples
from token2wave.training.presets import Preset
from token2wave.training.recipe import Recipe
from token2wave.training.score_targets import soft_decisions
from token2wave.training.validation_split import Rows, hold_out
from token2wave.training.weighting import ClassWeights, positive_weights, text_weights

VOCABULARY = "bert-base-uncased"  # folder of the papers' vocabulary in the data folder
MAX_HELD_OUT = 2_000
"""Rows held out to report on: their interval is about 1.3 points wide on each side of 90 %."""
NO_ROWS = "There are no rows, only descriptions of the labels: nothing calibrates the probabilities."
RECOGNISED = "The data has texts with several labels, so the model decides each label independently."


@dataclass(frozen=True)
class EncodedTexts:
    """The examples of a run.

    Attributes:
        train: the texts to learn from.
        validation: the texts to choose the epoch by, with their own weights but not those of classes.
        full_train: all training rows, if validation or held-out rows were split off from them.
        test: the texts to report on, if there are any.
        label_names: names of the ``C`` classes.
        caveats: sentences to print beside every figure.
        held_out: rows that choose nothing, to report on where there is no test set; None if no rows were
            held out so.
        descriptions: of the labels, further texts to learn from; None without them.
        other_rows: ``(M,)``, numbers of the other rows in ``full_train``, or in the validation file;
            None: all.
        scale: what the decisions of a model of scores mean; None for a model of labels.
    """

    train: Examples
    validation: Examples
    full_train: Examples | None
    test: Examples | None
    label_names: tuple[str, ...]
    caveats: tuple[str, ...]
    held_out: Examples | None = None
    descriptions: Examples | None = None
    other_rows: Rows | None = None
    scale: ScoreScale | None = None

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several classes, or none."""
        return self.train.multi_label

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the model's classes: the label names, or the grades or ranges of scores."""
        return self.label_names if self.scale is None else self.scale.class_names

    @property
    def all_rows(self) -> Examples:
        """All training rows."""
        return self.train if self.full_train is None else self.full_train

    @property
    def learns_from_validation(self) -> bool:
        """Whether the validation texts are the training texts because there are too few rows to split."""
        return self.validation is self.train


def prepare(
    splits: TextDataset,
    recipe: Recipe,
    seed: int,
    class_weights: ClassWeights = None,
    *,
    holds_out: bool = False,
) -> EncodedTexts:
    """Encode the texts of a data set, as :func:`_prepare`, with the scale of its scores."""
    texts = _prepare(splits, recipe, seed, class_weights, holds_out)
    return replace(texts, scale=splits.scale)


def _prepare(
    splits: TextDataset, recipe: Recipe, seed: int, class_weights: ClassWeights, holds_out: bool
) -> EncodedTexts:
    """Encode the labels, weigh the texts, and split off validation rows if there are none.

    ``holds_out`` says whether to split off rows to report on first; these choose nothing.

    Raises:
        ConfigError: as for :func:`token2wave.training.weighting.text_weights`.
        DataError: there are fewer than two classes, or validation or test has a label that training lacks.
    """
    descriptions = splits.label_descriptions
    if descriptions is None:
        names = label_names_of(splits.train, splits.label_names)
    else:
        names = described_names(splits.train, splits.label_names, descriptions)
    multi_label = splits.multi_label
    train = encode_rows(splits.train, names, multi_label, class_weights, splits.scale)
    validation, test = (
        None
        if split is None
        else encode_rows(replace(split, weights=None), names, multi_label, scale=splits.scale)
        for split in (splits.validation, splits.test)
    )
    caveats = (*splits.caveats, *_duplicate_caveats(train, test), *_group_caveats(splits))
    described = None
    if descriptions is not None:
        described = encode_descriptions(names, descriptions, multi_label)
        caveats += _undescribed_caveats(train, names)
        if not len(train):
            train, described = add_descriptions(train, described), None
            if validation is None:
                return EncodedTexts(train, train, None, test, names, caveats)
    if validation is not None:
        if not holds_out:
            return EncodedTexts(train, validation, None, test, names, caveats, descriptions=described)
        rows, held_out = hold_out_half(validation, recipe, seed)
        chosen_by = validation.take(rows)
        return EncodedTexts(train, chosen_by, None, test, names, caveats, held_out, described, rows)
    full_train, classes = train, strata(train.labels) if multi_label else train.labels
    rows, held_out = np.arange(len(train)), None
    if holds_out:
        rows, held_out = _hold_out_to_report(train, recipe, seed)
    candidates = train if len(rows) == len(train) else train.take(rows)
    groups = candidates.row_groups()
    train_rows, validation_rows = hold_out(candidates.texts, classes[rows], groups, recipe, seed)
    if not len(validation_rows):
        caveat = "There are too few rows to hold any out: validation figures are of the training rows."
        return EncodedTexts(train, train, None, test, names, (*caveats, caveat), descriptions=described)
    own = text_weights(np.zeros_like(classes), names, None, splits.train.weights)
    validation = replace(train, weights=own, positive_weights=None).take(rows[validation_rows])
    train = replace(candidates.take(train_rows), rows=rows[train_rows])
    if any(examples.weights is not None and not examples.weights.any() for examples in (train, validation)):
        raise ConfigError(
            "expected rows of some weight both to train on and to hold out, found too few",
            location="weights",
            hint="give more rows a weight above zero, or a validation set",
        )
    return EncodedTexts(train, validation, full_train, test, names, caveats, held_out, described, rows)


def _hold_out_to_report(examples: Examples, recipe: Recipe, seed: int) -> tuple[Rows, Examples | None]:
    """Split off rows to report on; the numbers of the others, and the rows split off, if there are any."""
    classes = strata(examples.labels) if examples.multi_label else examples.labels
    fraction = min(recipe.validation_fraction, MAX_HELD_OUT / max(len(examples), 1))
    recipe, groups = recipe.replace(validation_fraction=fraction), examples.row_groups()
    rows, held_out_rows = hold_out(examples.texts, classes, groups, recipe, (seed + 1) % (1 << 63))
    held_out = replace(examples.take(held_out_rows), rows=held_out_rows) if len(held_out_rows) else None
    return rows, held_out


def hold_out_half(validation: Examples, recipe: Recipe, seed: int) -> tuple[Rows, Examples | None]:
    """Hold out half of a validation file to report on, as :func:`_hold_out_to_report`."""
    half = recipe.replace(validation="random", validation_fraction=0.5)
    rows, held_out = _hold_out_to_report(validation, half, seed)
    if held_out is None and len(validation) > 1:  # each class has one row
        middle = len(validation) // 2
        return rows[:middle], replace(validation.take(rows[middle:]), rows=rows[middle:])
    return rows, held_out


def _duplicate_caveats(train: Examples, test: Examples | None) -> list[str]:
    """Count texts that occur more than once, with other labels or in the test set, too."""
    caveats = []
    groups = group_duplicates(train.texts, near=False)
    repeats = np.flatnonzero(groups != np.arange(len(groups)))
    if len(repeats):
        differs = train.labels[repeats] != train.labels[groups[repeats]]
        n_contradictions = int((differs.any(axis=1) if train.multi_label else differs).sum())
        other = f", {n_contradictions:,} of them with another label" if n_contradictions else ""
        caveats.append(f"{len(repeats):,} of {len(groups):,} rows repeat the text of an earlier row{other}.")
    if test is not None and (n_shared := count_shared(test.texts, train.texts)):
        caveats.append(
            f"{n_shared:,} of {len(test):,} test texts are also in training, which flatters the test figures."
        )
    return caveats


def _undescribed_caveats(train: Examples, names: Sequence[str]) -> tuple[str, ...]:
    """Say which classes learn from their descriptions alone."""
    if not len(train):
        return (NO_ROWS,)
    n_of_class = train.labels.sum(axis=0) if train.multi_label else np.bincount(train.labels)
    without = [name for label, name in enumerate(names) if not n_of_class[label : label + 1].any()]
    if not without:
        return ()
    return (
        f"{len(without)} of {len(names)} classes have no rows, only a description: {join_names(without)}.",
    )


def _group_caveats(splits: TextDataset) -> list[str]:
    """Say how the named groups of the data differ from the usual; refuse a single one.

    Raises:
        DataError: all rows are of one group.
    """
    groups, caveats = splits.train.groups, []
    if groups is None:
        return []
    counts = Counter(group for group in groups if group is not None)
    if len(counts) == 1 and counts.total() == len(groups):
        raise DataError(
            f"expected at least two groups, found only {quote(*counts)}",
            location=splits.train.source,
            hint="name another column of groups, or none",
        )
    if not counts:
        return ["No row has a group."]
    (largest, n_rows), *_ = counts.most_common(1)
    if 2 * n_rows > len(groups):
        caveats.append(
            f"{n_rows:,} of {len(groups):,} rows are of the group {quote(largest)}, which stays in training."
        )
    for name, split in (("validation", splits.validation), ("test", splits.test)):
        n_shared = 0 if split is None else sum(group in counts for group in split.groups or ())
        if split is not None and n_shared:
            caveats.append(
                f"{n_shared:,} of {len(split):,} {name} rows are of groups that training has, too."
            )
    return caveats


def encode_rows(
    rows: TextSplit,
    names: Sequence[str],
    multi_label: bool,
    class_weights: ClassWeights = None,
    scale: ScoreScale | None = None,
) -> Examples:
    """Encode the labels of rows, and weigh their texts.

    The weight of a class cannot be the weight of a multi-label text. It applies to the decision about the
    class in the texts that have it.

    Raises:
        ConfigError: as for :func:`token2wave.training.weighting.text_weights`.
        DataError: there is a label that is not one of the names.
    """
    if not multi_label:
        labels = encode_labels(rows, names)
        weights = text_weights(labels, names, class_weights, rows.weights)
        return replace(Examples.of_texts(rows.texts, labels, weights), groups=rows.groups)
    sets = encode_label_sets(rows, names)
    weights = text_weights(np.zeros(len(rows), np.int64), names, None, rows.weights)
    positive = positive_weights(sets, names, class_weights)
    examples = replace(Examples.of_texts(rows.texts, sets, weights, positive), groups=rows.groups)
    if rows.scores is None or scale is None:
        return examples
    scores = np.array(rows.scores, dtype=np.float64)
    return replace(examples, scores=scores, targets=soft_decisions(scale, scores))


def features_for(
    texts: Sequence[str],
    preset: Preset,
    vocabulary: str | os.PathLike[str] | None,
    source: str,
    advance: Callable[[int], None] | None = None,
    prior: LanguagePrior | None = None,
) -> tuple[Features, Ragged]:
    """Make features and encode texts; the vocabulary is the one named, that of the data folder, or trained.

    Raises:
        ConfigError: there is a vocabulary, and the features have none.
        DataError: the vocabulary is bad, or no text has a word.
    """
    is_wordpiece = isinstance(preset.features, WordPieceConfig)
    if vocabulary is not None and not is_wordpiece:
        problem = f"preset {preset.name!r} uses words and takes no vocabulary"
        raise ConfigError(problem, location="vocabulary", hint="leave it out, or choose preset 'paper'")
    path = None if vocabulary is None else Path(vocabulary)
    if path is None and is_wordpiece:
        path = default_vocabulary()
    try:
        return fit_features(texts, preset.features, path, advance, prior)
    except DataError as error:
        raise DataError(error.problem, location=error.location or source, hint=error.hint) from error


def default_vocabulary() -> Path | None:
    """The papers' vocabulary in the folder that ``TOKEN2WAVE_DATA`` names, if it is there."""
    folder = os.environ.get("TOKEN2WAVE_DATA")
    path = Path(folder, VOCABULARY, "vocab.txt") if folder else None
    return path if path is not None and path.is_file() else None
