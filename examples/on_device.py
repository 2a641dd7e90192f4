"""On a device: train, learn one person's rows, and predict, within 256 MB of memory on one slow core.

    python examples/on_device.py [--quick] [--data NAME] [--memory MB] [--speed SHARE]

Each step is a process under limits that the system enforces: its memory (``RLIMIT_DATA``), one processor, and
a quarter of that processor's time. Its peak resident memory, code included, must stay below the same limit.
No deep-learning framework is needed. With ``TOKEN2WAVE_DATA`` set it reads ``ag_news`` there, otherwise the
built-in corpus.
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
N_PERSONAL_ROWS = 300
"""Rows of one person, which the device learns after training."""
PERIOD = 0.04
"""Seconds in which the process runs for its share of the time, and is stopped for the rest."""
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
ENVIRONMENT |= {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}
"""One thread, and freed memory goes back to the system."""
SETTINGS = {"features.min_count": 2, "network.width": 16}
"""Words that occur once cost a row each and say least; rows of half the width say nearly as much."""


def write_rows(path: Path, texts: list[str], labels: list[str]) -> None:
    """Write rows as CSV, which needs no further package to read."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *zip(texts, labels, strict=True)])


def step(name: str, epochs: int | None) -> dict[str, float]:
    """Run one step on the device, and measure it."""
    start, figures = time.process_time(), {}
    if name == "train":
        token2wave.train(
            FOLDER / "train.csv",
            preset="fast",
            settings=SETTINGS,
            epochs=epochs,
            out=MODEL,
            baseline=False,
            prior=False,
        )
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
        memory: limit in bytes.
        speed: share of one processor's time, up to 1.
    """

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 20))
        os.nice(10)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    start = time.perf_counter()
    environment = {**os.environ, **ENVIRONMENT}
    command = [sys.executable, __file__, *arguments]
    with subprocess.Popen(command, env=environment, preexec_fn=limit, stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            time.sleep(PERIOD * speed)
            if speed < 1:
                process.send_signal(signal.SIGSTOP)
                time.sleep(PERIOD * (1 - speed))
                process.send_signal(signal.SIGCONT)
        output = process.stdout.read()
    if process.returncode:
        sys.exit(f"{arguments[1]} needs more than {memory / 1e6:.0f} MB")
    figures = json.loads(output)
    if figures["peak_bytes"] > memory:
        sys.exit(f"{arguments[1]} used {figures['peak_bytes'] / 1e6:.0f} MB")
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
    every = len(texts) // N_PERSONAL_ROWS
    FOLDER.mkdir(parents=True, exist_ok=True)
    others = [i for i in range(len(texts)) if i % every]
    write_rows(FOLDER / "train.csv", [texts[i] for i in others], [labels[i] for i in others])
    write_rows(FOLDER / "mine.csv", texts[::every][:N_PERSONAL_ROWS], labels[::every][:N_PERSONAL_ROWS])
    write_rows(FOLDER / "test.csv", data.test.texts, data.test.labels)
    steps = {}
    for name in STEPS:
        arguments = ["--step", name, *(["--quick"] if options.quick else [])]
        steps[name] = limited(arguments, int(options.memory * 1e6), 1.0 if options.quick else options.speed)
    if options.json:
        limits = {"memory_bytes": int(options.memory * 1e6), "speed": options.speed}
        print(
            json.dumps(
                {"data": data.name, "rows": len(others), "mine": N_PERSONAL_ROWS, **limits, "steps": steps}
            )
        )
        return
    print(
        f"{data.name}: {len(others):,} rows, then {N_PERSONAL_ROWS} of one person, in {options.memory:.0f} MB"
    )
    for name, figures in steps.items():
        print(f"{name:8} {figures['seconds']:7.1f} s  peak {figures['peak_bytes'] / 1e6:.0f} MB")
    predicting = steps["predict"]
    print(f"test accuracy {predicting['accuracy_of_model']:.1%}, then {predicting['accuracy_of_mine']:.1%}")
    seconds = predicting["computing_seconds"] / predicting["texts"] / 2
    print(f"{1000 * seconds:.2f} ms of computing for each text")


if __name__ == "__main__":
    main()
