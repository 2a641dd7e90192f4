"""Names the classes, encodes labels as numbers, and splits off validation rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from token2wave.config import require
from token2wave.data.labels import require_labels_that_repeat
from token2wave.data.texts import TextSplit
from token2wave.data.values import join_names, quote
from token2wave.errors import DataError

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
MAX_CLASSES = 10_000
"""Of a model. Each class takes a number of every row, every text, and every line of the confusion matrix."""


def require_few_classes(n_classes: int, source: str) -> None:
    """Refuse more than :data:`MAX_CLASSES`: such a column is rarely one of labels."""
    if n_classes > MAX_CLASSES:
        raise DataError(
            f"expected at most {MAX_CLASSES:,} classes, found {n_classes:,} labels",
            location=source,
            hint="check that the label column is the right one, or merge rare labels",
        )


def label_names_of(train: TextSplit, official_names: Sequence[str] | None = None) -> tuple[str, ...]:
    """Decide on the names of the classes, in the order of their indices.

    Args:
        train: the training texts.
        official_names: the names in their official order, if the source states them. All of them become
            classes in this order, even one that no row has, which is then never predicted.

    Returns:
        The names, length ``C >= 2``: the official ones, or else those of the rows in ascending order, by
        number if all of them are integers.

    Raises:
        DataError: there are no rows, fewer than two classes among them or more than :data:`MAX_CLASSES`, an
            official name twice, or a row whose label is not an official name.
    """
    hint = "train on rows of at least two classes"
    if not len(train):
        raise DataError("there are no rows", location=train.source, hint=hint)
    label_sets = train.label_sets
    names = Counter(label for labels in label_sets for label in labels)
    require_few_classes(max(len(names), len(official_names or ())), train.source)
    if not names:
        raise DataError("no row has a label", location=train.source, hint=hint)
    if len(names) == 1:
        problem = f"every row has the same label {quote(*names)}"
        if train.multi_label:
            problem = f"there is no label but {quote(*names)}"
        raise DataError(problem, location=train.source, hint=hint)
    if official_names is None:
        n_single = sum(count == 1 for count in names.values())
        require_labels_that_repeat(len(names), n_single, len(train), train.source)
        return in_order(names)
    if len(set(official_names)) != len(official_names):
        problem = f"a label name occurs twice among {join_names(official_names)}"
        raise DataError(problem, location=train.source, hint="state every name once")
    if unknown := names.keys() - set(official_names):
        row, label = next(
            (row, label) for row, labels in enumerate(label_sets) for label in labels if label in unknown
        )
        problem = f"the label {quote(label)} is not one of the label names {join_names(official_names)}"
        hint = "correct the label, or add its name to the label names"
        raise DataError(problem, location=train.location(row), hint=hint)
    return tuple(official_names)


def in_order(names: Collection[str]) -> tuple[str, ...]:
    """Names of classes in ascending order, by number if all of them are integers."""
    if all(_INTEGER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def encode_labels(split: TextSplit, label_names: Sequence[str]) -> NDArray[np.int64]:
    """Return the index of the class of every text.

    Args:
        split: texts with one label each, length ``N``.
        label_names: the names of the classes, length ``C``, in the order of their indices.

    Returns:
        The indices, shape ``(N,)``, int64, from 0 to ``C - 1``; ``C`` for an unknown label of a test split.

    Raises:
        DataError: a label is not one of the names; names the file and the first such row.
    """
    index_of = _class_indices(split, label_names)
    indices = [_index(index_of, label, split, row) for row, label in enumerate(split.labels)]
    return np.array(indices, dtype=np.int64)


def encode_label_sets(split: TextSplit, label_names: Sequence[str]) -> NDArray[np.bool_]:
    """Return which classes every text has, shape ``(N, C)``, bool; arguments as for :func:`encode_labels`.

    A test split with unknown labels has one column more, for these.

    Raises:
        DataError: as :func:`encode_labels`.
    """
    index_of = _class_indices(split, label_names)
    n_columns = len(label_names) + bool(split.unknown_labels)
    encoded: NDArray[np.bool_] = np.zeros((len(split), n_columns), dtype=bool)
    for row, names in enumerate(split.label_sets):
        for name in names:
            encoded[row, _index(index_of, name, split, row)] = True
    return encoded


def strata(classes: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return one class for each multi-label text, for :func:`validation_split`: its rarest one.

    So rare classes, of which a random split could get none, are split in proportion. Texts without a class
    are a class of their own.

    Args:
        classes: ``(N, C)``, the classes of each text.

    Returns:
        ``(N,)`` integers up to ``C``.
    """
    n_texts = classes.sum(axis=0)
    rarity = np.where(classes, n_texts, len(classes) + 1)
    rarest: NDArray[np.int64] = rarity.argmin(axis=1).astype(np.int64)
    rarest[~classes.any(axis=1)] = classes.shape[1]
    return rarest


def _class_indices(split: TextSplit, label_names: Sequence[str]) -> dict[str, int]:
    indices = {name: index for index, name in enumerate(label_names)}
    return indices | dict.fromkeys(split.unknown_labels, len(label_names))


def _index(index_of: Mapping[str, int], label: object, split: TextSplit, row: int) -> int:
    index = index_of.get(label, -1) if isinstance(label, str) else -1
    if index < 0:
        raise DataError(
            f"the label {quote(label)} is not one of the classes of training: {join_names(index_of)}",
            location=split.location(row),
            hint="correct or remove the row, or add rows with this label to the training data",
        )
    return index


def validation_split(
    labels: NDArray[np.integer], fraction: float, seed: int, *, in_blocks: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into training and validation, with each class in both in proportion.

    Each class gives its whole number of rows. The rows still missing to ``fraction`` come from the classes
    with the largest remainders. Every class keeps at least one row for training, so a class with a single row
    stays there. The same arguments give the same split.

    Args:
        labels: the class of every row, shape ``(N,)``, integers from 0.
        fraction: of the rows that go to validation, above 0 and below 1.
        seed: of the random choice, at least 0.
        in_blocks: whether validation rows are consecutive rows of each class, from a random place of the
            file, instead of drawn one by one. Neighbouring rows often belong together, as reviews of one
            film do, so a block keeps most of them on one side.

    Returns:
        The indices of training and of validation, both ascending, int64, together shape ``(N,)``.
        Validation has at least one row, unless every class has only one.

    Raises:
        ConfigError: the fraction or the seed is out of range.
    """
    require(0 < fraction < 1, "validation fraction", "a number above 0 and below 1", fraction)
    require(seed >= 0, "seed", "a number of at least 0", seed)
    n_rows = len(labels)
    if n_rows == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    counts = np.bincount(labels)  # (C,)
    spare = np.maximum(counts - 1, 0)  # (C,) what a class can give
    quota = counts * fraction
    taken = np.minimum(np.floor(quota).astype(np.int64), spare)
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(n_rows)
    tie_break = generator.permutation(len(counts))
    most_due = np.lexsort((tie_break, taken - quota))  # classes, the largest remainder first
    most_due = most_due[spare[most_due] > taken[most_due]]
    still_due = max(1, round(n_rows * fraction)) - int(taken.sum())
    taken[most_due[: max(0, still_due)]] += 1
    order = np.arange(n_rows) if in_blocks else shuffled
    by_class = order[np.argsort(labels[order], kind="stable")]  # (N,) classes together, in order inside
    first_of_class = np.cumsum(counts) - counts
    rank = np.arange(n_rows) - np.repeat(first_of_class, counts)
    if in_blocks:
        begin = np.floor(generator.random() * counts).astype(np.int64)  # (C,)
        rank = (rank - np.repeat(begin, counts)) % np.repeat(counts, counts)
    is_validation = rank < np.repeat(taken, counts)
    return np.sort(by_class[~is_validation]), np.sort(by_class[is_validation])
