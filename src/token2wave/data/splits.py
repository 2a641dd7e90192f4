"""The names of the classes, labels as numbers, and a validation split where the data has none."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from token2wave.data.texts import TextSplit
from token2wave.data.values import join_names, shown
from token2wave.errors import ConfigError, DataError, place

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


MAX_CLASSES = 10_000
"""Of a model: each takes a number of every row, of every text, and of every line of the confusion matrix."""


def require_few_classes(n_classes: int, source: str) -> None:
    """Refuse more than :data:`MAX_CLASSES`, which most often are no classes at all.

    Raises:
        DataError: there are more.
    """
    if n_classes > MAX_CLASSES:
        raise DataError(
            f"expected at most {MAX_CLASSES:,} classes, found {n_classes:,} labels",
            location=source,
            hint="check that the label column is the right one, or put rare labels together",
        )


def label_names_of(train: TextSplit, given: Sequence[str] | None = None) -> tuple[str, ...]:
    """Decide on the names of the classes, in the order of their indices.

    Args:
        train: the training texts.
        given: the names in their official order, if the source states them. All of them are kept, in this
            order, even if no row has one of them: the class then exists and is never predicted.

    Returns:
        The names, length ``C >= 2``: those given, or else those of the rows in ascending order, by number
        if all of them are integers.

    Raises:
        DataError: there are no rows, fewer than two classes among them or more than :data:`MAX_CLASSES`, a
            name twice in ``given``, or a row whose label is not in ``given``.
    """
    hint = "train on rows of at least two classes"
    if not len(train):
        raise DataError("there are no rows", location=train.source, hint=hint)
    sets = train.label_sets
    present = {label for labels in sets for label in labels}
    require_few_classes(max(len(present), 0 if given is None else len(given)), train.source)
    if not present:
        raise DataError("no row has a label", location=train.source, hint=hint)
    if len(present) == 1:
        problem = f"every row has the same label {shown(*present)}"
        if train.multi_label:
            problem = f"there is no label but {shown(*present)}"
        raise DataError(problem, location=train.source, hint=hint)
    if given is None:
        return in_order(present)
    if len(set(given)) != len(given):
        problem = f"a label name stands twice among {join_names(given)}"
        raise DataError(problem, location=train.source, hint="state every name once")
    known = frozenset(given)
    for row, labels in enumerate(sets, start=1):
        for label in labels:
            if label not in known:
                problem = f"the label {shown(label)} is not one of the label names {join_names(given)}"
                hint = "correct the label, or add its name to the label names"
                raise DataError(problem, location=place(train.source, row=row), hint=hint)
    return tuple(given)


def in_order(names: Collection[str]) -> tuple[str, ...]:
    """Names of classes in ascending order, by number if all of them are integers."""
    if all(_INTEGER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def encode_labels(labels: TextSplit, label_names: Sequence[str]) -> NDArray[np.int64]:
    """Return the index of the class of every text.

    Args:
        labels: the texts with their labels, length ``N``.
        label_names: the names of the classes, length ``C``, in the order of their indices.

    Returns:
        The indices, shape ``(N,)``, int64, from 0 to ``C - 1``.

    Raises:
        DataError: a label is not one of the names; names the file and the first such row.
    """
    index_of = {name: index for index, name in enumerate(label_names)}
    return np.array(
        [_index(index_of, label, labels, row) for row, label in enumerate(labels.labels, start=1)],
        dtype=np.int64,
    )


def encode_label_sets(labels: TextSplit, label_names: Sequence[str]) -> NDArray[np.bool_]:
    """Return which classes every text has.

    Args:
        labels: the texts with their labels, length ``N``.
        label_names: the names of the classes, length ``C``, in the order of their indices.

    Returns:
        Shape ``(N, C)``, bool.

    Raises:
        DataError: as :func:`encode_labels`.
    """
    index_of = {name: index for index, name in enumerate(label_names)}
    encoded: NDArray[np.bool_] = np.zeros((len(labels), len(label_names)), dtype=bool)
    for row, names in enumerate(labels.label_sets, start=1):
        for name in names:
            encoded[row - 1, _index(index_of, name, labels, row)] = True
    return encoded


def strata(classes: NDArray[np.bool_]) -> NDArray[np.int64]:
    """What :func:`validation_split` takes for the class of a text that may have several: its rarest one.

    So rare classes, of which chance could leave one part without any, are split in proportion. Texts without
    a class are a class of their own.

    Args:
        classes: ``(N, C)``, the classes that each text has.

    Returns:
        ``(N,)`` integers up to ``C``.
    """
    n_texts = classes.sum(axis=0)
    rarity = np.where(classes, n_texts, len(classes) + 1)
    rarest: NDArray[np.int64] = rarity.argmin(axis=1).astype(np.int64)
    rarest[~classes.any(axis=1)] = classes.shape[1]
    return rarest


def _index(index_of: Mapping[str, int], label: object, labels: TextSplit, row: int) -> int:
    index = index_of.get(label, -1) if isinstance(label, str) else -1
    if index < 0:
        raise DataError(
            f"the label {shown(label)} is not one of the classes of training: {join_names(index_of)}",
            location=place(labels.source, row=row),
            hint="correct or remove the row, or add rows with this label to the training data",
        )
    return index


def validation_split(
    labels: NDArray[np.integer], fraction: float, seed: int, *, in_blocks: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into training and validation, with each class in both in proportion.

    Each class gives its whole share; the rows still due to ``fraction`` come from the classes with the
    largest remainders. Every class keeps at least one row for training, so a class with a single row
    stays there. The same arguments give the same split.

    Args:
        labels: the class of every row, shape ``(N,)``, integers from 0.
        fraction: the share of validation, above 0 and below 1.
        seed: of the random choice, at least 0.
        in_blocks: whether the rows of validation are not drawn one by one, but begin at a random place of the
            file, the same for all classes, and follow one another. Rows that stand together are often of one
            matter, as reviews of one film are; so few of them stand on both sides.

    Returns:
        The indices of training and of validation, both ascending, int64, together shape ``(N,)``.
        Validation has at least one row, unless every class has only one.

    Raises:
        ConfigError: the fraction or the seed is out of range.
    """
    if not 0 < fraction < 1:
        problem = f"expected a number above 0 and below 1, got {fraction}"
        raise ConfigError(problem, location="validation fraction", hint="choose one such as 0.1")
    if seed < 0:
        problem = f"expected a number of at least 0, got {seed}"
        raise ConfigError(problem, location="seed", hint="choose one such as 0")
    n_rows = len(labels)
    if n_rows == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    counts = np.bincount(labels)  # (C,)
    spare = np.maximum(counts - 1, 0)  # (C,) what a class can give
    share = counts * fraction
    taken = np.minimum(np.floor(share).astype(np.int64), spare)
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(n_rows)
    tie_break = generator.permutation(len(counts))
    most_due = np.lexsort((tie_break, taken - share))  # classes, the largest remainder first
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
