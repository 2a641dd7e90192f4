"""Flat arrays that grow part by part: in memory while small, in a mapped file when large."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

BYTES_IN_MEMORY = 1 << 30


class GrowableArray:
    """Collects arrays one after the other, and gives them back as one.

    Beyond :data:`BYTES_IN_MEMORY` they go to a temporary file without a name, which the system reads as it is
    needed and deletes with the last array that looks into it.

    Args:
        dtype: of the arrays.
    """

    def __init__(self, dtype: DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self.parts: list[NDArray[Any]] = []
        self.bounds = [0]  # in items
        self.file: Any = None

    def append(self, part: NDArray[Any]) -> None:
        """Add an array ``(n,)`` at the end."""
        part = np.ascontiguousarray(part, dtype=self.dtype)
        self.bounds.append(self.bounds[-1] + len(part))
        if self.file is None and self.bounds[-1] * self.dtype.itemsize > BYTES_IN_MEMORY:
            import tempfile  # here, since few need it

            self.file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the arrays
            for earlier in self.parts:
                earlier.tofile(self.file)
            self.parts = []
        if self.file is None:
            self.parts.append(part)
        else:
            part.tofile(self.file)

    def whole(self) -> NDArray[Any]:
        """All parts as one array; nothing may be added afterwards."""
        if self.file is not None:
            with self.file:  # the map outlives it
                self.file.flush()
                return np.memmap(self.file, dtype=self.dtype, mode="r", shape=(self.bounds[-1],))
        parts, self.parts = self.parts, []
        return np.concatenate(parts) if parts else np.zeros(0, dtype=self.dtype)
