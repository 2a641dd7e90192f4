"""The window level: it scores windows of a text's words, and the strongest one counts for each class.

A window is ``window_words`` words with a row that follow each other, and the next one begins half a window
later. Its score for a class is the sum of its words' weights over the root of their number. A long text whose
class rests on one passage has one strong window, while in sums over the whole text the passage is diluted.

Windows are counted from the start of the text. So their scores are no sums, but they take time and memory
linear in its length: each word is added once, to its half of a window.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Ragged, WordFeatures
from token2wave.features.ragged import offsets_of
from token2wave.inference.row_sums import sum_rows

WINDOW_WORDS = 64  # of models that have no window level, to score the windows of a text

Indices = NDArray[np.int64]
Numbers = NDArray[np.float64]
Floats = NDArray[np.float32]


class WindowScores(NamedTuple):
    """Predictions for the ``M`` windows of one text, in reading order; neighbours share half of their words.

    Attributes:
        spans: ``(M, 2)`` int64, first and past-the-last character of each window.
        probabilities: ``(M, C)`` float32, of each class for the text of the window alone.
    """

    spans: Indices
    probabilities: Floats


class Windows(NamedTuple):
    """The ``M`` windows of ``N`` texts, each of one or two of ``H`` halves; a text has at least one window.

    Attributes:
        ids: ``(W,)`` int32, rows of all words in reading order.
        halves: ``(H + 1,)`` int64, where the words of each half begin and end.
        first: ``(M,)`` int64, the first half of each window.
        last: ``(M,)`` int64, its last half: the next one, or the same one in a short text.
        offsets: ``(N + 1,)`` int64, where the windows of each text begin and end.
    """

    ids: NDArray[np.int32]
    halves: Indices
    first: Indices
    last: Indices
    offsets: Indices

    @classmethod
    def of(cls, features: Ragged, window_words: int) -> Windows:
        """Cut ``N`` texts into windows."""
        words, half = features.keep(features.is_ordered), window_words // 2
        n_halves = np.maximum(-(-words.lengths // half), 1)
        of_text = offsets_of(n_halves)
        places = np.arange(of_text[-1]) - np.repeat(of_text[:-1], n_halves)
        starts = np.repeat(words.offsets[:-1], n_halves) + half * places
        n_windows = np.maximum(n_halves - 1, 1)
        offsets = offsets_of(n_windows)
        first = np.arange(offsets[-1]) + np.repeat(of_text[:-1] - offsets[:-1], n_windows)
        last = np.minimum(first + 1, np.repeat(of_text[1:] - 1, n_windows))
        return cls(words.ids, np.append(starts, len(words.ids)), first, last, offsets)

    @property
    def n_windows(self) -> Indices:
        """Windows of each text, ``(N,)``."""
        return self.offsets[1:] - self.offsets[:-1]

    def take(self, windows: Indices) -> Ragged:
        """Return the words of some windows, each as a text."""
        starts, ends = self.halves[self.first[windows]], self.halves[self.last[windows] + 1]
        offsets = offsets_of(ends - starts)
        index = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], ends - starts)
        return Ragged(self.ids[index], offsets, ends - starts)

    def scores(self, weights: Floats) -> Numbers:
        """Score every window for every class, ``(M, C)``, without a bias; ``weights`` are ``(V, C)``."""
        sums = sum_rows(weights, self.ids, self.halves)
        both = sums[self.first] + sums[self.last] * (self.last > self.first)[:, None]
        n_words = self.halves[self.last + 1] - self.halves[self.first]
        return np.asarray(both / np.sqrt(np.maximum(n_words, 1))[:, None])

    def extremes(self, scores: Numbers) -> Numbers:
        """Return the largest score of each text for each class, ``(N, C)``."""
        if not len(self.n_windows):
            return scores
        return np.asarray(np.maximum.reduceat(scores, self.offsets[:-1], axis=0))


def extremes_without(totals: Numbers, removed: Indices, window_words: int) -> Numbers:
    """Compute :meth:`Windows.extremes` of one text without each of ``P`` runs of its words, ``(P, C)``.

    The words behind a run move up, so all windows behind it are others. Those before it stay, and the ones
    behind it are the same for all runs of one length: so the time is linear for each length that occurs.

    Args:
        totals: ``(W + 1, C)``, sums of the weights of the first 0, 1, ... words.
        removed: ``(P, 2)``, first and past-the-last word of each run.
        window_words: of a window.
    """
    extremes = np.empty((len(removed), totals.shape[1]))
    n_removed, half = removed[:, 1] - removed[:, 0], window_words // 2
    none = np.full((1, totals.shape[1]), -np.inf)
    for length in np.unique(n_removed).tolist():
        runs = np.flatnonzero(n_removed == length)
        begin = removed[runs, 0]
        n_words = len(totals) - 1 - length
        starts = half * np.arange(max(-(-n_words // half) - 1, 1))
        ends = np.minimum(starts + window_words, n_words)
        roots = np.sqrt(np.maximum(ends - starts, 1))[:, None]
        before = (totals[ends] - totals[starts]) / roots  # the windows that end before a run
        behind = (totals[ends + length] - totals[starts + length]) / roots
        n_before, first_behind = np.searchsorted(ends, begin, "right"), np.searchsorted(starts, begin)
        best = np.maximum(
            np.concatenate([none, np.maximum.accumulate(before)])[n_before],
            np.concatenate([np.maximum.accumulate(behind[::-1])[::-1], none])[first_behind],
        )
        gap = totals[begin + length] - totals[begin]
        for step in range(int((first_behind - n_before).max(initial=0))):  # windows with words on both sides
            both = np.flatnonzero(n_before + step < first_behind)
            window = n_before[both] + step
            sums = totals[ends[window] + length] - totals[starts[window]] - gap[both]
            best[both] = np.maximum(best[both], sums / roots[window])
        extremes[runs] = best
    return extremes


def window_spans(features: WordFeatures, text: str, window_words: int) -> Indices:
    """Return first and past-the-last character of each window of a text, ``(M, 2)``; none without tokens.

    Tokens without a row belong to the window of the words before them.
    """
    tokens = features.tokens(text)
    if not len(tokens.codes):
        return np.zeros((0, 2), np.int64)
    words = np.flatnonzero(features.known(tokens.codes))[:: window_words // 2]
    begins = np.append(0, words[1:])
    ends = np.append(begins, len(tokens.codes))[np.minimum(np.arange(len(begins)) + 2, len(begins))]
    n_windows = max(len(begins) - 1, 1)
    last = np.maximum.accumulate(tokens.ends)  # a token within a character may end before the one before
    return np.stack([tokens.starts[begins], last[ends - 1]], axis=1)[:n_windows]
