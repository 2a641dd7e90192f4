"""How many rows, and how fine a step, fit into so many bytes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.storage.encodings import (
    DEAD_ZONE,
    EncodedArray,
    as_delta_varint,
    as_float16,
    as_int8,
    as_lzma,
    quantised,
)

Floats = NDArray[np.float32]
BYTES_OF_BUCKET = 1.3  # as a gap, about
BYTES_OF_NUMBER = {"float32": 4.0, "float16": 2.0, "int8": 1.0, "lzma": 0.305}
FINEST = 0.1  # of the rows' root mean square: steps below that gain nothing
PASSES = 6
FULL_ENOUGH = 0.975


class EncodedRows(NamedTuple):
    """A table in a form that fits.

    Attributes:
        rows: the table, stored; None where it is to be stored as it is.
        kept: ``(V,)`` bool, the rows that are in it.
        size: bytes of the rows and of their buckets.
    """

    rows: EncodedArray | None
    kept: NDArray[np.bool_]
    size: int


def rows_that_fit(storage: str, width: int, budget: int) -> int:
    """About how many rows of ``width`` numbers fit into ``budget`` bytes, at the least 1.

    For packed rows: at a step that costs about a third of a byte a number, where fewer rows of finer numbers
    and more rows of coarser ones are about as accurate.
    """
    scale = 4 if storage == "int8" else 0
    return max(int(budget / (width * BYTES_OF_NUMBER[storage] + scale + BYTES_OF_BUCKET)), 1)


def encoded_rows(rows: Floats, storage: str) -> EncodedArray | None:
    """Rows in a form that has no step to choose; None for float32."""
    if storage == "float32":
        return None
    return as_float16(rows) if storage == "float16" else as_int8(rows)


def fit_step(rows: Floats, buckets: NDArray[np.uint32] | None, budget: int | None) -> EncodedRows | None:
    """Pack rows with the finest step that fits; rows that become zero are dropped, if they are buckets.

    Args:
        rows: ``(V, R)``.
        buckets: ``(V,)``, stored as gaps beside them; None where every row must stay.
        budget: bytes for both; None takes the finest step.

    Returns:
        The table; None if no step was found that fits.
    """
    size_of_rows = float(np.sqrt(np.mean(np.square(rows, dtype=np.float64)))) or 1.0
    largest = float(np.abs(rows).max(initial=0.0)) or 1.0
    finest = max(FINEST * size_of_rows, largest / 127.5)
    low, high = np.log(finest), np.log(max(largest / DEAD_ZONE, 1.01 * finest))
    best, seen = None, []
    at = low if budget is None else _guess(rows, budget, low, high)
    for number in range(PASSES + 8):
        found = _lzma_rows(rows, buckets, float(np.float32(np.exp(at))))
        fits = budget is None or found.size <= budget
        if fits and (best is None or found.size > best.size):
            best = found
        if budget is None or (best is not None and (best.size > FULL_ENOUGH * budget or number >= PASSES)):
            break
        if fits and at <= low:
            break
        seen.append((at, np.log(found.size)))
        slope = -1.2  # of log size over log step, until two passes tell
        if len(seen) > 1 and abs(seen[-1][0] - seen[-2][0]) > 1e-6:
            change = (seen[-1][1] - seen[-2][1]) / (seen[-1][0] - seen[-2][0])
            slope = float(np.clip(change, -3.0, -0.5))
        at = float(np.clip(at + (np.log(0.988 * budget) - seen[-1][1]) / slope, low, high))
    return best


def _guess(rows: Floats, budget: int, low: float, high: float) -> float:
    """Step whose estimated size is the budget, from the entropy of each column of every eighth row."""
    some = rows[::8]
    for _ in range(14):
        middle = (low + high) / 2
        numbers = quantised(some, float(np.exp(middle)))
        n_rows = np.count_nonzero(numbers.any(axis=1))
        size = len(rows) / len(some) * (0.85 * _entropy(numbers) / 8 + BYTES_OF_BUCKET * n_rows)
        low, high = (middle, high) if size > budget else (low, middle)
    return high


def _entropy(numbers: NDArray[np.int8]) -> float:
    """Bits of all columns, each with its own distribution."""
    width = numbers.shape[1]
    places = numbers.astype(np.int32) + 128 + 256 * np.arange(width, dtype=np.int32)
    shares = np.bincount(places.ravel(), minlength=256 * width) / max(len(numbers), 1)
    filled = shares[shares > 0]
    return float(-len(numbers) * (filled * np.log2(filled)).sum())


def _lzma_rows(rows: Floats, buckets: NDArray[np.uint32] | None, step: float) -> EncodedRows:
    numbers = quantised(rows, step)
    kept: NDArray[np.bool_] = np.ones(len(rows), dtype=bool)
    size = 0
    if buckets is not None:
        kept = (numbers != 0).any(axis=1)
        kept[0] |= not kept.any()  # a table has a row at least
        size = len(as_delta_varint(buckets[kept]).parts[""])
    encoded = as_lzma(numbers[kept], step)
    return EncodedRows(encoded, kept, size + len(encoded.parts[""]))
