"""Training on a stream: memory and speed on gigabytes, accuracy beside training in memory, and kills.

    python benchmarks/streaming.py                        # 10 million made-up documents; half an hour
    python benchmarks/streaming.py --only accuracy        # needs TOKEN2WAVE_DATA
    python benchmarks/streaming.py --documents 200000 --kills 3 --name streaming-quick

*large*: a made-up crawl (``crawl.py``) is trained on by the command line with ``--stream``; the memory of the
process is read twice a second. *speed*: the same with fewer documents, which an idle machine is needed for.
*kills*: a smaller crawl is trained on with a checkpoint after every block, the process is killed (SIGKILL) at
random moments and started again with ``--resume`` until it is done, and its file is compared with that of a
run that nobody killed. *accuracy*: data sets are trained on in memory and as a stream. Writes
``results/benchmarks/NAME.json``, rendered by ``tools/render_results.py``.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import crawl
from measuring import ROOT, comma_list, describe_origin, make_parser, write_document

import token2wave
from token2wave.core import n_threads
from token2wave.process_memory import read_kilobytes

SETS = ("ag_news", "imdb", "dbpedia14", "trec", "banking77", "emotion", "sst2")
EVERY_BLOCK = (
    "import sys; from token2wave.training import loop; loop.SECONDS_BETWEEN_CHECKPOINTS = 0.0;"
    "from token2wave.cli.main import main; sys.argv[0] = 'token2wave'; main()"
)


def large(folder: Path, preset: str, n_documents: int, memory: str) -> dict[str, Any]:
    """Train on a crawl, and watch the memory."""
    made = crawl.write(folder, n_documents, -(-n_documents // 16))
    model = folder / "model.safetensors"
    words = ["train", str(folder / "*.jsonl"), "--stream", "--memory", memory, "--preset", preset]
    words += ["--epochs", "1"]
    command = [sys.executable, "-m", "token2wave", *words, "--out", str(model), "--json"]
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        most = 0
        while process.poll() is None:
            most = max(most, read_kilobytes(Path(f"/proc/{process.pid}/status"), "VmRSS") or 0)
            time.sleep(0.5)
        seconds = time.perf_counter() - start
        out.seek(0)
        summary = json.load(out)
    figures = ("peak_memory_bytes", "train_seconds", "texts_per_second", "validation_accuracy", "model_bytes")
    return {
        "crawl": made,
        "command": "token2wave " + " ".join([words[0], "'crawl/*.jsonl'", *words[2:]]),
        "memory_seen": most,
        "seconds": seconds,
        "epochs": len(summary["history"]),
        "validation_rows": summary["validation_rows"],
        "caveats": [caveat.replace(f"{folder}/", "") for caveat in summary["caveats"]],
        **{name: summary[name] for name in figures},
    }


def kills(folder: Path, n_documents: int, n_kills: int, seed: int) -> dict[str, Any]:
    """Kill training again and again, and compare what comes out of it."""
    crawl.write(folder, n_documents, -(-n_documents // 4))
    checkpoint, whole, killed = (folder / name for name in ("run.checkpoint", "whole", "killed"))
    words = [sys.executable, "-c", EVERY_BLOCK, "train", str(folder / "*.jsonl")]
    words += ["--stream", "--preset", "fast", "--epochs", "2", "--memory", "200MB"]
    start = time.perf_counter()
    subprocess.run([*words, "--out", str(whole)], check=True, capture_output=True)
    seconds, draw = time.perf_counter() - start, random.Random(seed)
    n_done, n_runs, resumed, n_equal = 0, 0, 0, 0
    while n_done < n_kills:
        killed.unlink(missing_ok=True)
        checkpoint.unlink(missing_ok=True)
        done, n_runs = False, n_runs + 1
        while not done:
            resumed += checkpoint.exists()
            run = [*words, "--out", str(killed), "--checkpoint", str(checkpoint), "--resume"]
            process = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(draw.uniform(0.3, 1.5) * seconds if n_done < n_kills else None)
                done = process.returncode == 0
                if not done:
                    raise SystemExit(f"training failed with status {process.returncode}")
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                n_done += 1
        n_equal += killed.read_bytes() == whole.read_bytes()
    return {
        "documents": n_documents,
        "kills": n_done,
        "resumed_from_a_checkpoint": resumed,
        "runs": n_runs,
        "runs_with_the_same_file": n_equal,
        "seed": seed,
        "left_behind": sorted(path.name for path in folder.iterdir() if "part-" not in path.name),
    }


def accuracy(sets: Sequence[str], preset: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Train on data sets in memory, and as streams of their training files."""
    result: dict[str, Any] = {}
    for name in sets:
        rows: dict[str, Any] = {"memory": [], "stream": []}
        for seed in seeds:
            for way in ("memory", "stream"):
                summary = token2wave.train(
                    name, preset=preset, seed=seed, stream=way == "stream", baseline=False
                ).summary
                rows[way].append(summary.accuracy)
        result[name] = {**rows, "caveats": list(summary.caveats)}
        print(name, rows["memory"], rows["stream"], flush=True)
    return result


def main() -> None:
    """Run the parts that are asked for; what else the file holds stays."""
    build = ROOT / "build" / "streaming"
    parser = make_parser(__doc__, name="streaming", preset="small", seeds=[0], build=build)
    parser.add_argument("--only", type=comma_list, default=["large", "speed", "kills", "accuracy"])
    parser.add_argument("--documents", type=int, default=10_000_000)
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--sets", type=comma_list, default=list(SETS))
    options = parser.parse_args()
    path = options.results / f"{options.name}.json"
    document: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    document |= {"preset": options.preset, "threads": n_threads(), **describe_origin(n_threads())}
    for name in options.only:
        folder = options.build / name
        shutil.rmtree(folder, ignore_errors=True)
        if name in ("large", "speed"):
            n_documents = options.documents if name == "large" else min(options.documents, 500_000)
            document[name] = large(folder, options.preset, n_documents, options.memory)
        elif name == "kills":
            document["kills"] = kills(folder, min(options.documents, 60_000), options.kills, seed=1)
        else:
            measured = accuracy(options.sets, options.preset, options.seeds)
            document["accuracy"] = document.get("accuracy", {}) | measured
            document["seeds"] = options.seeds
        shutil.rmtree(folder, ignore_errors=True)
        write_document(path, document)
        print(json.dumps(document.get(name), indent=1)[:2000], flush=True)


if __name__ == "__main__":
    main()
