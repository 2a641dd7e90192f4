"""Generated tasks with a known answer: what a text classifier must see to solve each.

A text is ``[CLS]`` and then tokens drawn from :data:`N_FILLERS` meaningless fillers, with a few marked
tokens among them. Texts come in *pairs*: a text of class 0 and its twin of class 1 have the same length,
fillers and marked positions, and differ in the marked tokens. Where the twins hold the same tokens in
another order, every function of the bag of words gives both the same answer, and is right on exactly half of
the texts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.errors import ConfigError
from token2wave.features import Ragged
from token2wave.features.ragged import offsets_of
from token2wave.training.examples import Examples

CLS, A, B, NEGATOR = 0, 1, 2, 3
"""Rows of the embedding: the first token of every text, and the marked tokens."""
FIRST_FILLER, N_FILLERS = 4, 32
N_ROWS = FIRST_FILLER + N_FILLERS
MIN_LENGTH, MAX_LENGTH = 20, 32
MAX_RARER, MAX_LEAD = 4, 2

Positions = NDArray[np.int64]
Tokens = NDArray[np.int32]
Marking = Callable[[Tokens, Positions, np.random.Generator], tuple[Tokens, Tokens]]


@dataclass(frozen=True)
class Task:
    """A task that generates its own texts.

    Attributes:
        bag_of_words: the best accuracy of a function of the bag of words.
        mark: puts the marked tokens of both twins in place.
        length: tokens of every text without [CLS]; None for :data:`MIN_LENGTH` to :data:`MAX_LENGTH`.
    """

    key: str
    title: str
    question: str
    bag_of_words: float
    mark: Marking
    length: int | None = None

    def settings(self) -> dict[str, Any]:
        """Everything that decides the texts except their number and seed, as plain JSON data."""
        lengths = [MIN_LENGTH, MAX_LENGTH] if self.length is None else [self.length, self.length]
        return {"task": self.key, "lengths": lengths, "n_fillers": N_FILLERS}

    def texts(self, n_texts: int, seed: int | tuple[int, ...]) -> Examples:
        """Generate an even number of texts, half of them of each class, in random order, [CLS] first.

        Raises:
            ConfigError: an odd number of texts.
        """
        if n_texts < 2 or n_texts % 2:
            problem = f"expected an even number of texts, at least 2, found {n_texts}"
            raise ConfigError(problem, location="n_texts")
        random = np.random.default_rng(seed)
        n_pairs = n_texts // 2
        shortest, longest = self.settings()["lengths"]
        lengths = random.integers(shortest, longest + 1, size=n_pairs)
        fillers = random.integers(FIRST_FILLER, N_ROWS, size=(n_pairs, longest), dtype=np.int32)
        twins = np.concatenate(self.mark(fillers, lengths, random))  # (N, L)
        tokens = np.concatenate([np.full((n_texts, 1), CLS, dtype=np.int32), twins], axis=1)
        lengths = np.tile(lengths, 2) + 1  # (N,), with [CLS]
        filled = np.arange(longest + 1) < lengths[:, None]
        labels = np.repeat(np.arange(2, dtype=np.int64), n_pairs)
        features = Ragged(tokens[filled], offsets_of(lengths), lengths)
        return Examples(features, labels).take(random.permutation(n_texts))


def presence() -> Task:
    """Does A occur? Once, or not at all: the bag of words decides it."""

    def mark(fillers: Tokens, lengths: Positions, random: np.random.Generator) -> tuple[Tokens, Tokens]:
        (position,) = _draw_positions(1, lengths, random)
        return fillers, _put(fillers, (position, A))

    return Task("presence", "Presence", "Does A occur?", 1.0, mark)


def counting() -> Task:
    """Does A occur more often than B? Both occur in every text.

    The rarer of the two occurs one to :data:`MAX_RARER` times, the other once or twice more; the twin swaps
    A and B. The bag of words decides it, but not which tokens occur.
    """

    def mark(fillers: Tokens, lengths: Positions, random: np.random.Generator) -> tuple[Tokens, Tokens]:
        rarer = random.integers(1, MAX_RARER + 1, size=len(lengths))
        total = 2 * rarer + random.integers(1, MAX_LEAD + 1, size=len(lengths))
        more_b, more_a = fillers, fillers
        for number, position in enumerate(_draw_positions(2 * MAX_RARER + MAX_LEAD, lengths, random)):
            unmarked = fillers[np.arange(len(fillers)), position]
            first = number < rarer
            more_b = _put(more_b, (position, np.where(number < total, np.where(first, A, B), unmarked)))
            more_a = _put(more_a, (position, np.where(number < total, np.where(first, B, A), unmarked)))
        return more_b, more_a

    return Task("counting", "Counting", "Does A occur more often than B?", 1.0, mark)


def order() -> Task:
    """Does A come before B? Each occurs exactly once, at any two positions; the twin swaps them."""

    def mark(fillers: Tokens, lengths: Positions, random: np.random.Generator) -> tuple[Tokens, Tokens]:
        drawn = _draw_positions(2, lengths, random)
        return _swap_twins(fillers, drawn.min(axis=0), drawn.max(axis=0))

    return Task("order", "Order", "Does A come before B?", 0.5, mark)


def distance(length: int) -> Task:
    """Is the first token A? A and B each occur once: one comes first, the other at a random later position.

    The mean distance grows with the length, at least 2 without [CLS], and so does the number of tokens among
    which the decisive one hides.
    """

    def mark(fillers: Tokens, lengths: Positions, random: np.random.Generator) -> tuple[Tokens, Tokens]:
        return _swap_twins(fillers, np.zeros_like(lengths), random.integers(1, lengths))

    title = f"Distance, {length} tokens"
    return Task(f"distance-{length}", title, "Is the first token A?", 0.5, mark, length)


def long_range(length: int) -> Task:
    """Does A come before B, far from it? Each occurs once: one in the first half, the other in the second.

    The first position is in the second or third eighth of the text, the last in the sixth or seventh: at
    least a quarter and on average half of the text apart, and an eighth from its ends. The length without
    [CLS] is a multiple of 8.
    """

    def mark(fillers: Tokens, lengths: Positions, random: np.random.Generator) -> tuple[Tokens, Tokens]:
        first = lengths // 8 + random.integers(0, lengths // 4)
        last = 5 * lengths // 8 + random.integers(0, lengths // 4)
        return _swap_twins(fillers, first, last)

    question, title = "Does A come before B, far apart?", f"Long range, {length} tokens"
    return Task(f"long-range-{length}", title, question, 0.5, mark, length)


def negation() -> Task:
    """Is the text positive overall? The negator flips the sign of the token after it, and of no other.

    A is a positive token and B a negative one; each occurs once, and one of them directly after the only
    negator: two positives (class 1) if that is B, two negatives (class 0) if it is A. The twin swaps A and
    B.
    """

    def mark(fillers: Tokens, lengths: Positions, random: np.random.Generator) -> tuple[Tokens, Tokens]:
        block, single = _draw_positions(2, lengths - 1, random)  # the negator and its token are one block
        single = np.where(single < block, single, single + 1)
        texts = _put(fillers, (block, NEGATOR))
        return _put(texts, (block + 1, A), (single, B)), _put(texts, (block + 1, B), (single, A))

    return Task("negation", "Negation", "Is the text positive overall?", 0.5, mark)


def _swap_twins(fillers: Tokens, first: Positions, last: Positions) -> tuple[Tokens, Tokens]:
    """Twins with B at the first position and A at the last, and the reverse."""
    return _put(fillers, (first, B), (last, A)), _put(fillers, (first, A), (last, B))


def _draw_positions(n_positions: int, lengths: Positions, random: np.random.Generator) -> Positions:
    """Draw different positions in each of ``N`` texts, ``(n_positions, N)``."""
    keys = random.random((len(lengths), int(lengths.max())))  # (N, L)
    keys[np.arange(keys.shape[1]) >= lengths[:, None]] = 2.0  # behind the end of the text
    return np.argsort(keys, axis=1)[:, :n_positions].T


def _put(tokens: Tokens, *marks: tuple[Positions, int | NDArray[Any]]) -> Tokens:
    """Copy ``(N, L)`` tokens with others at one position of each text."""
    result = tokens.copy()
    for position, token in marks:
        result[np.arange(len(tokens)), position] = token
    return result


def decided_by_neighbours(texts: Examples, radius: int) -> NDArray[np.bool_]:
    """Whether a network that sees some neighbours of each token can tell A before B.

    Its state of a token shows both A and B, or one of them and an end of the text, only where these lie
    within twice the radius of each other. Elsewhere its twins do not differ. Returns ``(N,)`` for ``N`` texts
    of the task :func:`order`.
    """
    ids, offsets = texts.features.ids, texts.features.offsets
    # Texts lie one after the other, so the n-th A in the batch is that of text n; [CLS] is at 0.
    positions = np.stack([np.flatnonzero(ids == token) - offsets[:-1] for token in (A, B)])  # (2, N)
    near_end = np.minimum(positions, texts.features.lengths - positions).min(axis=0) <= 2 * radius
    decided: NDArray[np.bool_] = near_end | (np.abs(positions[0] - positions[1]) <= 2 * radius)
    return decided
