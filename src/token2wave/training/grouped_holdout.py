"""Splits off validation rows that are new to training.

Neighbouring rows of a file often belong together, like the reviews of one film, so rows are held out in
blocks. Where rows are parts of other rows, like phrases of sentences, whole texts are held out, and training
skips their parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from token2wave.data import validation_split
from token2wave.features.hashed_texts import HashedTexts
from token2wave.features.ragged import offsets_of
from token2wave.features.text import mix

SHORTEST_PART = 3  # words; shorter texts occur in many others by chance
LONGEST_PART = 24  # words; longer texts are rarely part of others, and the search takes time
SHORT_TEXT = 80  # characters; the median text must be shorter to look for parts
MANY_PARTS = 0.1  # fraction of texts that are parts of others, from which whole texts are held out
SAMPLE = 1_000
BITS = 32

Rows = NDArray[np.int64]
Hashes = NDArray[np.uint64]


def grouped_holdout(
    texts: Sequence[str], labels: NDArray[np.int64], fraction: float, seed: int
) -> tuple[Rows, Rows]:
    """Split training rows into rows to train on and rows to validate on.

    Args:
        texts: ``N`` strings.
        labels: ``(N,)`` integers, their classes.
        fraction: of rows to validate on; of whole texts, where many are parts of others.
        seed: of the random choice.

    Returns:
        The rows to train and those to validate on, both ascending; together all rows or, where whole texts
        are held out, all but their parts.

    Raises:
        ConfigError: as for :func:`token2wave.data.validation_split`.
    """
    rows = _hold_out_whole_texts(texts, labels, fraction, seed)
    return validation_split(labels, fraction, seed, in_blocks=True) if rows is None else rows


def _hold_out_whole_texts(
    texts: Sequence[str], labels: NDArray[np.int64], fraction: float, seed: int
) -> tuple[Rows, Rows] | None:
    """Rows without the parts of whole texts, and these texts; None where few texts are parts of others."""
    random = np.random.default_rng(seed)
    sample = random.permutation(len(texts))[:SAMPLE]
    if not len(sample) or np.median([len(texts[i]) for i in sample]) > SHORT_TEXT:
        return None
    words = Words.of(texts)
    if words.are_parts(np.sort(sample)).sum() < MANY_PARTS * len(sample):
        return None
    long_enough = np.flatnonzero(words.lengths > SHORTEST_PART)
    whole = long_enough[~words.are_parts(long_enough)]
    if not len(whole):
        return None
    validation = whole[validation_split(labels[whole], fraction, seed, in_blocks=True)[1]]
    train = np.ones(len(texts), dtype=bool)
    train[words.parts_of(np.arange(len(texts)), validation)] = False
    train[validation] = False
    if not len(validation) or len(np.unique(labels[train])) < len(np.unique(labels)):
        return None  # training needs every class
    return np.flatnonzero(train), validation


class Words:
    """Texts as runs of words, in which other runs can be found.

    The hash of a run is a polynomial in the hashes of its words, so that each run of a length takes one
    subtraction.

    Args:
        hashes: ``(T,)`` uint64 of all words.
        offsets: ``(N + 1,)`` int64, the texts.
    """

    def __init__(self, hashes: Hashes, offsets: NDArray[np.int64]) -> None:
        self.offsets, self.lengths = offsets, np.diff(offsets)
        base = np.uint64(0x9E3779B97F4A7C15)
        self._powers = np.ones(len(hashes) + 1, dtype=np.uint64)
        np.multiply.accumulate(np.full(len(hashes), base), out=self._powers[1:])
        self._sums = np.zeros(len(hashes) + 1, dtype=np.uint64)  # of hash[i] base^i before each position
        np.cumsum(hashes * self._powers[:-1], out=self._sums[1:])

    @classmethod
    def of(cls, texts: Sequence[str]) -> Words:
        """Cut ``N`` strings into words."""
        hashed = HashedTexts.of(texts)
        parts = [hashes >> np.uint64(64 - BITS) for hashes, _ in hashed.token_chunks()]
        hashes = np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint64)
        return cls(mix(hashes), offsets_of(hashed.n_tokens))

    def are_parts(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether each of some texts, ``(M,)``, is part of a longer text."""
        mask = np.zeros(len(rows), dtype=bool)
        longer = np.arange(len(self.lengths))
        for length in self._lengths_of(rows):
            longer = longer[self.lengths[longer] > length]
            of_length = np.flatnonzero(self.lengths[rows] == length)
            mask[of_length] = self._occur_in(rows[of_length], longer, length)
        return mask

    def parts_of(self, rows: Rows, wholes: Rows) -> Rows:
        """Those of some texts that occur in any of the whole texts, these included."""
        parts = []
        for length in self._lengths_of(rows):
            of_length = rows[self.lengths[rows] == length]
            parts.append(of_length[self._occur_in(of_length, wholes[self.lengths[wholes] >= length], length)])
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def _occur_in(self, rows: Rows, wholes: Rows, length: int) -> NDArray[np.bool_]:
        """Whether each of some texts of one length occurs in any of others that are at least as long."""
        texts, runs = self._runs(rows, length), self._runs(wholes, length)
        sought = np.unique(texts)  # few, so that the many runs are looked up quickly
        place = np.minimum(np.searchsorted(sought, runs), len(sought) - 1)
        occurs = np.zeros(len(sought), dtype=bool)
        occurs[place[sought[place] == runs]] = True
        mask: NDArray[np.bool_] = occurs[np.searchsorted(sought, texts)]
        return mask

    def _lengths_of(self, rows: Rows) -> list[int]:
        """Lengths that parts have, ascending."""
        lengths = np.unique(self.lengths[rows])
        return [int(n) for n in lengths if SHORTEST_PART <= n <= LONGEST_PART]

    def _runs(self, rows: Rows, length: int) -> Hashes:
        """Hashes of all runs of a length in some texts, none of which is shorter."""
        counts = self.lengths[rows] - length + 1
        offsets = offsets_of(counts)
        first = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], counts)
        sums = self._sums[first + length] - self._sums[first]
        # Multiplied so that the position of the run does not matter.
        runs: Hashes = sums * self._powers[len(self._powers) - 1 - first]
        return runs
