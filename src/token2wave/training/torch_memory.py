"""Keeps the memory of training on a CPU between steps, and in large pages."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

MIN_LARGE = 1 << 22  # bytes; a smaller table lies in the caches
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # of glibc's mallopt(3)
# Setting an option ends glibc's own adjustment of it; these are what it tends to.
DEFAULTS = {MMAP_MAX: 65_536, MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20}


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Keep the memory that a step frees for the next step.

    glibc returns every large block to the system, which clears each page before it hands it out again: at
    16,000 tokens that took longer than the arithmetic. The memory is returned at the end. Does nothing with
    another C library.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield
        return
    library.mallopt(MMAP_MAX, 0)
    library.mallopt(TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        for option, value in DEFAULTS.items():
            library.mallopt(option, value)
        library.malloc_trim(0)


def in_large_pages(tensor: Tensor) -> Tensor:
    """Copy a large tensor on a CPU to memory in pages of 2 MB; return any other unchanged.

    A step reads rows all over the table. With pages of 4 kB nearly every read misses the page cache (TLB).
    numpy asks the system for large pages.
    """
    if tensor.device.type != "cpu" or tensor.nbytes < MIN_LARGE:
        return tensor
    copy = zeros_like(tensor)
    return copy.copy_(tensor)


def zeros_like(tensor: Tensor) -> Tensor:
    """Zeros of a tensor's shape and dtype, where :func:`in_large_pages` would put it."""
    if tensor.device.type != "cpu" or tensor.nbytes < MIN_LARGE:
        return torch.zeros_like(tensor, memory_format=torch.preserve_format)
    flat = torch.from_numpy(np.zeros(tensor.nbytes, dtype=np.uint8))
    return flat.view(tensor.dtype).view(tensor.shape)
