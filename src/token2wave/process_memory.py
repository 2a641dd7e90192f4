"""Measures how much memory this process holds, as the operating system counts it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def resident_memory() -> int | None:
    """Return the memory held now, in bytes; None where the system does not tell."""
    return read_kilobytes(STATUS, "VmRSS")


def peak_memory() -> int | None:
    """Return the most memory held so far, in bytes; None where the system does not tell.

    On Linux this is the program alone: ``ru_maxrss`` starts with the memory of the process that started it.
    """
    return read_kilobytes(STATUS, "VmHWM") or _max_resident("RUSAGE_SELF")


def children_peak_memory() -> int:
    """Return the most memory that one of this process's finished children held, in bytes; 0 without any."""
    return _max_resident("RUSAGE_CHILDREN") or 0


def read_kilobytes(file: Path, key: str) -> int | None:
    """Read an entry in kB of one of the kernel's files, in bytes; None if there is no such file or entry."""
    try:
        match = re.search(rf"^{key}:\s*(\d+) kB$", file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) * 1024 if match else None


def _max_resident(whose: str) -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(getattr(resource, whose)).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
