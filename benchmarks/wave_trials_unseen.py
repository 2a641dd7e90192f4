"""Words that are no row take the amplitudes of their character n-grams, which training otherwise forgets."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Ragged, WordFeatures
from token2wave.features.text import spelled_tokens
from token2wave.training.char_ngrams import CharNgrams, _grams
from token2wave.training.linear_svm import MARGIN_IN_LOGITS, LinearSVM, LinearSVMWeights

Numbers = NDArray[np.float64]


class UnseenWords:
    """What the character n-grams of words without a row say.

    Args:
        problem: of the training texts; it is changed where it lies, so that each n-gram has a row of its own
            behind the features' ``V`` rows, which no text has: the amplitudes found are the same.
        texts: for training.
        features: of these texts.
    """

    def __init__(self, problem: LinearSVM, texts: Sequence[str], features: WordFeatures) -> None:
        self.features, self.n_rows = features, features.n_rows
        char_ngrams = problem.char_ngrams
        self.hashes = hashes_of(char_ngrams, texts, features)
        own = np.arange(char_ngrams.n_grams)
        problem.char_ngrams = CharNgrams(
            np.concatenate([char_ngrams.offsets, char_ngrams.offsets[-1] + own + 1]),
            np.concatenate([char_ngrams.ids, own.astype(np.int32)]),
        )
        problem.information = np.concatenate([problem.information, np.zeros(len(own), np.float32)])

    def logits(self, found: LinearSVMWeights, ragged: Ragged, texts: Sequence[str]) -> Numbers:
        """What amplitudes say of ``N`` texts, ``(N, C)``, with each unseen word as one more feature.

        Args:
            found: of the problem.
            ragged: the features that the texts have.
            texts: the same as strings.
        """
        counts = np.maximum(ragged.lengths, 1)[:, None]
        sums = (found.logits(ragged) / MARGIN_IN_LOGITS - found.bias) * np.sqrt(counts)
        counts = ragged.lengths[:, None].copy()
        for i, text in enumerate(texts):
            n_words, grams = self._unseen(text)
            counts[i] += n_words
            sums[i] += found.rows[self.n_rows + grams].sum(axis=0, dtype=np.float64)
        logits: Numbers = MARGIN_IN_LOGITS * (sums / np.sqrt(np.maximum(counts, 1)) + found.bias)
        return logits

    def _unseen(self, text: str) -> tuple[int, NDArray[np.int64]]:
        """How many words without a row have known n-grams, and the numbers of these."""
        codes, code_points, offsets = spelled_tokens([text])
        unseen = np.flatnonzero(~self.features.known(codes))
        if not len(unseen) or not len(self.hashes):
            return 0, np.zeros(0, np.int64)
        grams, lengths = _grams(code_points, offsets[unseen], offsets[unseen + 1])
        numbers = np.searchsorted(self.hashes, grams).clip(max=len(self.hashes) - 1)
        known = self.hashes[numbers] == grams
        words = np.repeat(np.arange(len(unseen)), lengths)[known]
        return len(np.unique(words)), numbers[known]


def hashes_of(char_ngrams: CharNgrams, texts: Sequence[str], features: WordFeatures) -> NDArray[np.uint64]:
    """Hashes of the n-grams by their numbers, ``(G,)`` increasing, which `CharNgrams` lacks."""
    codes, code_points, offsets = spelled_tokens(sorted(set(chain.from_iterable(map(str.split, texts)))))
    codes, first = np.unique(codes, return_index=True)
    rows = features.row_of_bucket[codes >> np.uint64(64 - features.config.bits)]
    spelled = np.flatnonzero((rows >= 0) & (char_ngrams.counts[rows] > 0))
    rows, at = np.unique(rows[spelled], return_index=True)
    words = first[spelled][at]
    grams, lengths = _grams(code_points, offsets[words], offsets[words + 1])
    distinct, places = np.unique(grams, return_inverse=True)
    pairs = np.unique(places * np.int64(len(rows)) + np.repeat(np.arange(len(rows)), lengths))
    shared = np.bincount(pairs // max(len(rows), 1), minlength=len(distinct)) > 1
    if not np.array_equal((np.cumsum(shared) - 1)[places[shared[places]]], char_ngrams.ids):
        raise ValueError("expected the n-grams of these texts, found others")
    return distinct[shared]
