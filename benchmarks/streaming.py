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

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import crawl
from measuring import RESULTS, ROOT, code_state, write_document

import token2wave
from token2wave.core import n_threads
from token2wave.formatting import count, duration, size
from token2wave.training.result import machine
from token2wave.versions import versions

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
            most = max(most, _resident(process.pid))
            time.sleep(0.5)
        seconds = time.perf_counter() - start
        out.seek(0)
        summary = json.loads(out.read().splitlines()[-1])
    kept = ("peak_memory_bytes", "train_seconds", "texts_per_second", "validation_accuracy", "model_bytes")
    return {
        "crawl": made,
        "command": "token2wave " + " ".join([words[0], "'crawl/*.jsonl'", *words[2:]]),
        "memory_seen": most,
        "seconds": seconds,
        "epochs": len(summary["history"]),
        "validation_rows": summary["validation_rows"],
        "caveats": [caveat.replace(f"{folder}/", "") for caveat in summary["caveats"]],
        **{name: summary[name] for name in kept},
    }


def kills(folder: Path, n_documents: int, n_kills: int, seed: int) -> dict[str, Any]:
    """Kill training again and again, and compare what comes out of it."""
    crawl.write(folder, n_documents, -(-n_documents // 4))
    checkpoint, whole, killed = (folder / name for name in ("run.checkpoint", "whole", "killed"))
    words = [
        sys.executable,
        "-c",
        EVERY_BLOCK,
        "train",
        str(folder / "*.jsonl"),
        "--stream",
        "--preset",
        "fast",
    ]
    words += ["--epochs", "2", "--memory", "200MB"]
    start = time.perf_counter()
    subprocess.run([*words, "--out", str(whole)], check=True, capture_output=True)
    seconds, made = time.perf_counter() - start, random.Random(seed)
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
                process.wait(made.uniform(0.3, 1.5) * seconds if n_done < n_kills else None)
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
    found: dict[str, Any] = {}
    for name in sets:
        rows: dict[str, Any] = {"memory": [], "stream": []}
        for seed in seeds:
            for way in ("memory", "stream"):
                summary = token2wave.train(name, preset=preset, seed=seed, stream=way == "stream").summary
                rows[way].append(summary.accuracy)
        found[name] = {**rows, "caveats": list(summary.caveats)}
        print(name, rows["memory"], rows["stream"], flush=True)
    return found


def table_of_large(document: dict[str, Any]) -> str:
    """Memory and speed of training on a large crawl."""
    one = document["large"]
    made = one["crawl"]
    rows = [
        ("documents", f"{count(made['documents'])}, {count(made['broken'])} of them broken"),
        ("files", f"16 of JSON lines, {size(made['bytes'])}; {size(made['characters'])} of text"),
        ("most memory in use", f"{size(max(one['peak_memory_bytes'], one['memory_seen']))}"),
        ("accuracy on rows held out", f"{100 * one['validation_accuracy']:.2f}%"),
        ("model file", size(one["model_bytes"])),
    ]
    if "speed" in document:
        fewer = document["speed"]
        n_documents = fewer["crawl"]["documents"]
        rows += [
            (f"time for {count(n_documents)} documents, first pass included", duration(fewer["seconds"])),
            ("documents/s, training passes", count(fewer["texts_per_second"])),
        ]
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), ""]
    share = crawl.MISLABELLED_PROBABILITY * (1 - 1 / len(crawl.SUBJECTS))
    lines += [
        f"{one['epochs']} pass over the data after the first one; of the labels, {100 * share:.2f}% are "
        f"wrong on purpose. {document['machine']['processor']}, {document['threads']} threads. "
        f"Command: `{one['command']}`."
    ]
    return "\n".join(lines) + "\n"


def table_of_accuracy(document: dict[str, Any]) -> str:
    """Test accuracies in memory and as a stream."""
    lines = ["| data | in memory | as a stream | difference |", "|---|---:|---:|---:|"]
    differences = []
    for name, one in document["accuracy"].items():
        memory, stream = (100 * statistics.mean(one[way]) for way in ("memory", "stream"))
        differences.append(stream - memory)
        lines.append(f"| {name} | {memory:.2f} | {stream:.2f} | {stream - memory:+.2f} |")
    lines.append(f"| mean | | | {statistics.mean(differences):+.2f} |")
    caveats = {c for one in document["accuracy"].values() for c in one["caveats"] if "complete" in c}
    lines += ["", *(f"*{caveat.rstrip('.')}.*" for caveat in sorted(caveats))]
    seeds = ", ".join(map(str, document["seeds"]))
    return (
        "\n".join([*lines, f"Preset `{document['preset']}`, seeds {seeds}; percent of the test texts."])
        + "\n"
    )


def _resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Run the parts that are asked for; what else the file holds stays."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="large,speed,kills,accuracy")
    parser.add_argument("--documents", type=int, default=10_000_000)
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "streaming")
    parser.add_argument("--name", default="streaming")
    options = parser.parse_args()
    path = RESULTS / f"{options.name}.json"
    document: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    seeds = [int(seed) for seed in options.seeds.split(",")]
    document |= {
        "preset": options.preset,
        "machine": machine(n_threads(), "cpu"),
        "threads": n_threads(),
        "versions": versions(),
        "code": code_state(),
    }
    for part in options.only.split(","):
        folder = options.build / part
        shutil.rmtree(folder, ignore_errors=True)
        if part in ("large", "speed"):
            n_documents = options.documents if part == "large" else min(options.documents, 500_000)
            document[part] = large(folder, options.preset, n_documents, options.memory)
        elif part == "kills":
            document["kills"] = kills(folder, min(options.documents, 60_000), options.kills, seed=1)
        else:
            found = accuracy(options.sets.split(","), options.preset, seeds)
            document["accuracy"] = document.get("accuracy", {}) | found
            document["seeds"] = seeds
        shutil.rmtree(folder, ignore_errors=True)
        write_document(path, document)
        print(json.dumps(document.get(part), indent=1)[:2000], flush=True)


if __name__ == "__main__":
    main()
