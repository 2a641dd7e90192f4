"""Gives the rows of the embedding the vectors of the language prior.

Every word of the prior gets a row, seen in training or not. Its waves start from the word's vector, and the
linear SVM has the sum of a text's vectors as further features (:mod:`token2wave.training.linear_svm`). Both
end in the row, so a trained model needs no prior beside it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Ragged, WordFeatures
from token2wave.features.hashed_texts import HashedTexts
from token2wave.inference.row_sums import sum_rows
from token2wave.prior.language_prior import LanguagePrior, load_prior

MIN_COVERAGE = 0.7  # of words; texts in other European languages have a half at most, in English 0.9
TOKENS_TO_LOOK_AT = 50_000

Floats = NDArray[np.float32]


def prior_of_texts(texts: HashedTexts) -> LanguagePrior | None:
    """Return the shipped prior if the texts are in its language; else None."""
    prior, n_words, n_known = load_prior(), 0, 0.0
    for hashes, _ in texts.token_chunks():
        n_words += len(hashes)
        n_known += prior.coverage(hashes) * len(hashes)
        if n_words >= TOKENS_TO_LOOK_AT:
            break
    return prior if n_known >= MIN_COVERAGE * max(n_words, 1) else None


def add_rows(features: WordFeatures, encoded: Ragged, prior: LanguagePrior) -> tuple[WordFeatures, Ragged]:
    """Give every word of the prior a row; return the features, and the texts encoded by them."""
    expanded, places = features.with_rows(prior.hashes >> np.uint32(32 - features.config.bits))
    return expanded, replace(encoded, ids=places[encoded.ids])


class RowVectors:
    """The prior's vectors of the embedding's rows.

    Attributes:
        rows: ``(K,)``, increasing, the rows that have a vector.
        vectors: ``(K, P)`` float32, their vectors.
    """

    def __init__(self, features: WordFeatures, prior: LanguagePrior) -> None:
        rows = features.row_of_bucket[prior.hashes >> np.uint32(32 - features.config.bits)]
        known = np.flatnonzero(rows >= 0)
        self.rows, first = np.unique(rows[known], return_index=True)  # words may share a row
        self.vectors = prior.vectors[known[first]]
        self._place_of_row = np.full(features.n_rows, -1, dtype=np.int32)  # -1: the row has no vector
        self._place_of_row[self.rows] = np.arange(len(self.rows))

    def sums(self, features: Ragged) -> Floats:
        """Sum the vectors of the words of ``N`` texts, ``(N, P)`` float32."""
        return sum_rows(self.vectors, self._place_of_row[features.ids], features.offsets).astype(np.float32)

    def init_waves(self, rows: Floats, width: int, scale: float) -> None:
        """Write the first numbers of the vectors into the embedding ``(V, 2 D)``, in place, as its waves.

        ``scale`` is their root mean square, relative to that of the rows as they are.
        The first variant takes ``D`` principal components, the second the next ``D`` if there are as many.
        """
        n_waves = rows.shape[1]
        n_numbers = min(n_waves if self.vectors.shape[1] >= n_waves else width, self.vectors.shape[1])
        values = np.zeros((len(self.rows), n_waves), dtype=np.float32)
        values[:, :n_numbers] = self.vectors[:, :n_numbers]
        if n_numbers <= width < n_waves:
            values[:, width : width + n_numbers] = values[:, :n_numbers]
        ratio = np.sqrt(np.mean(np.square(rows), dtype=np.float64) / np.mean(np.square(values)))
        rows[self.rows] = np.float32(scale * ratio) * values
