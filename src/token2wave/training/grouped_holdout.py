"""Which training rows are held back for validation, so that they are new to what is trained.

Rows that stand together in a file are often of one matter, as reviews of one film are, so rows are held back
in blocks. Where rows are parts of other rows, as phrases are of sentences, even that is not new: training has
their parts, or the whole that they are part of. Then whole texts are held back, and their parts are not
trained on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from token2wave.data import validation_split
from token2wave.features.hashed_texts import HashedTexts
from token2wave.features.ragged import offsets_of
from token2wave.features.text import mix

SHORTEST_PART = 3  # words; shorter texts stand in many others by chance
LONGEST_PART = 24  # words; longer texts are hardly ever part of others, and looking costs time
SHORT_TEXT = 80  # characters; of parts, at least the median is
MANY_PARTS = 0.1  # share of texts that are parts of others, from which on rows are not drawn one by one
SAMPLE = 1_000
BITS = 32

Rows = NDArray[np.int64]
Hashes = NDArray[np.uint64]


def grouped_holdout(
    texts: Sequence[str], labels: NDArray[np.int64], fraction: float, seed: int
) -> tuple[Rows, Rows]:
    """Divide training rows into those to learn from and those to judge by.

    Args:
        texts: ``N`` strings.
        labels: ``(N,)`` integers, their classes.
        fraction: share of rows to judge by; of whole texts, where many are parts of others.
        seed: of the random choice.

    Returns:
        The rows to learn from and those to judge by, both ascending; together all rows, or, where whole texts
        are held back, all but their parts.

    Raises:
        ConfigError: as for :func:`token2wave.data.validation_split`.
    """
    apart = _apart(texts, labels, fraction, seed)
    return validation_split(labels, fraction, seed, in_blocks=True) if apart is None else apart


def _apart(
    texts: Sequence[str], labels: NDArray[np.int64], fraction: float, seed: int
) -> tuple[Rows, Rows] | None:
    """Whole texts held back, and what is no part of them; None where few texts are parts of others."""
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
    held_out = whole[validation_split(labels[whole], fraction, seed, in_blocks=True)[1]]
    kept = np.ones(len(texts), dtype=bool)
    kept[words.found_in(np.arange(len(texts)), held_out)] = False
    kept[held_out] = False
    if not len(held_out) or len(np.unique(labels[kept])) < len(np.unique(labels)):
        return None  # every class must be learnt from
    return np.flatnonzero(kept), held_out


class Words:
    """Texts as runs of words, among which runs are found.

    A run's hash is that of a polynomial in the words' hashes, so that all runs of one length take one
    subtraction each.

    Args:
        hashes: ``(T,)`` uint64 of all words.
        offsets: ``(N + 1,)`` int64, the texts.
    """

    def __init__(self, hashes: Hashes, offsets: NDArray[np.int64]) -> None:
        self.offsets, self.lengths = offsets, np.diff(offsets)
        base = np.uint64(0x9E3779B97F4A7C15)
        self._powers = np.ones(len(hashes) + 1, dtype=np.uint64)
        np.multiply.accumulate(np.full(len(hashes), base), out=self._powers[1:])
        self._before = np.zeros(len(hashes) + 1, dtype=np.uint64)  # sum of hash[i] base^i up to each place
        np.cumsum(hashes * self._powers[:-1], out=self._before[1:])

    @classmethod
    def of(cls, texts: Sequence[str]) -> Words:
        """Cut ``N`` strings into words."""
        hashed = HashedTexts.of(texts)
        parts = [hashes >> np.uint64(64 - BITS) for hashes, _ in hashed.token_chunks()]
        hashes = np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint64)
        return cls(mix(hashes), offsets_of(hashed.n_tokens))

    def are_parts(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether each of some texts, ``(M,)``, is part of a longer text."""
        found = np.zeros(len(rows), dtype=bool)
        longer = np.arange(len(self.lengths))
        for length in self._lengths_of(rows):
            longer = longer[self.lengths[longer] > length]
            of_length = np.flatnonzero(self.lengths[rows] == length)
            found[of_length] = self._stand_in(rows[of_length], longer, length)
        return found

    def found_in(self, rows: Rows, wholes: Rows) -> Rows:
        """Those of some texts that stand in any of others, whole or part of it, themselves among them."""
        found = []
        for length in self._lengths_of(rows):
            of_length = rows[self.lengths[rows] == length]
            found.append(of_length[self._stand_in(of_length, wholes[self.lengths[wholes] >= length], length)])
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)

    def _stand_in(self, rows: Rows, wholes: Rows, length: int) -> NDArray[np.bool_]:
        """Whether each of some texts of one length stands in any of others that are at least as long."""
        texts, runs = self._runs(rows, length), self._runs(wholes, length)
        sought = np.unique(texts)  # few, so that each of the many runs is found quickly among them
        place = np.minimum(np.searchsorted(sought, runs), len(sought) - 1)
        are_there = np.zeros(len(sought), dtype=bool)
        are_there[place[sought[place] == runs]] = True
        there: NDArray[np.bool_] = are_there[np.searchsorted(sought, texts)]
        return there

    def _lengths_of(self, rows: Rows) -> list[int]:
        """Lengths that parts have, ascending."""
        lengths = np.unique(self.lengths[rows])
        return [int(n) for n in lengths if SHORTEST_PART <= n <= LONGEST_PART]

    def _runs(self, rows: Rows, length: int) -> Hashes:
        """Hashes of all runs of a length in some texts, none of which is shorter."""
        counts = self.lengths[rows] - length + 1
        offsets = offsets_of(counts)
        first = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], counts)
        sums = self._before[first + length] - self._before[first]
        # Divided by the power of its first place, as which place a run begins at must not matter.
        runs: Hashes = sums * self._powers[len(self._powers) - 1 - first]
        return runs
