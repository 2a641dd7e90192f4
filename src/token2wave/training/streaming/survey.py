"""The first pass over a stream: what is there is counted, and rows are drawn."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from token2wave.core import core, n_threads
from token2wave.data import TextSplit, label_names_of
from token2wave.data.file_segments import segment_size
from token2wave.data.rows import SEPARATORS
from token2wave.data.splits import require_few_classes
from token2wave.data.values import has_label_sets, require_separator
from token2wave.errors import DataError
from token2wave.features import WordConfig
from token2wave.features.hashing import Buckets, count_buckets, word_buckets
from token2wave.features.ragged import offsets_of
from token2wave.training.callbacks import CallbackList
from token2wave.training.streaming.source import Part, Source, in_order

MIN_ROWS = 1_000
REASONS_KEPT = 20
MEGABYTE = 1 << 20
TEXTS_BETWEEN_RESETS = 1 << 19
MAX_IN_32_BITS = 1 << 31
LENGTHS = tuple(2**power for power in range(33))


class Drawn:
    """The rows with the smallest draws, as many as fit.

    Args:
        most_characters: of their texts together.
    """

    def __init__(self, most_characters: int) -> None:
        self.most_characters = most_characters
        self.n_characters = 0
        self.bound: np.uint64 | None = None  # from this draw on rows do not fit
        self.rows: list[tuple[int, int, str, tuple[str, ...], float]] = []
        self._n_seen = 0

    def add(self, part: Part) -> None:
        """Let rows take part in the draw."""
        rows = np.arange(len(part.texts)) if self.bound is None else np.flatnonzero(part.draws < self.bound)
        for row in rows.tolist():
            weight = 1.0 if part.weights is None else float(part.weights[row])
            text = part.texts[row]
            self.rows.append((int(part.draws[row]), self._n_seen + row, text, part.labels[row], weight))
            self.n_characters += len(text)
        self._n_seen += len(part.texts)
        if self.n_characters > 2 * self.most_characters:
            self.cut()

    def cut(self) -> None:
        """Drop what does not fit; rows that are drawn together stay together."""
        self.rows.sort(key=lambda row: row[:2])
        ends = np.cumsum([len(row[2]) for row in self.rows])
        n_kept = int(np.searchsorted(ends, self.most_characters, side="right"))
        if n_kept < len(self.rows):
            while n_kept > 0 and self.rows[n_kept - 1][0] == self.rows[n_kept][0]:
                n_kept -= 1
            self.bound = np.uint64(self.rows[n_kept][0])
            self.rows = self.rows[:n_kept]
        self.n_characters = sum(len(row[2]) for row in self.rows)


class BucketCounts:
    """Counts how often each bucket occurs, and in how many texts.

    Args:
        config: of the features.

    Attributes:
        frequency: ``(2^bits,)`` int64, texts.
    """

    def __init__(self, config: WordConfig) -> None:
        self.ngrams = config.ngrams
        self.frequency = np.zeros(1 << config.bits, dtype=np.int64)
        self._total = np.zeros(1 << config.bits, dtype=np.int64)
        self._recent = np.zeros(1 << config.bits, dtype=np.uint32)
        self._n_recent = 0
        self._last = np.full(1 << config.bits, -1, dtype=np.int64)
        self._n_texts = 0

    @property
    def occurrences(self) -> NDArray[np.int64]:
        """``(2^bits,)`` int64."""
        self._total += self._recent
        self._recent.fill(0)
        self._n_recent = 0
        return self._total

    def add(self, buckets: Buckets) -> None:
        """Count further texts."""
        if self._n_recent + len(buckets.buckets) > MAX_IN_32_BITS:
            _ = self.occurrences
        self._n_recent += len(buckets.buckets)
        count_buckets(buckets.buckets, self._recent)
        lengths = np.maximum(buckets.n_words[:, None] - np.arange(self.ngrams), 0).sum(axis=1)
        if self._n_texts > TEXTS_BETWEEN_RESETS:
            self._last.fill(-1)
            self._n_texts = 0
        # The core numbers the texts of a call from 0: empty ones in front make the numbers new.
        offsets = np.concatenate([np.zeros(self._n_texts, np.int64), offsets_of(lengths)])
        native = core()
        assert native is not None
        none = np.zeros(0, np.int64)
        native.document_frequency(buckets.buckets.view(np.int32), offsets, none, self.frequency, self._last)
        self._n_texts += len(lengths)


@dataclass
class Survey:
    """What one pass over a stream found.

    Attributes:
        counts: of the features.
        n_rows: rows that can be used.
        n_rejected: rows that cannot.
        reasons: why, of the first of them.
        n_characters: of all texts.
        several: whether texts may have several labels, or none.
        label_names: the classes.
        label_counts: ``(C,)``, rows that have each.
        label_weights: ``(C,)``, the sum of the rows' own weights.
        own_weight: the sum of all rows' own weights.
        lengths: how many texts have at most 1, 2, 4, 8, ... characters.
        checksum: of all texts and labels in their order.
        drawn: the rows with the smallest draws.
    """

    counts: BucketCounts
    n_rows: int = 0
    n_rejected: int = 0
    reasons: list[str] = field(default_factory=list)
    n_characters: int = 0
    several: bool = False
    label_names: tuple[str, ...] = ()
    label_counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    label_weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    own_weight: float = 0.0
    lengths: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(LENGTHS), np.int64))
    checksum: int = 0
    drawn: list[tuple[int, int, str, tuple[str, ...], float]] = field(default_factory=list)


def survey(
    source: Source,
    config: WordConfig,
    most_characters: int,
    most_rejected: float,
    callback_list: CallbackList,
) -> Survey:
    """Read a stream once.

    Args:
        source: its rows.
        config: of the features to count.
        most_characters: of the rows that are drawn.
        most_rejected: share of rows that may be unreadable.
        callback_list: told how it goes, in megabytes of the files.

    Raises:
        DataError: too many rows cannot be read, or too few can; or there are fewer than two classes.
    """
    found, drawn = Survey(BucketCounts(config)), Drawn(most_characters)
    counts: Counter[str] = Counter()
    weights: dict[str, float] = defaultdict(float)
    sets: Counter[int] = Counter()
    if any(segment.kind in SEPARATORS for segment in source.segments):
        require_separator(source.options, source.name)
    callback_list.stage("first pass, MB", sum(map(segment_size, source.segments)) // MEGABYTE)

    def hashed(part: Part) -> Buckets:
        return word_buckets(part.texts, config.ngrams, config.bits)

    for part, buckets in in_order(hashed, _told(source, callback_list), n_threads()):
        found.counts.add(buckets)
        drawn.add(part)
        found.n_rows += len(part.texts)
        found.several |= part.several
        found.n_rejected += sum(n for _, n in part.rejected)
        found.reasons += [reason for reason, _ in part.rejected][: REASONS_KEPT - len(found.reasons)]
        lengths = np.fromiter(map(len, part.texts), np.int64, len(part.texts))
        found.n_characters += int(lengths.sum())
        found.lengths += np.searchsorted(np.sort(lengths), LENGTHS, side="right")
        own = np.ones(len(part.texts)) if part.weights is None else part.weights
        found.own_weight += float(own.sum())
        for labels, weight in zip(part.labels, own.tolist(), strict=True):
            sets[len(labels)] += 1
            for label in labels:
                counts[label] += 1
                weights[label] += weight
        require_few_classes(len(counts), source.name)
        found.checksum = _checksum(part, found.checksum)
    drawn.cut()
    found.drawn = drawn.rows
    _require_enough(source, found, most_rejected)
    found.several = has_label_sets([[]] if found.several else [], source.name, source.options)
    if not found.several and set(sets) != {1}:
        raise DataError(
            "some rows have no label, or several", location=source.name, hint="ask for --multi-label"
        )
    every = TextSplit([""] * len(counts), list(counts), source.name)
    found.label_names = label_names_of(every, source.label_names)
    found.label_counts = np.array([counts[name] for name in found.label_names], dtype=np.int64)
    found.label_weights = np.array([weights[name] for name in found.label_names], dtype=np.float64)
    return found


def _told(source: Source, callback_list: CallbackList) -> Iterator[Part]:
    """All parts, in the order of the files."""
    done, told = 0, 0
    for number, segment in enumerate(source.segments):
        yield from source.parts(number)
        done += segment_size(segment)
        callback_list.advance(done // MEGABYTE - told)
        told = done // MEGABYTE


def _checksum(part: Part, before: int) -> int:
    for text, labels in zip(part.texts, part.labels, strict=True):
        before = zlib.crc32(text.encode("utf-8", "surrogatepass"), before)
        before = zlib.crc32("\0".join(labels).encode("utf-8", "surrogatepass"), before)
    return before if part.weights is None else zlib.crc32(part.weights.tobytes(), before)


def _require_enough(source: Source, found: Survey, most_rejected: float) -> None:
    n_all = found.n_rows + found.n_rejected
    if found.n_rejected > most_rejected * n_all:
        raise DataError(
            f"{found.n_rejected:,} of {n_all:,} rows cannot be used, the first: {found.reasons[0]}",
            location=source.name,
            hint="mend them, or allow for a larger share with --max-rejected",
        )
    if found.n_rows < MIN_ROWS:
        raise DataError(
            f"expected at least {MIN_ROWS:,} rows of a stream, found {found.n_rows:,}",
            location=source.name,
            hint="leave out --stream",
        )
