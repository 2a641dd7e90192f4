"""Metrics of the service, in the text format of Prometheus."""

from __future__ import annotations

import os
from functools import cache, partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from token2wave.process_memory import resident_memory

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # the folder in which several processes count together
BYTES_PER_PROCESS = 4 << 20  # in that folder: three files, and a margin
SECONDS_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
TEXTS_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)


class ServiceMetrics:
    """Metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        counter, histogram = partial(Counter, registry=registry), partial(Histogram, registry=registry)
        gauge = partial(Gauge, registry=registry, multiprocess_mode="livesum")
        requests = counter("token2wave_requests", "Requests answered.", ["route", "status"])
        description = "Time from the headers of a request to its response."
        seconds = histogram("token2wave_request_seconds", description, ["route"], buckets=SECONDS_BUCKETS)
        rejected = counter("token2wave_rejected", "Requests and connections refused.", ["reason"])
        self.request_counter = cache(requests.labels)
        self.request_seconds = cache(seconds.labels)
        self.rejected = cache(rejected.labels)
        self.texts = counter("token2wave_texts", "Texts classified.")
        self.batch_texts = histogram("token2wave_batch_texts", "Texts in a batch.", buckets=TEXTS_BUCKETS)
        self.queued = gauge(
            "token2wave_queued_characters", "Work that waits or is computed, in characters to predict."
        )
        self.held = gauge("token2wave_held_bytes", "Bytes of unanswered requests and unread responses.")
        self.connections = gauge("token2wave_connections", "Open connections.")
        self._memory = gauge("token2wave_resident_memory_bytes", "Resident memory of the service.")
        self._memory.set(resident_memory() or 0)
        if FOLDER_VARIABLE in os.environ:
            _allocate_files(Path(os.environ[FOLDER_VARIABLE]))

    def text(self) -> bytes:
        """All metrics, summed over all processes of the service."""
        self._memory.set(resident_memory() or 0)
        if FOLDER_VARIABLE not in os.environ:
            return generate_latest(self._registry)
        remove_dead_processes(Path(os.environ[FOLDER_VARIABLE]))
        all_processes = CollectorRegistry()
        MultiProcessCollector(all_processes)  # type: ignore[no-untyped-call]
        return generate_latest(all_processes)


def _allocate_files(folder: Path) -> None:
    """Allocate the disk space of this process's counters, which are memory-mapped files.

    If the disk were full later, the system would kill the process.

    Raises:
        OSError: the disk is full.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    for path in folder.glob(f"*_{os.getpid()}.db"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def remove_dead_processes(folder: Path) -> None:
    """Remove the gauges of processes that were killed."""
    for path in folder.glob("gauge_live*.db"):
        process = int(path.stem.rpartition("_")[2])
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            mark_process_dead(process, str(folder))  # type: ignore[no-untyped-call]
