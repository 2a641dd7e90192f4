"""What the service stands: requests a second, waiting times, processor time, memory; alone, and under attack.

    python benchmarks/serving.py --data ag_news --preset small --threads 2

The model is trained once, in ``build/serving``. Then ``token2wave serve`` and the load generator, ``wrk``
(a package of Debian and others), share as many processors as ``--threads`` says. ``wrk`` posts the test
texts in turn, one in a request, over 64 connections that stay open; each run begins after one to warm up.
The first runs send as fast as answers come; the next send ``--rate`` requests a second, as clients that do
not wait for each other would. In the last part the fast load stands beside ``serving_hostile.py``, whose
clients are malformed, oversized and slow, on the same processors; a third client compares answers with those
of the classifier meanwhile. The result is ``results/benchmarks/serving.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from measuring import ROOT, Record, command_line, describe_origin, make_parser, spread, write_document

import token2wave
from token2wave.data import load_splits
from token2wave.process_memory import read_kilobytes
from token2wave.storage.atomic import make_folder

SCHEMA = 1
SERVER_PACKAGES = ("uvicorn", "httptools", "uvloop", "prometheus_client")
MEASURED = ("rate", "p50", "p99", "cpu_per_request")
SCRIPT = Path(__file__).with_name("serving.lua")
HOSTILE = Path(__file__).with_name("serving_hostile.py")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for."""
    options = _parser().parse_args(arguments)
    if shutil.which("wrk") is None:
        sys.exit("error: expected the load generator wrk, found none; install it (apt-get install wrk)")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    make_folder(options.build)
    model, bodies = _model(options), options.build / "bodies.jsonl"
    splits = load_splits(options.data)
    if splits.test is None:
        sys.exit(f"error: expected a data set with test texts, found none in {options.data}")
    texts = splits.test.texts
    bodies.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    document: Record = {
        "schema": SCHEMA,
        "command": command_line(__file__, arguments),
        "settings": {
            key: getattr(options, key)
            for key in ("data", "preset", "connections", "seconds", "rate", "runs", "threads", "workers")
        },
        "generator": {
            "version": _wrk_version(),
            "command": shlex.join(_wrk(options, options.connections, 0, bodies)),
        },
        **describe_origin(options.threads, SERVER_PACKAGES),
        "data": {
            "test_rows": len(texts),
            "characters_per_text": sum(map(len, texts)) / len(texts),
            "caveats": list(splits.caveats),
        },
    }
    with _server(model, options.workers) as (port, pid):
        initial = _memory(pid)
        _load(options, options.connections, port, bodies, options.seconds / 2)
        for name, rate in (("alone", None), ("at_rate", options.rate)):
            runs = [_measured(options, port, pid, bodies, rate) for _ in range(options.runs)]
            document[name] = {
                "runs": runs,
                **{key: spread([run[key] for run in runs]) for key in MEASURED},
                "memory_before": initial,
                "memory_after": _memory(pid),
            }
    with _server(model, options.workers) as (port, pid):
        document["attacked"] = _attacked(options, port, pid, bodies, model)
    write_document(options.results / "serving.json", document)
    print(json.dumps({name: document[name] for name in ("alone", "at_rate", "attacked")}, indent=1))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, preset="small", runs=3, threads=2, build=ROOT / "build" / "serving")
    parser.add_argument("--data", default="ag_news")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=30, help="of a run")
    parser.add_argument("--rate", type=int, default=3000, help="requests a second, of the runs at a rate")
    parser.add_argument("--attack-seconds", type=float, default=40)
    parser.add_argument("--workers", type=int, default=1, help="processes of the service")
    return parser


def _model(options: argparse.Namespace) -> Path:
    """Train the model, unless it is there."""
    path: Path = options.build / f"{options.data.replace('/', '_')}-{options.preset}.safetensors"
    if not path.is_file():
        token2wave.train(options.data, preset=options.preset).classifier.save(path)
    return path


@contextmanager
def _server(model: Path, workers: int) -> Iterator[tuple[int, int]]:
    """Run the service; its port and process."""
    command = [sys.executable, "-m", "token2wave", "serve", str(model)]
    command += ["--port", "0", "--workers", str(workers)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            match = re.search(r":(\d+)$", process.stderr.readline())
            if match is None:
                sys.exit(f"error: the service did not begin: {process.stderr.read()}")
            _ask(int(match[1]), "GET", "/ready")
            yield int(match[1]), process.pid
        finally:
            process.terminate()


def _ask(port: int, method: str, path: str, document: Any = None) -> Any:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        body = None if document is None else json.dumps(document)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def _wrk_version() -> str:
    version = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout
    return version.split(" [")[0].strip()


def _wrk(options: argparse.Namespace, connections: int, port: int, bodies: Path) -> list[str]:
    """The generator's command; the port is 0 where it is only told."""
    address = f"http://127.0.0.1:{port or 8000}"
    script, file = (SCRIPT.relative_to(ROOT), bodies.name) if not port else (SCRIPT, bodies)
    head = ["wrk", "-t1", f"-c{connections}", f"-d{options.seconds:g}s", "--latency"]
    return [*head, "-s", str(script), address, "--", str(file)]


def _load(
    options: argparse.Namespace,
    connections: int,
    port: int,
    bodies: Path,
    seconds: float,
    rate: int | None = None,
) -> Record:
    """Let the generator run; rate, waiting times in seconds, and errors by kind."""
    command = _wrk(options, connections, port, bodies)
    if rate is not None:
        command.append(str(rate))
    command[3] = f"-d{max(round(seconds), 1)}s"
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    counts = json.loads(done.stdout.strip().splitlines()[-1])
    return {
        "requests": counts["requests"],
        "rate": counts["requests"] / counts["microseconds"] * 1e6,
        **{key: counts[key] / 1e6 for key in ("p50", "p99", "max")},
        "errors": {key: counts[key] for key in ("statuses", "connect", "read", "write", "timeout")},
    }


def _measured(options: argparse.Namespace, port: int, pid: int, bodies: Path, rate: int | None) -> Record:
    """A run, and the processor time of the service for each request."""
    start = _cpu_seconds(pid)
    run = _load(options, options.connections, port, bodies, options.seconds, rate)
    return {**run, "cpu_per_request": (_cpu_seconds(pid) - start) / run["requests"]}


def _attacked(options: argparse.Namespace, port: int, pid: int, bodies: Path, model: Path) -> Record:
    """The load beside clients that do their worst."""
    classifier = token2wave.load(model)
    texts = [json.loads(line)["text"] for line in bodies.read_text(encoding="utf-8").splitlines()]
    seconds, stop = options.attack_seconds, threading.Event()
    memory, answers = [_memory(pid)], {"right": 0, "wrong": 0}

    def watch() -> None:
        at = 0
        while not stop.wait(0.2):
            memory.append(_memory(pid))
            text = texts[at % len(texts)]
            at += 1
            right = _ask(port, "POST", "/predict", {"text": text}).get("probability")
            answers["right" if right == classifier.predict(text).probability else "wrong"] += 1

    hostile = subprocess.Popen(
        [sys.executable, str(HOSTILE), str(port), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    watching = threading.Thread(target=watch)
    watching.start()
    run = _load(options, options.connections, port, bodies, seconds)
    stop.set()
    watching.join()
    counts = json.loads(hostile.communicate()[0].strip().splitlines()[-1])
    time.sleep(5)
    return {
        **run,
        "compared": answers,
        "hostile": counts,
        "memory_before": memory[0],
        "memory_most": max(memory),
        "memory_after": _memory(pid),
        "health_after": _ask(port, "GET", "/ready"),
    }


def _processes(pid: int) -> list[int]:
    """A process and all that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _processes(int(child)))]


def _cpu_seconds(pid: int) -> float:
    """Processor time of a process and those it started."""
    ticks = 0
    for each in _processes(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> int:
    """Resident memory of a process and those it started, in bytes."""
    return sum(read_kilobytes(Path(f"/proc/{each}/status"), "VmRSS") or 0 for each in _processes(pid))


if __name__ == "__main__":
    sys.exit(main())
