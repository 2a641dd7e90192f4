r"""Several processes under ``torchrun`` against one: accuracy, time, and what they send each other.

    python benchmarks/distributed.py                                   # AG News; two idle cores
    python benchmarks/distributed.py --data debian-sections --rows 300 --runs 1 --epochs 1 --results build

The time: whole runs of ``token2wave train``, by turns, one process with one thread, one process with two, and
two processes with one thread each, all with the same batches, so that all learn the same; for preset
``paper`` as it is, with larger batches, with two layers, whose work is done token by token, and both. The
traffic: steps on generated texts, whose words follow Zipf's law, for several sizes of vocabulary and batch.
Writes ``results/benchmarks/distributed.json``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import RESULTS, all_versions, code_state, spread, write_document

from token2wave.data import load_splits
from token2wave.errors import Token2WaveError
from token2wave.training.result import machine

SCHEMA = 1
SYSTEMS = {"one": (1, 1), "threads": (1, 2), "processes": (2, 1)}
"""Processes, and threads of each."""
VARIANTS = {
    "preset `paper`": (),
    "batches of 256": ("recipe.batch_size=256",),
    "two layers": ("network.layers=2",),
    "two layers, batches of 256": ("network.layers=2", "recipe.batch_size=256"),
}
VOCABULARIES, BATCHES = (3_000, 30_000, 300_000), (16, 64, 256)
STEPS, WORDS, WIDTH = 8, 50, 64  # of the traffic


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="ag_news", help="data set with a test set")
    parser.add_argument("--rows", type=int, default=6_000, help="training rows at most, drawn at random")
    parser.add_argument("--test-rows", type=int, default=2_000, help="test rows at most")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--precision", default="float32", help="of the large products")
    parser.add_argument("--runs", type=int, default=3, help="turns of each system")
    parser.add_argument("--part", choices=("all", "time", "traffic"), default="all")
    parser.add_argument("--variants", default=";".join(VARIANTS), help="those to time, with ;")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result")
    parser.add_argument("--count-traffic", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.count_traffic:
        _count_traffic(options.count_traffic)
        return
    path = options.results / "distributed.json"
    document = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    document["schema"] = SCHEMA
    about = {"machine": machine(1, "cpu"), "versions": all_versions(()), "code": code_state()}
    if options.part in ("all", "traffic"):
        document["traffic"] = {**about, "steps": STEPS, "words": WORDS, "width": WIDTH, "rows": traffic()}
        write_document(path, document)
    if options.part in ("all", "time"):
        document["time"] = {**about, **times(options)}
        write_document(path, document)


def times(options: argparse.Namespace) -> dict[str, Any]:
    """Accuracy and seconds of each system and variant, by turns."""
    splits = load_splits(options.data)
    if splits.test is None:
        sys.exit(f"error: expected a data set with a test set, found none in {options.data}")
    found: dict[str, Any] = {
        "data": options.data,
        "caveats": list(splits.caveats),
        **{name: getattr(options, name) for name in ("rows", "test_rows", "epochs", "precision", "runs")},
        "variants": {},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder / "train.csv", splits.train, options.rows)
        _write(folder / "test.csv", splits.test, options.test_rows)
        for variant in options.variants.split(";"):
            settings = VARIANTS[variant]
            summaries: dict[str, list[dict[str, Any]]] = {system: [] for system in SYSTEMS}
            for run in range(options.runs):
                for system in list(SYSTEMS)[:: 1 if run % 2 == 0 else -1]:
                    summaries[system].append(_trained(system, settings, folder, options))
                    print(f"{variant}, {system}: {summaries[system][-1]['train_seconds']:.1f} s", flush=True)
            found["variants"][variant] = _compared(settings, summaries)
    return found


def _compared(settings: Sequence[str], summaries: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Figures of the systems, and what they take of the time of one process with one thread, turn by turn."""
    found: dict[str, Any] = {"settings": list(settings)}
    for system, each in summaries.items():
        found[system] = {
            "accuracy": each[0]["accuracy"],
            "traffic": each[0]["traffic"],
            **{
                part: spread([summary[part] for summary in each])
                for part in ("train_seconds", "total_seconds")
            },
            **{f"{part}_share": spread(_shares(each, summaries["one"], part)) for part in ("train", "total")},
        }
    return found


def _shares(own: list[dict[str, Any]], of_one: list[dict[str, Any]], part: str) -> list[float]:
    """What each turn took of the time of one process."""
    name = f"{part}_seconds"
    return [mine[name] / its[name] for mine, its in zip(own, of_one, strict=True)]


def _trained(
    system: str, settings: Sequence[str], folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Summary of one run of the command line."""
    n_processes, n_threads = SYSTEMS[system]
    report = folder / "summary"
    command = [sys.executable, "-m"]
    if n_processes > 1:
        command += ["torch.distributed.run", "--nproc-per-node", str(n_processes), "-m"]
    command += ["token2wave", "train", "train.csv", "--test", "test.csv", "--preset", "paper"]
    command += ["--epochs", str(options.epochs), "--report", str(report), "--device", "cpu"]
    for setting in (f"recipe.precision={options.precision}", *settings):
        command += ["--set", setting]
    threads = {"OMP_NUM_THREADS": str(n_threads), "RAYON_NUM_THREADS": str(n_threads * n_processes)}
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **threads}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"error: {system} failed\n{done.stderr}")
    summary: dict[str, Any] = json.loads((report / "report.json").read_text(encoding="utf-8"))
    return summary


def _write(path: Path, part: Any, n_rows: int) -> None:
    """Write some rows, drawn at random, where the command line reads them."""
    chosen = np.random.default_rng(0).permutation(len(part))[:n_rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows((part.texts[row], part.labels[row]) for row in chosen)


def traffic() -> list[dict[str, Any]]:
    """What a process sends in a step, for each size of vocabulary and batch."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "traffic.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", __file__]
        done = subprocess.run([*command, "--count-traffic", str(path)], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"error: counting failed\n{done.stderr}")
        found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return found


def _count_traffic(path: Path) -> None:
    """Take some steps in one of two processes, and count what it sends."""
    import torch

    from token2wave.models import WaveConfig, WaveNetwork
    from token2wave.options import TrainOptions
    from token2wave.training import distributed
    from token2wave.training.callbacks import CallbackList
    from token2wave.training.recipe import Recipe
    from token2wave.training.torch_trainer import TorchTrainer

    @distributed.run_distributed
    def count(
        *, options: TrainOptions, callbacks: Sequence[Any], n_rows: int, batch_size: int
    ) -> dict[str, Any]:
        torch.manual_seed(0)  # the same network in both
        network = WaveNetwork(WaveConfig(n_rows, 4, width=WIDTH))
        recipe = Recipe(epochs=1, batch_size=batch_size, precision="float32")
        trainer = TorchTrainer(network, _zipf(n_rows, batch_size), recipe, 0, True)
        trainer.epoch(CallbackList(()))
        trainer.close()
        table, traffic = network.embedding.weight, distributed.traffic()
        assert traffic is not None
        return {
            "vocabulary": n_rows,
            "batch_size": batch_size,
            "table_bytes": table.numel() * table.element_size(),
            **traffic.per_step(),
        }

    rows = [
        count(options=TrainOptions(device="cpu"), callbacks=(), n_rows=n_rows, batch_size=batch_size)
        for n_rows, batch_size in _points()
    ]
    if not distributed.rank():
        path.write_text(json.dumps(rows), encoding="utf-8")


def _points() -> Iterator[tuple[int, int]]:
    for n_rows in VOCABULARIES:
        for batch_size in BATCHES:
            yield n_rows, batch_size


def _zipf(n_rows: int, batch_size: int) -> Any:
    """Texts of so many words, the n-th most frequent of which occurs in proportion to 1 / n."""
    from token2wave.features import Ragged
    from token2wave.features.ragged import offsets_of
    from token2wave.training.examples import Examples

    n_texts, random = STEPS * batch_size, np.random.default_rng(0)
    shares = 1 / np.arange(1, n_rows + 1)
    ids = random.choice(n_rows, n_texts * WORDS, p=shares / shares.sum()).astype(np.int32)
    lengths = np.full(n_texts, WORDS)
    return Examples(Ragged(ids, offsets_of(lengths), lengths), random.integers(4, size=n_texts))


if __name__ == "__main__":
    try:
        main()
    except Token2WaveError as error:
        sys.exit(f"error: {error}")
