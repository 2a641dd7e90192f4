"""Memory of a training run on a processor: kept between steps, in large pages."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

LARGE = 1 << 22  # bytes; below, a table lies in the caches anyway
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # of glibc's mallopt(3)
# What it would have come to by itself, since setting anything by hand ends its own adjustments.
USUAL = {MMAP_MAX: 65_536, MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20}


@contextmanager
def memory_kept() -> Iterator[None]:
    """Let the process keep the memory that steps free, so that the next step need not ask for it again.

    glibc gives every large block back at once, and the system clears each page before it hands it out anew:
    at 16,000 tokens that took longer than the arithmetic. In the end all of it is given back. Does nothing
    where the C library is another.
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
        for option, value in USUAL.items():
            library.mallopt(option, value)
        library.malloc_trim(0)


def in_large_pages(tensor: Tensor) -> Tensor:
    """Copy a tensor to memory in pages of 2 MB, if it is on a processor and large; else give it back.

    A step reads rows that lie anywhere in a table. With pages of 4 kB nearly every one of them costs a search
    for its page as well, and the more so the larger the table. numpy asks the system for large pages.
    """
    if tensor.device.type != "cpu" or tensor.nbytes < LARGE:
        return tensor
    copy = zeros_like(tensor)
    return copy.copy_(tensor)


def zeros_like(tensor: Tensor) -> Tensor:
    """Zeros of a tensor's shape and dtype, where :func:`in_large_pages` would put it."""
    if tensor.device.type != "cpu" or tensor.nbytes < LARGE:
        return torch.zeros_like(tensor, memory_format=torch.preserve_format)
    flat = torch.from_numpy(np.zeros(tensor.nbytes, dtype=np.uint8))
    return flat.view(tensor.dtype).view(tensor.shape)
