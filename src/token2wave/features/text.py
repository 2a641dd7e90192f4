"""Defines tokens and their hashes, bit for bit; every implementation follows this one.

1. A text is its sequence of Unicode code points, normalised (:mod:`token2wave.features.normalisation`). Lone
   surrogates count as code points.
2. The table gives each code point a class: *separator*, *word*, *symbol*, *single* or *letter*. Singles and
   letters are of scripts without blanks: singles are whole syllables or ideas (Han, Kana), letters are parts
   of syllables (Thai, Lao, Khmer, Burmese, Tibetan).
3. U+0027 between two code points that the table calls word is itself of class word.
4. A token is a symbol, a single, a letter, or a maximal run of class word, cut after every 64 code points.
5. The hash of a token with code points ``c[0], c[1], ...`` is
   ``mix(sum_i (c[i] + 1) * BASE^i mod 2^64)``, but its lowest bit is 1 if the token is a letter and the code
   point before it, in the normal form of the same text, is of class letter, too, so that blanks between
   letters tell, and 0 for every other token.
6. The hash of the n-gram of tokens ``t[1] ... t[n]`` is ``g[n]``, where ``g[1]`` is ``hash(t[1])`` with a
   lowest bit of 0, and ``g[k] = mix(g[k - 1] * LINK + hash(t[k]) mod 2^64)``.
7. ``mix`` is the finaliser of SplitMix64.
8. The features of a text are its n-grams of up to ``ngrams`` tokens, and those longer ones of up to
   ``unspaced_ngrams`` in which all tokens but the first have a lowest bit of 1. They are in order of
   ``n``, then of their first token.
9. The letters of a token, for its character n-grams, are ``x = [0, c[0] + 1, c[1] + 1, ..., 0]``: both ends
   count as letters. The hash of the n-gram ``x[i] ... x[i + n - 1]`` is ``mix(r)``, where ``r`` is ``LINK``
   at first and becomes ``r * BASE + x[j] + 1 mod 2^64`` for each ``j`` from ``i`` to ``i + n - 1``. The
   n-grams of a token are in order of ``n``, then of ``i``.

Everything runs on whole batches in numpy: there is no Python loop over characters, tokens or n-grams.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.features.normalisation import begins_segment, normalise, unicode_table
from token2wave.features.ragged import offsets_of
from token2wave.features.tokens import Tokens

LONGEST_WORD = 64
BASE = np.uint64(0x9E3779B97F4A7C15)
LINK = np.uint64(0xD6E8FEB86659FD93)
SEPARATOR, WORD, SYMBOL, SINGLE, LETTER = range(5)
APOSTROPHE = 0x27
AFTER_LETTER = np.uint64(1)  # the bit of a hash

Hashes = NDArray[np.uint64]


def mix(hashes: Hashes) -> Hashes:
    """Finaliser of SplitMix64: every bit of the input changes half of the output's bits."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


class NormalTexts(NamedTuple):
    """Texts, normalised and joined, with a separator after each.

    Attributes:
        code_points: ``(N,)`` uint32.
        text_ends: ``(B,)`` int64, place of the separator after each text.
        origins: ``(N,)`` int64, as :func:`token2wave.features.normalisation.normalise` returns them, for the
            texts as they are, joined likewise; None if each code point is its own.
    """

    code_points: NDArray[np.uint32]
    text_ends: NDArray[np.int64]
    origins: NDArray[np.int64] | None

    @classmethod
    def of(cls, texts: Sequence[str]) -> NormalTexts:
        """Normalise ``B`` texts."""
        joined = "\n".join([*texts, ""])
        raw = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        raw_ends = np.cumsum(lengths + 1)
        code_points, origins = normalise(raw, np.append(0, raw_ends[:-1]))
        text_ends = raw_ends if origins is None else np.searchsorted(origins, raw_ends)
        return cls(code_points, text_ends, origins)

    def places(
        self, starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where tokens ``code_points[start:end]`` start and end in the texts as they are."""
        if self.origins is None:
            return starts, ends
        firsts = np.flatnonzero(np.diff(self.origins, prepend=-1))  # of each segment
        following = np.append(self.origins[firsts], self.origins[-1] + 1)
        return self.origins[starts], following[np.searchsorted(firsts, ends - 1, "right")]


def token_hashes(texts: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """Cut ``B`` texts into tokens and hash them.

    Returns:
        Hashes ``(N,)`` uint64 of all tokens in reading order, and their offsets ``(B + 1,)`` int64.
    """
    normal = NormalTexts.of(texts)
    starts, ends = _token_bounds(normal.code_points)
    offsets = offsets_of(np.diff(np.searchsorted(starts, normal.text_ends), prepend=0))
    return _hash(normal.code_points, starts, ends), offsets


def tokens_in(text: str) -> Tokens:
    """Cut one text into tokens with their positions."""
    normal = NormalTexts.of([text])
    starts, ends = _token_bounds(normal.code_points)
    hashes = _hash(normal.code_points, starts, ends)
    return Tokens(hashes, *normal.places(starts, ends), np.arange(len(starts)))


def spelled_tokens(texts: Sequence[str]) -> tuple[Hashes, NDArray[np.uint32], NDArray[np.int64]]:
    """Cut texts into tokens with their letters.

    Returns:
        Hashes ``(N,)`` uint64, normalised code points of all tokens ``(L,)`` uint32, and the offsets of the
        tokens among these ``(N + 1,)`` int64.
    """
    code_points = NormalTexts.of(texts).code_points
    starts, ends = _token_bounds(code_points)
    offsets = offsets_of(ends - starts)
    letters = code_points[np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], ends - starts)]
    return _hash(code_points, starts, ends), letters, offsets


def pieces(text: str, size: int) -> Iterator[str]:
    """Cut a long text into pieces of about ``size`` code points whose tokens are those of the text.

    Runs of letters of unspaced scripts and of marks stay whole.
    """
    first = 0
    while first < len(text):
        last = first + size
        while last < len(text) and not (cut := _last_cut(text[first:last])):
            last += last - first  # so the time is that of the text
        last = first + cut if last < len(text) else len(text)
        yield text[first:last]
        first = last


def _last_cut(piece: str) -> int:
    """Return the last position before which no token and no apostrophe depends on what follows; 0 if none."""
    raw = np.frombuffer(piece.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    code_points, origins = normalise(raw)
    if origins is None:
        origins = np.arange(len(raw))
    # Whether a cut before each code point is one of the text.
    begins = np.append(False, begins_segment(unicode_table().marks[raw])[1:])[origins]
    begins[1:] &= origins[1:] != origins[:-1]
    classes = unicode_table().classes[code_points]
    is_boundary = (classes != WORD) & (classes != LETTER) & (code_points != APOSTROPHE)
    cuts = np.flatnonzero(is_boundary[:-1] & begins[1:]) + 1
    if not len(cuts):
        starts, _ = _token_bounds(code_points)  # one long word, which is cut by its length
        cuts = starts[1:][begins[starts[1:]]]
        cuts = cuts[(classes[cuts - 1] != LETTER) | (classes[cuts] != LETTER)]
        quotes = (code_points[cuts - 1] == APOSTROPHE).astype(int) + (code_points[cuts] == APOSTROPHE)
        cuts = cuts[quotes != 1]
    return int(origins[cuts].max(initial=0))


def _token_bounds(code_points: NDArray[np.uint32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start and end of every token."""
    classes = unicode_table().classes[code_points]
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
    hashes = mix(np.add.reduceat(characters * powers[index], firsts)) & ~AFTER_LETTER
    is_letter = unicode_table().classes[code_points] == LETTER
    is_letter[1:] &= is_letter[:-1]
    is_letter[:1] = False
    return np.asarray(hashes | is_letter[starts].astype(np.uint64))


def ngram_hashes(
    hashes: Hashes, offsets: NDArray[np.int64], ngrams: int, unspaced_ngrams: int
) -> Iterator[tuple[Hashes, NDArray[np.int64]]]:
    """Yield the hashes of all n-grams within a text that are features, for ``n`` from 1 on.

    Args:
        hashes: ``(N,)`` uint64, of the tokens of ``B`` texts.
        offsets: ``(B + 1,)`` int64, of the texts.
        ngrams: longest n-gram of any tokens.
        unspaced_ngrams: longest one in which all tokens but the first are letters after letters.

    Yields:
        For each ``n``, the hashes ``(M,)`` uint64 in reading order, and the first token of each ``(M,)``.
    """
    first, grams = np.arange(len(hashes)), hashes & ~AFTER_LETTER
    ends = np.repeat(offsets[1:], np.diff(offsets))
    yield grams, first
    for n in range(2, max(ngrams, unspaced_ngrams) + 1):
        fits = first + n <= ends[first]
        if n > ngrams:
            fits[fits] &= _are_letters(hashes, first[fits], n)
        first, grams = first[fits], grams[fits]
        grams = mix(grams * LINK + hashes[first + (n - 1)])
        yield grams, first


def _are_letters(hashes: Hashes, first: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    """Whether all tokens but the first of n-grams are letters after letters."""
    n_letters = np.append(0, np.cumsum(hashes & AFTER_LETTER))
    return np.asarray(n_letters[first + n] - n_letters[first + 1] == n - 1)


def char_ngram_hashes(
    code_points: NDArray[np.uint32],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    shortest: int,
    longest: int,
) -> tuple[Hashes, NDArray[np.int64]]:
    """Hash the character n-grams of ``N`` tokens ``code_points[start:end]``, whose ends count as letters.

    Args:
        code_points: ``(L,)`` uint32, normalised.
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
