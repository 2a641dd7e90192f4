"""The source of a stream: its files, their rows in segments, and the splits beside them in memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from token2wave.data import DataOptions, TextSplit
from token2wave.data.columns import guess_stream_columns
from token2wave.data.datasets import DatasetFiles, find_files, incomplete_caveats, load_split
from token2wave.data.file_segments import find_inputs, segments_of
from token2wave.data.reader import read_segment
from token2wave.data.rows import TEXT_FORMATS, RowBlock, RowLimits, Segment
from token2wave.data.values import Column, parse_label_sets, parse_weights
from token2wave.errors import DataError
from token2wave.features.text import mix

StreamedData = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

BYTES_OF_A_SEGMENT = 2 << 20
ROWS_OF_A_DRAW = 16
"""Neighbouring rows are often related, such as reviews of one film, so they share a draw."""
MAX_CACHED_LABELS = 1 << 17  # values of labels
MAX_OPEN_SEGMENTS = 16
"""Segments that are open at once, so that a block mixes rows from many places."""

_T = TypeVar("_T")
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # of SplitMix64
_COUNT_BITS = np.uint64(40)  # of the number of a row; the rest is that of its segment


@dataclass(frozen=True)
class LabelledRows:
    """Consecutive rows of a segment.

    Attributes:
        texts: ``n`` strings.
        labels: the names of each text's labels.
        multi_label: whether a row has a list of labels.
        weights: ``(n,)`` float64, how much each counts; None without a weight column.
        draws: ``(n,)`` uint64; the rows with the smallest are sampled. Neighbouring rows share one.
        rejected: the place and reason of each row that cannot be used, and how many rows it stands for.
    """

    texts: list[str]
    labels: list[tuple[str, ...]]
    multi_label: bool
    weights: NDArray[np.float64] | None
    draws: NDArray[np.uint64]
    rejected: list[tuple[str, int]]

    @property
    def n_characters(self) -> int:
        """Characters of all texts together."""
        return sum(map(len, self.texts))

    def select(self, mask: NDArray[np.bool_]) -> LabelledRows:
        """The rows of a mask, ``(n,)``."""
        if mask.all():
            return self
        numbers = np.flatnonzero(mask).tolist()
        return replace(
            self,
            texts=[self.texts[i] for i in numbers],
            labels=[self.labels[i] for i in numbers],
            weights=None if self.weights is None else self.weights[mask],
            draws=self.draws[mask],
        )


class _Label(NamedTuple):
    names: tuple[str, ...]
    problem: str | None = None


@dataclass
class StreamSource:
    """The files of a stream, how their rows are read, and the splits beside it.

    Attributes:
        name: of the data.
        segments: of its files.
        options: the columns, and how labels are written.
        label_names: the names of the classes, if the data states them.
        seed: of the sample.
        splits: the validation and test rows, if there are any.
        dataset: the data set, if the stream is one.
        has_other_test: whether the test rows come from other data.
        notes: what looking at the files has found.
    """

    name: str
    segments: Sequence[Segment]
    options: DataOptions = field(default_factory=DataOptions)
    label_names: tuple[str, ...] | None = None
    seed: int = 0
    splits: Mapping[str, TextSplit] = field(default_factory=dict)
    dataset: DatasetFiles | None = None
    has_other_test: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._cached_labels: dict[Any, _Label] = {}

    def caveats(self, n_rows: int) -> list[str]:
        """Sentences to print beside every figure of a data set whose training split has ``n_rows``."""
        if self.dataset is None:
            return list(self.notes)
        counts = {"train": n_rows, **{split: len(rows) for split, rows in self.splits.items()}}
        if self.has_other_test:
            del counts["test"]
        incomplete = (incomplete_caveats(self.dataset, split, n) for split, n in counts.items())
        return [*self.dataset.caveats, *self.notes, *chain.from_iterable(incomplete)]

    def read(self, segment_number: int) -> Iterator[LabelledRows]:
        """Read the rows of a segment.

        Raises:
            DataError: the file is not there, or lacks a column.
        """
        segment, options = self.segments[segment_number], self.options
        label_column = "label" if is_fasttext(segment) else options.label_column
        columns = [label_column, *([] if options.weight_column is None else [options.weight_column])]
        n_before = 0
        for rows in read_segment(segment, options.text_column, columns, RowLimits()):
            yield self._check(segment, segment_number, rows, label_column, n_before)
            n_before += len(rows)

    def _check(
        self, segment: Segment, number: int, rows: RowBlock, label_column: str, n_before: int
    ) -> LabelledRows:
        """Separate the rows that can be used from the others."""
        rejected = [(f"{segment.location(row.at)}: {row.reason}", row.n_rows) for row in rows.rejected]
        texts: list[str] = rows.values(",".join(self.options.text_columns)) if len(rows) else []
        values = rows.values(label_column) if len(rows) else []
        labels = [self._label(value) for value in values]
        weights, weight_problems = self._weights(rows)
        problems = [label.problem or problem for label, problem in zip(labels, weight_problems, strict=True)]
        has_lists = any(type(value) is list for value in values)
        multi_label = has_lists and (
            not is_fasttext(segment) or any(len(label.names) > 1 for label in labels)
        )
        good = np.array([problem is None for problem in problems], dtype=bool)
        for i in np.flatnonzero(~good).tolist():
            rejected.append((f"{segment.location(int(rows.places[i]))}: {problems[i]}", 1))
        names, draws = [label.names for label in labels], self._draws(number, n_before, len(texts))
        return LabelledRows(texts, names, multi_label, weights, draws, rejected).select(good)

    def _label(self, value: Any) -> _Label:
        """The names of a row's labels; each value is checked once."""
        key: Any = (type(value), tuple(value) if isinstance(value, list) else value)
        try:
            label = self._cached_labels.get(key)
        except TypeError:  # no label is of such a type
            label, key = None, None
        if label is None:
            separator, normalise = self.options.label_separator, self.options.normalise_labels
            try:
                label = _Label(parse_label_sets(Column([value]), self.label_names, separator, normalise)[0])
            except DataError as error:
                label = _Label((), error.problem)
            if key is not None and len(self._cached_labels) < MAX_CACHED_LABELS:
                self._cached_labels[key] = label
        return label

    def _weights(self, rows: RowBlock) -> tuple[NDArray[np.float64] | None, list[str | None]]:
        """The weights of rows, None without a weight column, and the problem of each."""
        problems: list[str | None] = [None] * len(rows)
        if self.options.weight_column is None:
            return None, problems
        weights = np.zeros(len(rows))
        for row, value in enumerate(rows.values(self.options.weight_column) if len(rows) else []):
            try:
                weights[row] = parse_weights(Column([value]))[0]
            except DataError as error:
                problems[row] = error.problem
        return weights, problems

    def _draws(self, number: int, first: int, n_rows: int) -> NDArray[np.uint64]:
        """A random number for each row of a segment."""
        groups = np.arange(first, first + n_rows, dtype=np.uint64) // np.uint64(ROWS_OF_A_DRAW)
        key = mix(np.array([self.seed], dtype=np.uint64) + _GOLDEN)
        return mix(key + ((np.uint64(number) << _COUNT_BITS) | groups))

    def interleave(self, order: Iterable[int]) -> Iterator[LabelledRows]:
        """Read several segments in turn, opened in this order."""
        pending, open_readers = iter(order), deque[Iterator[LabelledRows]]()
        while True:
            while len(open_readers) < MAX_OPEN_SEGMENTS and (number := next(pending, None)) is not None:
                open_readers.append(self.read(number))
            if not open_readers:
                return
            reader = open_readers.popleft()
            chunk = next(reader, None)
            if chunk is not None:
                open_readers.append(reader)
                yield chunk


def open_stream(
    data: StreamedData, test: Any, options: DataOptions, seed: int, validation: Any = None
) -> StreamSource:
    """Find the files of a stream, and read the splits beside it.

    Args:
        data: a file, a pattern, or several of them; a folder with a file ``train``, or the name of a data
            set, whose validation and test rows are then used too; or another folder, with all its files.
        test: rows to report on; see :func:`token2wave.data.load_split`.
        options: the columns, and how labels are written.
        seed: of the sample.
        validation: rows that choose the epoch.

    Raises:
        DataError: there are no such files, or they cannot be read.
    """
    path = data if isinstance(data, str | os.PathLike) else None
    dataset = None if path is None else find_files(path)
    if dataset is None or path is None:
        paths = find_inputs(list(data) if path is None else [path])  # type: ignore[arg-type]
        name = paths[0].name.split(".")[0]
        name = name if len(paths) == 1 else f"{name} and {len(paths) - 1} more files"
        paths_of_splits, label_names = dict[str, Any](), None
    else:
        paths, name, label_names = [dataset.splits["train"]], dataset.name, dataset.label_names
        paths_of_splits = {split: path for split in ("validation", "test") if split in dataset.splits}
    others = {"validation": validation, "test": test}
    paths_of_splits |= {split: other for split, other in others.items() if other is not None}
    unweighted = replace(options, weight_column=None)
    splits = {
        split: load_split(path_or_name, split, unweighted, label_names=label_names)
        for split, path_or_name in paths_of_splits.items()
    }
    segments = segments_of(paths, BYTES_OF_A_SEGMENT, options)
    options, notes = guess_stream_columns(segments, options)
    notes += [note for split in splits.values() for note in split.notes]
    return StreamSource(
        name, segments, options, label_names, seed, splits, dataset, test is not None, tuple(notes)
    )


def prefetch(items: Iterator[_T]) -> Iterator[_T]:
    """The same items, each made while the previous one is in use."""
    end = object()
    following = partial(next, items, end)
    with ThreadPoolExecutor(1) as pool:
        coming: Future[Any] = pool.submit(following)
        while (item := coming.result()) is not end:
            coming = pool.submit(following)
            yield item


def is_fasttext(segment: Segment) -> bool:
    """Whether the labels of a segment stand in its lines rather than in a column."""
    return segment.format in TEXT_FORMATS
