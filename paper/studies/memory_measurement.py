"""Peak memory of a piece of work, and calls in a fresh process whose memory nothing else has touched."""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch

from token2wave.errors import Token2WaveError
from token2wave.process_memory import STATUS, kilobytes, resident_memory

CLEAR_REFS = Path("/proc/self/clear_refs")
MEMINFO = Path("/proc/meminfo")
RESET_PEAK = "5"  # proc(5): resets the high-water mark
Json = dict[str, Any]


class FreshProcessError(Token2WaveError):
    """A process without a result: it failed, or the system ended it."""


class MemoryUse(NamedTuple):
    """Bytes held before the work and at its peak; None where the system reports none."""

    before: int | None
    peak: int | None

    @property
    def added(self) -> int | None:
        """Bytes of the peak beyond those held before."""
        return None if self.before is None or self.peak is None else max(0, self.peak - self.before)


def measure_peak(work: Callable[[], object], device: str = "cpu") -> MemoryUse:
    """Do a piece of work and measure the peak of memory.

    On Linux that is the resident set of the process, with what libraries allocate once: warm up before, in a
    process that has done nothing else. Where the kernel does not reset its high-water mark, an earlier peak
    may hide this one. On CUDA it is the memory of torch's tensors.

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
    release_freed()
    if STATUS.exists():
        with suppress(OSError):  # some containers forbid it
            CLEAR_REFS.write_text(RESET_PEAK)
    before = resident_memory()
    work()
    return MemoryUse(before, kilobytes(STATUS, "VmHWM"))


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
    size, available = kilobytes(STATUS, "VmSize"), kilobytes(MEMINFO, "MemAvailable")
    if size is None or available is None:
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = size + int(fraction * available)
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard < 0 else min(limit, hard), hard))


def call_in_fresh_process(function: Callable[[Json], Json], argument: Json) -> Json:
    """Call a function in a new Python process and return its result.

    Args:
        function: of a module, found there by its name.
        argument: plain JSON data, as is the result.

    Raises:
        FreshProcessError: the function failed, or the process was ended, e.g. out of memory.
    """
    location = f"{function.__module__}.{function.__name__}"
    with tempfile.TemporaryDirectory(prefix="token2wave-") as folder:
        out = Path(folder, "result.json")
        process = subprocess.run(
            [sys.executable, "-m", __name__, function.__module__, function.__name__, str(out)],
            input=json.dumps(argument),
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode < 0:
            signal = -process.returncode
            raise FreshProcessError(
                f"the process was ended by signal {signal}, e.g. out of memory", location=location
            )
        if process.returncode or not out.is_file():
            last = (process.stderr.strip().splitlines() or ["it printed nothing"])[-1]
            raise FreshProcessError(f"the process failed: {last}", location=location)
        return dict(json.loads(out.read_text(encoding="utf-8")))


def main(arguments: list[str]) -> None:
    """Call the named function with the argument on standard input; write its result to a file."""
    module, name, out = arguments
    function: Callable[[Json], Json] = getattr(import_module(module), name)
    Path(out).write_text(json.dumps(function(json.load(sys.stdin))), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
