"""Groups rows whose texts are the same or nearly the same.

Texts are compared by their tokens: case and blanks do not count. Texts are nearly the same where their sets
of tokens have a Jaccard similarity of at least `MIN_SIMILARITY`. Candidates agree in a band of MinHash values
(Broder, 1997) of their pairs of neighbouring tokens; each such pair is then compared exactly.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from token2wave.core import load_core
from token2wave.features.hashed_texts import HashedTexts
from token2wave.features.ragged import offsets_of
from token2wave.features.text import mix

MIN_SIMILARITY = 0.85
MIN_WORDS = 8  # distinct words; with fewer, one word more or less makes another text
N_BANDS, BAND_WIDTH = 6, 2

Rows = NDArray[np.int64]
Hashes = NDArray[np.uint64]


def group_duplicates(texts: Sequence[str], *, near: bool = True) -> Rows:
    """Find the first row with the same text, for every row.

    Args:
        texts: ``N`` strings; :class:`HashedTexts` are not hashed again.
        near: whether texts that are nearly the same count, too.

    Returns:
        ``(N,)`` int64, the number of the first row of each row's group; its own where no row before is in it.
    """
    words, offsets = _words_of(HashedTexts.of(texts))
    keys, minima = fingerprint(words, offsets, N_BANDS * BAND_WIDTH if near else 0)
    for row in np.flatnonzero(np.diff(offsets) == 0).tolist():  # without words the characters count
        keys[row] = zlib.crc32(texts[row].strip().encode("utf-8", "surrogatepass"))
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    group = first[inverse].astype(np.int64)
    if near:
        distinct = np.flatnonzero((group == np.arange(len(group))) & (np.diff(offsets) >= MIN_WORDS))
        pairs = _candidates(minima[distinct])
        _join(group, distinct[pairs[_are_similar(words, offsets, distinct[pairs])]])
    return group


class TextSet:
    """Texts, to look others up in, whatever their case and blanks.

    Args:
        texts: strings.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._beginnings: set[str] = set()  # rules out nearly all texts
        self._texts: set[str] = set()
        for text in texts:
            self._beginnings.add(_beginning(text))
            self._texts.add(_normalise(text))

    def mask(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Whether each of ``N`` texts is among these, ``(N,)`` bool."""
        return np.fromiter(
            (_beginning(text) in self._beginnings and _normalise(text) in self._texts for text in texts),
            dtype=bool,
            count=len(texts),
        )


def join_groups(first: Rows, names: Sequence[str | None] | None) -> Rows:
    """Join groups of rows that share a name.

    Args:
        first: ``(N,)`` int64, the number of the first row of each row's group; see :func:`group_duplicates`.
        names: ``N`` names, None for a row without one; or None if no row has one.

    Returns:
        ``(N,)`` int64, as ``first``.
    """
    if names is None:
        return first
    joined, rows = first.copy(), dict[str, int]()
    pairs = [(rows.setdefault(name, row), row) for row, name in enumerate(names) if name is not None]
    _join(joined, np.array(pairs, dtype=np.int64).reshape(-1, 2))
    return joined


def count_shared(texts: Sequence[str], others: Sequence[str]) -> int:
    """How many of the texts are also among the others, whatever their case and blanks."""
    beginnings = {_beginning(text) for text in texts}
    return int(TextSet(other for other in others if _beginning(other) in beginnings).mask(texts).sum())


def _normalise(text: str) -> str:
    return " ".join(text.casefold().split())


def _beginning(text: str) -> str:
    return _normalise(text.lstrip()[:128])[:32]


def fingerprint(words: Hashes, offsets: Rows, n_minima: int) -> tuple[Hashes, Hashes]:
    """Hash whole texts, and their pairs of neighbouring words by several functions.

    Args:
        words: ``(T,)`` uint64, hashes of all words.
        offsets: ``(N + 1,)`` int64, the texts among them.
        n_minima: number of functions.

    Returns:
        ``(N,)`` uint64, a hash of the words and their order; ``(N, n_minima)`` uint64, for each function the
        smallest hash of a pair. The last word of a text pairs with nothing.
    """
    n_texts = len(offsets) - 1
    keys, minima = np.zeros(n_texts, dtype=np.uint64), np.zeros((n_texts, n_minima), dtype=np.uint64)
    if (native := load_core()) is not None:
        native.fingerprint(words, offsets, keys, minima)
        return keys, minima
    lengths = np.diff(offsets)
    position = np.arange(len(words)) - np.repeat(offsets[:-1], lengths)
    sums = np.zeros(len(words) + 1, dtype=np.uint64)
    np.cumsum(mix(words ^ mix(position.astype(np.uint64))), out=sums[1:])
    keys[:] = sums[offsets[1:]] - sums[offsets[:-1]]
    following = np.append(words[1:], np.zeros(min(1, len(words)), dtype=np.uint64))
    following[offsets[1:][lengths > 0] - 1] = 0
    pairs, largest = mix(words + np.uint64(3) * following), np.iinfo(np.uint64).max
    for k in range(n_minima if n_texts else 0):
        factor = mix(np.array([k + 1], dtype=np.uint64)) | np.uint64(1)
        minima[:, k] = np.minimum.reduceat(np.append(pairs * factor, largest), offsets[:-1])
        minima[lengths == 0, k] = largest
    return keys, minima


def _words_of(texts: HashedTexts) -> tuple[Hashes, Rows]:
    """The hashes of all words ``(T,)``, and the texts among them ``(N + 1,)``."""
    chunks = [chunk for chunk, _ in texts.token_chunks()]
    return np.concatenate([np.zeros(0, dtype=np.uint64), *chunks]), offsets_of(texts.n_tokens)


def _candidates(minima: Hashes) -> NDArray[np.int64]:
    """Pairs of texts that may be similar, ``(M, 2)``: enough of them to join each group, not all."""
    pairs = [np.zeros((0, 2), dtype=np.int64)]
    for band in range(0, minima.shape[1], BAND_WIDTH):
        key = np.zeros(len(minima), dtype=np.uint64)
        for values in minima[:, band : band + BAND_WIDTH].T:
            key = mix(key ^ values)
        order = np.argsort(key, kind="stable")
        same = np.flatnonzero(key[order][1:] == key[order][:-1])
        pairs.append(np.stack([order[same], order[same + 1]], axis=1))
    return np.unique(np.concatenate(pairs), axis=0)


def _are_similar(words: Hashes, offsets: Rows, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the distinct words of each pair of rows, ``(M, 2)``, reach `MIN_SIMILARITY`."""
    rows, inverse = np.unique(pairs, return_inverse=True)
    sets = [set(words[offsets[row] : offsets[row + 1]].tolist()) for row in rows.tolist()]
    similar = np.zeros(len(pairs), dtype=bool)
    for number, (left, right) in enumerate(inverse.reshape(-1, 2).tolist()):
        n_shared = len(sets[left] & sets[right])
        n_all = len(sets[left]) + len(sets[right]) - n_shared
        similar[number] = n_shared >= MIN_SIMILARITY * n_all
    return similar


def _join(first: Rows, pairs: NDArray[np.int64]) -> None:
    """Join the groups of the rows of each pair, in place; each row then has the first row of its group."""

    def find(row: int) -> int:
        while first[row] != row:
            first[row] = first[first[row]]
            row = int(first[row])
        return row

    for left, right in pairs.tolist():
        low, high = sorted((find(left), find(right)))
        first[high] = low
    while not np.array_equal(first[first], first):
        first[:] = first[first]
