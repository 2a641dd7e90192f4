"""On a device: train, learn one person's rows, and predict, within 256 MB of memory on one slow core.

    python examples/on_device.py [--quick] [--data NAME] [--memory MB] [--speed SHARE]

Each step is a process of its own under limits that the system keeps to: no more memory of its own than that
(``RLIMIT_DATA``; what asks for more fails), one processor, and of that a quarter of the time. Its peak of
resident memory, the program's code included, must stay below the same number. Nothing needs a deep-learning
framework. With ``TOKEN2WAVE_DATA`` set it reads ``ag_news`` there, otherwise the corpus that is built in.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import token2wave
from token2wave.data import available, load_splits
from token2wave.process_memory import peak_memory

FOLDER = Path("build/examples/on-device")
MODEL = FOLDER / "model.safetensors"
STEPS = ("train", "update", "predict")
MINE = 300
"""Rows of one person, which the device learns on top of the model."""
TICK = 0.04
"""Seconds, of which the process may compute a share."""
FRUGAL = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
FRUGAL |= {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}
"""One thread, and what is freed goes back to the system."""
SMALL = {"features.min_count": 2, "network.width": 16}
"""Words that occur once cost a row each, and tell least; rows of half the width tell nearly as much."""


def write_rows(path: Path, texts: list[str], labels: list[str]) -> None:
    """Write rows as CSV, which is read without any further package."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *zip(texts, labels, strict=True)])


def step(name: str, epochs: int | None) -> dict[str, float]:
    """What the device does: one step, and what it took."""
    start, figures = time.process_time(), {}
    if name == "train":
        token2wave.train(FOLDER / "train.csv", preset="fast", settings=SMALL, epochs=epochs, out=MODEL)
    elif name == "update":
        classifier = token2wave.load(MODEL)
        token2wave.update(classifier, FOLDER / "mine.csv").save(FOLDER / "mine.safetensors")
    else:
        with (FOLDER / "test.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
        for model in ("model", "mine"):
            classifier = token2wave.load(FOLDER / f"{model}.safetensors")
            right = [classifier.predict(text).label == label for text, label in rows]
            figures[f"accuracy_of_{model}"] = sum(right) / len(right)
        figures["texts"] = len(rows)
    assert "torch" not in sys.modules
    return {"computing_seconds": time.process_time() - start, "peak_bytes": peak_memory(), **figures}


def limited(arguments: list[str], memory: int, speed: float) -> dict[str, float]:
    """Run a step under limits.

    Args:
        arguments: of this script.
        memory: bytes.
        speed: share of one processor's time.
    """

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 20))
        os.nice(10)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    start = time.perf_counter()
    environment = {**os.environ, **FRUGAL}
    command = [sys.executable, __file__, *arguments]
    with subprocess.Popen(command, env=environment, preexec_fn=limit, stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            time.sleep(TICK * speed)
            if speed < 1:
                process.send_signal(signal.SIGSTOP)
                time.sleep(TICK * (1 - speed))
                process.send_signal(signal.SIGCONT)
        said = process.stdout.read()
    if process.returncode:
        sys.exit(f"{arguments[1]} did not do with {memory / 1e6:.0f} MB")
    figures = json.loads(said)
    if figures["peak_bytes"] > memory:
        sys.exit(f"{arguments[1]} held {figures['peak_bytes'] / 1e6:.0f} MB")
    return {"seconds": time.perf_counter() - start, **figures}


def main() -> None:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="One epoch, at full speed.")
    parser.add_argument("--data", default="ag_news" if "ag_news" in available() else "debian-sections")
    parser.add_argument("--memory", type=float, default=256.0, help="MB.")
    parser.add_argument("--speed", type=float, default=0.25, help="Share of one processor's time.")
    parser.add_argument("--json", action="store_true", help="Print the figures as JSON.")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(step(options.step, epochs=1 if options.quick else None)))
        return

    data = load_splits(options.data)
    texts, labels = data.train.texts, data.train.labels
    every = len(texts) // MINE
    FOLDER.mkdir(parents=True, exist_ok=True)
    others = [i for i in range(len(texts)) if i % every]
    write_rows(FOLDER / "train.csv", [texts[i] for i in others], [labels[i] for i in others])
    write_rows(FOLDER / "mine.csv", texts[::every][:MINE], labels[::every][:MINE])
    write_rows(FOLDER / "test.csv", data.test.texts, data.test.labels)
    found = {}
    for name in STEPS:
        arguments = ["--step", name, *(["--quick"] if options.quick else [])]
        found[name] = limited(arguments, int(options.memory * 1e6), 1.0 if options.quick else options.speed)
    if options.json:
        limits = {"memory_bytes": int(options.memory * 1e6), "speed": options.speed}
        print(json.dumps({"data": data.name, "rows": len(others), "mine": MINE, **limits, "steps": found}))
        return
    print(f"{data.name}: {len(others):,} rows, then {MINE} of one person, within {options.memory:.0f} MB")
    for name, figures in found.items():
        print(f"{name:8} {figures['seconds']:7.1f} s  peak {figures['peak_bytes'] / 1e6:.0f} MB")
    predicting = found["predict"]
    print(f"test accuracy {predicting['accuracy_of_model']:.1%}, then {predicting['accuracy_of_mine']:.1%}")
    print(f"{1000 * predicting['computing_seconds'] / predicting['texts'] / 2:.2f} ms of computing a text")


if __name__ == "__main__":
    main()
