"""Write the table of character classes and lower-case letters that the word features use.

The table is shipped, so that a text has the same features under every Python version and in every
language that reads the table, whatever Unicode version stands behind ``str.lower`` there.

    python tools/build_unicode_table.py src/token2wave/features/unicode.npz
"""

from __future__ import annotations

import argparse
import unicodedata
from pathlib import Path

import numpy as np

SEPARATOR, WORD, SYMBOL, SINGLE = range(4)
N_CODE_POINTS = 0x110000
UNSPACED_BLOCKS = [(0x3040, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF)]
UNSPACED_SCRIPTS = ("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


def character_class(code_point: int) -> int:
    """Class of a code point: separator, part of a word, a symbol, or a letter that stands alone."""
    character = chr(code_point)
    category = unicodedata.category(character)
    if category[0] in "ZC":
        return SEPARATOR
    if category[0] not in "LMN" and character != "_":
        return SYMBOL
    unspaced = any(first <= code_point <= last for first, last in UNSPACED_BLOCKS)
    if unspaced or unicodedata.name(character, "").startswith(UNSPACED_SCRIPTS):
        return SINGLE
    return WORD


def lower_case(code_point: int) -> int:
    """Lower-case letter of a code point where that is one code point, itself elsewhere."""
    lowered = chr(code_point).lower()
    return ord(lowered) if len(lowered) == 1 else code_point


def runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut an array into runs of equal values: where each starts, and its value."""
    starts = np.flatnonzero(np.diff(values, prepend=values[0] - 1))
    return starts.astype(np.int32), values[starts]


def main() -> None:
    """Write the table to the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    code_points = np.arange(N_CODE_POINTS)
    class_starts, classes = runs(np.array([character_class(c) for c in code_points]))
    shift_starts, shifts = runs(np.array([lower_case(c) for c in code_points]) - code_points)
    np.savez_compressed(
        out,
        unicode_version=np.array(unicodedata.unidata_version),
        class_starts=class_starts,
        classes=classes.astype(np.uint8),
        shift_starts=shift_starts,
        shifts=shifts.astype(np.int32),
    )


if __name__ == "__main__":
    main()
