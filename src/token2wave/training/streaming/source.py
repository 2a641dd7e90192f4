"""The rows of a stream: texts, labels, and the number by which each is drawn."""

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
from token2wave.data.rows import LINE_KINDS, Limits, Segment
from token2wave.data.values import Origin, checked_label_sets, checked_weights
from token2wave.errors import DataError
from token2wave.features.text import mix
from token2wave.options import DataOptions

ROWS_DRAWN_TOGETHER = 16
"""Rows that stand together are often of one matter, as reviews of one film are: they are drawn together."""
MAX_REMEMBERED = 1 << 17  # values of labels
OPEN_CHUNK = 16
"""Segments that are read by turns, so that rows of many places stand in a block."""

_T = TypeVar("_T")
_R = TypeVar("_R")
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # of SplitMix64
_COUNT_BITS = np.uint64(40)  # of the number of a row; the rest is that of its segment


@dataclass(frozen=True)
class Part:
    """Some rows of a segment, in their order.

    Attributes:
        texts: ``n`` strings.
        labels: of each text the names of its labels.
        several: whether a row gave its labels as a list.
        weights: ``(n,)`` float64, how much each counts; None where there is no such column.
        draws: ``(n,)`` uint64: rows with the smallest are drawn. Those that stand together share one.
        rejected: what could not be read: its place and the reason, and how many rows that may be.
    """

    texts: list[str]
    labels: list[tuple[str, ...]]
    several: bool
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
class Source:
    """Where the rows of a stream come from.

    Attributes:
        name: of the data.
        segments: of its files.
        options: the columns, and how labels are written.
        label_names: the names of the classes, where they are known.
        seed: of what is drawn.
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

    def parts(self, segment_number: int) -> Iterator[Part]:
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
            yield self._part(segment, segment_number, rows, label_column, n_before)
            n_before += len(rows)

    def _part(self, segment: Segment, number: int, rows: Any, label_column: str, n_before: int) -> Part:
        rejected = [(f"{segment.where(one.at)}: {one.reason}", one.n_rows) for one in rows.rejected]
        texts: list[str] = rows.values(self.options.text_column) if len(rows) else []
        values = rows.values(label_column) if len(rows) else []
        found = [self._label(value) for value in values]
        weights = self._weights(rows)
        problems = [label.problem for label in found]
        if weights is not None:
            problems = [p or w for p, w in zip(problems, weights[1], strict=True)]
        draws = self._draws(number, n_before, len(texts))
        is_list = [type(value) is list for value in values]
        several = any(is_list) and (not is_fasttext(segment) or any(len(one.names) > 1 for one in found))
        own = None if weights is None else weights[0]
        if any(problems):
            good = np.array([problem is None for problem in problems])
            bad = np.flatnonzero(~good).tolist()
            rejected += [(f"{segment.where(int(rows.places[i]))}: {problems[i]}", 1) for i in bad]
            kept = np.flatnonzero(good).tolist()
            texts, found, draws = [texts[i] for i in kept], [found[i] for i in kept], draws[good]
            own = None if own is None else own[good]
        return Part(texts, [label.names for label in found], several, own, draws, rejected)

    def _label(self, value: Any) -> _Label:
        """The names of a row's labels; each value is looked at once."""
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
            if key is not None and len(self._known) < MAX_REMEMBERED:
                self._known[key] = known
        return known

    def _weights(self, rows: Any) -> tuple[NDArray[np.float64], list[str | None]] | None:
        """Weights of rows, and what is wrong with each."""
        if self.options.weight_column is None:
            return None
        weights = np.zeros(len(rows))
        found: list[str | None] = [None] * len(rows)
        for row, value in enumerate(rows.values(self.options.weight_column) if len(rows) else []):
            try:
                weights[row] = checked_weights([value], Origin(""))[0]
            except DataError as error:
                found[row] = error.problem
        return weights, found

    def _draws(self, number: int, first: int, n_rows: int) -> NDArray[np.uint64]:
        together = np.arange(first, first + n_rows, dtype=np.uint64) // np.uint64(ROWS_DRAWN_TOGETHER)
        key = mix(np.array([self.seed], dtype=np.uint64) + _GOLDEN)
        return mix(key + ((np.uint64(number) << _COUNT_BITS) | together))

    def by_turns(self, order: Iterable[int]) -> Iterator[Part]:
        """Read segments, some of them by turns.

        Args:
            order: in which they are begun.
        """
        waiting, being_read = iter(order), deque[Iterator[Part]]()
        while True:
            while len(being_read) < OPEN_CHUNK and (number := next(waiting, None)) is not None:
                being_read.append(self.parts(number))
            if not being_read:
                return
            reading = being_read.popleft()
            part = next(reading, None)
            if part is not None:
                being_read.append(reading)
                yield part


def in_order(function: Callable[[_T], _R], items: Iterable[_T], n_at_once: int) -> Iterator[tuple[_T, _R]]:
    """Apply a function to items on several threads; a few are ahead, so that memory stays small.

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


def one_ahead(items: Iterator[_T]) -> Iterator[_T]:
    """The same items, each made while the one before it is in use."""
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
