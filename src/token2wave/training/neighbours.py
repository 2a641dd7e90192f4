"""Finds which labels similar texts have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from token2wave.features.hashed_texts import HashedTexts
from token2wave.features.ragged import offsets_of

N_NEIGHBOURS = 30
SHARPNESS = 3  # power of the similarity that a neighbour's vote has
MAX_TEXTS = 1_000  # more frequent words say little about what a text is like, and take long
MIN_SIMILARITY = 0.05

Rows = NDArray[np.int64]


def neighbour_votes(
    texts: HashedTexts, labels: NDArray[np.int64], n_classes: int, rows: Rows
) -> NDArray[np.float64]:
    """Let the texts most like each of some rows vote for a label, but not the row itself.

    Texts are alike by the cosine of their words, weighted by the logarithm of their number in the text and by
    inverse document frequency.

    Args:
        texts: ``N`` texts.
        labels: ``(N,)``, their labels.
        n_classes: ``C``.
        rows: ``(M,)``, the rows to find votes for.

    Returns:
        ``(M, C)`` float64, fractions of votes; zeros for a text that is like no other.
    """
    n = len(texts)
    texts_of, words, weights = _word_weights(texts)
    by_word = np.argsort(words, kind="stable")
    postings, posting_weights = texts_of[by_word], weights[by_word]
    word_starts = offsets_of(np.bincount(words, minlength=1))
    text_starts = offsets_of(np.bincount(texts_of, minlength=n))
    votes = np.zeros((len(rows), n_classes))
    for number, row in enumerate(rows.tolist()):
        span = slice(text_starts[row], text_starts[row + 1])
        slices = [(word_starts[word], word_starts[word + 1]) for word in words[span].tolist()]
        if not slices:
            continue
        similarity = np.bincount(
            np.concatenate([postings[a:b] for a, b in slices]),
            np.concatenate(
                [w * posting_weights[a:b] for (a, b), w in zip(slices, weights[span], strict=True)]
            ),
            n,
        )
        similarity[row] = 0
        nearest = np.flatnonzero(similarity > MIN_SIMILARITY)
        if len(nearest) > N_NEIGHBOURS:
            nearest = nearest[np.argpartition(similarity[nearest], -N_NEIGHBOURS)[-N_NEIGHBOURS:]]
        votes[number] = np.bincount(labels[nearest], similarity[nearest] ** SHARPNESS, n_classes)
    votes /= np.maximum(votes.sum(axis=1, keepdims=True), 1e-12)
    return votes


def _word_weights(texts: HashedTexts) -> tuple[Rows, Rows, NDArray[np.float64]]:
    """Text, word and weight of each word of each text, by text; a text's squared weights sum to one."""
    hashes = np.concatenate([np.zeros(0, np.uint64), *(chunk for chunk, _ in texts.token_chunks())])
    owners = np.repeat(np.arange(len(texts)), texts.n_tokens)
    _, words = np.unique(hashes, return_inverse=True)
    n_words = int(words.max(initial=-1)) + 1
    pairs, counts = np.unique(owners * max(n_words, 1) + words, return_counts=True)
    owners, words = np.divmod(pairs, max(n_words, 1))
    frequency = np.bincount(words, minlength=n_words)
    mask = (frequency[words] > 1) & (frequency[words] <= MAX_TEXTS)
    idf = np.log(len(texts) / np.maximum(frequency, 1)) + 1
    weights = (1 + np.log(counts)) * idf[words]
    norms = np.sqrt(np.bincount(owners, weights**2, len(texts)))  # of all words, so that rare ones count
    owners, words, weights = owners[mask], words[mask], weights[mask] / norms[owners[mask]]
    return owners, words, weights
