"""Sums the rows of a table for each text, in the native core or in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from token2wave.core import load_core
from token2wave.inference.reference import segment_sums


def sum_rows(
    table: NDArray[np.float32], ids: NDArray[np.int32], offsets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Sum the rows of each text in their order, ``(N, K)`` in double precision: the same bits everywhere.

    Args:
        table: ``(V, K)``.
        ids: ``(T,)``, rows of the table; those below 0 add nothing.
        offsets: ``(N + 1,)``, where the ids of each text begin and end.

    Raises:
        ValueError: an id is ``V`` or more, or the offsets do not fit the ids.
    """
    width, native = table.shape[1], load_core()
    ids, offsets = np.ascontiguousarray(ids, np.int32), np.ascontiguousarray(offsets, np.int64)
    if native is None:
        if ids.max(initial=-1) >= len(table) or (np.diff(offsets, prepend=0, append=len(ids)) < 0).any():
            raise ValueError("expected ids of the table and offsets of the ids, found some out of bounds")
        blank = np.concatenate([table, np.zeros((1, width), np.float32)])  # ids below 0 are its last row
        places = np.maximum(ids, -1)
        return segment_sums(offsets, width, lambda first, last: blank[places[first:last]])[0]
    sums = np.zeros((len(offsets) - 1, width))
    native.sum_rows(ids, offsets, np.ascontiguousarray(table, np.float32), width, sums)
    return sums
