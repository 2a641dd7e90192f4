r"""Scoring at scale: what it costs beside the bare runtime, in how much memory, and what ten kills lose.

    python benchmarks/scoring.py --documents 10000000
    python benchmarks/scoring.py --documents 400000 --kills 3 --small-kills 5 --rate-documents 20000 --quick \
        --results build/bench
    python benchmarks/scoring.py --sections beside --data ag_news

Makes up a crawl, trains preset ``small`` on labelled pages of it, and

- takes turns: the bare runtime on texts in memory, with all threads; scoring of the same number of pages from
  Parquet to Parquet, with all processes and with one; the same from JSON lines;
- takes turns in one process, with one thread: the bare runtime on the texts of a data set, and reading,
  scoring and writing them in each format, with presets ``fast`` and ``small``;
- scores the whole crawl, killed with all its processes at random moments and begun again, looks at the memory
  of all processes all the while, and accounts for every row by its id.

Processor time is measured beside the time on the clock: other work on the machine changes it less.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import crawl
import numpy as np
import pyarrow
from measuring import comma_list, command_line, describe_origin, make_parser, spread, write_document
from pyarrow import parquet

import token2wave
from token2wave.core import n_threads
from token2wave.data.datasets import load_split
from token2wave.data.file_segments import segments_of
from token2wave.process_memory import read_kilobytes
from token2wave.scoring.batch_predictor import BatchPredictor, PredictionOptions
from token2wave.scoring.input_schema import infer_schema, serialize_schema
from token2wave.scoring.job import Job, JobConfig, SegmentTask
from token2wave.scoring.journal import JOURNAL, STAGING, OutputFile, OutputPart
from token2wave.scoring.score import PART_BYTES
from token2wave.scoring.segment_scorer import SegmentScorer

LABELLED = 12_000
ROWS_PER_FILE = 100_000
SECTIONS = ("rates", "beside", "killed_often", "killed")
PRESETS = ("fast", "small")
WAYS = (".parquet parquet", ".jsonl parquet", ".jsonl jsonl", ".csv parquet")


def main() -> int:
    """Measure what the command line asks for."""
    parser = make_parser(__doc__, threads=n_threads(), seed=0, build=Path("build/scoring"))
    documents = "of the crawl that is scored and killed"
    parser.add_argument("--documents", type=int, default=10_000_000, help=documents)
    parser.add_argument("--rate-documents", type=int, default=1_000_000, help="of each turn of the rates")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--data", default="debian-sections", help="whose texts section beside scores")
    parser.add_argument("--beside-documents", type=int, default=40_000, help="texts of a turn of it")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--small-kills", type=int, default=100, help="of jobs of a few seconds")
    sections = "what to measure, e.g. rates,killed; the rest of the result stays"
    parser.add_argument("--sections", type=comma_list, default=list(SECTIONS), help=sections)
    parser.add_argument("--quick", action="store_true", help="train for one epoch on few pages")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    build: Path = options.build
    build.mkdir(parents=True, exist_ok=True)
    path = options.results / "scoring.json"
    document = json.loads(path.read_text()) if path.exists() and options.sections != list(SECTIONS) else {}
    command = command_line(__file__)
    document |= {
        "commands": document.get("commands", {}) | dict.fromkeys(options.sections, command),
        **describe_origin(options.threads, ["pyarrow", "msgspec"]),
    }
    if "beside" in options.sections:
        document["beside"] = beside(options, build)
        write_document(path, document)
    if options.sections == ["beside"]:
        return 0
    model = trained(options.seed, build, options.quick)
    document |= {"preset": "small", "model_bytes": model.stat().st_size}
    write_pages(build / "rate", options.rate_documents, "parquet", options.seed)
    if "rates" in options.sections:
        write_pages(build / "lines", max(options.rate_documents // 5, 1), "jsonl", options.seed)
        document["fixed"] = fixed(options.seed, model, build)
        document["rates"] = rates(options, model, build)
        write_document(path, document)
    if "killed_often" in options.sections:
        beginning = 3 * document["fixed"]["job_seconds"]
        document["killed_often"] = killed_often(options, model, build, beginning)
        write_document(path, document)
    if "killed" in options.sections:
        write_pages(build / "crawl", options.documents, "parquet", options.seed)
        seconds = options.documents / document["rates"]["ways"]["parquet"]["rate"]["median"]
        document["killed"] = killed(options, model, build, seconds)
        write_document(path, document)
    return 0


def write_pages(folder: Path, n: int, suffix: str, seed: int) -> None:
    """Write pages without labels."""
    crawl.write(folder, n, ROWS_PER_FILE, suffix, seed, is_labelled=False)


def trained(seed: int, build: Path, quick: bool) -> Path:
    """A model of the crawl's classes."""
    model = build / "model.safetensors"
    if not model.exists():
        crawl.write_labelled(seed, build / "labelled.jsonl", 600 if quick else LABELLED)
        token2wave.train(build / "labelled.jsonl", out=model, epochs=1 if quick else None)
    return model


# ---- rates ----


def rates(options: argparse.Namespace, model: Path, build: Path) -> dict[str, Any]:
    """Texts a second, and processor time a text, of each way, by turns."""
    n, threads = options.rate_documents, options.threads
    texts = crawl.Crawl(options.seed).documents(0, min(n, ROWS_PER_FILE)).texts
    texts = (texts * (-(-n // len(texts))))[:n]
    classifier = token2wave.load(model)
    n_lines = max(n // 5, 1)

    def bare() -> None:
        for first in range(0, n, ROWS_PER_FILE):
            classifier.probabilities(texts[first : first + ROWS_PER_FILE])

    def scored(folder: str, workers: int) -> Callable[[], None]:
        def run() -> None:
            shutil.rmtree(build / "rate-out", ignore_errors=True)
            command = score_command(model, build / folder, build / "rate-out", workers)
            subprocess.run(command, check=True, capture_output=True)

        return run

    ways: dict[str, tuple[Callable[[], None], int]] = {
        "bare": (bare, n),
        "parquet": (scored("rate", threads), n),
        "parquet, one process": (scored("rate", 1), n),
        "json lines": (scored("lines", threads), n_lines),
    }
    measured: dict[str, dict[str, list[float]]] = {way: {"rate": [], "microseconds": []} for way in ways}
    bare()
    for turn in range(options.turns):
        for way, (run, n_texts) in ways.items():
            begun, processor = time.perf_counter(), processor_seconds()
            run()
            seconds, used = time.perf_counter() - begun, processor_seconds() - processor
            measured[way]["rate"].append(n_texts / seconds)
            measured[way]["microseconds"].append(1e6 * used / n_texts)
            figures = f"{n_texts / seconds:,.0f} texts/s, {1e6 * used / n_texts:.1f} us"
            print(f"turn {turn + 1}, {way}: {figures}", flush=True)
    return {
        "documents": n,
        "documents_as_json_lines": n_lines,
        "mean_characters": statistics.mean(map(len, texts)),
        "threads": threads,
        "ways": {
            way: {name: {**spread(values), "turns": values} for name, values in figures.items()}
            for way, figures in measured.items()
        },
    }


def beside(options: argparse.Namespace, build: Path) -> dict[str, Any]:
    """Processor time a text of the bare runtime and of each way to score, in one process, by turns."""
    texts = load_split(options.data, "train").texts
    n = options.beside_documents
    texts = (texts * -(-n // len(texts)))[:n]
    folder = build / "beside"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "out" / STAGING).mkdir(parents=True)
    rows = pyarrow.table(
        {"id": range(n), "url": [f"https://site.example/{i}" for i in range(n)], "text": texts}
    )
    parquet.write_table(rows, folder / "rows.parquet")
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([rows.column_names, *zip(*rows.to_pydict().values(), strict=True)])
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows.to_pylist())
    threads, os.environ["OMP_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"], "1"
    document: dict[str, Any] = {
        "data": options.data,
        "documents": n,
        "mean_characters": statistics.mean(map(len, texts)),
    }
    document["presets"] = {preset: _beside(preset, options, folder, texts) for preset in PRESETS}
    os.environ["OMP_NUM_THREADS"] = threads
    return document


def _beside(preset: str, options: argparse.Namespace, folder: Path, texts: list[str]) -> dict[str, Any]:
    model = folder / f"{preset}.safetensors"
    token2wave.train(options.data, out=model, preset=preset, epochs=1 if options.quick else None)
    classifier = token2wave.load(model)

    def scored(way: str) -> Callable[[], None]:
        suffix, format = way.split()
        segments = segments_of([folder / f"rows{suffix}"], PART_BYTES)
        types = infer_schema(segments, "text", with_types=True).output_types(None)
        types |= BatchPredictor(model).arrow_types()
        schema = serialize_schema(types) if format == "parquet" else None
        out = str(folder / "out")
        scorer = SegmentScorer(
            JobConfig(str(model), out, "text", None, None, format, PredictionOptions(), PART_BYTES, schema)
        )

        def run() -> None:
            for number, segment in enumerate(segments):
                parts = scorer.score_segment(SegmentTask(number, segment, ()))
                assert sum(part.n_rejected for part in parts) == 0

        return run

    ways = {"bare": lambda: classifier.probabilities(texts)} | {way: scored(way) for way in WAYS}
    microseconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(options.turns + 1):
        for way, run in ways.items():
            begun = time.process_time()
            run()
            if turn:  # the first warms up
                microseconds[way].append(1e6 * (time.process_time() - begun) / len(texts))
    for way, turns in microseconds.items():
        median = statistics.median(turns)
        percentage = 100 * statistics.median(microseconds["bare"]) / median
        print(f"{preset}, {way}: {median:.2f} us a text, {percentage:.0f} % of the bare rate", flush=True)
    return {way: {**spread(turns), "turns": turns} for way, turns in microseconds.items()}


def fixed(seed: int, model: Path, build: Path) -> dict[str, float]:
    """Seconds that do not grow with the texts: a job of one page, and recording a part of usual size."""
    page, out = build / "one.jsonl", build / "one-out"
    crawl.write_labelled(seed, page, 1)
    whole = []
    for _ in range(3):
        shutil.rmtree(out, ignore_errors=True)
        begun = time.perf_counter()
        arguments = [*score_command(model, page, out, 1), "--columns", "text"]
        subprocess.run(arguments, check=True, capture_output=True)
        whole.append(time.perf_counter() - begun)
    config = JobConfig(
        str(model), str(out), "text", None, None, "jsonl", PredictionOptions(), PART_BYTES, None
    )
    job, commits = Job(config, []), []
    for number in range(30):
        name = f"part-{number:06}-0000.jsonl"
        (out / STAGING / name).write_bytes(os.urandom(1 << 20) * (PART_BYTES >> 21))
        part = OutputPart(
            number, 0, True, 1, 0, 0, 1, (OutputFile(f"{STAGING}/{name}", f"parts/{name}", 0, ""),)
        )
        begun = time.perf_counter()
        job.journal.commit(part)
        commits.append(time.perf_counter() - begun)
    shutil.rmtree(out)
    return {"job_seconds": statistics.median(whole), "commit_seconds": statistics.median(commits)}


def processor_seconds() -> float:
    """Processor time of this process and of its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def score_command(model: Path, pages: Path, out: Path, workers: int) -> list[str]:
    """The command that scores."""
    arguments = ["score", str(model), str(pages), "--output", str(out), "--workers", str(workers)]
    return [sys.executable, "-m", "token2wave", *arguments]


# ---- kills ----


class TrainingRun(NamedTuple):
    """How one run of a command went."""

    is_done: bool  # else it was killed
    seconds: float
    peak: int


def run_until(command: list[str], moment: float | None) -> TrainingRun:
    """Run a command, and kill it with all its processes after so many seconds, if it runs as long."""
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    watch, begun = Memory(process.pid), time.perf_counter()
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    _, errors = process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        sys.exit(f"error: scoring failed: {errors}")
    return TrainingRun(process.returncode == 0, time.perf_counter() - begun, watch.stop())


def killed(options: argparse.Namespace, model: Path, build: Path, expected: float) -> dict[str, Any]:
    """Score the crawl, kill it, begin again, and count; undisturbed it would take ``expected`` seconds."""
    out, draw, n, n_kills = build / "out", random.Random(options.seed), options.documents, options.kills
    shutil.rmtree(out, ignore_errors=True)
    command = score_command(model, build / "crawl", out, options.threads)
    runs, moments = [], []
    while not runs or not runs[-1].is_done:
        longest = 1.6 * expected / (n_kills + 1)
        runs.append(run_until(command, draw.uniform(0.2, longest) if len(moments) < n_kills else None))
        if not runs[-1].is_done:
            moments.append({"after_seconds": runs[-1].seconds, "parts": n_parts(out)})
            print(f"killed after {runs[-1].seconds:.1f} s, {moments[-1]['parts']} parts", flush=True)
    if len(moments) < n_kills:
        sys.exit(f"error: it was done after {len(moments)} kills; try more documents")
    return {
        "documents": n,
        "input_bytes": sum(path.stat().st_size for path in (build / "crawl").iterdir()),
        "kills": moments,
        "seconds": sum(run.seconds for run in runs),
        "peak_bytes_of_all_processes": max(run.peak for run in runs),
        "workers": options.threads,
        **accounted(out, n),
    }


def killed_often(options: argparse.Namespace, model: Path, build: Path, beginning: float) -> dict[str, int]:
    """Kill small jobs of many parts, from their beginning to their end, for a start within some seconds."""
    pages, out, draw = build / "rate" / "part-0000.parquet", build / "small-out", random.Random(options.seed)
    n = parquet.read_metadata(pages).num_rows
    command = [*score_command(model, pages, out, options.threads), "--part-size", "256kB"]
    n_left, n_jobs, n_with_parts, longest = options.small_kills, 0, 0, beginning
    while n_left > 0:
        shutil.rmtree(out, ignore_errors=True)
        begun = time.perf_counter()
        while not (run := run_until(command, draw.uniform(0, longest) if n_left else None)).is_done:
            n_left -= 1
            n_with_parts += n_parts(out) > 0
            longest *= 1.05  # it did not come to its end
        longest = min(longest, time.perf_counter() - begun + run.seconds)
        accounted(out, n)
        n_jobs += 1
    counts = {"kills": options.small_kills, "with_parts": n_with_parts, "jobs": n_jobs}
    return {**counts, "documents_of_a_job": n}


def n_parts(out: Path) -> int:
    """Parts that are recorded."""
    journal = out / JOURNAL
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def accounted(out: Path, n: int) -> dict[str, int]:
    """Every row by its id: how often it is in the parts, or among the rejects."""
    times = np.zeros(n, dtype=np.int64)
    n_written = 0
    for path in sorted((out / "parts").iterdir()):
        ids = parquet.read_table(path, columns=["id"]).column("id").to_numpy()
        np.add.at(times, ids, 1)
        n_written += len(ids)
    rejected = []
    for path in (out / "rejected").iterdir():
        for line in path.read_text().splitlines():
            row = json.loads(line)
            file = int(Path(row["path"]).stem.rpartition("-")[2])
            rejected.append(file * ROWS_PER_FILE + row["at"] - 1)
    np.add.at(times, np.array(rejected, dtype=np.int64), 1)
    missing, twice = int((times == 0).sum()), int((times > 1).sum())
    if missing or twice or sorted(rejected) != list(filter(crawl.is_broken, range(n))):
        sys.exit(f"error: {missing} rows are missing, {twice} are there more than once")
    return {"written": n_written, "rejected": len(rejected), "missing": missing, "more_than_once": twice}


class Memory:
    """Looks at the memory of all processes of a session, as long as it runs."""

    def __init__(self, session: int) -> None:
        self.session, self.peak, self.over = session, 0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while not self.over.wait(0.25):
            self.peak = max(self.peak, sum(map(proportional_memory, session_members(self.session))))

    def stop(self) -> int:
        """Most bytes that all processes held together."""
        self.over.set()
        self.thread.join()
        return self.peak


def session_members(session: int) -> list[int]:
    """Processes of a session."""
    members = []
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session:
                members.append(int(path.name))
    return members


def proportional_memory(pid: int) -> int:
    """Bytes that a process holds; what several share counts in parts."""
    try:
        return read_kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss") or 0
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
