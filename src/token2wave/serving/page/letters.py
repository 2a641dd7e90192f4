"""The letter table of the page: what its tokenisation knows of every code point, most of it as runs."""

from __future__ import annotations

import base64
import json
import lzma
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from token2wave.features import Features, WordPieceFeatures
from token2wave.features.normalisation import N_CODE_POINTS, unicode_table
from token2wave.features.wordpiece import SPECIAL, WordPieceConfig

CodePoints = NDArray[np.int64]
LETTER, REMOVED, SPACE, ISOLATED, EXPANDED = range(5)  # classes for WordPiece; wordpiece.js has the same
SEPARATOR = "|"  # normalization does not change it or join it to others
SURROGATES = range(0xD800, 0xE000)
HANGUL = range(0xAC00, 0xD7A4)  # JavaScript decomposes these syllables itself


def page_letter_table(features: Features) -> dict[str, Any]:
    """Classes and shifts to folded letters, as runs: length, value, length, value, ...

    The table is ``lzma``: a compressed JSON object of ``size`` bytes, in base64.
    """
    if isinstance(features, WordPieceFeatures):
        return _wordpiece_table(features.config.lowercase)
    return _word_table()


def _compressed(table: dict[str, Any]) -> dict[str, Any]:
    raw = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()
    stream = lzma.compress(raw, format=lzma.FORMAT_ALONE, preset=lzma.PRESET_EXTREME)
    return {"lzma": base64.b64encode(stream).decode("ascii"), "size": len(raw)}


@cache
def _word_table() -> dict[str, Any]:
    """:func:`unicode_table`.

    ``expansions`` has the code points that become several letters, ``compositions`` two letters and what they
    become, one after the other.
    """
    table = unicode_table()
    ends = table.expansion_offsets[1:].tolist()
    letters = _text(table.expansion_letters)
    expansions = [
        [code, letters[first:end]]
        for code, first, end in zip(table.expanded.tolist(), [0, *ends], ends, strict=False)
    ]
    pairs = table.composition_pairs
    triples = np.stack([pairs >> np.uint64(32), pairs & np.uint64(0xFFFFFFFF), table.composites], axis=1)
    whole = {
        **_encode(table.classes.astype(np.int64), table.folded.astype(np.int64)),
        "marks": _runs(table.marks.astype(np.int64)),
        "combining": _runs(table.combining.astype(np.int64)),
        "expansions": expansions,
        "compositions": _text(triples.ravel()),
    }
    return _compressed(whole)


def _text(codes: NDArray[Any]) -> str:
    return "".join(map(chr, codes.tolist()))


@cache
def _wordpiece_table(lowercase: bool) -> dict[str, Any]:
    """The tokenizer's normalization of each code point, and whether it stands alone.

    ``expansions`` has the code points that become several letters, without Hangul syllables.
    """
    tokenizer = WordPieceFeatures(WordPieceConfig(lowercase=lowercase), SPECIAL).tokenizer
    codes = np.arange(N_CODE_POINTS)
    codes = codes[((codes < SURROGATES.start) | (codes >= SURROGATES.stop)) & (codes != ord(SEPARATOR))]
    text = tokenizer.normalizer.normalize_str(SEPARATOR.join(map(chr, codes)))
    normalized = np.frombuffer(text.encode("utf-32-le"), dtype="<u4").astype(np.int64)
    ends = np.append(np.flatnonzero(normalized == ord(SEPARATOR)), len(normalized))
    starts = np.append(0, ends[:-1] + 1)
    # The tokenizer puts ideographs between blanks.
    ideographs = (normalized[np.minimum(starts, len(normalized) - 1)] == ord(" ")) & (ends - starts == 3)
    starts, ends = starts + ideographs, ends - ideographs
    single = ends - starts == 1
    letters = normalized[starts[single]]
    classes = np.full(len(codes), EXPANDED)
    classes[ends == starts] = REMOVED
    classes[single] = _classes_of_letters(tokenizer.pre_tokenizer, letters)
    classes[ideographs] = ISOLATED
    expanded = (classes == EXPANDED) & ((codes < HANGUL.start) | (codes >= HANGUL.stop))
    expansions = [
        [int(codes[i]), "".join(map(chr, normalized[starts[i] : ends[i]]))] for i in np.flatnonzero(expanded)
    ]
    table = np.full(N_CODE_POINTS, ISOLATED)  # as the separator and the character for surrogates are
    table[codes] = classes
    lower = np.arange(N_CODE_POINTS)
    lower[SURROGATES.start : SURROGATES.stop] = ord("?")
    lower[codes[single]] = np.where(classes[single] == SPACE, codes[single], letters)
    return _compressed({**_encode(table, lower), "expansions": expansions})


def _classes_of_letters(pre_tokenizer: Any, letters: CodePoints) -> CodePoints:
    """Whether each letter belongs to a word, separates words, or stands alone."""
    distinct, index = np.unique(letters, return_inverse=True)
    text = "a" + "".join(f"{chr(letter)}a" for letter in distinct)
    classes = np.full(len(text), SPACE)
    for _, (first, last) in pre_tokenizer.pre_tokenize_str(text):
        classes[first:last] = ISOLATED if last == first + 1 and first % 2 == 1 else LETTER
    return classes[1::2][index]


def _encode(classes: CodePoints, lower: CodePoints) -> dict[str, Any]:
    return {"classes": _runs(classes), "shifts": _runs(lower - np.arange(N_CODE_POINTS))}


def _runs(values: CodePoints) -> list[int]:
    starts = np.flatnonzero(np.diff(values, prepend=values[0] - 1))
    lengths = np.diff(starts, append=len(values))
    runs: list[int] = np.stack([lengths, values[starts]], axis=1).ravel().tolist()
    return runs
