"""What every source of data becomes: texts, the names of their labels, and where they came from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from token2wave.errors import DataError, place

SPLIT_STEMS = {
    "train": ("train",),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test",),
}
"""The three splits, and the names they go by in file names and on the hub."""


@dataclass(frozen=True)
class TextSplit:
    """Texts with one label each, or with any number of them, in the order of their source.

    Nothing is dropped or reordered on the way here: row ``i`` of the source is index ``i - 1``, so
    ``index + 1`` is the row number that an error message should name.

    Attributes:
        texts: the texts, length ``N``. A text may be empty.
        labels: the name of the label of each text, length ``N``, never empty; or, where a text may have
            several labels or none, the names of each text's labels.
        source: the file or data set they were read from, for error messages.
        weights: how much each text counts in training, length ``N``, finite and at least zero; all the same,
            if None.

    Raises:
        DataError: texts, labels and weights are not of one length.
    """

    texts: Sequence[str]
    labels: Sequence[str] | Sequence[Sequence[str]]
    source: str
    weights: list[float] | None = None

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.labels):
            raise DataError(
                f"expected a label for each text, got {len(self.texts)} texts and {len(self.labels)} labels",
                location=self.source,
                hint="give both lists the same length",
            )
        if self.weights is not None and len(self.weights) != len(self.texts):
            n_weights = len(self.weights)
            raise DataError(
                f"expected a weight for each text, got {n_weights} weights of {len(self.texts)} texts",
                location=self.source,
                hint="give both lists the same length",
            )

    def __len__(self) -> int:
        """The number of texts, ``N``."""
        return len(self.texts)

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels, or none: whether some are not one name."""
        return any(not isinstance(label, str) for label in self.labels)

    @property
    def label_sets(self) -> list[tuple[str, ...]]:
        """The labels of each text, length ``N``."""
        return [(label,) if isinstance(label, str) else tuple(label) for label in self.labels]

    def as_multi_label(self) -> TextSplit:
        """The same texts as ones that may have several labels."""
        return replace(self, labels=self.label_sets)


@dataclass(frozen=True)
class TextDataset:
    """A data set with its official splits.

    Attributes:
        name: the short name of the data set, or the stem of its file.
        train: what to train on.
        validation: what to choose the epoch and the settings on; None when the data set has no such split.
        test: what to report on; None when the data set has no such split.
        label_names: the names of the classes in their official order; None when the source does not say.
        caveats: sentences that have to stand beside every figure measured on this data.
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
        return any(part is not None and part.multi_label for part in (self.train, self.validation, self.test))

    def as_multi_label(self) -> TextDataset:
        """The same data as texts that may have several labels."""
        parts = (self.train, self.validation, self.test)
        train, *others = (None if part is None else part.as_multi_label() for part in parts)
        assert train is not None
        return replace(self, train=train, validation=others[0], test=others[1])


def require_usable(rows: TextSplit) -> None:
    """Refuse texts, labels and weights in memory that are not what they should be.

    Raises:
        DataError: there are some.
    """
    for row, text in enumerate(rows.texts, start=1):
        if not isinstance(text, str):
            where = place(rows.source, row=row)
            raise DataError(f"expected a string, found {type(text).__name__}", location=where)
    for row, label in enumerate(rows.labels, start=1):
        each = (label,) if isinstance(label, str) or not isinstance(label, Iterable) else tuple(label)
        if odd := [name for name in each if not isinstance(name, str) or not name]:
            raise DataError(
                f"expected a label that is a string, found {odd[0]!r:.40}",
                location=place(rows.source, row=row),
                hint="give labels by their names, as label_names has them",
            )
    for row, weight in enumerate(rows.weights or (), start=1):
        if not 0 <= weight < math.inf:
            where = place(rows.source, row=row)
            raise DataError(f"expected a weight of at least 0, found {weight}", location=where)
