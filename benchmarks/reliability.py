r"""What the project promises of its reliability, tried out: the figures of docs/reliability.md.

    python benchmarks/reliability.py                              # everything; some fifteen minutes
    python benchmarks/reliability.py --only kills --kills 100 --seed 3

``kills``: training that is killed at random moments ends with the same model (:mod:`kills`).
``determinism``: what a model file depends on, and how much (:mod:`determinism`).
``device``: training and predicting within 256 MB on one slow core (``examples/on_device.py``).
``service``: requests answered while processes are killed, logs are full and the clock jumps (:mod:`faults`).
``load``: what the checksum costs when a model is loaded.

Each part takes the place of its last figures in ``results/reliability.json``. Exit status 1 if a promise
was not kept.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import determinism
import faults
import kills
from measuring import ROOT, comma_list, describe_origin, make_parser, spread, write_document

import token2wave
from token2wave.data import load_split, load_splits
from token2wave.storage.safetensors_writer import bytes_of

FRACTIONS = {"small": 0.3, "fast": 0.4, "paper": 0.3}  # of all kills
PER_RUN = 5
DETERMINISTIC = (
    kills.Job("small", ("--preset", "small", "--epochs", "3"), n_rows=5_042),
    kills.Job("fast", ("--preset", "fast", "--epochs", "3"), n_rows=5_042),
    kills.Job("paper", ("--preset", "paper", "--epochs", "2", "--set", "network.width=64"), n_rows=5_042),
)
LOADS = 9
Part = dict[str, Any]


def killed(options: argparse.Namespace) -> Part:
    """Training that is killed."""
    rows = []
    for job in kills.JOBS:
        with tempfile.TemporaryDirectory(prefix="token2wave-kills-") as folder:
            n_kills = round(options.kills * FRACTIONS[job.name])
            rows.append(kills.kill_often(job, Path(folder), n_kills, PER_RUN, options.seed))
    return {"seed": options.seed, "jobs": rows, "kept": not any(row["faults"] for row in rows)}


def repeated(options: argparse.Namespace) -> Part:
    """What a model file depends on."""
    with tempfile.TemporaryDirectory(prefix="token2wave-determinism-") as name:
        folder = Path(name)
        try:
            plain: Path | None = determinism.build_plain(folder / "plain")
        except determinism.NoCompilerError:
            plain = None
        data = kills.write_rows(folder / "rows.csv", DETERMINISTIC[0].n_rows)
        bench = determinism.Bench(folder, data, load_split("debian-sections", "test"), plain)
        figures: Part = {"same": [], "threads": [], "instructions": [], "engines": []}
        for job in DETERMINISTIC:
            figures["same"].append(determinism.same_everywhere(bench, job))
            figures["threads"] += determinism.compared(bench, job, determinism.THREADS)
            figures["instructions"] += determinism.compared(bench, job, determinism.INSTRUCTIONS)
            figures["engines"] += determinism.engines(bench, job)
            print(f"determinism of {job.name}: done", flush=True)
    return figures | {
        "rows": DETERMINISTIC[0].n_rows,
        "test_texts": len(bench.test.texts),
        "kept": not any(row["other"] for row in figures["same"]),
    }


def device(options: argparse.Namespace) -> Part:
    """Training and predicting within the memory of a small device, on one core."""
    rows = []
    for data in options.device_data:
        command = [sys.executable, str(ROOT / "examples" / "on_device.py"), "--json", "--data", data]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"on_device {data}: {done.stderr[-800:]}", flush=True)
        rows.append(json.loads(done.stdout) if not done.returncode else {"data": data, "failed": True})
    return {"rows": rows, "kept": not any("failed" in row for row in rows)}


def served(options: argparse.Namespace) -> Part:
    """The service under load and with faults."""
    with tempfile.TemporaryDirectory(prefix="token2wave-faults-") as folder:
        rows = faults.all_faults(Path(folder), options.seconds, options.seed)
    return {"seconds": options.seconds, "rows": rows, "kept": all(row["kept"] for row in rows)}


def loaded(options: argparse.Namespace) -> Part:
    """What the checksum costs when a model is loaded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        token2wave.train(load_splits("debian-sections"), out=path, preset="fast", epochs=1)
        whole, checking = [], []
        for _ in range(LOADS):
            start = time.perf_counter()
            token2wave.load(path)
            whole.append(time.perf_counter() - start)
            tensors = token2wave.load(path).to_file().tensors.values()
            start = time.perf_counter()
            for array in tensors:
                zlib.crc32(bytes_of(array))
            checking.append(time.perf_counter() - start)
        damaged = path.read_bytes()
        flips = _flip_bits(path, damaged, random.Random(options.seed))
    fractions = spread([a / b for a, b in zip(checking, whole, strict=True)])
    return {"bytes": len(damaged), "share": fractions, **flips, "kept": flips["found"] == flips["bits"]}


def _flip_bits(path: Path, whole: bytes, chance: random.Random, n_bits: int = 200) -> Part:
    """Flip one bit of a model file at a time, beside the word that says that there is a checksum."""
    n_found, word = 0, whole.index(b"checksum")
    for _ in range(n_bits):
        position = chance.choice([chance.randrange(len(whole)), chance.randrange(4_000)])
        if word <= position < word + len(b"checksum"):
            position = len(whole) - 1
        damaged = bytearray(whole)
        damaged[position] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            token2wave.load(path)
        except token2wave.errors.ModelFileError:
            n_found += 1
    return {"bits": n_bits, "found": n_found}


PARTS: dict[str, Callable[[argparse.Namespace], Part]] = {
    "kills": killed,
    "determinism": repeated,
    "device": device,
    "service": served,
    "load": loaded,
}


def main() -> int:
    """Measure what the command line asks for; 1 if a promise was not kept."""
    parser = make_parser(__doc__, results=ROOT / "results")
    parser.add_argument("--only", type=comma_list, default=list(PARTS), help="by commas")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=8.0, help="of load for each fault of the service")
    parser.add_argument("--device-data", type=comma_list, default=["debian-sections"], help="by commas")
    parser.add_argument("--seed", type=int, help="drawn and printed, if not given")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 31)
    print(f"seed {options.seed}", flush=True)
    path = options.results / "reliability.json"
    document = json.loads(path.read_text()) if path.exists() else {"schema": 1, "parts": {}}
    for name in options.only:
        origin = describe_origin(int(os.environ.get("OMP_NUM_THREADS", "1")))
        figures = PARTS[name](options) | origin | {"date": time.strftime("%Y-%m-%d", time.gmtime())}
        document["parts"][name] = figures
        write_document(path, document)
        print(f"{name}: {'kept' if figures['kept'] else 'NOT KEPT'}", flush=True)
    return int(not all(document["parts"][name]["kept"] for name in options.only))


if __name__ == "__main__":
    sys.exit(main())
