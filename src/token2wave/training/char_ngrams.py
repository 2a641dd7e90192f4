"""Character n-grams of words, so that words with a similar spelling get similar weights in the linear SVM.

Only training needs them: it adds the weights of a word's n-grams to the word's own row in the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Features, WordFeatures
from token2wave.features.hashed_texts import HashedTexts
from token2wave.features.ragged import offsets_of
from token2wave.features.text import char_ngram_hashes

SHORTEST, LONGEST = 3, 5  # characters of an n-gram, the word's two ends among them
NO_HASHES = np.zeros(0, dtype=np.uint64)
MIN_WORDS = 2  # with an n-gram; the row of a single word says as much
# Words in more texts than both need no n-grams, which would be most of the work.
FREQUENT_FRACTION, FREQUENT_TEXTS = 0.03, 1_000


class CharNgrams:
    """Character n-grams of rows.

    Args:
        offsets: ``(V + 1,)`` int64.
        ids: ``(M,)`` int32, the n-grams of each row, numbered from 0; one may occur several times in a row.
        hashes: ``(G,)`` uint64, increasing, of the n-grams; none if only their numbers are known.
    """

    def __init__(
        self, offsets: NDArray[np.int64], ids: NDArray[np.int32], hashes: NDArray[np.uint64] = NO_HASHES
    ) -> None:
        self.offsets, self.ids, self.hashes = offsets, ids, hashes
        self.n_grams = int(ids.max(initial=-1)) + 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of n-grams of each row, ``(V,)``."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> NDArray[np.int64]:
        """The row of each of ``ids``, ``(M,)``."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def keep(self, mask: NDArray[np.bool_]) -> CharNgrams:
        """The n-grams that ``mask``, ``(G,)``, marks, numbered anew."""
        marked, number = mask[self.ids], np.cumsum(mask) - 1
        counts = np.bincount(self.rows[marked], minlength=len(self.counts))
        hashes = self.hashes[mask] if len(self.hashes) else self.hashes
        return CharNgrams(offsets_of(counts), number[self.ids[marked]].astype(np.int32), hashes)

    @classmethod
    def none(cls, n_rows: int) -> CharNgrams:
        """No n-grams for ``V`` rows."""
        return cls(np.zeros(n_rows + 1, dtype=np.int64), np.zeros(0, dtype=np.int32))

    @classmethod
    def of_words(
        cls,
        texts: Sequence[str],
        features: Features,
        frequency: NDArray[np.int64],
        shortest: int = SHORTEST,
    ) -> CharNgrams:
        """Make the n-grams of the training texts' words that have a row; features of words only.

        Words that occur in many texts by ``frequency``, ``(V,)``, have none. N-grams have at least
        ``shortest`` characters.
        """
        if not isinstance(features, WordFeatures):
            return cls.none(features.n_rows)
        words = HashedTexts.of(texts).words
        rows = features.row_of_bucket[words.hashes >> np.uint64(64 - features.config.bits)]
        frequent = frequency > max(FREQUENT_FRACTION * len(texts), FREQUENT_TEXTS)
        usable = np.flatnonzero((rows >= 0) & ~frequent[rows])
        rows, first = np.unique(rows[usable], return_index=True)  # one of the words that share a row
        chosen = usable[first]
        grams, lengths = char_ngram_hashes(
            words.code_points, words.starts[chosen], words.ends[chosen], shortest, LONGEST
        )
        owners = np.repeat(rows, lengths)
        order = np.argsort(grams, kind="stable")  # of one n-gram, its words stay in order
        in_order, owners_in_order = grams[order], owners[order]
        is_new = np.append(np.ones(min(1, len(grams)), np.bool_), in_order[1:] != in_order[:-1])
        is_other_word = is_new.copy()
        is_other_word[1:] |= owners_in_order[1:] != owners_in_order[:-1]
        numbers = np.cumsum(is_new) - 1
        shared = np.bincount(numbers[is_other_word]) >= MIN_WORDS
        ids = np.empty(len(grams), dtype=np.int32)
        ids[order] = numbers
        counts = np.bincount(owners, minlength=features.n_rows)
        return cls(offsets_of(counts), ids, in_order[is_new]).keep(shared)
