"""What a service counts, in the text format of Prometheus."""

from __future__ import annotations

import os
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from token2wave.process_memory import resident_memory

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # folder in which several processes count together
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

    def measure_memory(self) -> None:
        """Ask the system how much memory this process holds."""
        self._memory.set(resident_memory() or 0)

    def text(self) -> bytes:
        """All figures; those of all processes together, where several serve."""
        self.measure_memory()
        if SHARED not in os.environ:
            return generate_latest(self._registry)
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
        return generate_latest(everyone)


def _gauge(name: str, meaning: str, registry: CollectorRegistry) -> Gauge:
    return Gauge(name, meaning, registry=registry, multiprocess_mode="livesum")
