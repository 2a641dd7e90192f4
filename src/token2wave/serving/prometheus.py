"""What a service counts, in the text format of Prometheus."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from token2wave.process_memory import resident_memory

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # folder in which several processes count together
SHARED_BYTES = 4 << 20  # that each of them needs there: three files, and something for the folder
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)


class Metrics:
    """Counters of one service, in a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        requests = Counter(
            "token2wave_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        seconds = Histogram(
            "token2wave_request_seconds",
            "From a request's headers to its answer.",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        rejected = Counter(
            "token2wave_rejected",
            "Requests and connections that limits refused, by the limit.",
            ["reason"],
            registry=registry,
        )
        self.request_counter = cache(requests.labels)
        self.request_seconds = cache(seconds.labels)
        self.rejected = cache(rejected.labels)
        self.texts = Counter("token2wave_texts", "Texts classified.", registry=registry)
        self.batch_texts = Histogram(
            "token2wave_batch_texts", "Texts computed together.", buckets=SIZES, registry=registry
        )
        self.queued = _gauge("token2wave_queued_characters", "Characters of texts that wait.", registry)
        self.held = _gauge(
            "token2wave_held_bytes", "Bytes of unfinished bodies and unread answers.", registry
        )
        self.connections = _gauge("token2wave_connections", "Open connections.", registry)
        self._memory = _gauge("token2wave_resident_memory_bytes", "Memory that the service holds.", registry)
        self.measure_memory()
        if SHARED in os.environ:
            _reserve(Path(os.environ[SHARED]))

    def measure_memory(self) -> None:
        """Ask the system how much memory this process holds."""
        self._memory.set(resident_memory() or 0)

    def text(self) -> bytes:
        """All figures; those of all processes together, where several serve."""
        self.measure_memory()
        if SHARED not in os.environ:
            return generate_latest(self._registry)
        _forget_the_dead(Path(os.environ[SHARED]))
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
        return generate_latest(everyone)


def _reserve(folder: Path) -> None:
    """Take the room that counters need on the disk now.

    They are memory that the system writes to a file; where it finds no room for that
    later, it ends the process.

    Raises:
        OSError: the disk is full.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    for path in folder.glob(f"*_{os.getpid()}.db"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _forget_the_dead(folder: Path) -> None:
    """What processes that were killed held, they hold no longer."""
    for path in folder.glob("gauge_live*.db"):
        number = int(path.stem.rpartition("_")[2])
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            mark_process_dead(number, str(folder))  # type: ignore[no-untyped-call]


def _gauge(name: str, meaning: str, registry: CollectorRegistry) -> Gauge:
    return Gauge(name, meaning, registry=registry, multiprocess_mode="livesum")
