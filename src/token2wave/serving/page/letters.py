"""What the page's engine must know of Unicode: class and lower-case letter of every code point, as runs."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Features, WordPieceFeatures
from token2wave.features.text import N_CODE_POINTS, letter_table
from token2wave.features.wordpiece import SPECIAL, WordPieceConfig

Letters = dict[str, Any]
KEPT, DROPPED, SPACE, ALONE, SEVERAL = range(5)  # classes for WordPiece; wordpiece.js has the same
BETWEEN = "|"  # a character that normalisation leaves as it is, and that joins no other
SURROGATES = range(0xD800, 0xE000)
HANGUL = range(0xAC00, 0xD7A4)  # whose letters the engine computes


def letters_of(features: Features) -> Letters:
    """Classes and shifts to lower case, as runs: length, value, length, value, ..."""
    if isinstance(features, WordPieceFeatures):
        return wordpiece_letters(features.config.lowercase)
    return word_letters()


@cache
def word_letters() -> Letters:
    """The table of :mod:`token2wave.features.text`."""
    classes, lower = letter_table()
    shifts = lower.astype(np.int64) - np.arange(N_CODE_POINTS)
    return {"classes": _runs(classes.astype(np.int64)), "shifts": _runs(shifts)}


@cache
def wordpiece_letters(lowercase: bool) -> Letters:
    """What the tokenizer's normalisation makes of each code point, and whether it stands alone.

    ``several`` has what becomes more than one letter, but for Hangul syllables.
    """
    tokenizer = WordPieceFeatures(WordPieceConfig(lowercase=lowercase), SPECIAL).tokenizer
    codes = np.arange(N_CODE_POINTS)
    codes = codes[((codes < SURROGATES.start) | (codes >= SURROGATES.stop)) & (codes != ord(BETWEEN))]
    made = _code_points(tokenizer.normalizer.normalize_str(BETWEEN.join(map(chr, codes))))
    ends = np.append(np.flatnonzero(made == ord(BETWEEN)), len(made))
    starts = np.append(0, ends[:-1] + 1)
    blanks = (made[np.minimum(starts, len(made) - 1)] == ord(" ")) & (ends - starts == 3)  # of ideographs
    starts, ends = starts + blanks, ends - blanks
    one, none = ends - starts == 1, ends == starts
    letters = made[starts[one]]
    kinds = np.full(len(codes), SEVERAL)
    kinds[none] = DROPPED
    kinds[one] = _kinds(tokenizer.pre_tokenizer, letters)
    kinds[blanks] = ALONE
    classes = np.full(N_CODE_POINTS, ALONE)  # as BETWEEN is, and the mark that stands for a surrogate
    classes[codes] = kinds
    lower = np.arange(N_CODE_POINTS)
    lower[SURROGATES.start : SURROGATES.stop] = ord("?")
    lower[codes[one]] = np.where(kinds[one] == SPACE, codes[one], letters)
    lone = (kinds == SEVERAL) & ((codes < HANGUL.start) | (codes >= HANGUL.stop))
    several = [[int(codes[i]), "".join(map(chr, made[starts[i] : ends[i]]))] for i in np.flatnonzero(lone)]
    shifts = lower - np.arange(N_CODE_POINTS)
    return {"classes": _runs(classes), "shifts": _runs(shifts), "several": several}


def _kinds(pre_tokenizer: Any, letters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whether each letter is kept in a word, cuts the text, or stands alone."""
    kind_of = np.full(N_CODE_POINTS, DROPPED)
    kind_of[letters] = KEPT
    distinct = np.flatnonzero(kind_of == KEPT)
    text = "a" + "".join(f"{chr(letter)}a" for letter in distinct)
    kinds = np.full(len(text), SPACE)
    for _, (first, last) in pre_tokenizer.pre_tokenize_str(text):
        kinds[first:last] = ALONE if last == first + 1 and first % 2 == 1 else KEPT
    kind_of[distinct] = kinds[1::2]
    found: NDArray[np.int64] = kind_of[letters]
    return found


def _code_points(text: str) -> NDArray[np.int64]:
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4").astype(np.int64)


def _runs(values: NDArray[np.int64]) -> list[int]:
    starts = np.flatnonzero(np.diff(values, prepend=values[0] - 1))
    lengths = np.diff(starts, append=len(values))
    runs: list[int] = np.stack([lengths, values[starts]], axis=1).ravel().tolist()
    return runs
