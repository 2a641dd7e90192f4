"""The native core, in C: hashes features, and trains and runs additive networks.

It is built with the package if there is a C compiler. Without it, or with ``TOKEN2WAVE_NATIVE=0`` in the
environment, numpy computes features and predictions, with the same results, and torch trains, with other
random numbers.
"""

from __future__ import annotations

import os
from types import ModuleType

try:
    from token2wave.core import _core
except ImportError:  # no compiler when the package was built
    _core = None  # type: ignore[assignment]


MAX_THREADS = 64


def load_core() -> ModuleType | None:
    """Return the extension module; None if it was not built, or the environment forbids it."""
    return None if os.environ.get("TOKEN2WAVE_NATIVE") == "0" else _core


def n_threads() -> int:
    """Return how many threads to use: ``OMP_NUM_THREADS`` if set, else the processors of this process."""
    setting = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # "4,2": outer, inner loops
    if setting.isascii() and setting.isdecimal() and int(setting) > 0:
        return min(int(setting), MAX_THREADS)
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return min(max(1, len(allowed)), MAX_THREADS)
