"""Interleaved timing of calls, and the exponent of their growth."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

MAX_CALLS = 200
SLOW_SECONDS = 1.0  # slower calls repeat `SLOW_RUNS` times at most
SLOW_RUNS = 3


def powers_of_two(first: int, last: int) -> tuple[int, ...]:
    """Powers of two from ``first`` to ``last``, both included."""
    return tuple(1 << k for k in range(first.bit_length() - 1, last.bit_length()))


def time_interleaved(
    calls: Mapping[str, Callable[[], object]], runs: int, min_seconds: float
) -> dict[str, list[float]]:
    """Time several calls in turns, so that a slow moment of the machine affects all of them.

    Each is called twice before, to pay for what happens once. Every second repetition goes backwards; slow
    calls have fewer, and quick ones repeat within a repetition until ``min_seconds``.

    Returns:
        Seconds of a call in each repetition.
    """
    times: dict[str, list[float]] = {key: [] for key in calls}
    with without_collector():
        expected = {key: min(_seconds(call, 1), _seconds(call, 1)) for key, call in calls.items()}
        for run in range(runs):
            for key in list(calls) if run % 2 == 0 else list(calls)[::-1]:
                if run < SLOW_RUNS or expected[key] < SLOW_SECONDS:
                    n_calls = min(max(1, math.ceil(min_seconds / max(expected[key], 1e-9))), MAX_CALLS)
                    times[key].append(_seconds(calls[key], n_calls))
    return times


def _seconds(call: Callable[[], object], n_calls: int) -> float:
    start = time.perf_counter()
    for _ in range(n_calls):
        call()
    return (time.perf_counter() - start) / n_calls


@contextmanager
def without_collector() -> Iterator[None]:
    """Turn Python's cycle collector off, so that it interrupts none of the calls."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def upper_half(sizes: Sequence[int], values: Sequence[float]) -> tuple[list[int], list[float]]:
    """Points with a size at or above the geometric mean of the smallest and the largest, at least two.

    At small sizes the constant cost of a call hides its growth.
    """
    middle = math.sqrt(sizes[0] * sizes[-1])
    first = min(sum(size < middle for size in sizes), max(0, len(sizes) - 2))
    return list(sizes[first:]), list(values[first:])


def fit_exponent(sizes: Sequence[int], values: Sequence[float]) -> dict[str, Any] | None:
    """Fit ``value = c size^k`` by least squares of ``log value`` on ``log size``.

    Returns:
        ``exponent`` ``k``; its ``standard_error`` and ``r_squared``, None for fewer than three points.
        None for fewer than two points.
    """
    if len(sizes) < 2:
        return None
    x, y = np.log(np.asarray(sizes, dtype=float)), np.log(np.asarray(values, dtype=float))
    x, y = x - x.mean(), y - y.mean()
    exponent = float(x @ y / (x @ x))
    rest, total, degrees = y - exponent * x, float(y @ y), len(x) - 2
    error = math.sqrt(float(rest @ rest) / degrees / float(x @ x)) if degrees else None
    explained = 1 - float(rest @ rest) / total if degrees and total > 0 else None
    return {
        "exponent": exponent,
        "standard_error": error,
        "r_squared": explained,
    }
