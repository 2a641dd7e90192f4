"""How much memory a piece of work takes: of the process on Linux, of the GPU on CUDA."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from token2wave.process_memory import STATUS, kilobytes, resident_memory

CLEAR = Path("/proc/self/clear_refs")
MACHINE = Path("/proc/meminfo")
FORGET_PEAK = "5"  # what the kernel wants to read there, proc(5)


class MemoryUse(NamedTuple):
    """Memory in bytes; None where the system does not tell.

    Attributes:
        before: held when the work began.
        peak: the most that was held while it went on.
    """

    before: int | None
    peak: int | None

    @property
    def added(self) -> int | None:
        """What the work took beyond what was held already."""
        return None if self.before is None or self.peak is None else max(0, self.peak - self.before)


def peak_memory_of(work: Callable[[], object], device: str = "cpu") -> MemoryUse:
    """Do a piece of work, and tell the most memory that was held meanwhile.

    On Linux that is the resident set of the whole process, which includes what libraries allocate once: give
    it a warm-up first, in a process that has done nothing else. Where the kernel does not let its high-water
    mark be lowered, an earlier peak may hide the work's own. On CUDA it is what torch's tensors take.

    Args:
        work: called once.
        device: ``cpu`` or ``cuda``.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        allocated = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return MemoryUse(allocated, torch.cuda.max_memory_allocated())
    give_back_freed()
    forget_peak()
    before = resident_memory()
    work()
    return MemoryUse(before, kilobytes(STATUS, "VmHWM"))


def held_memory(device: str) -> int | None:
    """Memory held now: by this process, or on CUDA by torch's tensors; None where it is not told."""
    return torch.cuda.memory_allocated() if device == "cuda" else resident_memory()


def forget_peak() -> None:
    """Lower the high-water mark to what is held now, where the system allows it."""
    if STATUS.exists():
        try:
            CLEAR.write_text(FORGET_PEAK)
        except OSError:
            return


def give_back_freed() -> None:
    """Give memory that was freed back to the system, so that it does not count as held."""
    gc.collect()
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is not None and hasattr(library, "malloc_trim"):  # glibc's
        library.malloc_trim(0)


def limit_memory(share: float = 0.9) -> None:
    """Let this process be refused memory before the machine runs out of it; does nothing outside Linux.

    Args:
        share: of the memory that is available now which this process may take in addition.
    """
    held, available = kilobytes(STATUS, "VmSize"), kilobytes(MACHINE, "MemAvailable")
    if held is None or available is None:
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = held + int(share * available)
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))
