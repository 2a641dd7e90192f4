"""Peak memory of a piece of work, and calls in a fresh process whose memory nothing else has touched."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

from token2wave.errors import Token2WaveError
from token2wave.process_memory import STATUS, read_kilobytes, resident_memory

CLEAR_REFS = Path("/proc/self/clear_refs")
MEMINFO = Path("/proc/meminfo")
RESET_PEAK = "5"  # proc(5): resets the high-water mark
Value = TypeVar("Value")


class FreshProcessError(Token2WaveError):
    """A process without a result: it failed, or the system ended it."""


class MemoryUse(NamedTuple):
    """Bytes held before the work and at its peak; None where the system reports none."""

    initial: int | None
    peak: int | None

    @property
    def added(self) -> int | None:
        """Bytes of the peak beyond those held before."""
        return None if self.initial is None or self.peak is None else max(0, self.peak - self.initial)


def measure_peak(work: Callable[[], object], device: str = "cpu") -> MemoryUse:
    """Do a piece of work and measure the peak of memory.

    On Linux that is the resident set of the process, with what libraries allocate once: warm up before, in a
    process that has done nothing else. Where the kernel does not reset its high-water mark, an earlier peak
    may hide this one. On CUDA it is the memory of torch's tensors.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        allocated = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return MemoryUse(allocated, torch.cuda.max_memory_allocated())
    release_freed()
    if STATUS.exists():
        with suppress(OSError):  # some containers forbid it
            CLEAR_REFS.write_text(RESET_PEAK)
    initial = resident_memory()
    work()
    return MemoryUse(initial, read_kilobytes(STATUS, "VmHWM"))


def current_memory(device: str) -> int | None:
    """Bytes held now: by this process, or on CUDA by torch's tensors."""
    return torch.cuda.memory_allocated() if device == "cuda" else resident_memory()


def release_freed() -> None:
    """Return freed memory to the system, so that it does not count as held."""
    gc.collect()
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is not None and hasattr(library, "malloc_trim"):  # glibc's
        library.malloc_trim(0)


def limit_memory(fraction: float = 0.9) -> None:
    """Limit this process to a fraction of the available memory, so that it fails before the machine runs out.

    Does nothing outside Linux.
    """
    size, available = read_kilobytes(STATUS, "VmSize"), read_kilobytes(MEMINFO, "MemAvailable")
    if size is None or available is None:
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = size + int(fraction * available)
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard < 0 else min(limit, hard), hard))


def call_in_fresh_process(
    function: Callable[..., Value], *arguments: object, environment: Mapping[str, str] | None = None
) -> Value:
    """Call a function of a module in a new Python process and return its result.

    Args:
        function: of a module; arguments and result travel by pickle.
        arguments: of the function.
        environment: variables of that process beside those of this one.

    Raises:
        FreshProcessError: the function failed, or the process was ended, e.g. out of memory.
    """
    location = f"{function.__module__}.{function.__name__}"
    original = dict(os.environ)
    os.environ.update(environment or {})
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(function, *arguments).result()
    except BrokenProcessPool as error:
        raise FreshProcessError(
            "the system ended the process, e.g. out of memory", location=location
        ) from error
    except Exception as error:
        raise FreshProcessError(
            f"the process failed: {type(error).__name__}: {error}", location=location
        ) from error
    finally:
        os.environ.clear()
        os.environ.update(original)
