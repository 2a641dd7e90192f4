"""Texts with their labels: what every source of data becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.data.bad_rows import BadRow, BadRows
from token2wave.data.objects import to_list
from token2wave.data.rows import Segment
from token2wave.data.values import (
    Column,
    has_label_sets,
    join_names,
    parse_groups,
    parse_label_sets,
    parse_labels,
    parse_texts,
    parse_weights,
    quote,
)
from token2wave.errors import DataError, locate
from token2wave.features.hashed_texts import HashedTexts
from token2wave.options import DataOptions
from token2wave.score_scale import ScoreScale

SPLIT_STEMS = {
    "train": ("train",),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test",),
}
"""The splits, and their names in file names and on the hub."""
MAX_SCORE = 1e30  # float32 has to hold scores, and float64 their squares


@dataclass(frozen=True)
class SourceTable:
    """All columns of the rows of a split, as their source has them.

    Attributes:
        columns: the values of each column, length ``N``.
        text_columns: the columns of the texts.
        label_column: the column of the labels.
        segment: the file, and how it is written; None for rows in memory.
    """

    columns: Mapping[str, Sequence[object]]
    text_columns: tuple[str, ...]
    label_column: str
    segment: Segment | None = None

    def take(self, rows: Sequence[int]) -> SourceTable:
        """Select rows by number."""
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        return replace(self, columns=columns)


@dataclass(frozen=True)
class TextSplit:
    """Texts with one label each, or with any number of labels, in the order of their source.

    No row is dropped or moved: index ``i`` is row ``i + 1`` of the source. Arrays, generators and columns of
    frames become lists.

    Attributes:
        texts: the texts, length ``N``. A text may be empty.
        labels: the name of the label of each text, length ``N``, never empty; or, where a text may have
            several labels or none, the names of each text's labels.
        source: the file or data set they come from, for error messages.
        weights: how much each text counts in training, length ``N``, finite and at least zero. None: all
            count the same.
        unknown_labels: labels of test texts that no class has. They count as wrong in an evaluation.
        groups: the name of each row's group, length ``N``, None for a row of its own. None: no row has one.
        row_numbers: the number of each row in the source, length ``N``; None if no row was left out.
        bad_rows: the rows of the source that were left out.
        notes: sentences about the source.
        table: all columns of the source, if they were asked for.
        scores: the number that each label is, length ``N``, where numbers are learnt; None: labels are.

    Raises:
        DataError: texts, labels and weights are not of one length.
    """

    texts: Sequence[str]
    labels: Sequence[str] | Sequence[Sequence[str]]
    source: str
    weights: list[float] | None = None
    unknown_labels: tuple[str, ...] = ()
    groups: list[str | None] | None = None
    row_numbers: list[int] | None = None
    bad_rows: tuple[BadRow, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)
    table: SourceTable | None = field(default=None, compare=False, repr=False)
    scores: list[float] | None = None

    def __post_init__(self) -> None:
        for name in ("texts", "labels", "weights", "groups"):
            values = getattr(self, name)
            is_sequence = isinstance(values, Sequence) and not isinstance(values, str | bytes)
            if not is_sequence and not (values is None and name in ("weights", "groups")):
                object.__setattr__(self, name, to_list(values, name))
        for name, values in (("label", self.labels), ("weight", self.weights), ("group", self.groups)):
            if values is not None and len(values) != len(self.texts):
                raise DataError(
                    f"expected a {name} for each of the {len(self.texts)} texts, found {len(values)} {name}s",
                    location=self.source or "labels",
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
        groups: Column | None = None,
        table: SourceTable | None = None,
    ) -> TextSplit:
        """Make texts with labels from columns; arguments as for :func:`token2wave.data.read_labelled`.

        Raises:
            DataError: a value cannot be used; names the row.
        """
        bad_rows = texts.bad_rows or BadRows(texts.source, options.skip_bad_rows, options.bad_rows)
        texts, labels = replace(texts, bad_rows=bad_rows), replace(labels, bad_rows=bad_rows)
        weights = weights and replace(weights, bad_rows=bad_rows)
        checked_texts = parse_texts(texts)
        checked_labels: Sequence[str] | Sequence[tuple[str, ...]]
        if has_label_sets(labels.values, labels.source, options):
            checked_labels = parse_label_sets(
                labels, label_names, options.label_separator, options.normalise_labels
            )
        else:
            checked_labels = parse_labels(labels, label_names, options.normalise_labels)
        checked_weights = None if weights is None else parse_weights(weights)
        checked_groups = None if groups is None else parse_groups(groups)
        split = cls(
            checked_texts, checked_labels, texts.source, checked_weights, groups=checked_groups, table=table
        )
        return split if not bad_rows else split._without(bad_rows, texts.rows)

    def _without(self, bad_rows: BadRows, row_numbers: Sequence[int] | None) -> TextSplit:
        """Leave bad rows out, which a file may have left out already; a DataError unless they may be."""
        numbers = (
            np.arange(1, len(self) + 1) if row_numbers is None else np.array(row_numbers, dtype=np.int64)
        )
        n_rows = len(bad_rows.numbers() | set(numbers.tolist()))
        bad_rows.require_few(n_rows)
        rows = np.flatnonzero(~np.isin(numbers, list(bad_rows.numbers())))
        return replace(
            self.take(rows),
            row_numbers=numbers[rows].tolist(),
            bad_rows=bad_rows.rows(dict(zip(numbers.tolist(), self.texts, strict=True))),
            notes=(*self.notes, *bad_rows.note(n_rows)),
        )

    def __len__(self) -> int:
        """The number of texts, ``N``."""
        return len(self.texts)

    def take(self, rows: NDArray[np.int64]) -> TextSplit:
        """Select rows by number."""
        numbers = rows.tolist()
        texts = (
            self.texts.take(rows) if isinstance(self.texts, HashedTexts) else [self.texts[i] for i in numbers]
        )
        labels = [self.labels[i] for i in numbers]
        others: dict[str, Any] = {
            name: None if (values := getattr(self, name)) is None else [values[i] for i in numbers]
            for name in ("weights", "groups", "row_numbers", "scores")
        }
        others["table"] = None if self.table is None else self.table.take(numbers)
        return replace(self, texts=texts, labels=labels, **others)

    def location(self, index: int) -> str:
        """Where the row with this index is, for an error message."""
        return locate(self.source, row=self.row(index))

    def row(self, index: int) -> int:
        """The number in the source, from 1, of the row with this index."""
        return index + 1 if self.row_numbers is None else self.row_numbers[index]

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels, or none."""
        return any(not isinstance(label, str) for label in self.labels)

    @property
    def label_sets(self) -> list[tuple[str, ...]]:
        """The labels of each text, length ``N``."""
        return [(label,) if isinstance(label, str) else tuple(label) for label in self.labels]

    def for_classes(self, label_names: Sequence[str]) -> TextSplit:
        """The same texts, to evaluate a model of these classes; other labels become :attr:`unknown_labels`.

        If all labels are unknown, the split stays as it is, and encoding it is an error.
        """
        labels = {label for labels in self.label_sets for label in labels}
        unknown = labels - set(label_names)
        return self if unknown == labels else replace(self, unknown_labels=tuple(sorted(unknown)))

    def rename_labels(self, label_names: Sequence[str], normalise: bool) -> TextSplit:
        """The same texts with labels as a model names them, where it knows them, also by index."""
        names: dict[str, str] = {}
        for label in {label for labels in self.label_sets for label in labels}:
            try:
                (names[label],) = parse_labels(Column([label]), label_names, normalise)
            except DataError:
                names[label] = label
        sets = [tuple(names[label] for label in labels) for labels in self.label_sets]
        return replace(self, labels=sets if self.multi_label else [label for (label,) in sets])

    def unknown_label_notes(self) -> list[str]:
        """A sentence about :attr:`unknown_labels`, if there are some."""
        if not self.unknown_labels:
            return []
        unknown = frozenset(self.unknown_labels)
        n_rows = sum(not unknown.isdisjoint(labels) for labels in self.label_sets)
        problem = "test texts have labels without a class, and count as wrong"
        return [f"{n_rows:,} of {len(self):,} {problem}: {join_names(self.unknown_labels)}."]

    def read_scores(self) -> NDArray[np.float64]:
        """Read the labels as numbers, ``(N,)``.

        Raises:
            DataError: one is no number; names its row.
        """
        scores = np.empty(len(self))
        for row, labels in enumerate(self.label_sets):
            try:
                scores[row] = float(labels[0]) if len(labels) == 1 and "_" not in labels[0] else np.nan
            except ValueError:
                scores[row] = np.nan
            if not abs(scores[row]) <= MAX_SCORE:
                value = quote(labels[0]) if len(labels) == 1 else f"{len(labels)} labels"
                raise DataError(
                    f"expected a number as score, found {value}",
                    location=self.location(row),
                    hint="name the column of scores with --label-column, or train on labels",
                )
        return scores

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
        label_descriptions: texts that describe each label; None without descriptions.
        scale: the scale of the scores, where numbers are learnt (:mod:`token2wave.score_scale`).
    """

    name: str
    train: TextSplit
    validation: TextSplit | None = None
    test: TextSplit | None = None
    label_names: tuple[str, ...] | None = None
    caveats: tuple[str, ...] = ()
    label_descriptions: Mapping[str, Sequence[str]] | None = None
    scale: ScoreScale | None = None

    @property
    def multi_label(self) -> bool:
        """Whether a text of some split may have several labels, or none."""
        splits = (self.train, self.validation, self.test)
        return any(split is not None and split.multi_label for split in splits)

    @property
    def bad_rows(self) -> list[BadRow]:
        """The rows of all splits that were left out."""
        splits = (self.train, self.validation, self.test)
        return [row for split in splits if split is not None for row in split.bad_rows]

    def as_multi_label(self) -> TextDataset:
        """The same texts, each with a set of labels."""
        return replace(
            self,
            train=self.train.as_multi_label(),
            validation=self.validation and self.validation.as_multi_label(),
            test=self.test and self.test.as_multi_label(),
        )
