"""Made-up data whose size can be chosen: Zipf tokens, lengths like those of AG News, and whole texts."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Ragged
from token2wave.features.ragged import offsets_of

ZIPF_SHIFT = 2.7
MEDIAN_TOKENS, MEDIAN_WORDS = 50, 40
SPREAD_OF_LENGTHS = 0.3
SHORTEST, LONGEST = 8, 300
TOPIC_WORDS, TOPIC_FRACTION = 12, 0.25
FREQUENT = 100  # one of so many words, the most frequent, is of no topic
ABOUT_TOPICS = (
    f"each class has {TOPIC_WORDS} words of its own, other than the most frequent ones, which are "
    f"{TOPIC_FRACTION:.0%} of its texts"
)
TEXTS_CHUNK = 50_000
ABOUT_ZIPF = f"rank r drawn with probability proportional to 1 / (r + {ZIPF_SHIFT})"
ABOUT_LENGTHS = f"log-normal lengths, standard deviation of the logarithm {SPREAD_OF_LENGTHS}, median"


class Zipf:
    """Draws ranks from 0 with probability proportional to ``1 / (rank + 1 + 2.7)``."""

    def __init__(self, n_ranks: int) -> None:
        weights = 1 / (np.arange(1, n_ranks + 1) + ZIPF_SHIFT)
        self.bounds: NDArray[np.float64] = np.cumsum(weights / weights.sum())

    def draw(self, random: np.random.Generator, n: int) -> NDArray[np.int64]:
        """Draw ``(n,)`` int64 ranks."""
        ranks: NDArray[np.int64] = np.searchsorted(self.bounds[:-1], random.random(n), side="right")
        return ranks


def news_lengths(random: np.random.Generator, n_texts: int, median: int) -> NDArray[np.int64]:
    """Lengths of texts like those of AG News, ``(n_texts,)`` int64."""
    drawn = median * np.exp(SPREAD_OF_LENGTHS * random.standard_normal(n_texts))
    lengths: NDArray[np.int64] = np.clip(drawn.round(), SHORTEST, LONGEST).astype(np.int64)
    return lengths


def zipf_features(
    random: np.random.Generator, lengths: NDArray[np.int64], n_rows: int, *, cls: bool = True
) -> Ragged:
    """Zipf features of texts of these lengths; with ``cls``, row 0 begins each text, and is nowhere else."""
    offsets = offsets_of(lengths)
    ids = Zipf(n_rows - int(cls)).draw(random, int(offsets[-1])) + int(cls)
    if cls:
        ids[offsets[:-1]] = 0
    return Ragged(ids.astype(np.int32), offsets, lengths)


def unrepeated_features(random: np.random.Generator, n_texts: int, length: int) -> Ragged:
    """Features of texts of one length in which no row occurs twice, not even in two texts."""
    ids = random.permutation(n_texts * length).astype(np.int32)
    lengths = np.full(n_texts, length, dtype=np.int64)
    return Ragged(ids, offsets_of(lengths), lengths)


@dataclass(frozen=True)
class VocabularyBatches:
    """Batches that are the same computation whatever the table's number of rows.

    The ranks are drawn once, from few. A table's rows for them are chosen by a permutation, so that they lie
    all over the table, like those of a real vocabulary.
    """

    ranks: list[Ragged]
    n_ranks: int

    @classmethod
    def draw(
        cls, seed: int, n_batches: int, n_texts: int, median: int, n_ranks: int, *, has_cls: bool
    ) -> VocabularyBatches:
        """Draw the ranks of all batches."""
        random = np.random.default_rng(seed)
        lengths = (news_lengths(random, n_texts, median) for _ in range(n_batches))
        return cls([zipf_features(random, drawn, n_ranks, cls=has_cls) for drawn in lengths], n_ranks)

    def rows_of_ranks(self, n_rows: int, seed: int) -> NDArray[np.int32]:
        """Row of each rank in a table of ``n_rows``, ``(n_ranks,)`` int32, no row twice."""
        return np.random.default_rng(seed).permutation(n_rows)[: self.n_ranks].astype(np.int32)

    def in_table(self, rows: NDArray[np.int32]) -> list[Ragged]:
        """Take the batches' features with rows of a table in the place of ranks."""
        return [Ragged(rows[batch.ids], batch.offsets, batch.n_ordered) for batch in self.ranks]


@cache
def made_up_words(seed: int, n_words: int) -> NDArray[np.object_]:
    """Make ``n_words`` different words; the most frequent are the shortest."""
    random = np.random.default_rng(seed)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    words: dict[str, None] = {}
    while len(words) < n_words:
        length = 2 + int(1.6 * np.log10(len(words) + 1)) + int(random.integers(3))
        drawn = letters[random.integers(0, len(letters), size=(256, length))]
        words.update(dict.fromkeys(map("".join, drawn)))
    return np.array(list(words)[:n_words], dtype=object)


def made_up_texts(seed: int, n_texts: int, n_words: int) -> list[str]:
    """Make texts of Zipf words with lengths like those of AG News."""
    words, zipf = made_up_words(seed, n_words), Zipf(n_words)
    random = np.random.default_rng([seed, n_texts])
    texts: list[str] = []
    while len(texts) < n_texts:
        lengths = news_lengths(random, min(TEXTS_CHUNK, n_texts - len(texts)), MEDIAN_WORDS)
        offsets = offsets_of(lengths)
        drawn = words[zipf.draw(random, int(offsets[-1]))].tolist()
        texts += [" ".join(drawn[first:last]) for first, last in itertools.pairwise(offsets.tolist())]
    return texts


def made_up_rows(
    seed: int, n_texts: int, n_words: int, n_classes: int, median: int
) -> tuple[list[str], list[str]]:
    """Make texts of Zipf words and of their classes' own words; the texts, and the label of each.

    Classes are of one size. ``median`` is the length of the texts in words.
    """
    words, zipf = made_up_words(seed, n_words), Zipf(n_words)
    topics = np.random.default_rng([seed, n_classes]).integers(
        n_words // FREQUENT, n_words, (n_classes, TOPIC_WORDS)
    )
    random = np.random.default_rng([seed, n_texts, n_classes, median])
    classes = random.permutation(np.arange(n_texts) % n_classes)
    texts: list[str] = []
    for first in range(0, n_texts, TEXTS_CHUNK):
        of_chunk = classes[first : first + TEXTS_CHUNK]
        drawn = median * np.exp(SPREAD_OF_LENGTHS * random.standard_normal(len(of_chunk)))
        lengths = np.maximum(drawn.round(), 1).astype(np.int64)
        offsets = offsets_of(lengths)
        ranks = zipf.draw(random, int(offsets[-1]))
        is_topic = random.random(len(ranks)) < TOPIC_FRACTION
        owners = np.repeat(of_chunk, lengths)[is_topic]
        ranks[is_topic] = topics[owners, random.integers(TOPIC_WORDS, size=len(owners))]
        spelled = words[ranks].tolist()
        texts += [" ".join(spelled[start:end]) for start, end in itertools.pairwise(offsets.tolist())]
    return texts, [f"class {label}" for label in classes.tolist()]
