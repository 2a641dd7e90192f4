"""Defines tokens and their hashes, bit for bit; every implementation follows this one.

1. A text is its sequence of Unicode code points. Lone surrogates count as code points.
2. Every code point is lower-cased by the shipped table (one to one), and U+2019 becomes U+0027.
3. The table gives each code point a class: *separator*, *word*, *symbol* or *single*. U+0027
   between two code points of class word is itself of class word.
4. A token is a symbol, a single, or a maximal run of class word, cut after every 64 code points.
5. The hash of a token with code points ``c[0], c[1], ...`` is
   ``mix(sum_i (c[i] + 1) * BASE^i mod 2^64)``.
6. The hash of the n-gram of tokens ``t[1] ... t[n]`` is ``g[n]``, where ``g[1] = hash(t[1])`` and
   ``g[k] = mix(g[k - 1] * LINK + hash(t[k]) mod 2^64)``.
7. ``mix`` is the finaliser of SplitMix64.
8. The letters of a token, for its character n-grams, are ``x = [0, c[0] + 1, c[1] + 1, ..., 0]``: both ends
   count as letters. The hash of the n-gram ``x[i] ... x[i + n - 1]`` is ``mix(r)``, where ``r`` is ``LINK``
   at first and becomes ``r * BASE + x[j] + 1 mod 2^64`` for each ``j`` from ``i`` to ``i + n - 1``. The
   n-grams of a token are in order of ``n``, then of ``i``.

Everything runs on whole batches in numpy: there is no Python loop over characters, tokens or n-grams.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from token2wave.features.ragged import offsets_of
from token2wave.features.tokens import Tokens

LONGEST_WORD = 64
BASE = np.uint64(0x9E3779B97F4A7C15)
LINK = np.uint64(0xD6E8FEB86659FD93)
SEPARATOR, WORD, SYMBOL, SINGLE = range(4)
N_CODE_POINTS = 0x110000
APOSTROPHE, RIGHT_QUOTE = 0x27, 0x2019

Hashes = NDArray[np.uint64]


@cache
def letter_table() -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """Return the class and the lower-case letter of every code point, ``(0x110000,)`` each."""
    with np.load(Path(__file__).with_name("unicode.npz"), allow_pickle=False) as table:
        class_lengths = np.diff(table["class_starts"], append=N_CODE_POINTS)
        shift_lengths = np.diff(table["shift_starts"], append=N_CODE_POINTS)
        classes = np.repeat(table["classes"], class_lengths)
        lower = np.arange(N_CODE_POINTS, dtype=np.int32)
        lower += np.repeat(table["shifts"], shift_lengths)
    lower[RIGHT_QUOTE] = APOSTROPHE
    classes.flags.writeable = lower.flags.writeable = False  # the native core checks them only once
    return classes, lower.view(np.uint32)


def mix(hashes: Hashes) -> Hashes:
    """Finaliser of SplitMix64: every bit of the input changes half of the output's bits."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def token_hashes(texts: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """Cut ``B`` texts into tokens and hash them.

    Returns:
        Hashes ``(N,)`` uint64 of all tokens in reading order, and their offsets ``(B + 1,)`` int64.
    """
    code_points, text_ends = _code_points(texts)
    starts, ends = _token_bounds(code_points)
    offsets = offsets_of(np.diff(np.searchsorted(starts, text_ends), prepend=0))
    return _hash(code_points, starts, ends), offsets


def tokens_in(text: str) -> Tokens:
    """Cut one text into tokens with their positions."""
    code_points, _ = _code_points([text])
    starts, ends = _token_bounds(code_points)
    return Tokens(_hash(code_points, starts, ends), starts, ends, np.arange(len(starts)))


def spelled_tokens(texts: Sequence[str]) -> tuple[Hashes, NDArray[np.uint32], NDArray[np.int64]]:
    """Cut texts into tokens with their letters.

    Returns:
        Hashes ``(N,)`` uint64, lower-cased code points of all tokens ``(L,)`` uint32, and the offsets of the
        tokens among these ``(N + 1,)`` int64.
    """
    code_points, _ = _code_points(texts)
    starts, ends = _token_bounds(code_points)
    offsets = offsets_of(ends - starts)
    letters = code_points[np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], ends - starts)]
    return _hash(code_points, starts, ends), letters, offsets


def pieces(text: str, size: int) -> Iterator[str]:
    """Cut a long text into pieces of about ``size`` code points whose tokens are those of the text."""
    first = 0
    while first < len(text):
        last = first + size
        while last < len(text) and not (cut := _last_cut(text[first:last])):
            last += size
        last = first + cut if last < len(text) else len(text)
        yield text[first:last]
        first = last


def _last_cut(piece: str) -> int:
    """Return the last position before which no token and no apostrophe depends on what follows; 0 if none."""
    code_points = _code_points([piece])[0][:-1]
    is_boundary = (letter_table()[0][code_points] != WORD) & (code_points != APOSTROPHE)
    if is_boundary.any():
        return int(np.flatnonzero(is_boundary)[-1]) + 1
    starts, _ = _token_bounds(code_points)  # one long word, which is cut by its length
    between = starts[1:]
    quotes = (code_points[between - 1] == APOSTROPHE).astype(int) + (code_points[between] == APOSTROPHE)
    return int(between[quotes != 1].max(initial=0))


def _code_points(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Lower-cased code points of all texts, with a separator after each, and the end of each text."""
    joined = "\n".join([*texts, ""])
    raw = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    return letter_table()[1][raw], np.cumsum(lengths + 1)


def _token_bounds(code_points: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start and end of every token."""
    classes = letter_table()[0][code_points]
    is_word = classes == WORD
    apostrophes = np.flatnonzero(code_points == APOSTROPHE)
    apostrophes = apostrophes[(apostrophes > 0) & (apostrophes < len(classes) - 1)]
    inside = apostrophes[is_word[apostrophes - 1] & is_word[apostrophes + 1]]
    is_word[inside] = True
    is_alone = classes >= SYMBOL
    is_alone[inside] = False

    edges = np.flatnonzero(np.diff(is_word, prepend=False, append=False))
    run_starts, run_ends = edges[0::2], edges[1::2]
    pieces = -((run_starts - run_ends) // LONGEST_WORD)  # rounded up
    if pieces.size and pieces.max() > 1:
        piece = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        run_starts = np.repeat(run_starts, pieces) + piece * LONGEST_WORD
        run_ends = np.minimum(np.repeat(run_ends, pieces), run_starts + LONGEST_WORD)
    alone = np.flatnonzero(is_alone)
    starts = np.concatenate([run_starts, alone])
    ends = np.concatenate([run_ends, alone + 1])
    order = np.argsort(starts, kind="stable")
    return starts[order], ends[order]


def _hash(code_points: NDArray[np.uint32], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Hashes:
    """Hash of each token ``code_points[start:end]``, ``(N,)`` uint64."""
    lengths = ends - starts
    if not lengths.size:
        return np.zeros(0, dtype=np.uint64)
    firsts = np.cumsum(lengths) - lengths
    index = np.arange(lengths.sum()) - np.repeat(firsts, lengths)  # of each code point in its token
    powers = np.ones(LONGEST_WORD, dtype=np.uint64)
    np.multiply.accumulate(np.full(LONGEST_WORD - 1, BASE), out=powers[1:])
    characters = code_points[np.repeat(starts, lengths) + index].astype(np.uint64) + np.uint64(1)
    return mix(np.add.reduceat(characters * powers[index], firsts))


def ngram_hashes(hashes: Hashes, offsets: NDArray[np.int64], n: int) -> tuple[Hashes, NDArray[np.int64]]:
    """Hash every n-gram within a text, from the hashes ``(N,)`` and offsets ``(B + 1,)`` of its tokens.

    Returns:
        Hashes ``(M,)`` uint64 of the n-grams in reading order, and their offsets ``(B + 1,)`` int64.
    """
    lengths = np.diff(offsets)
    counts = np.maximum(lengths - (n - 1), 0)
    out_offsets = offsets_of(counts)
    first = np.arange(out_offsets[-1]) + np.repeat(offsets[:-1] - out_offsets[:-1], counts)
    grams = hashes[first]
    for k in range(1, n):
        grams = mix(grams * LINK + hashes[first + k])
    return grams, out_offsets


def char_ngram_hashes(
    code_points: NDArray[np.uint32],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    shortest: int,
    longest: int,
) -> tuple[Hashes, NDArray[np.int64]]:
    """Hash the character n-grams of ``N`` tokens ``code_points[start:end]``, whose ends count as letters.

    Args:
        code_points: ``(L,)`` uint32, lower-cased.
        starts: ``(N,)``.
        ends: ``(N,)``.
        shortest: letters of the shortest n-gram.
        longest: letters of the longest.

    Returns:
        The hashes token by token ``(M,)`` uint64, and the number of n-grams of each token ``(N,)`` int64.
    """
    lengths = ends - starts + 2
    offsets = offsets_of(lengths)
    token = np.repeat(np.arange(len(lengths)), lengths)
    position = np.arange(offsets[-1]) - offsets[token]
    inside = (position > 0) & (position < lengths[token] - 1)
    letters = np.zeros(offsets[-1], dtype=np.uint64)
    letters[inside] = code_points[(starts[token] + position - 1)[inside]].astype(np.uint64) + np.uint64(1)
    left = lengths[token] - position  # letters from here to the token's end
    hashes, owners = [], []
    # LINK keeps n-grams apart from tokens; from 0, "dgp" would have the hash of the token "the".
    rolled = np.full(offsets[-1], LINK)
    for n in range(1, longest + 1):
        fits = np.flatnonzero(left >= n)
        rolled[fits] = rolled[fits] * BASE + letters[fits + n - 1] + np.uint64(1)
        if n >= shortest:
            hashes.append(mix(rolled[fits]))
            owners.append(token[fits])
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return np.concatenate(hashes)[order], np.bincount(owner, minlength=len(lengths))
