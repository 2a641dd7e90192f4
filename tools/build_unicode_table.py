"""Write the table that normalises texts and classifies characters for the word features.

The table is shipped, so that a text has the same features under every Python version and in every
language that reads the table, whatever Unicode version stands behind ``str.casefold`` there.

    python tools/build_unicode_table.py src/token2wave/features/unicode.npz
"""

from __future__ import annotations

import argparse
import unicodedata
from functools import cache
from pathlib import Path

import numpy as np

SEPARATOR, WORD, SYMBOL, SINGLE, LETTER = range(5)
N_CODE_POINTS = 0x110000
UNSPACED_BLOCKS = [(0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF)]
UNSPACED_ALPHABETS = (
    "THAI",
    "LAO",
    "KHMER",
    "MYANMAR",
    "TIBETAN",
    "TAI LE",
    "NEW TAI LUE",
    "TAI THAM",
    "TAI VIET",
    "AHOM",
    "JAVANESE",
    "BALINESE",
)
TIBETAN_SYLLABLE_MARKS = (0x0F0B, 0x0F0C)  # between syllables, not between words
DEFAULT_IGNORABLE = [  # the property of this name, which Python's module lacks
    *(0x00AD, 0x034F, 0x061C, 0x3164, 0xFEFF, 0xFFA0),
    *range(0x115F, 0x1161),
    *range(0x17B4, 0x17B6),
    *range(0x180B, 0x1810),
    *range(0x200B, 0x2010),
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2070),
    *range(0xFE00, 0xFE10),
    *range(0xFFF0, 0xFFF9),
    *range(0x1BCA0, 0x1BCA4),
    *range(0x1D173, 0x1D17B),
    *range(0xE0000, 0xE1000),
]
IGNORED = frozenset(map(chr, DEFAULT_IGNORABLE))
IOTA_BELOW = "\u0345"  # stands after all other marks and folds to a letter, so it is folded last
# Hangul letters that stand for themselves, as in chats, would join others to syllables that nobody wrote.
JAMO = [*map(chr, range(0x3131, 0x318F))]
NARROW_JAMO = {
    chr(c): chr(int(unicodedata.decomposition(chr(c)).split()[1], 16))
    for c in range(0xFFA1, 0xFFDD)
    if unicodedata.decomposition(chr(c))
}
OWN_FOLDS = {"\u2019": "'", "\u0131": "i", "\u0640": "", **dict(zip(JAMO, JAMO, strict=True)), **NARROW_JAMO}
OWN_FOLDS |= dict.fromkeys("\u3164\uffa0", "")  # a Hangul letter without a picture
OWN_COMPOSITIONS = {("i", "\u0307"): "i"}  # the dot of the Turkish capital letter
# Marks of what needs more than a look at one code point; BEGINS if nothing before changes it. Else the class.
BEGINS, REMOVED, SLOW = 253, 254, 255
SURROGATES = range(0xD800, 0xE000)
HANGUL_SYLLABLES = range(0xAC00, 0xD7A4)  # composed by arithmetic
HANGUL_VOWELS_AND_ENDS = (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))


def character_class(code_point: int) -> int:
    """Class of a code point: separator, part of a word, a symbol, or a letter that stands alone."""
    character = chr(code_point)
    category = unicodedata.category(character)
    if category[0] in "ZC":
        return SEPARATOR
    name = unicodedata.name(character, "")
    if category[0] not in "LMN" and character != "_":
        return LETTER if code_point in TIBETAN_SYLLABLE_MARKS else SYMBOL
    if name.startswith(UNSPACED_ALPHABETS):
        return LETTER
    unspaced = any(first <= code_point <= last for first, last in UNSPACED_BLOCKS)
    return SINGLE if unspaced else WORD


@cache
def fold(character: str) -> str:
    """``NFKC_Casefold`` of a character that has no canonical decomposition, decomposed again."""
    if character == IOTA_BELOW:
        return character
    if character in OWN_FOLDS:
        return OWN_FOLDS[character]
    folded, before = character, ""
    while folded != before:
        before = folded
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", folded).casefold())
        folded = "".join(c for c in folded if c not in IGNORED)
    return unicodedata.normalize("NFD", "".join(OWN_FOLDS.get(c, c) for c in folded))


def decompose(code_point: int) -> str:
    """What stands for a code point before marks are put in order and composed."""
    if code_point in SURROGATES or code_point in HANGUL_SYLLABLES:
        return chr(code_point)
    return "".join(map(fold, unicodedata.normalize("NFD", chr(code_point))))


def compose(decomposed: str) -> str:
    """The normal form of what :func:`decompose` returns for one code point."""
    if any(ord(c) in SURROGATES for c in decomposed):
        return decomposed
    composed = unicodedata.normalize("NFC", decomposed.replace(IOTA_BELOW, "\u03b9"))
    for (first, second), letter in OWN_COMPOSITIONS.items():
        composed = composed.replace(first + second, letter)
    return composed


def compositions(forms: list[str]) -> dict[tuple[str, str], str]:
    """The composite of two code points that stand side by side, if the normal form can have it."""
    pairs = dict(OWN_COMPOSITIONS)
    for code_point, form in enumerate(forms):
        parts = unicodedata.decomposition(chr(code_point)).split()
        is_canonical = len(parts) == 2 and not parts[0].startswith("<")
        if is_canonical and form == chr(code_point) and code_point not in HANGUL_SYLLABLES:
            first, second = (chr(int(part, 16)) for part in parts)
            pairs[first, second] = form
    return pairs


def runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut an array into runs of equal values: where each starts, and its value."""
    starts = np.flatnonzero(np.diff(values, prepend=values[:1] - 1))
    return starts.astype(np.int32), values[starts]


def main() -> None:
    """Write the table to the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    code_points = np.arange(N_CODE_POINTS)
    decomposed = [decompose(c) for c in range(N_CODE_POINTS)]
    forms = [compose(letters) for letters in decomposed]
    pairs = compositions(forms)
    joins_before = {ord(second) for _, second in pairs}.union(HANGUL_VOWELS_AND_ENDS)
    folded, combining = code_points.copy(), np.array([unicodedata.combining(chr(c)) for c in code_points])
    marks, expansions = combining.copy(), {}
    for c, form in enumerate(forms):
        if len(form) == 1:
            folded[c] = ord(form)
        is_simple = len(form) == 1 and combining[c] == combining[ord(form)]
        if not form:
            marks[c] = REMOVED
        elif not is_simple or not joins_before.isdisjoint((c, ord(form))):
            begins = combining[ord(decomposed[c][0])] == 0 and ord(decomposed[c][0]) not in joins_before
            marks[c] = BEGINS if begins and ord(form[0]) not in joins_before else SLOW
    for c, letters in enumerate(decomposed):
        if (letters and letters != decomposed[folded[c]]) or (folded[c] == c and letters not in ("", chr(c))):
            expansions[c] = letters
    class_starts, classes = runs(np.array([character_class(c) for c in code_points]))
    shift_starts, shifts = runs(folded - code_points)
    mark_starts, marks = runs(marks)
    combining_starts, combining = runs(combining)
    triples = sorted((ord(first), ord(second), ord(form)) for (first, second), form in pairs.items())
    np.savez_compressed(
        out,
        unicode_version=np.array(unicodedata.unidata_version),
        class_starts=class_starts,
        classes=classes.astype(np.uint8),
        shift_starts=shift_starts,
        shifts=shifts.astype(np.int32),
        mark_starts=mark_starts,
        marks=marks.astype(np.uint8),
        combining_starts=combining_starts,
        combining=combining.astype(np.uint8),
        expanded=np.array(list(expansions), dtype=np.int32),
        expansion_lengths=np.array([len(letters) for letters in expansions.values()], dtype=np.uint8),
        expansion_letters=np.array([ord(c) for c in "".join(expansions.values())], dtype=np.int32),
        compositions=np.array(triples, dtype=np.int32),
    )


if __name__ == "__main__":
    main()
