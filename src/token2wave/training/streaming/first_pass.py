"""The first pass over a stream: counts classes, features and lengths, and draws a sample of rows."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.core import load_core
from token2wave.data import TextSplit, label_names_of
from token2wave.data.file_segments import segment_size
from token2wave.data.labels import require_labels_that_repeat
from token2wave.data.rows import SEPARATORS
from token2wave.data.splits import in_order, require_few_classes
from token2wave.data.values import has_label_sets, require_separator
from token2wave.errors import DataError
from token2wave.features import WordConfig
from token2wave.features.hashed_texts import map_ahead
from token2wave.features.hashing import Buckets, count_buckets, word_buckets
from token2wave.features.ragged import offsets_of
from token2wave.training.callbacks import CallbackList
from token2wave.training.streaming.stream_source import LabelledRows, StreamSource

MIN_ROWS = 1_000
MEGABYTE = 1 << 20
MAX_UINT32_COUNT = 1 << 31


class DrawnRow(NamedTuple):
    """A row of the sample: its draw, its number in the stream, and what it holds."""

    draw: int
    number: int
    text: str
    labels: tuple[str, ...]
    weight: float


class RowSample:
    """The rows with the smallest draws whose texts have at most ``max_characters`` in all."""

    def __init__(self, max_characters: int) -> None:
        self.max_characters = max_characters
        self.n_characters = 0
        self.bound: np.uint64 | None = None  # from this draw on rows do not fit
        self.rows: list[DrawnRow] = []
        self._n_seen = 0

    def add(self, chunk: LabelledRows) -> None:
        """Add rows to the draw."""
        rows = np.arange(len(chunk.texts)) if self.bound is None else np.flatnonzero(chunk.draws < self.bound)
        for row in rows.tolist():
            weight = 1.0 if chunk.weights is None else float(chunk.weights[row])
            draw, number, text = int(chunk.draws[row]), self._n_seen + row, chunk.texts[row]
            self.rows.append(DrawnRow(draw, number, text, chunk.labels[row], weight))
            self.n_characters += len(text)
        self._n_seen += len(chunk.texts)
        if self.n_characters > 2 * self.max_characters:
            self.cut()

    def cut(self) -> None:
        """Drop the rows that do not fit; rows of one draw stay together."""
        self.rows.sort(key=lambda row: row[:2])
        ends = np.cumsum([len(row.text) for row in self.rows])
        n_fit = int(np.searchsorted(ends, self.max_characters, side="right"))
        if n_fit < len(self.rows):
            while n_fit > 0 and self.rows[n_fit - 1].draw == self.rows[n_fit].draw:
                n_fit -= 1
            self.bound = np.uint64(self.rows[n_fit].draw)
            self.rows = self.rows[:n_fit]
        self.n_characters = sum(len(row.text) for row in self.rows)


class BucketCounts:
    """Counts how often each bucket of word features occurs, and in how many texts.

    Attributes:
        frequency: ``(2^bits,)`` int64, texts that have each bucket.
    """

    def __init__(self, config: WordConfig) -> None:
        self.ngrams = config.ngrams
        self.frequency = np.zeros(1 << config.bits, dtype=np.int64)
        self._total = np.zeros(1 << config.bits, dtype=np.int64)
        self._recent = np.zeros(1 << config.bits, dtype=np.uint32)
        self._n_recent = 0
        self._last_text = np.full(1 << config.bits, -1, dtype=np.int64)  # work space of the core

    @property
    def occurrences(self) -> NDArray[np.int64]:
        """``(2^bits,)`` int64, how often each bucket occurs."""
        self._total += self._recent
        self._recent.fill(0)
        self._n_recent = 0
        return self._total

    def add(self, buckets: Buckets) -> None:
        """Count further texts."""
        if self._n_recent + len(buckets.buckets) > MAX_UINT32_COUNT:
            _ = self.occurrences
        self._n_recent += len(buckets.buckets)
        count_buckets(buckets.buckets, self._recent)
        lengths = np.maximum(buckets.n_words[:, None] - np.arange(self.ngrams), 0).sum(axis=1)
        native, rows, no_labels = load_core(), buckets.buckets.view(np.int32), np.zeros(0, np.int64)
        assert native is not None
        native.document_frequency(rows, offsets_of(lengths), no_labels, self.frequency, self._last_text)
        self._last_text[buckets.buckets] = -1


@dataclass
class Survey:
    """The counts of one pass over a stream.

    Attributes:
        counts: of the features.
        n_rows: usable rows.
        n_rejected: other rows.
        first_reason: why the first of these is not usable.
        n_characters: of all texts.
        multi_label: whether texts may have several labels, or none.
        label_names: the classes.
        label_counts: ``(C,)``, rows that have each class.
        label_weights: ``(C,)``, the sum of these rows' own weights.
        own_weight: the sum of all rows' own weights.
        checksum: of all texts and labels in their order.
        drawn: the rows with the smallest draws, in their order.
    """

    counts: BucketCounts
    n_rows: int = 0
    n_rejected: int = 0
    first_reason: str = ""
    n_characters: int = 0
    multi_label: bool = False
    label_names: tuple[str, ...] = ()
    label_counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    label_weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    own_weight: float = 0.0
    checksum: int = 0
    drawn: list[DrawnRow] = field(default_factory=list)

    def take_drawn(self, first: int, last: int, source: str) -> TextSplit:
        """Some of the drawn rows as texts in memory."""
        rows = self.drawn[first:last]
        labels = [row.labels if self.multi_label else row.labels[0] for row in rows]
        return TextSplit([row.text for row in rows], labels, source, [row.weight for row in rows])


def survey_stream(
    source: StreamSource,
    config: WordConfig,
    max_characters: int,
    max_rejected: float,
    callback_list: CallbackList,
) -> Survey:
    """Read a stream once, and draw rows with at most ``max_characters`` in all.

    Raises:
        DataError: too many rows are unusable, too few are usable, or there are fewer than two classes.
    """
    survey, sample = Survey(BucketCounts(config)), RowSample(max_characters)
    counts: Counter[str] = Counter()
    weights: dict[str, float] = defaultdict(float)
    one_label = True
    if any(segment.format in SEPARATORS for segment in source.segments):
        require_separator(source.options, source.name)
    callback_list.stage("first pass, MB", sum(map(segment_size, source.segments)) // MEGABYTE)

    def count_words(chunk: LabelledRows) -> Buckets:
        return word_buckets(chunk.texts, *config.hash_settings)

    for chunk, buckets in map_ahead(count_words, _with_progress(source, callback_list)):
        survey.counts.add(buckets)
        sample.add(chunk)
        survey.n_rows += len(chunk.texts)
        survey.multi_label |= chunk.multi_label
        survey.n_rejected += sum(n for _, n in chunk.rejected)
        survey.first_reason = survey.first_reason or next((reason for reason, _ in chunk.rejected), "")
        survey.n_characters += chunk.n_characters
        own = np.ones(len(chunk.texts)) if chunk.weights is None else chunk.weights
        survey.own_weight += float(own.sum())
        for labels, weight in zip(chunk.labels, own.tolist(), strict=True):
            one_label &= len(labels) == 1
            for label in labels:
                counts[label] += 1
                weights[label] += weight
        require_few_classes(len(counts), source.name)
        survey.checksum = _checksum(chunk, survey.checksum)
    sample.cut()
    survey.drawn = sample.rows
    n_all = survey.n_rows + survey.n_rejected
    if survey.n_rejected > max_rejected * n_all:
        raise DataError(
            f"{survey.n_rejected:,} of {n_all:,} rows cannot be used, the first: {survey.first_reason}",
            location=source.name,
            hint="correct them, or allow more with --max-rejected",
        )
    if survey.n_rows < MIN_ROWS:
        problem = f"expected at least {MIN_ROWS:,} rows of a stream, found {survey.n_rows:,}"
        raise DataError(problem, location=source.name, hint="leave out --stream")
    survey.multi_label = has_label_sets([[]] if survey.multi_label else [], source.name, source.options)
    if not survey.multi_label and not one_label:
        raise DataError(
            "expected one label for each row, found rows with none or several",
            location=source.name,
            hint="ask for --multi-label",
        )
    n_single = sum(count == 1 for count in counts.values())
    require_labels_that_repeat(len(counts), n_single, survey.n_rows, source.name)
    one_of_each = TextSplit([""] * len(counts), list(counts), source.name)
    survey.label_names = label_names_of(one_of_each, source.label_names or in_order(counts))
    survey.label_counts = np.array([counts[name] for name in survey.label_names], dtype=np.int64)
    survey.label_weights = np.array([weights[name] for name in survey.label_names], dtype=np.float64)
    return survey


def _with_progress(source: StreamSource, callback_list: CallbackList) -> Iterator[LabelledRows]:
    """All rows in the order of the files; reports the progress."""
    n_bytes = 0
    for number, segment in enumerate(source.segments):
        yield from source.read(number)
        n_reported, n_bytes = n_bytes // MEGABYTE, n_bytes + segment_size(segment)
        callback_list.advance(n_bytes // MEGABYTE - n_reported)


def _checksum(chunk: LabelledRows, checksum: int) -> int:
    for text, labels in zip(chunk.texts, chunk.labels, strict=True):
        for value in (text, "\0".join(labels)):
            checksum = zlib.crc32(value.encode("utf-8", "surrogatepass"), checksum)
    return checksum if chunk.weights is None else zlib.crc32(chunk.weights.tobytes(), checksum)
