"""Recombines training texts into new ones for a teacher to label (arXiv 1903.12136).

A new text is a training text that is cropped, or joined to a part of another. Some of its words are dropped,
and some replaced by words that the encoder finds similar. So a student sees contexts, and words, that the
training rows lack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

JOIN, CROP = 0.1, 0.25  # of the texts
DROP, REPLACE = 0.1, 0.3  # of the words
N_NEIGHBOURS = 10
MIN_COSINE = 0.5  # of vectors less their mean; words below are not similar
WORDS_CHUNK = 2_000


def recombine(
    texts: Sequence[str], n_copies: int, neighbours: Mapping[str, Sequence[str]], seed: int
) -> list[str]:
    """Make up to ``n_copies`` new texts of each; none twice, and none of the old ones.

    Args:
        texts: training texts.
        n_copies: see above.
        neighbours: similar words of words in lower case.
        seed: of the random choice.
    """
    random = np.random.default_rng(seed)
    split = [text.split() for text in texts]
    new = []
    for row in chain.from_iterable(random.permutation(len(split)) for _ in range(n_copies)):
        words = split[row]
        n_words, chance = len(words), random.random()
        if chance < JOIN:
            other = split[random.integers(len(split))]
            words = words[: random.integers(n_words + 1)] + other[random.integers(len(other) + 1) :]
        elif chance < JOIN + CROP and n_words > 2:
            first = random.integers(n_words - 1)
            words = words[first : first + random.integers(1, n_words)]
        new_words = []
        for word, chance in zip(words, random.random(len(words)).tolist(), strict=True):
            similar = neighbours.get(word.lower()) if DROP < chance < DROP + REPLACE else None
            if chance > DROP:
                new_words.append(similar[int(random.integers(len(similar)))] if similar else word)
        new.append(" ".join(new_words))
    old = {"", *texts}
    return [text for text in dict.fromkeys(new) if text not in old]


def nearest_words(
    words: Sequence[str], vocabulary: Sequence[str], vectors: NDArray[np.float32]
) -> dict[str, list[str]]:
    """Find the words of a vocabulary, with vectors ``(K, D)``, that are most similar to each word in it."""
    unit = vectors - vectors.mean(axis=0)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-9)
    row_of = {word: row for row, word in enumerate(vocabulary)}
    rows = np.array([row_of[word] for word in words], dtype=np.int64)
    n_neighbours = min(N_NEIGHBOURS, len(vocabulary) - 1)
    similar: dict[str, list[str]] = {}
    for first in range(0, len(rows), WORDS_CHUNK):
        chunk = rows[first : first + WORDS_CHUNK]
        cosines = unit[chunk] @ unit.T
        cosines[np.arange(len(chunk)), chunk] = -1  # a word itself
        nearest = np.argpartition(-cosines, n_neighbours - 1, axis=1)[:, :n_neighbours]
        for row, candidates, values in zip(chunk, nearest, cosines, strict=True):
            similar[vocabulary[row]] = [vocabulary[i] for i in candidates if values[i] > MIN_COSINE]
    return similar
