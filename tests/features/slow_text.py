"""The definition at the head of `token2wave.features.text`, once more, in plain Python."""

from __future__ import annotations

from bisect import bisect_right
from functools import cache
from importlib import resources

import numpy as np

MASK = (1 << 64) - 1
BASE = 0x9E3779B97F4A7C15
LINK = 0xD6E8FEB86659FD93
SEPARATOR, WORD, SYMBOL, SINGLE = range(4)
APOSTROPHE = 0x27


@cache
def table() -> dict[str, list[int]]:
    with (
        resources.files("token2wave.features").joinpath("unicode.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return {name: arrays[name].tolist() for name in ("class_starts", "classes", "shift_starts", "shifts")}


def lower(code_point: int) -> int:
    if code_point == 0x2019:
        return APOSTROPHE
    runs = table()
    return code_point + runs["shifts"][bisect_right(runs["shift_starts"], code_point) - 1]


def class_of(code_point: int) -> int:
    runs = table()
    return runs["classes"][bisect_right(runs["class_starts"], code_point) - 1]


def mix(number: int) -> int:
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & MASK
    return number ^ (number >> 31)


def tokens(text: str) -> list[list[int]]:
    """Lower-cased code points of each token, in reading order."""
    code_points = [lower(ord(character)) for character in text]
    by_table = [class_of(code_point) for code_point in code_points]
    classes = list(by_table)
    for i in range(1, len(code_points) - 1):
        if code_points[i] == APOSTROPHE and by_table[i - 1] == by_table[i + 1] == WORD:
            classes[i] = WORD
    found: list[list[int]] = []
    run: list[int] = []
    for code_point, kind in zip(code_points, classes, strict=True):
        if kind != WORD or len(run) == 64:
            found += [run] if run else []
            run = []
        if kind == WORD:
            run.append(code_point)
        elif kind != SEPARATOR:
            found.append([code_point])
    return [*found, run] if run else found


def hash_of(token: list[int]) -> int:
    return mix(sum((code_point + 1) * BASE**i for i, code_point in enumerate(token)) & MASK)


def hashes(text: str) -> list[int]:
    return [hash_of(token) for token in tokens(text)]


def ngrams(of_tokens: list[int], n: int) -> list[int]:
    found = []
    for first in range(len(of_tokens) - n + 1):
        gram = of_tokens[first]
        for following in of_tokens[first + 1 : first + n]:
            gram = mix((gram * LINK + following) & MASK)
        found.append(gram)
    return found
