"""Generated tasks whose answer is known: what a text classifier must see in order to solve each.

A text is ``[CLS]`` and then tokens drawn from :data:`N_FILLERS` fillers that mean nothing, with a few marked
tokens among them. Texts come in *pairs*: a text of class 0 and its twin of class 1 have the same length, the
same fillers and the same marked places, and differ in what stands there. Where the twins of a task hold the
same tokens in another order, every function of the bag of words gives both the same answer, and so is right
on exactly half of the texts, however it was made.
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
SHORTEST, LONGEST = 20, 32
MAX_OF_THE_RARER, MAX_AHEAD = 4, 2

Places = NDArray[np.int64]
Tokens = NDArray[np.int32]
Marking = Callable[[Tokens, Places, np.random.Generator], tuple[Tokens, Tokens]]


@dataclass(frozen=True)
class Task:
    """A task that makes its own texts.

    Attributes:
        key: short name, for files and settings.
        title: what tables call it.
        question: what the class answers.
        bag_of_words: the best share of right answers that a function of the bag of words can reach.
        length: tokens of every text without [CLS]; if None, :data:`SHORTEST` to :data:`LONGEST`.
        mark: puts the marked tokens of both twins in place.
    """

    key: str
    title: str
    question: str
    bag_of_words: float
    mark: Marking
    length: int | None = None

    def settings(self) -> dict[str, Any]:
        """Everything that decides the texts, but for their number and seed, as JSON can hold it."""
        lengths = [SHORTEST, LONGEST] if self.length is None else [self.length, self.length]
        return {"task": self.key, "lengths": lengths, "n_fillers": N_FILLERS}

    def texts(self, n_texts: int, seed: int | tuple[int, ...]) -> Examples:
        """Make texts, half of them of each class, in random order.

        Args:
            n_texts: an even number.
            seed: the same seed gives the same texts.

        Returns:
            Token ids, [CLS] first, all of them in reading order; and classes 0 and 1.

        Raises:
            ConfigError: an odd number of texts, which do not make pairs.
        """
        if n_texts < 2 or n_texts % 2:
            raise ConfigError(
                f"expected an even number of texts, at least 2, found {n_texts}", location="n_texts"
            )
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
        order = random.permutation(n_texts)
        features = Ragged(tokens[filled], offsets_of(lengths), lengths)
        return Examples(features, labels).take(order)


def presence() -> Task:
    """Does A occur? Once, or not at all.

    The bag of words decides it: its best classifier is right on all texts (1.0).
    """

    def mark(fillers: Tokens, lengths: Places, random: np.random.Generator) -> tuple[Tokens, Tokens]:
        (place,) = _places(1, lengths, random)
        return fillers, _put(fillers, (place, A))

    return Task("presence", "Presence", "Does A occur?", 1.0, mark)


def counting() -> Task:
    """Does A occur more often than B? Both occur in every text.

    The rarer of the two occurs one to :data:`MAX_OF_THE_RARER` times, the other once or twice more; the
    twin has A and B exchanged. Whether a token occurs says nothing; how often A occurs says something, and
    the two counts say everything: the best classifier of bags of words is right on all texts (1.0).
    """

    def mark(fillers: Tokens, lengths: Places, random: np.random.Generator) -> tuple[Tokens, Tokens]:
        rarer = random.integers(1, MAX_OF_THE_RARER + 1, size=len(lengths))
        total = 2 * rarer + random.integers(1, MAX_AHEAD + 1, size=len(lengths))
        places = _places(2 * MAX_OF_THE_RARER + MAX_AHEAD, lengths, random)
        more_b, more_a = fillers, fillers
        for number, place in enumerate(places):
            kept = number >= total
            unmarked = fillers[np.arange(len(fillers)), place]
            first = number < rarer
            more_b = _put(more_b, (place, np.where(kept, unmarked, np.where(first, A, B))))
            more_a = _put(more_a, (place, np.where(kept, unmarked, np.where(first, B, A))))
        return more_b, more_a

    return Task("counting", "Counting", "Does A occur more often than B?", 1.0, mark)


def order() -> Task:
    """Does A come before B? Each occurs exactly once, at any two places.

    The twin has A and B exchanged, so its bag of words is the same: no classifier of bags of words can be
    right on more than half of the texts (0.5).
    """

    def mark(fillers: Tokens, lengths: Places, random: np.random.Generator) -> tuple[Tokens, Tokens]:
        one, other = _places(2, lengths, random)
        first, last = np.minimum(one, other), np.maximum(one, other)
        return _put(fillers, (first, B), (last, A)), _put(fillers, (first, A), (last, B))

    return Task("order", "Order", "Does A come before B?", 0.5, mark)


def distance(length: int) -> Task:
    """Is the first token A? A and B each occur exactly once: one is the first token, the other comes later.

    The place of the later one is drawn from all the others, so the mean way between the two grows with the
    text, and so does the number of tokens among which the decisive one has to be told. The twin has A and B
    exchanged, so its bag of words is the same, and no classifier of bags of words can be right on more than
    half of the texts (0.5).

    Args:
        length: tokens of every text, at least 2, without [CLS].
    """

    def mark(fillers: Tokens, lengths: Places, random: np.random.Generator) -> tuple[Tokens, Tokens]:
        first = np.zeros_like(lengths)
        later = random.integers(1, lengths)
        return _put(fillers, (first, B), (later, A)), _put(fillers, (first, A), (later, B))

    return Task(
        f"distance-{length}", f"Distance, {length} tokens", "Is the first token A?", 0.5, mark, length
    )


def long_range(length: int) -> Task:
    """Does A come before B, far from it? Each occurs once: one in the first half, the other in the last.

    The first of the two is drawn from the second and third eighth of the text, the last from the sixth and
    seventh: they are at least a quarter, on average half of the text apart, and an eighth from its ends. The
    twin has A and B exchanged, so its bag of words is the same, and no classifier of bags of words can be
    right on more than half of the texts (0.5).

    Args:
        length: tokens of every text, a multiple of 8, without [CLS].
    """

    def mark(fillers: Tokens, lengths: Places, random: np.random.Generator) -> tuple[Tokens, Tokens]:
        first = lengths // 8 + random.integers(0, lengths // 4)
        last = 5 * lengths // 8 + random.integers(0, lengths // 4)
        return _put(fillers, (first, B), (last, A)), _put(fillers, (first, A), (last, B))

    question = "Does A come before B, far apart?"
    return Task(f"long-range-{length}", f"Long range, {length} tokens", question, 0.5, mark, length)


def negation() -> Task:
    """Is the text, all in all, positive? The negator turns round the token that follows it, and no other.

    A is a positive token and B a negative one; each occurs exactly once, and one of them directly after the
    only negator: two positives (class 1) if that is B, two negatives (class 0) if it is A. The twin has A and
    B exchanged, so its bag of words is the same, and no classifier of bags of words can be right on more than
    half of the texts (0.5).
    """

    def mark(fillers: Tokens, lengths: Places, random: np.random.Generator) -> tuple[Tokens, Tokens]:
        # The negator and what follows it are one thing that takes two places.
        block, single = _places(2, lengths - 1, random)
        single = np.where(single < block, single, single + 1)
        texts = _put(fillers, (block, NEGATOR))
        return _put(texts, (block + 1, A), (single, B)), _put(texts, (block + 1, B), (single, A))

    return Task("negation", "Negation", "Is the text, all in all, positive?", 0.5, mark)


def _places(n_places: int, lengths: Places, random: np.random.Generator) -> Places:
    """Draw so many different places in each of ``N`` texts, ``(n_places, N)``."""
    keys = random.random((len(lengths), int(lengths.max())))  # (N, L)
    keys[np.arange(keys.shape[1]) >= lengths[:, None]] = 2.0  # behind the end of the text
    return np.argsort(keys, axis=1)[:, :n_places].T


def _put(tokens: Tokens, *marks: tuple[Places, int | NDArray[Any]]) -> Tokens:
    """Copy ``(N, L)`` tokens with others at one place of each text."""
    result = tokens.copy()
    for place, token in marks:
        result[np.arange(len(tokens)), place] = token
    return result


def told_by_neighbours(texts: Examples, radius: int) -> NDArray[np.bool_]:
    """Whether a network that sees so many neighbours of a token has anything to tell A before B by.

    What it computes for a token shows both A and B, or one of them and an end of the text, only where these
    lie within twice the radius of each other. Elsewhere the twins differ in nothing but chance to it.

    Args:
        texts: ``N`` texts, of the task :func:`order`.
        radius: neighbours seen on each side.

    Returns:
        ``(N,)``.
    """
    ids, offsets = texts.features.ids, texts.features.offsets
    reach = 2 * radius
    # Texts lie one after the other, so the n-th A in the batch is that of text n.
    places = np.stack([np.flatnonzero(ids == token) - offsets[:-1] for token in (A, B)])  # (2, N), [CLS] is 0
    from_end = texts.features.lengths - places
    near_an_end = np.minimum(places, from_end).min(axis=0) <= reach
    result: NDArray[np.bool_] = near_an_end | (np.abs(places[0] - places[1]) <= reach)
    return result
