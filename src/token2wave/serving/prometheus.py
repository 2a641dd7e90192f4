"""Metrics of the service, in the text format of Prometheus."""

from __future__ import annotations

import math
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.parser import text_string_to_metric_families

from token2wave.errors import Token2WaveError
from token2wave.formatting import printable
from token2wave.inference.drift_sums import BOUNDS, DriftSums, measure_features
from token2wave.process_memory import resident_memory

if TYPE_CHECKING:
    from token2wave.classifier import Classifier

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # the folder in which several processes count together
BYTES_PER_PROCESS = 4 << 20  # in that folder: three files, and a margin
SECONDS_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0)
TEXTS_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)
MAX_LABELS = 100  # that are counted by name; the others are counted together
OTHER = "(other)"
MAX_BUSY = 0.01  # fraction of a processor's time that counting the features of texts may take
MAX_CREDIT = 0.1  # seconds of it that a quiet time saves up
MAX_MEASURED, MAX_LENGTH = 8, 1 << 14  # texts, and their characters
HISTOGRAMS = {
    "confidence": "Probability that a prediction is right.",
    "novelty": "Fraction of validation texts that are less unlike the training texts; of a sample.",
    "unknown": "Fraction of the words and n-grams of a text that the model does not know; of a sample.",
    "words": "Words of a text; of a sample.",
}


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
        model = ["model", "checksum"]
        description = "Texts by predicted label; a text of several counts for each."
        self._labels = counter("token2wave_predicted_labels", description, [*model, "label"])
        description = "Texts of which the model knows nothing."
        self._unknown_texts = counter("token2wave_unknown_texts", description, model)
        description = "Words and n-grams of a sample of texts."
        self._features = counter("token2wave_features", description, [*model, "known"])
        self._histograms = {
            name: histogram(f"token2wave_{name}", description, model, buckets=BOUNDS[name])
            for name, description in HISTOGRAMS.items()
        }
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

    def forget(self, model: str) -> None:
        """Remove the counters of an earlier model of that name; several processes keep them."""
        if FOLDER_VARIABLE not in os.environ:
            for family in (self._labels, self._unknown_texts, self._features, *self._histograms.values()):
                family.remove_by_labels({"model": model})

    def text(self) -> bytes:
        """All metrics, summed over all processes of the service."""
        self._memory.set(resident_memory() or 0)
        if FOLDER_VARIABLE not in os.environ:
            return generate_latest(self._registry)
        remove_dead_processes(Path(os.environ[FOLDER_VARIABLE]))
        all_processes = CollectorRegistry()
        MultiProcessCollector(all_processes)  # type: ignore[no-untyped-call]
        return generate_latest(all_processes)


class ModelMetrics:
    """Counters of the predictions of one model.

    Labels and confidence are counted for all texts. Novelty, unknown words and lengths take longer, so they
    are counted for as many as :data:`MAX_BUSY` allows: all, as long as there are few.
    """

    def __init__(self, metrics: ServiceMetrics, classifier: Classifier, name: str) -> None:
        self.classifier = classifier
        values = printable(name), f"{classifier.fingerprint:08x}"
        metrics.forget(values[0])
        names = [printable(label) for label in classifier.label_names]
        if len(names) > MAX_LABELS:
            names = [*names[: MAX_LABELS - 1], *[OTHER] * (len(names) - MAX_LABELS + 1)]
        counters = {label: metrics._labels.labels(*values, label) for label in names}
        self._labels = [counters[label] for label in names]
        self._unknown_texts = metrics._unknown_texts.labels(*values)
        self._features = [metrics._features.labels(*values, known) for known in ("true", "false")]
        self._histograms = {name: family.labels(*values) for name, family in metrics._histograms.items()}
        self._credit, self._time = MAX_CREDIT, time.perf_counter()

    def count(
        self, texts: Sequence[str], probabilities: Sequence[Sequence[float]], known: Sequence[bool]
    ) -> None:
        """Count the predictions of texts."""
        observe, thresholds = self._histograms["confidence"].observe, self.classifier.thresholds
        for row in probabilities:
            if thresholds:
                decisions = [p >= threshold for p, threshold in zip(row, thresholds, strict=True)]
                for i, is_label in enumerate(decisions):
                    if is_label:
                        self._labels[i].inc()
                observe(math.prod(p if yes else 1 - p for p, yes in zip(row, decisions, strict=True)))
            else:
                best = row.index(max(row))
                if self.classifier.scale is not None:
                    best = int(self.classifier.decide(np.array([row]))[0])
                self._labels[best].inc()
                observe(row[best])
        if not all(known):
            self._unknown_texts.inc(known.count(False))
        now = time.perf_counter()
        self._credit = min(self._credit + MAX_BUSY * (now - self._time), MAX_CREDIT)
        self._time = now
        if self._credit > 0:
            step = max(len(texts) // MAX_MEASURED, 1)
            with suppress(Token2WaveError):  # weights that overflow for one of them; predictions are fine
                self._measure([text for text in texts[::step][:MAX_MEASURED] if len(text) <= MAX_LENGTH])
            self._credit -= time.perf_counter() - now

    def _measure(self, texts: list[str]) -> None:
        """Count the features of texts."""
        model = self.classifier
        features, n_unknown = model.features.with_unknown(texts)
        measures = measure_features(model, features, n_unknown, model.network.logits(features))
        n_unknown_features = int(measures["unknown_features"].sum())
        self._features[0].inc(int(measures["features"].sum()) - n_unknown_features)
        self._features[1].inc(n_unknown_features)
        for name, histogram in self._histograms.items():
            for value in measures[name].tolist() if name in measures else ():
                histogram.observe(value)


def read_drift_sums(metrics: str, classifier: Classifier) -> DriftSums:
    """Read what ``/metrics`` counts of a classifier's predictions.

    The sums of a later page less those of an earlier one are of the texts between the two.
    """
    n_labels = len(classifier.label_names)
    names = [printable(label) for label in classifier.label_names]
    if n_labels > MAX_LABELS:
        names = [*names[: MAX_LABELS - 1], OTHER]
    values: defaultdict[tuple[str, str], float] = defaultdict(float)
    checksum = f"{classifier.fingerprint:08x}"
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            labels = sample.labels
            if labels.get("checksum") == checksum:
                detail = labels.get("label") or labels.get("known") or labels.get("le") or ""
                values[sample.name.removeprefix("token2wave_"), detail] += sample.value
    histograms = {}
    for name, bounds in BOUNDS.items():
        totals = [int(values[f"{name}_bucket", _le(bound)]) for bound in (*bounds, math.inf)]
        histograms[name] = tuple(b - a for a, b in zip((0, *totals), totals, strict=False))
    unknown = int(values["features_total", "false"])
    return DriftSums(
        rows=sum(histograms["confidence"]),
        labels=tuple(int(values["predicted_labels_total", name]) for name in names),
        confidence_sum=values["confidence_sum", ""],
        features=int(values["features_total", "true"]) + unknown,
        unknown_features=unknown,
        **histograms,
    )


def _le(bound: float) -> str:
    """A bound of a histogram as Prometheus writes it."""
    return "+Inf" if bound == math.inf else repr(float(bound))


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
