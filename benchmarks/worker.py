"""One run of one system on one data set, in a process of its own; ``benchmarks/compare.py`` starts it."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from jobs import Answer, Job, one_line, worker_main

if TYPE_CHECKING:
    from systems import System, Task

Value = TypeVar("Value")


def run(job: Job) -> Answer:
    """All figures of one run. Nothing but the standard library must be imported before it."""
    start = time.perf_counter()
    from systems import Task, load_system

    system = load_system(job["system"])
    import_seconds = time.perf_counter() - start
    from measuring import pack_bits

    splits, facts = _load(job["data"], job["rows"])
    (texts, labels), (test_texts, test_labels), names = splits
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        files, saved = Path(folder, "files"), Path(folder, "model")
        files.mkdir()
        saved.mkdir()
        task = Task(texts, labels, names, job["seed"], job["threads"], files)
        figures, model, notes = _train(system, task)
        predicted, seconds = _timed(lambda: system.predict(model, test_texts))
        correct = predicted == test_labels
        figures["accuracy"] = float(correct.mean())
        figures["predict_texts_per_second"] = len(test_texts) / seconds
        figures["peak_memory_bytes"] = _peak()
        figures["calibration_error"] = system.calibration_error(model, test_texts, test_labels)
        figures["model_bytes"] = system.save(model, saved).stat().st_size
    spent = figures["preparation_seconds"] + figures["train_seconds"]
    return {
        "system": {key: getattr(system, key) for key in ("name", "family", "description", "bias")},
        "data": facts,
        "figures": {"import_seconds": import_seconds, **figures, "total_seconds": import_seconds + spent},
        "notes": notes,
        "correct": pack_bits(correct),
    }


def _load(data: str, rows: int | None) -> tuple[Any, dict[str, Any]]:
    """Training and test texts with their classes, the names of the classes; and facts of the data."""
    import numpy as np

    from token2wave.data import encode_labels, label_names_of, load_splits

    dataset = load_splits(data)
    if dataset.test is None:
        raise ValueError(f"{data} has no test set")
    names, caveats = label_names_of(dataset.train, dataset.label_names), list(dataset.caveats)
    splits = []
    for split, what in ((dataset.train, "training"), (dataset.test, "test")):
        chosen = np.arange(len(split))
        if rows is not None and rows < len(split):
            chosen = np.sort(np.random.default_rng(0).permutation(len(split))[:rows])
            caveats.append(f"{dataset.name}: {rows:,} of {len(split):,} {what} rows, chosen at random")
        splits.append(([split.texts[row] for row in chosen], encode_labels(split, names)[chosen]))
    texts = splits[0][0]
    facts = {
        "train_rows": len(texts),
        "test_rows": len(splits[1][0]),
        "classes": len(names),
        "characters_per_text": sum(map(len, texts)) / len(texts),
        "caveats": caveats,
    }
    return (*splits, names), facts


def _train(system: System, task: Task) -> tuple[dict[str, Any], Any, list[str]]:
    """Prepare and fit; figures, model, and the warnings that came."""
    from token2wave.process_memory import resident_memory

    loaded, processor_before = resident_memory(), time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        _, preparation_seconds = _timed(lambda: system.prepare(task))
        model, train_seconds = _timed(lambda: system.fit(task))
    processor_seconds = time.process_time() - processor_before
    # Such as that a classifier did not converge.
    notes = {
        one_line(f"{type(warning.message).__name__}: {warning.message}")
        for warning in caught
        if issubclass(warning.category, UserWarning)
    }
    passes = system.passes(model, task)
    rows = len(task.texts)
    figures = {
        "preparation_seconds": preparation_seconds,
        "train_seconds": train_seconds,
        # Of all threads, files included: tells a busy machine from a slow system.
        "processor_seconds": processor_seconds,
        "texts_per_second": rows / train_seconds,
        "passes": passes,
        "passed_texts_per_second": None if passes is None else rows * passes / train_seconds,
        "loaded_memory_bytes": loaded,
        "train_peak_memory_bytes": _peak(),
    }
    return figures, model, sorted(notes)


def _timed(action: Callable[[], Value]) -> tuple[Value, float]:
    start = time.perf_counter()
    result = action()
    return result, time.perf_counter() - start


def _peak() -> int | None:
    """Most memory so far: of this process or, if that is more, of one that a system started."""
    from token2wave.process_memory import children_peak_memory, peak_memory

    own = peak_memory()
    return None if own is None else max(own, children_peak_memory())


if __name__ == "__main__":
    worker_main({"run": run})
