"""Flat arrays that grow chunk by chunk: in memory while small, in a mapped file when large."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

BYTES_IN_MEMORY = 1 << 30


class GrowableArray:
    """Collects arrays, and joins them.

    Beyond :data:`BYTES_IN_MEMORY` they go to a nameless temporary file, which the system reads as needed and
    deletes with the last array that maps it.
    """

    def __init__(self, dtype: DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self.chunks: list[NDArray[Any]] = []
        self.n_items = 0
        self.file: Any = None

    def append(self, chunk: NDArray[Any]) -> None:
        """Add an array ``(n,)`` at the end."""
        self.chunks.append(np.ascontiguousarray(chunk, dtype=self.dtype))
        self.n_items += len(chunk)
        if self.file is None and self.n_items * self.dtype.itemsize > BYTES_IN_MEMORY:
            import tempfile  # here, because few need it

            self.file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the arrays
        if self.file is not None:
            for waiting in self.chunks:
                waiting.tofile(self.file)
            self.chunks = []

    def whole(self) -> NDArray[Any]:
        """Join all chunks; nothing may be added afterwards."""
        if self.file is not None:
            with self.file:  # the map outlives it
                self.file.flush()
                return np.memmap(self.file, dtype=self.dtype, mode="r", shape=(self.n_items,))
        chunks, self.chunks = self.chunks, []
        return np.concatenate(chunks) if chunks else np.zeros(0, dtype=self.dtype)
