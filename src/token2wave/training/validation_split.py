"""Splits off validation rows that are new to training: groups of rows with one text stay on one side.

Neighbouring rows of a file often belong together, like the reviews of one film, so rows are held out in
blocks. If rows are parts of other rows, like phrases of sentences, whole texts are held out and training
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
from token2wave.training.recipe import Recipe

SHORTEST_PART = 3  # words; shorter texts occur in many others by chance
LONGEST_PART = 24  # words; longer texts are rarely part of others, and the search takes time
SHORT_TEXT = 80  # characters; the median text must be shorter to look for parts
MANY_PARTS = 0.1  # fraction of texts that are parts of others, from which whole texts are held out
SAMPLE = 1_000
BITS = 32

Rows = NDArray[np.int64]
Hashes = NDArray[np.uint64]


def hold_out(
    texts: Sequence[str], classes: NDArray[np.int64], groups: Rows, recipe: Recipe, seed: int
) -> tuple[Rows, Rows]:
    """Split rows into training and validation by the recipe, with each group of rows on one side.

    A group stays in training if it is unusually large, or has the last rows of a class.

    Args:
        texts: ``N`` strings.
        classes: ``(N,)`` integers, their classes.
        groups: ``(N,)``, the number of the first row of each row's group.
        recipe: says how many rows to hold out, and how.
        seed: of the random choice.

    Returns:
        The training and the validation rows, both ascending.

    Raises:
        ConfigError: as for :func:`token2wave.data.validation_split`.
    """
    fraction, first = recipe.validation_fraction, np.flatnonzero(groups == np.arange(len(groups)))
    if recipe.validation == "random":
        train, validation = validation_split(classes[first], fraction, seed)
    else:
        selected = texts if len(first) == len(texts) else HashedTexts.of(texts).take(first)
        train, validation = grouped_holdout(selected, classes[first], fraction, seed)
    if len(first) == len(groups):
        return train, validation
    sizes = np.bincount(groups, minlength=len(groups))
    small = sizes[first[validation]] <= max(len(groups) * fraction / 2, 2 * len(groups) / len(first))
    train, validation = np.append(train, validation[~small]), validation[small]
    is_train, is_validation = (np.isin(groups, first[side]) for side in (train, validation))
    lost = np.setdiff1d(classes[is_validation], classes[is_train])
    returned = np.isin(groups, groups[is_validation & np.isin(classes, lost)])
    return np.flatnonzero(is_train | returned), np.flatnonzero(is_validation & ~returned)


def grouped_holdout(
    texts: Sequence[str], labels: NDArray[np.int64], fraction: float, seed: int
) -> tuple[Rows, Rows]:
    """Split rows into training and validation.

    Args:
        texts: ``N`` strings.
        labels: ``(N,)`` integers, their classes.
        fraction: of rows to validate on; of whole texts, if many are parts of others.
        seed: of the random choice.

    Returns:
        The training and the validation rows, both ascending. Parts of validation texts are in neither.

    Raises:
        ConfigError: as for :func:`token2wave.data.validation_split`.
    """
    rows = _hold_out_whole_texts(texts, labels, fraction, seed)
    return validation_split(labels, fraction, seed, in_blocks=True) if rows is None else rows


def _hold_out_whole_texts(
    texts: Sequence[str], labels: NDArray[np.int64], fraction: float, seed: int
) -> tuple[Rows, Rows] | None:
    """Training and validation rows with whole texts held out; None if few texts are parts of others."""
    whole_texts = find_whole_texts(texts, seed)
    if whole_texts is None:
        return None
    words, whole = whole_texts
    validation = whole[validation_split(labels[whole], fraction, seed, in_blocks=True)[1]]
    train = np.ones(len(texts), dtype=bool)
    train[words.parts_of(np.arange(len(texts)), validation)] = False
    train[validation] = False
    if not len(validation) or len(np.unique(labels[train])) < len(np.unique(labels)):
        return None  # training needs every class
    return np.flatnonzero(train), validation


def find_whole_texts(texts: Sequence[str], seed: int) -> tuple[WordRuns, Rows] | None:
    """Find the rows that are not parts of others, if many rows are, such as phrases of sentences."""
    random = np.random.default_rng(seed)
    sample = random.permutation(len(texts))[:SAMPLE]
    if not len(sample) or np.median([len(texts[i]) for i in sample]) > SHORT_TEXT:
        return None
    words = WordRuns(texts)
    if words.are_parts(np.sort(sample)).sum() < MANY_PARTS * len(sample):
        return None
    long_enough = np.flatnonzero(words.lengths > SHORTEST_PART)
    whole = long_enough[~words.are_parts(long_enough)]
    return (words, whole) if len(whole) else None


class WordRuns:
    """Texts as runs of words, to find runs in other texts.

    The hash of a run is a polynomial in the hashes of its words, so one subtraction gives the hash of any
    run (Rabin and Karp).
    """

    def __init__(self, texts: Sequence[str]) -> None:
        hashed = HashedTexts.of(texts)
        chunks = [chunk >> np.uint64(64 - BITS) for chunk, _ in hashed.token_chunks()]
        hashes = mix(np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.uint64))
        self.offsets = offsets_of(hashed.n_tokens)
        self.lengths = np.diff(self.offsets)
        base = np.uint64(0x9E3779B97F4A7C15)
        self._powers = np.ones(len(hashes) + 1, dtype=np.uint64)
        np.multiply.accumulate(np.full(len(hashes), base), out=self._powers[1:])
        self._sums = np.zeros(len(hashes) + 1, dtype=np.uint64)  # of hash[i] base^i before each position
        np.cumsum(hashes * self._powers[:-1], out=self._sums[1:])

    def are_parts(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether each of the rows, ``(M,)``, is part of a longer text."""
        mask = np.zeros(len(rows), dtype=bool)
        longer = np.arange(len(self.lengths))
        for length in self._lengths_of(rows):
            longer = longer[self.lengths[longer] > length]
            of_length = np.flatnonzero(self.lengths[rows] == length)
            mask[of_length] = self._occur_in(rows[of_length], longer, length)
        return mask

    def parts_of(self, rows: Rows, wholes: Rows) -> Rows:
        """The rows that occur in any of the whole texts, these included."""
        matches = [np.zeros(0, dtype=np.int64)]
        for length in self._lengths_of(rows):
            of_length, longer = rows[self.lengths[rows] == length], wholes[self.lengths[wholes] >= length]
            matches.append(of_length[self._occur_in(of_length, longer, length)])
        return np.concatenate(matches)

    def _occur_in(self, rows: Rows, wholes: Rows, length: int) -> NDArray[np.bool_]:
        """Whether each of the rows, all of one length, occurs in any of the whole texts, none shorter."""
        texts, runs = self._runs(rows, length), self._runs(wholes, length)
        sought = np.unique(texts)  # few, so that looking up the many runs is quick
        nearest = np.minimum(np.searchsorted(sought, runs), len(sought) - 1)
        occurs = np.zeros(len(sought), dtype=bool)
        occurs[nearest[sought[nearest] == runs]] = True
        return occurs[np.searchsorted(sought, texts)]

    def _lengths_of(self, rows: Rows) -> list[int]:
        """The lengths of the rows that a part can have, ascending."""
        lengths = np.unique(self.lengths[rows])
        return [int(n) for n in lengths if SHORTEST_PART <= n <= LONGEST_PART]

    def _runs(self, rows: Rows, length: int) -> Hashes:
        """Hashes of all runs of a length in the rows, none of which is shorter."""
        counts = self.lengths[rows] - length + 1
        offsets = offsets_of(counts)
        first = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], counts)
        sums = self._sums[first + length] - self._sums[first]
        return np.asarray(sums * self._powers[len(self._powers) - 1 - first])  # removes the run's position
