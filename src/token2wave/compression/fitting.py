"""Fits rows into a number of bytes: how many rows, and how fine a step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from token2wave.storage.encodings import (
    DEAD_ZONE,
    MAX_FREE,
    MAX_PER_BYTE,
    EncodedArray,
    as_delta_varint,
    as_float16,
    as_int8,
    as_lzma,
    compress_lzma,
    quantised,
)

Floats = NDArray[np.float32]
BUCKET_BYTES = 1.3  # about, as a difference
NUMBER_BYTES = {"float32": 4.0, "float16": 2.0, "int8": 1.0, "lzma": 0.305}
FINEST = 0.1  # of the rows' root mean square: finer steps gain nothing
N_PASSES = 6
FULL_ENOUGH = 0.975  # of the budget
SAMPLED = 4  # one row of so many chooses a step quickly
HASTE = 0.8  # about, of what hasty compression leaves
N_HALVINGS = 8  # of the range of a step
QUICKLY_ENOUGH = 0.93  # of the budget


class EncodedRows(NamedTuple):
    """The rows that are left, which of the ``(V,)`` rows these are, and the bytes of rows and buckets."""

    rows: EncodedArray
    mask: NDArray[np.bool_]
    size: int


def rows_that_fit(storage: str, width: int, budget: int) -> int:
    """Estimate how many rows of ``width`` numbers fit into ``budget`` bytes, at least 1.

    With lzma this assumes a step that costs about a third of a byte a number: fewer rows with finer numbers
    and more rows with coarser ones are about as accurate.
    """
    scale = 4 if storage == "int8" else 0
    return max(int(budget / (width * NUMBER_BYTES[storage] + scale + BUCKET_BYTES)), 1)


def encode_rows(rows: Floats, storage: str) -> EncodedArray:
    """Encode rows as float16 or int8, where no step has to be chosen."""
    return as_float16(rows) if storage == "float16" else as_int8(rows)


def encode_table(rows: Floats, storage: str) -> EncodedArray:
    """Encode rows in a storage but float32, with the finest step for lzma."""
    return _encode_lzma(rows, None, _finest(rows)).rows if storage == "lzma" else encode_rows(rows, storage)


def fit_step(rows: Floats, buckets: NDArray[np.uint32] | None, budget: int | None) -> EncodedRows | None:
    """Encode rows ``(V, R)`` as lzma with the finest step that fits; None if none does.

    Rows of zeros are dropped, unless ``buckets`` is None. Without ``budget``, in bytes, the step is finest.
    """
    low, high = _log_steps(rows)
    if budget is None:
        return _encode_lzma(rows, buckets, low)
    best, log_step, last = None, _guess(rows, budget, low, high), None
    for number in range(N_PASSES + 8):
        encoded = _encode_lzma(rows, buckets, log_step)
        fits = encoded.size <= budget
        if fits and (best is None or encoded.size > best.size):
            best = encoded
        if best is not None and (best.size > FULL_ENOUGH * budget or number >= N_PASSES):
            break
        if fits and log_step <= low:
            break
        log_size = np.log(encoded.size)
        slope = -1.2  # of log size over log step, until two passes measure it
        if last is not None and abs(log_step - last[0]) > 1e-6:
            slope = float(np.clip((log_size - last[1]) / (log_step - last[0]), -3.0, -0.5))
        last = log_step, log_size
        log_step = float(np.clip(log_step + (np.log(0.988 * budget) - log_size) / slope, low, high))
    return best


def fit_step_quickly(
    rows: Floats, buckets: NDArray[np.uint32] | None, budget: int | None
) -> EncodedRows | None:
    """Do as :func:`fit_step` in about half the time: some rows, compressed in haste, choose the step.

    The step may be a little coarser than the finest that fits.
    """
    low, high = _log_steps(rows)
    if budget is None:
        return _encode_lzma(rows, buckets, low, "half")
    sample, may_drop, best = rows[::SAMPLED], buckets is not None, None
    if not may_drop and rows.size > MAX_FREE + MAX_PER_BYTE * budget:
        return None  # no reader takes so many numbers from so few bytes
    factor = HASTE * len(rows) / len(sample)  # of the size of the sample
    for _ in range(N_PASSES):
        log_step = _estimated_step(sample, may_drop, factor, budget, low, high)
        encoded = _encode_lzma(rows, buckets, log_step, "half")
        if encoded.size <= budget and (best is None or encoded.size > best.size):
            best = encoded
        if best is not None and (log_step <= low or best.size > QUICKLY_ENOUGH * budget):
            break
        factor = 1.01 * encoded.size / _hasty_size(sample, may_drop, log_step)
    return best


def _estimated_step(
    sample: Floats, may_drop: bool, factor: float, budget: int, low: float, high: float
) -> float:
    """Find the log of the finest step with which ``factor`` times the size of a sample fits."""
    if factor * _hasty_size(sample, may_drop, low) <= 0.98 * budget:
        return low
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2
        is_large = factor * _hasty_size(sample, may_drop, middle) > 0.98 * budget
        low, high = (middle, high) if is_large else (low, middle)
    return high


def _hasty_size(sample: Floats, may_drop: bool, log_step: float) -> float:
    """Bytes of a sample of the rows, and of its buckets if rows may be dropped."""
    numbers = quantised(sample, float(np.float32(np.exp(log_step))))
    if not may_drop:
        return float(len(compress_lzma(numbers, "least")))
    numbers = numbers[(numbers != 0).any(axis=1)]
    return len(compress_lzma(numbers, "least")) + BUCKET_BYTES * len(numbers)


def _log_steps(rows: Floats) -> tuple[float, float]:
    """Return the logs of the finest step, and of one that makes all numbers zero."""
    low = _finest(rows)
    largest = float(np.abs(rows).max(initial=0.0)) or 1.0
    return low, float(np.log(max(largest / DEAD_ZONE, 1.01 * np.exp(low))))


def _finest(rows: Floats) -> float:
    """Return the log of the finest step."""
    root_mean_square = float(np.sqrt(np.mean(np.square(rows, dtype=np.float64)))) or 1.0
    largest = float(np.abs(rows).max(initial=0.0)) or 1.0
    return float(np.log(max(FINEST * root_mean_square, largest / 127.5)))


def _guess(rows: Floats, budget: int, low: float, high: float) -> float:
    """Guess the log of the step that fits, from the entropy of each column of every eighth row."""
    sample = rows[::8]
    for _ in range(14):
        middle = (low + high) / 2
        numbers = quantised(sample, float(np.exp(middle)))
        n_rows = np.count_nonzero(numbers.any(axis=1))
        size = len(rows) / len(sample) * (0.85 * _entropy(numbers) / 8 + BUCKET_BYTES * n_rows)
        low, high = (middle, high) if size > budget else (low, middle)
    return high


def _entropy(numbers: NDArray[np.int8]) -> float:
    """Sum the entropies of all columns in bits, each with its own distribution."""
    width = numbers.shape[1]
    symbols = numbers.astype(np.int32) + 128 + 256 * np.arange(width, dtype=np.int32)
    frequencies = np.bincount(symbols.ravel(), minlength=256 * width) / max(len(numbers), 1)
    frequencies = frequencies[frequencies > 0]
    return float(-len(numbers) * (frequencies * np.log2(frequencies)).sum())


def _encode_lzma(
    rows: Floats, buckets: NDArray[np.uint32] | None, log_step: float, effort: str = "full"
) -> EncodedRows:
    step = float(np.float32(np.exp(log_step)))
    numbers = quantised(rows, step)
    mask: NDArray[np.bool_] = np.ones(len(rows), dtype=bool)
    size = 0
    if buckets is not None:
        mask = (numbers != 0).any(axis=1)
        mask[0] |= not mask.any()  # at least one row must stay
        size = len(as_delta_varint(buckets[mask]).parts[""])
    encoded = as_lzma(numbers[mask], step, effort)
    return EncodedRows(encoded, mask, size + len(encoded.parts[""]))
