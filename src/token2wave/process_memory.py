"""How much memory this process holds, as the operating system counts it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def resident_memory() -> int | None:
    """Memory held now, in bytes; None where the system does not tell."""
    return kilobytes(STATUS, "VmRSS")


def peak_memory() -> int | None:
    """Most memory held so far, in bytes; None where the system does not tell.

    On Linux that of the program alone: ``ru_maxrss`` begins with what the process that started it held.
    """
    return kilobytes(STATUS, "VmHWM") or _most_of("RUSAGE_SELF")


def children_peak_memory() -> int:
    """Most memory that one of this process's own finished children held, in bytes; 0 without any."""
    return _most_of("RUSAGE_CHILDREN") or 0


def kilobytes(file: Path, key: str) -> int | None:
    """An entry in kB of one of the kernel's files, in bytes; None where there is no such file or entry."""
    try:
        found = re.search(rf"^{key}:\s*(\d+) kB$", file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _most_of(whom: str) -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(getattr(resource, whom)).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
