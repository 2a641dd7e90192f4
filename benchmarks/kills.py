"""Training that is killed at random moments, and gone on with: what is lost, seen by half, or left behind.

A run trains with a checkpoint, over a model that is there already. Its process group is killed (SIGKILL,
which nothing can catch) at a moment drawn from the time that a whole run takes, and started again, until it
was killed often enough and may end. All the while a reader opens the model file and the checkpoint: each time
it must find none, the one before or the one after, whole by its checksum.
"""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import token2wave
from token2wave.data import load_split
from token2wave.errors import Token2WaveError
from token2wave.training.checkpoint import read_checkpoint

SECONDS_BETWEEN_LOOKS = 0.01
LONGEST = 300  # seconds that a run which is not killed may take


@dataclass(frozen=True)
class Job:
    """Arguments of ``token2wave train``, and the number of training rows of the built-in corpus."""

    name: str
    arguments: tuple[str, ...]
    n_rows: int = 1_200


JOBS = (
    Job("small", ("--preset", "small", "--epochs", "6")),
    Job("fast", ("--preset", "fast", "--epochs", "12")),
    Job("paper", ("--preset", "paper", "--epochs", "3", "--set", "network.width=32"), n_rows=600),
)


@dataclass
class Tally:
    """What came of killed runs; ``same`` are those with the model of a run that was not killed."""

    kills: int = 0
    in_a_write: int = 0
    runs: int = 0
    same: int = 0
    looks: int = 0
    faults: list[str] = field(default_factory=list)


def write_rows(path: Path, n_rows: int) -> Path:
    """Write rows of the built-in corpus, evenly taken, as CSV."""
    rows = load_split("debian-sections", "train")
    step = max(1, len(rows) // n_rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(list(zip(rows.texts, rows.labels, strict=True))[::step][:n_rows])
    return path


def train_whole(job: Job, data: Path, out: Path) -> tuple[bytes, float]:
    """Train without any kill; the model file, and the seconds that it took."""
    start = time.perf_counter()
    subprocess.run(
        _command(job, data, out), env=_environment(), check=True, capture_output=True, timeout=LONGEST
    )
    return out.read_bytes(), time.perf_counter() - start


def train_killed(
    job: Job, data: Path, folder: Path, expected: bytes, moments: Sequence[float], tally: Tally
) -> None:
    """Train in an empty folder, killed after so many seconds each time, then to the end.

    ``expected`` is the model file of a run that was not killed; what happens is added to the tally.
    """
    out, checkpoint = folder / "model.safetensors", folder / "run.checkpoint"
    previous = b"the model that was there before"
    out.write_bytes(previous)
    command = [*_command(job, data, out), "--overwrite", "--checkpoint", str(checkpoint), "--resume"]
    with _reading(out, checkpoint, {previous, expected}, tally):
        for moment in moments:
            silent: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            process = subprocess.Popen(command, env=_environment(), start_new_session=True, **silent)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                tally.kills += 1
                tally.in_a_write += any(folder.glob(".*.part"))
                continue
            if process.returncode:
                tally.faults.append(f"{job.name}: a run that went on ended with status {process.returncode}")
            break
        done = subprocess.run(command, env=_environment(), capture_output=True, text=True, timeout=LONGEST)
    tally.runs += 1
    if done.returncode:
        tally.faults.append(f"{job.name}: the last run ended with: {done.stderr[-500:]}")
    elif out.read_bytes() == expected:
        tally.same += 1
    else:
        tally.faults.append(f"{job.name}: another model, killed after {moments} s")
    if left := sorted(set(os.listdir(folder)) - {out.name}):
        tally.faults.append(f"{job.name}: left behind {left}")


@contextmanager
def _reading(out: Path, checkpoint: Path, models: set[bytes], tally: Tally) -> Iterator[None]:
    """Read both files meanwhile, as often as can be."""
    stop = threading.Event()

    def read() -> None:
        while not stop.wait(SECONDS_BETWEEN_LOOKS):
            try:
                tally.looks += 1
                if out.read_bytes() not in models:
                    tally.faults.append("a reader saw a model that is neither the old nor the new one")
                if checkpoint.exists():
                    read_checkpoint(checkpoint)
                    tally.looks += 1
            except FileNotFoundError:
                continue  # the checkpoint, which is removed at the end
            except Token2WaveError as error:
                if "No such file" not in str(error):
                    tally.faults.append(f"a reader saw {error}")

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def kill_often(job: Job, folder: Path, n_kills: int, per_run: int, seed: int) -> dict[str, Any]:
    """Kill a job's runs so many times in all, and one run at most ``per_run`` times before it may end."""
    chance, tally = random.Random(f"{seed}-{job.name}"), Tally()
    data = write_rows(folder / "rows.csv", job.n_rows)
    expected, seconds = train_whole(job, data, folder / "whole.safetensors")
    token2wave.load(folder / "whole.safetensors")
    while tally.kills < n_kills:
        (own := folder / f"run-{tally.runs}").mkdir()
        moments = [chance.uniform(0, seconds) for _ in range(min(per_run, n_kills - tally.kills))]
        train_killed(job, data, own, expected, moments, tally)
        print(f"{job.name}: {tally.kills} kills, {tally.same} of {tally.runs} runs the same", flush=True)
    return {"job": job.name, "arguments": list(job.arguments), "rows": job.n_rows, **vars(tally)}


def _command(job: Job, data: Path, out: Path) -> list[str]:
    train = [sys.executable, "-m", "token2wave", "train", str(data), "--device", "cpu"]
    return [*train, *job.arguments, "--out", str(out)]


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}
