"""The definition of :mod:`token2wave.features.text` for one short ASCII text, in Python alone.

numpy needs a hundred calls for a batch, however small; a sentence is sooner done word by word.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

import numpy as np

from token2wave.features import text as definition

LONGEST = 512  # code points; beyond, numpy is the quicker
MASK = (1 << 64) - 1
BASE, LINK = int(definition.BASE), int(definition.LINK)


def is_short(text: str) -> bool:
    """Whether :func:`short_text_hashes` takes a text."""
    return len(text) <= LONGEST and text.isascii()


def short_text_hashes(text: str) -> list[int]:
    """Hash the tokens of one text for which :func:`is_short` holds, in reading order."""
    return [hashed for run in _pattern().findall(text) for hashed in _hashes_of_run(run)]


def next_gram(gram: int, hashed: int) -> int:
    """Hash of an n-gram from that of its first tokens and of its last token."""
    return _mix((gram * LINK + hashed) & MASK)


@cache
def _pattern() -> re.Pattern[str]:
    """A run of class word, or one symbol or single; letters of both cases."""
    classes, lower = definition.letter_table()
    of_ascii = classes[lower[: 1 << 7]]
    word, alone = (
        "".join(re.escape(chr(code)) for code in np.flatnonzero(found))
        for found in (of_ascii == definition.WORD, of_ascii >= definition.SYMBOL)
    )
    return re.compile(f"[{word}]+(?:'[{word}]+)*|[{alone}]")


@lru_cache(maxsize=1 << 16)
def _hashes_of_run(run: str) -> tuple[int, ...]:
    """Hashes of a run, which is cut after every 64 letters."""
    letters = run.lower()
    size = definition.LONGEST_WORD
    return tuple(_hash(letters[first : first + size]) for first in range(0, len(letters), size))


def _hash(token: str) -> int:
    total, power = 0, 1
    for code in token.encode("ascii"):
        total += (code + 1) * power
        power = power * BASE & MASK
    return _mix(total & MASK)


def _mix(number: int) -> int:
    """Finaliser of SplitMix64."""
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & MASK
    return number ^ (number >> 31)
