"""Normalises texts, so that texts that look the same have the same features, bit for bit everywhere.

The normal form is ``NFKC_Casefold`` of the Unicode standard (section 3.13) of the canonical decomposition:
marks in canonical order, composed letters, compatibility forms replaced, full case folding, and code points
without a picture left out. Four rules come on top. U+2019 becomes U+0027. U+0640, which only stretches Arabic
words, is left out. Both Turkish letters i, with and without a dot, are ``i``, and so is ``i`` with U+0307.
Single Hangul letters (U+3131 to U+318E, and half-width ones as these) stay single, because people write them
as signs. U+0345 stands behind all marks, also those after a code point left out, when it becomes U+03B9. The
table ``unicode.npz`` fixes the Unicode version; ``tools/build_unicode_table.py`` makes it. An implementation
does this:

1. Replace each code point: by its letters if it is *expanded*; by nothing if its mark is 254; else by its
   *folded* code point, or by the letters of that one if it is expanded.
2. Sort each run of code points of a *combining* class above 0 by that class; equal ones stay in order.
3. U+0345 becomes U+03B9.
4. Go through the code points. The last one of class 0 is the *starter*. A code point that follows it
   directly, or with only code points of smaller classes above 0 in between, joins it if both are among the
   *compositions*, and the starter becomes what they say. So it does if both are Hangul: a leading consonant
   ``0x1100 + l`` and a vowel ``0x1161 + v``, with ``l < 19`` and ``v < 21``, become
   ``0xAC00 + (21 l + v) 28``; such a syllable and a final consonant ``0x11A7 + f``, with ``0 < f < 28``, the
   syllable plus ``f``. What has joined is gone, and stands in between no more.

A text in which no mark is 253 or more, and in which marks above 0 never fall, is normal once each code point
is folded. A *segment* begins with a code point of mark 0 or 253 and goes up to the next one; none changes
another.

The table is of the Unicode version that its ``unicode_version`` names. Properties of code points are runs:
that of the code points from ``NAME_starts[i]`` up to ``NAME_starts[i + 1]`` is ``values[i]``. By
``class_starts``, ``classes`` are 0 separator, 1 word, 2 symbol, 3 single and 4 letter. By ``shift_starts``,
``shifts`` is what to add to a code point for the folded one. By ``combining_starts``, ``combining`` is the
combining class. By ``mark_starts``, ``marks`` is 0 for a code point that begins a segment, a combining class
for one that only has its place among others, 253 for one that begins a segment and needs all steps, 254 for
one that is left out, and 255 for any other that needs all steps. ``expanded`` lists, in increasing order,
the code points that are replaced by several, ``expansion_lengths`` how many each has, and
``expansion_letters`` these, one after the other. The columns of ``compositions`` are two code points, and
the one that they become.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

N_CODE_POINTS = 0x110000
BEGINS, REMOVED, SLOW = 253, 254, 255  # marks
IOTA_BELOW, IOTA = 0x345, 0x3B9
LEADS, VOWELS, FINALS, SYLLABLES = 0x1100, 0x1161, 0x11A7, 0xAC00  # of Hangul; FINALS is one before the first
N_LEADS, N_VOWELS, N_FINALS = 19, 21, 28

CodePoints = NDArray[np.uint32]


class UnicodeTable(NamedTuple):
    """What tokenisation knows of Unicode.

    Attributes:
        classes: ``(0x110000,)`` uint8, see :mod:`token2wave.features.text`.
        folded: ``(0x110000,)`` uint32, the normal form of a code point where that is one code point.
        marks: ``(0x110000,)`` uint8: 0 begins a segment, which no code point before it changes; a combining
            class; :data:`REMOVED`; or :data:`SLOW` for what needs more than `folded`, and :data:`BEGINS` for
            such a one that begins a segment.
        combining: ``(0x110000,)`` uint8, the canonical combining class.
        expanded: ``(X,)`` uint32, increasing: code points that become several, or others than `folded` says
            before they are composed.
        expansion_offsets: ``(X + 1,)`` int64, of their letters.
        expansion_letters: uint32, the letters of all.
        composition_pairs: ``(P,)`` uint64, increasing: ``first << 32 | second``.
        composites: ``(P,)`` uint32, what these pairs become.
    """

    classes: NDArray[np.uint8]
    folded: CodePoints
    marks: NDArray[np.uint8]
    combining: NDArray[np.uint8]
    expanded: CodePoints
    expansion_offsets: NDArray[np.int64]
    expansion_letters: CodePoints
    composition_pairs: NDArray[np.uint64]
    composites: CodePoints


@cache
def unicode_table() -> UnicodeTable:
    """Return the shipped table; its arrays cannot be written to."""
    with np.load(Path(__file__).with_name("unicode.npz"), allow_pickle=False) as archive:
        arrays = dict(archive)

    def of_runs(starts: str, values: str) -> Any:
        return np.repeat(arrays[values], np.diff(arrays[starts], append=N_CODE_POINTS))

    folded = np.arange(N_CODE_POINTS, dtype=np.int32) + of_runs("shift_starts", "shifts")
    first, second, composites = arrays["compositions"].astype(np.uint64).T
    table = UnicodeTable(
        of_runs("class_starts", "classes"),
        folded.astype(np.uint32),
        of_runs("mark_starts", "marks"),
        of_runs("combining_starts", "combining"),
        arrays["expanded"].astype(np.uint32),
        np.append(0, np.cumsum(arrays["expansion_lengths"], dtype=np.int64)),
        arrays["expansion_letters"].astype(np.uint32),
        first << np.uint64(32) | second,
        composites.astype(np.uint32),
    )
    for array in table:
        array.flags.writeable = False  # the native core checks them only once
    return table


def begins_segment(marks: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether code points of these marks begin a segment."""
    return np.asarray((marks == 0) | (marks == BEGINS))


def normalise(
    code_points: CodePoints, text_starts: NDArray[np.int64] | Sequence[int] = (0,)
) -> tuple[CodePoints, NDArray[np.int64] | None]:
    """Normalise a text, or several that stand one after the other.

    Args:
        code_points: ``(N,)``.
        text_starts: where each text starts; a separator stands before each but the first.

    Returns:
        The normal form ``(M,)``, and where each of its code points comes from ``(M,)``: the index in the text
        of the code point, or of the first one of a segment that changed as a whole. None if each code point
        is its own.
    """
    table = unicode_table()
    folded, marks = table.folded[code_points], table.marks[code_points]
    is_slow = marks >= BEGINS
    is_slow[1:] |= (marks[1:] > 0) & (marks[1:] < marks[:-1])
    if not is_slow.any():
        return folded, None
    begins = begins_segment(marks)
    begins[np.asarray(text_starts)] = True
    starts = np.flatnonzero(begins)
    segments = np.unique(np.searchsorted(starts, np.flatnonzero(is_slow), "right") - 1)
    firsts, ends = starts[segments], np.append(starts, len(code_points))[segments + 1]
    forms = [
        _normalise_segment(code_points[first:end].tobytes())
        for first, end in zip(firsts.tolist(), ends.tolist(), strict=True)
    ]
    counts = np.ones(len(code_points), dtype=np.int64)
    changes = np.zeros(len(code_points) + 1, dtype=np.int64)
    changes[firsts] += 1
    changes[ends] -= 1
    counts[np.cumsum(changes[:-1]) > 0] = 0
    counts[firsts] = [len(form) for form in forms]
    origins = np.repeat(np.arange(len(code_points)), counts)
    normal = folded[origins]
    normal[np.isin(origins, firsts)] = np.concatenate(forms)
    return normal, origins


@lru_cache(1 << 16)
def _normalise_segment(raw: bytes) -> CodePoints:
    letters: list[int] = []
    for code_point in np.frombuffer(raw, np.uint32).tolist():
        letters += _expand(code_point)
    return np.array(_compose(_order(letters)), dtype=np.uint32)


def _expand(code_point: int) -> list[int]:
    """Step 1."""
    table = unicode_table()
    if table.marks[code_point] == REMOVED:
        return []
    for letter in (code_point, int(table.folded[code_point])):
        place = int(np.searchsorted(table.expanded, letter))
        if place < len(table.expanded) and table.expanded[place] == letter:
            first, end = table.expansion_offsets[place : place + 2]
            return [int(letter) for letter in table.expansion_letters[first:end]]
    return [letter]


def _order(letters: list[int]) -> list[int]:
    """Steps 2 and 3."""
    combining, ordered, first = unicode_table().combining, [], 0
    for place in range(len(letters) + 1):
        if place == len(letters) or not combining[letters[place]]:
            ordered += sorted(letters[first:place], key=lambda letter: int(combining[letter]))
            ordered += letters[place : place + 1]
            first = place + 1
    return [IOTA if letter == IOTA_BELOW else letter for letter in ordered]


def _compose(letters: list[int]) -> list[int]:
    """Step 4."""
    combining, composed = unicode_table().combining, list[int]()
    starter, last = -1, 0  # place of the last starter; the class of the last letter after it, -1 for none
    for letter in letters:
        combining_class = int(combining[letter])
        if (starter >= 0 and last < combining_class) or last < 0:
            joined = _join(composed[starter], letter)
            if joined:
                composed[starter] = joined
                continue
        if combining_class:
            last = combining_class
        else:
            starter, last = len(composed), -1
        composed.append(letter)
    return composed


def _join(first: int, second: int) -> int:
    """What a pair of code points becomes; 0 if it stays."""
    lead, vowel, syllable, final = first - LEADS, second - VOWELS, first - SYLLABLES, second - FINALS
    if 0 <= lead < N_LEADS and 0 <= vowel < N_VOWELS:
        return SYLLABLES + (lead * N_VOWELS + vowel) * N_FINALS
    n_syllables = N_LEADS * N_VOWELS * N_FINALS
    if 0 <= syllable < n_syllables and not syllable % N_FINALS and 0 < final < N_FINALS:
        return first + final
    table, pair = unicode_table(), np.uint64(first << 32 | second)
    place = int(np.searchsorted(table.composition_pairs, pair))
    if place < len(table.composites) and table.composition_pairs[place] == pair:
        return int(table.composites[place])
    return 0
