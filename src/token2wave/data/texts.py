"""Texts with their labels: what every source of data becomes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from token2wave.data.values import (
    Column,
    has_label_sets,
    parse_label_sets,
    parse_labels,
    parse_texts,
    parse_weights,
)
from token2wave.errors import DataError, locate
from token2wave.options import DataOptions

SPLIT_STEMS = {
    "train": ("train",),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test",),
}
"""The splits, and their names in file names and on the hub."""


@dataclass(frozen=True)
class TextSplit:
    """Texts with one label each, or with any number of labels, in the order of their source.

    No row is dropped or moved: index ``i`` is row ``i + 1`` of the source.

    Attributes:
        texts: the texts, length ``N``. A text may be empty.
        labels: the name of the label of each text, length ``N``, never empty; or, where a text may have
            several labels or none, the names of each text's labels.
        source: the file or data set they come from, for error messages.
        weights: how much each text counts in training, length ``N``, finite and at least zero. None: all
            count the same.

    Raises:
        DataError: texts, labels and weights are not of one length.
    """

    texts: Sequence[str]
    labels: Sequence[str] | Sequence[Sequence[str]]
    source: str
    weights: list[float] | None = None

    def __post_init__(self) -> None:
        for name, values in (("label", self.labels), ("weight", self.weights)):
            if values is not None and len(values) != len(self.texts):
                raise DataError(
                    f"expected a {name} for each of the {len(self.texts)} texts, found {len(values)} {name}s",
                    location=self.source,
                    hint="give both lists the same length",
                )

    @classmethod
    def from_columns(
        cls,
        texts: Column,
        labels: Column,
        weights: Column | None,
        options: DataOptions,
        label_names: Sequence[str] | None = None,
    ) -> TextSplit:
        """Make texts with labels from columns; arguments as for :func:`token2wave.data.read_labelled`.

        Raises:
            DataError: a value cannot be used; names the row.
        """
        checked_texts = parse_texts(texts)
        checked_labels: Sequence[str] | Sequence[tuple[str, ...]]
        if has_label_sets(labels.values, labels.source, options):
            checked_labels = parse_label_sets(
                labels, label_names, options.label_separator, options.normalise_labels
            )
        else:
            checked_labels = parse_labels(labels, label_names, options.normalise_labels)
        checked_weights = None if weights is None else parse_weights(weights)
        return cls(checked_texts, checked_labels, texts.source, checked_weights)

    def __len__(self) -> int:
        """The number of texts, ``N``."""
        return len(self.texts)

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels, or none."""
        return any(not isinstance(label, str) for label in self.labels)

    @property
    def label_sets(self) -> list[tuple[str, ...]]:
        """The labels of each text, length ``N``."""
        return [(label,) if isinstance(label, str) else tuple(label) for label in self.labels]

    def with_canonical_labels(self, label_names: Sequence[str] | None, normalise: bool) -> TextSplit:
        """The same texts, with labels named as every reader names them."""
        parse = parse_label_sets if self.multi_label else parse_labels
        column = Column(self.label_sets if self.multi_label else self.labels, self.source)
        return replace(self, labels=parse(column, label_names, normalise=normalise))

    def as_multi_label(self) -> TextSplit:
        """The same texts, each with a set of labels."""
        return replace(self, labels=self.label_sets)


@dataclass(frozen=True)
class TextDataset:
    """A data set with its official splits.

    Attributes:
        name: the short name of the data set, or the stem of its file.
        train: the training split.
        validation: the split that chooses epoch and settings; None if the data set has none.
        test: the split to report on; None if the data set has none.
        label_names: the names of the classes in their official order; None if the source does not state them.
        caveats: sentences to print beside every figure.
    """

    name: str
    train: TextSplit
    validation: TextSplit | None = None
    test: TextSplit | None = None
    label_names: tuple[str, ...] | None = None
    caveats: tuple[str, ...] = ()

    @property
    def multi_label(self) -> bool:
        """Whether a text of some split may have several labels, or none."""
        splits = (self.train, self.validation, self.test)
        return any(split is not None and split.multi_label for split in splits)

    def as_multi_label(self) -> TextDataset:
        """The same texts, each with a set of labels."""
        return replace(
            self,
            train=self.train.as_multi_label(),
            validation=self.validation and self.validation.as_multi_label(),
            test=self.test and self.test.as_multi_label(),
        )


def with_canonical_labels(data: TextDataset, options: DataOptions) -> TextDataset:
    """A data set from memory with labels named as every reader names them."""
    names, normalise = data.label_names, options.normalise_labels
    splits = {
        name: split if split is None else split.with_canonical_labels(names, normalise)
        for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test))
    }
    return replace(data, **splits)  # type: ignore[arg-type]


def require_usable(split: TextSplit) -> None:
    """Check texts, labels and weights that a program passes in memory; DataError if one cannot be used."""
    for row, text in enumerate(split.texts, start=1):
        if not isinstance(text, str):
            location = locate(split.source, row=row)
            raise DataError(f"expected a string, found {type(text).__name__}", location=location)
    for row, label in enumerate(split.labels, start=1):
        names = (label,) if isinstance(label, str) or not isinstance(label, Iterable) else tuple(label)
        if bad := [name for name in names if not isinstance(name, str) or not name]:
            raise DataError(
                f"expected a label that is a string, found {bad[0]!r:.40}",
                location=locate(split.source, row=row),
                hint="give labels by name, as in label_names",
            )
    for row, weight in enumerate(split.weights or (), start=1):
        if not 0 <= weight < math.inf:
            location = locate(split.source, row=row)
            raise DataError(f"expected a weight of at least 0, found {weight}", location=location)
