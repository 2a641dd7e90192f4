"""The rows of a stream: texts, labels, and the random number that decides whether a row is sampled."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from token2wave.data.reader import read_segment
from token2wave.data.rows import LINE_KINDS, Limits, Rows, Segment
from token2wave.data.values import Origin, checked_label_sets, checked_weights
from token2wave.errors import DataError
from token2wave.features.text import mix
from token2wave.options import DataOptions

ROWS_OF_A_DRAW = 16
"""Neighbouring rows are often related, such as reviews of one film, so they share a draw."""
MAX_CACHED_LABELS = 1 << 17  # values of labels
MAX_OPEN_SEGMENTS = 16
"""Segments that are open at once, so that a block mixes rows from many places."""

_T = TypeVar("_T")
_R = TypeVar("_R")
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # of SplitMix64
_COUNT_BITS = np.uint64(40)  # of the number of a row; the rest is that of its segment


@dataclass(frozen=True)
class LabelledRows:
    """Consecutive rows of a segment.

    Attributes:
        texts: ``n`` strings.
        labels: of each text the names of its labels.
        multi_label: whether a row has a list of labels.
        weights: ``(n,)`` float64, how much each counts; None where there is no such column.
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


class _Label(NamedTuple):
    names: tuple[str, ...]
    problem: str | None = None


@dataclass
class StreamSource:
    """The files of a stream, and how their rows are read.

    Attributes:
        name: of the data.
        segments: of its files.
        options: the columns, and how labels are written.
        label_names: the names of the classes, where they are known.
        seed: of the sample.
        limits: what a row may take.
    """

    name: str
    segments: Sequence[Segment]
    options: DataOptions = field(default_factory=DataOptions)
    label_names: tuple[str, ...] | None = None
    seed: int = 0
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self._known: dict[Any, _Label] = {}

    def read(self, segment_number: int) -> Iterator[LabelledRows]:
        """The rows of a segment.

        Raises:
            DataError: the file is not there, or lacks a column.
        """
        segment = self.segments[segment_number]
        label_column = "label" if is_fasttext(segment) else self.options.label_column
        columns = [
            label_column,
            *([] if self.options.weight_column is None else [self.options.weight_column]),
        ]
        n_before = 0
        for rows in read_segment(segment, self.options.text_column, columns, self.limits):
            yield self._checked(segment, segment_number, rows, label_column, n_before)
            n_before += len(rows)

    def _checked(
        self, segment: Segment, number: int, rows: Rows, label_column: str, n_before: int
    ) -> LabelledRows:
        rejected = [
            (f"{segment.where(reject.at)}: {reject.reason}", reject.n_rows) for reject in rows.rejected
        ]
        texts: list[str] = rows.values(self.options.text_column) if len(rows) else []
        values = rows.values(label_column) if len(rows) else []
        labels = [self._label(value) for value in values]
        weights = self._weights(rows)
        problems = [label.problem for label in labels]
        if weights is not None:
            problems = [p or w for p, w in zip(problems, weights[1], strict=True)]
        draws = self._draws(number, n_before, len(texts))
        is_list = [type(value) is list for value in values]
        several = any(is_list) and (not is_fasttext(segment) or any(len(label.names) > 1 for label in labels))
        own = None if weights is None else weights[0]
        if any(problems):
            good = np.array([problem is None for problem in problems])
            bad = np.flatnonzero(~good).tolist()
            rejected += [(f"{segment.where(int(rows.places[i]))}: {problems[i]}", 1) for i in bad]
            kept = np.flatnonzero(good).tolist()
            texts, labels, draws = [texts[i] for i in kept], [labels[i] for i in kept], draws[good]
            own = None if own is None else own[good]
        return LabelledRows(texts, [label.names for label in labels], several, own, draws, rejected)

    def _label(self, value: Any) -> _Label:
        """The names of a row's labels; each value is checked once."""
        key: Any = (type(value), tuple(value) if isinstance(value, list) else value)
        try:
            known = self._known.get(key)
        except TypeError:  # no label is of such a type
            known, key = None, None
        if known is None:
            try:
                names = checked_label_sets(
                    [value], Origin(""), self.label_names, self.options.label_separator
                )
                known = _Label(names[0])
            except DataError as error:
                known = _Label((), error.problem)
            if key is not None and len(self._known) < MAX_CACHED_LABELS:
                self._known[key] = known
        return known

    def _weights(self, rows: Rows) -> tuple[NDArray[np.float64], list[str | None]] | None:
        """The weights of rows, and the problem of each."""
        if self.options.weight_column is None:
            return None
        weights = np.zeros(len(rows))
        problems: list[str | None] = [None] * len(rows)
        for row, value in enumerate(rows.values(self.options.weight_column) if len(rows) else []):
            try:
                weights[row] = checked_weights([value], Origin(""))[0]
            except DataError as error:
                problems[row] = error.problem
        return weights, problems

    def _draws(self, number: int, first: int, n_rows: int) -> NDArray[np.uint64]:
        together = np.arange(first, first + n_rows, dtype=np.uint64) // np.uint64(ROWS_OF_A_DRAW)
        key = mix(np.array([self.seed], dtype=np.uint64) + _GOLDEN)
        return mix(key + ((np.uint64(number) << _COUNT_BITS) | together))

    def interleave(self, order: Iterable[int]) -> Iterator[LabelledRows]:
        """Read several segments in turn.

        Args:
            order: numbers of the segments, in the order in which they are opened.
        """
        pending, open_readers = iter(order), deque[Iterator[LabelledRows]]()
        while True:
            while len(open_readers) < MAX_OPEN_SEGMENTS and (number := next(pending, None)) is not None:
                open_readers.append(self.read(number))
            if not open_readers:
                return
            reading = open_readers.popleft()
            chunk = next(reading, None)
            if chunk is not None:
                open_readers.append(reading)
                yield chunk


def map_in_order(
    function: Callable[[_T], _R], items: Iterable[_T], n_at_once: int
) -> Iterator[tuple[_T, _R]]:
    """Apply a function to items on several threads, a few items ahead, so that memory stays small.

    Yields:
        The items with their results, in their order.
    """
    with ThreadPoolExecutor(n_at_once) as pool:
        ahead: deque[tuple[_T, Future[_R]]] = deque()
        for item in items:
            ahead.append((item, pool.submit(function, item)))
            if len(ahead) > n_at_once:
                done, future = ahead.popleft()
                yield done, future.result()
        for done, future in ahead:
            yield done, future.result()


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
    """Whether labels stand in the lines of a segment, where all else has a column for them."""
    return segment.kind in LINE_KINDS and segment.kind not in (".jsonl", ".ndjson")
