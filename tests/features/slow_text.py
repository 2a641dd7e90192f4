"""The definitions of `token2wave.features.normalisation` and `.text`, once more, in plain Python."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

MASK = (1 << 64) - 1
BASE = 0x9E3779B97F4A7C15
LINK = 0xD6E8FEB86659FD93
SEPARATOR, WORD, SYMBOL, SINGLE, LETTER = range(5)
APOSTROPHE = 0x27


@cache
def table() -> dict[str, Any]:
    with (
        resources.files("token2wave.features").joinpath("unicode.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        arrays: dict[str, Any] = {name: archive[name].tolist() for name in archive.files}
    letters = iter(arrays["expansion_letters"])
    expanded = zip(arrays["expanded"], arrays["expansion_lengths"], strict=True)
    arrays["expansions"] = {code: [next(letters) for _ in range(length)] for code, length in expanded}
    arrays["pairs"] = {(first, second): both for first, second, both in arrays["compositions"]}
    return arrays


def of_runs(starts: str, values: str, code_point: int) -> int:
    runs = table()
    return runs[values][bisect_right(runs[starts], code_point) - 1]


def folded(code_point: int) -> int:
    return code_point + of_runs("shift_starts", "shifts", code_point)


def class_of(code_point: int) -> int:
    return of_runs("class_starts", "classes", code_point)


def mark_of(code_point: int) -> int:
    return of_runs("mark_starts", "marks", code_point)


def combining_class(code_point: int) -> int:
    return of_runs("combining_starts", "combining", code_point)


def expand(code_point: int) -> list[int]:
    """Step 1 of the normal form."""
    expansions = table()["expansions"]
    if mark_of(code_point) == 254:
        return []
    alone = folded(code_point)
    return expansions.get(code_point) or expansions.get(alone) or [alone]


def order(letters: list[int]) -> list[int]:
    """Steps 2 and 3: marks by insertion, as the standard describes it."""
    ordered: list[int] = []
    for letter in letters:
        own, place = combining_class(letter), len(ordered)
        while own and place and combining_class(ordered[place - 1]) > own:
            place -= 1
        ordered.insert(place, letter)
    return [0x3B9 if letter == 0x345 else letter for letter in ordered]


def join(first: int, second: int) -> int | None:
    lead, vowel, syllable, final = first - 0x1100, second - 0x1161, first - 0xAC00, second - 0x11A7
    if lead in range(19) and vowel in range(21):
        return 0xAC00 + (lead * 21 + vowel) * 28
    if syllable in range(0, 11172, 28) and final in range(1, 28):
        return first + final
    return table()["pairs"].get((first, second))


def compose(letters: list[int]) -> list[int]:
    """Step 4, letter by letter: each looks back for its starter."""
    composed: list[int] = []
    for letter in letters:
        starter = len(composed) - 1
        while starter >= 0 and combining_class(composed[starter]):
            starter -= 1
        between = [combining_class(other) for other in composed[starter + 1 :]]
        joined = join(composed[starter], letter) if starter >= 0 else None
        if joined is None or any(other >= combining_class(letter) for other in between):
            composed.append(letter)
        else:
            composed[starter] = joined
    return composed


def normal(text: str) -> list[int]:
    """Code points of the normal form."""
    return compose(order([letter for character in text for letter in expand(ord(character))]))


def mix(number: int) -> int:
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & MASK
    return number ^ (number >> 31)


def tokens(text: str) -> list[list[int]]:
    """Normalised code points of each token, in reading order."""
    return [token for token, _ in tokens_after(text)]


def tokens_after(text: str) -> list[tuple[list[int], bool]]:
    """Likewise, and whether each is a letter directly after a letter."""
    code_points = normal(text)
    by_table = [class_of(code_point) for code_point in code_points]
    classes = list(by_table)
    for i in range(1, len(code_points) - 1):
        if code_points[i] == APOSTROPHE and by_table[i - 1] == by_table[i + 1] == WORD:
            classes[i] = WORD
    found: list[tuple[list[int], bool]] = []
    run: list[int] = []
    before = SEPARATOR
    for code_point, kind in zip(code_points, classes, strict=True):
        if kind != WORD or len(run) == 64:
            found += [(run, False)] if run else []
            run = []
        if kind == WORD:
            run.append(code_point)
        elif kind != SEPARATOR:
            found.append(([code_point], before == kind == LETTER))
        before = kind
    return [*found, (run, False)] if run else found


def hash_of(token: list[int], after_letter: bool = False) -> int:
    mixed = mix(sum((code_point + 1) * BASE**i for i, code_point in enumerate(token)) & MASK)
    return mixed - mixed % 2 + after_letter


def hashes(text: str) -> list[int]:
    return [hash_of(*token) for token in tokens_after(text)]


def ngrams(of_tokens: list[int], n: int, always: int = 5) -> list[int]:
    """Hashes of the n-grams that are features: those of more than ``always`` tokens only of letters."""
    found = []
    for first in range(len(of_tokens) - n + 1):
        gram, *others = of_tokens[first : first + n]
        if n > always and not all(other % 2 for other in others):
            continue
        gram -= gram % 2
        for other in others:
            gram = mix((gram * LINK + other) & MASK)
        found.append(gram)
    return found
