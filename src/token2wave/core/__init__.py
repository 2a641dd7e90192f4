"""The native core: hashing of features, and training and prediction of additive networks, in C.

It is built with the package where a C compiler is there. Without it, or with ``TOKEN2WAVE_NATIVE=0`` in the
environment, features and predictions go through numpy, with the same results, and training through torch,
which draws other random numbers.
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
    """Return the native core; None where there is none, or the environment forbids it."""
    return None if os.environ.get("TOKEN2WAVE_NATIVE") == "0" else _core


def n_threads() -> int:
    """Threads to compute with: ``OMP_NUM_THREADS`` where set, else the processors this process may use."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # "4,2": outer, inner loops
    if wanted.isascii() and wanted.isdecimal() and int(wanted) > 0:
        return min(int(wanted), MAX_THREADS)
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return min(max(1, len(allowed)), MAX_THREADS)
