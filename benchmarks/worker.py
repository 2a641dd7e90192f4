"""One run of one system on one data set, in a process of its own; ``benchmarks/compare.py`` starts it."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from systems import System, Task

Value = TypeVar("Value")


class Loaded(NamedTuple):
    """A data set in memory."""

    texts: list[str]
    labels: NDArray[np.int64]
    test_texts: list[str]
    test_labels: NDArray[np.int64]
    label_names: tuple[str, ...]
    facts: dict[str, Any]


def main() -> None:
    """Measure, and write the figures or the reason of the failure to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--system", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        result = run(arguments.system, arguments.data, arguments.seed, arguments.threads, arguments.rows)
    except Exception as error:  # whatever a system raises is its result
        result = {"error": _one_line(error)}
    arguments.out.write_text(json.dumps(result), encoding="utf-8")


def run(name: str, data: str, seed: int, threads: int, rows: int | None) -> dict[str, Any]:
    """All figures of one run. Nothing but the standard library must be imported before it."""
    start = time.perf_counter()
    from systems import Task, load_system

    system = load_system(name)
    import_seconds = time.perf_counter() - start
    loaded = _load(data, rows)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        files, saved = Path(folder, "files"), Path(folder, "model")
        files.mkdir()
        saved.mkdir()
        task = Task(loaded.texts, loaded.labels, loaded.label_names, seed, threads, files)
        figures, model, notes = _train(system, task)
        predicted, seconds = _timed(lambda: system.predict(model, loaded.test_texts))
        figures["accuracy"] = float((predicted == loaded.test_labels).mean())
        figures["predict_texts_per_second"] = len(loaded.test_texts) / seconds
        figures["peak_memory_bytes"] = _peak()
        figures["model_bytes"] = system.save(model, saved).stat().st_size
    spent = figures["preparation_seconds"] + figures["train_seconds"]
    return {
        "system": {key: getattr(system, key) for key in ("name", "family", "description", "bias")},
        "data": loaded.facts,
        "figures": {"import_seconds": import_seconds, **figures, "total_seconds": import_seconds + spent},
        "notes": notes,
    }


def _load(data: str, rows: int | None) -> Loaded:
    """Training and test texts with their classes, and what is to be said of them."""
    import numpy as np

    from token2wave.data import encode_labels, label_names_of, load_splits

    splits = load_splits(data)
    if splits.test is None:
        raise ValueError(f"{data} has no test set")
    names = label_names_of(splits.train, splits.label_names)
    caveats = list(splits.caveats)
    parts: list[Any] = []
    for part, what in ((splits.train, "training"), (splits.test, "test")):
        chosen = np.arange(len(part))
        if rows is not None and rows < len(part):
            chosen = np.sort(np.random.default_rng(0).permutation(len(part))[:rows])
            caveats.append(f"{splits.name}: {rows:,} of {len(part):,} {what} rows, chosen at random")
        parts += [[part.texts[row] for row in chosen], encode_labels(part, names)[chosen]]
    facts = {
        "train_rows": len(parts[0]),
        "test_rows": len(parts[2]),
        "classes": len(names),
        "characters_per_text": sum(map(len, parts[0])) / len(parts[0]),
        "caveats": caveats,
    }
    return Loaded(parts[0], parts[1], parts[2], parts[3], names, facts)


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
    notes = {_one_line(warning.message) for warning in caught if issubclass(warning.category, UserWarning)}
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


def _one_line(error: BaseException | str) -> str:
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]


if __name__ == "__main__":
    main()
