r"""What a finished model costs: its size, texts a second, one text at a time, and the first one of a process.

    python benchmarks/prediction.py --data ag_news,imdb --runs 5 --threads 1

First every model is built, once for each data set, in ``build/prediction``; how long that takes is not of
interest here. Then the systems take turns, run 1 of all of them, then run 2: a process of its own that
predicts many texts and single ones, and after it fresh ones that import, load, and predict one text. No two
run at once, and each is bound to as many processors as it may have threads. The result,
``results/benchmarks/prediction.json``, is written after each run; with ``--resume``, models and runs with
the same settings are not made again. What fails is written down with its reason, and the others go on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import time
from typing import Any, NamedTuple

from compare import RIVALS, THREADS_OF
from measuring import RESULTS, ROOT, all_versions, code_state, spread, write_document
from prediction_worker import COLD_STARTS, MADE_FROM, MODELS, digest
from tables import quantity

from token2wave.formatting import count, duration, percent, size
from token2wave.storage.atomic import make_folder
from token2wave.training.result import machine

SCHEMA = 1
Record = dict[str, Any]
WORKER = Path(__file__).with_name("prediction_worker.py")
# Wall time, which all processes share; the import of time alone comes before it is taken.
COLD_START = """
import time
began = time.time()
path, text = {path!r}, {text!r}
{code}
ended = time.time()
import json, sys
peak = None
if sys.platform == "linux":
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
print(json.dumps([began, ended, peak, "torch" in sys.modules]))
"""


class Measured(NamedTuple):
    """The most accurate of some models; with our native core (True), without it, or of a rival (None)."""

    models: tuple[str, ...]
    native: bool | None = None


SYSTEMS = {
    "fast": Measured(("fast",), native=True),
    "fast_numpy": Measured(("fast",), native=False),
    "fast_1mb": Measured(("fast_1mb",), native=True),
    "fast_1mb_numpy": Measured(("fast_1mb",), native=False),
    "fast_int8": Measured(("fast_int8",), native=True),
    "small": Measured(("small",), native=True),
    "small_numpy": Measured(("small",), native=False),
    "fasttext": Measured(("fasttext_lr025", "fasttext_lr05")),
    "fasttext_quantised": Measured(("fasttext_quantised",)),
    "tfidf_svc": Measured(("tfidf_svc",)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Build and measure what the command line asks for; 130 if interrupted."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    if unknown := [system for system in options.systems if system not in SYSTEMS]:
        sys.exit(f"error: expected some of {', '.join(SYSTEMS)}, found {unknown[0]!r}")
    path = options.results / f"{options.name}.json"
    document = _document(options, "python benchmarks/prediction.py " + shlex.join(given))
    old = _old(document, options, path)
    try:
        for data in options.data:
            _build_all(document, options, data)
            write_document(path, document)
        _measure_all(document, options, old, path)
    except KeyboardInterrupt:
        print(f"interrupted; finished runs are in {path.name}, go on with --resume", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default="prediction", help="of the result")
    parser.add_argument("--data", type=names, required=True, help="data sets with a test set, by commas")
    parser.add_argument(
        "--systems", type=names, default=list(SYSTEMS), help=f"by commas; of {', '.join(SYSTEMS)}"
    )
    parser.add_argument("--runs", type=int, default=5, help="of each system")
    parser.add_argument("--seed", type=int, default=0, help="of training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0, help="to repeat what is quick for")
    parser.add_argument("--cold-starts", type=int, default=3, help="in each run")
    parser.add_argument("--resume", action="store_true", help="keep finished models and runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "prediction", help="of the models")
    return parser


def names(text: str) -> list[str]:
    """Split what stands between commas."""
    return list(dict.fromkeys(name for name in text.split(",") if name))


def _document(options: argparse.Namespace, command: str) -> Record:
    return {
        "schema": SCHEMA,
        "name": options.name,
        "command": command,
        "settings": {
            key: getattr(options, key) for key in ("runs", "seed", "threads", "seconds", "cold_starts")
        },
        "machine": machine(options.threads, "cpu"),
        "processors": os.cpu_count(),
        "versions": all_versions(RIVALS),
        "code": code_state(),
        "models": {
            key: {"name": model.name, "family": model.family, "description": model.description}
            for key, model in MODELS.items()
        },
        "systems": {key: system._asdict() for key, system in SYSTEMS.items()},
        "data": {},
        "builds": {},
        "medians": {},
        "runs": [],
    }


def _old(document: Record, options: argparse.Namespace, path: Path) -> list[Record]:
    """Read the finished runs of an earlier start, and keep those of data and systems not named now."""
    if not (options.resume and path.is_file()):
        return []
    old = json.loads(path.read_text(encoding="utf-8"))
    if old.get("schema") != SCHEMA:
        sys.exit(f"error: expected a result of schema {SCHEMA} to go on with, found {old.get('schema')!r}")
    if old["machine"]["processor"] != document["machine"]["processor"]:
        sys.exit("error: the result to go on with comes from another processor; choose another --name")
    document["data"], document["builds"] = old["data"], old["builds"]
    named = {(data_key(data), system) for data in options.data for system in options.systems}
    document["runs"] = [run for run in old["runs"] if (run["data"], run["system"]) not in named]
    document["medians"] = _medians(document["runs"])
    return [run for run in old["runs"] if run["error"] is None]


def data_key(data: str) -> str:
    """What results call a data set: its name, or that of its folder."""
    return Path(data).name


# ---- models ----


def _build_all(document: Record, options: argparse.Namespace, data: str) -> None:
    """Build the models of a data set that are to be measured, and those that they are made from."""
    folder = options.build / data_key(data)
    make_folder(folder)
    environment = environment_of(options.threads)
    facts = run_job(WORKER, {"kind": "data", "data": data, "folder": str(folder)}, environment)
    if (reason := facts.pop("error")) is not None:
        sys.exit(f"error: {data_key(data)}: {reason}")
    document["data"][data_key(data)] = facts
    builds = document["builds"].setdefault(data_key(data), {})  # those that are not built now stay
    wanted = {model for system in options.systems for model in SYSTEMS[system].models}
    wanted |= {source for model in wanted for source in MADE_FROM.get(model, ())}
    for model in (model for model in MODELS if model in wanted):
        settings = {
            "data": data,
            "seed": options.seed,
            "threads": options.threads,
            "made_from": {source: builds[source].get("digest") for source in MADE_FROM.get(model, ())},
        }
        record = _kept(folder, model, settings) if options.resume else None
        told = _taken_over(document, record)
        if record is None:
            record = {**settings, "code": document["code"], **_built(builds, folder, model, settings)}
            write_document(folder / f"{model}.json", record)
            told = record["error"] or f"{size(record['bytes'])}, {percent(record['accuracy'])}"
        builds[model] = record
        print(f"{data_key(data)}  model {model}: {told}", flush=True)


def _kept(folder: Path, model: str, settings: Record) -> Record | None:
    """Read the record of a model that was built with the same settings, if its file is still there."""
    path, file = folder / f"{model}.json", folder / MODELS[model].file
    if not (path.is_file() and file.is_file()):
        return None
    record: Record = json.loads(path.read_text(encoding="utf-8"))
    same = {**record, **settings} == record and record["error"] is None
    return record if same and record["digest"] == digest(file) else None


def _built(builds: Mapping[str, Any], folder: Path, model: str, settings: Record) -> Record:
    """Build a model in a process of its own."""
    source = None
    if sources := MADE_FROM.get(model, ()):
        source = most_accurate(builds, sources)
        if source is None:
            return {"error": f"made from {' or '.join(sources)}, which failed"}
    job = {"kind": "build", "model": model, "folder": str(folder), "source": source, **settings}
    return run_job(WORKER, job, environment_of(settings["threads"]))


def _taken_over(document: Record, record: Record | None) -> str:
    """What is told of a model or a run of an earlier start; nothing, if there is none."""
    if record is None or record["code"] == document["code"]:
        return "" if record is None else "taken over"
    return f"taken over, of commit {record['code']['commit']}"


def most_accurate(builds: Mapping[str, Any], models: Sequence[str]) -> str | None:
    """Choose the model with the highest accuracy, the first of equals; None if all of them failed."""
    made = [model for model in models if builds[model]["error"] is None]
    return max(made, key=lambda model: float(builds[model]["accuracy"]), default=None)


# ---- runs ----


def _measure_all(document: Record, options: argparse.Namespace, old: list[Record], path: Path) -> None:
    jobs = list(itertools.product(options.data, range(1, options.runs + 1), options.systems))
    for number, (data, run, system) in enumerate(jobs, start=1):
        settings = _settings(document, options, data, system, run)
        same = next((run for run in old if {**run, **settings} == run), None)
        record = same or _record(document, options, settings)
        document["runs"].append(record)
        document["medians"] = _medians(document["runs"])
        write_document(path, document)
        head = f"[{number:>{len(str(len(jobs)))}}/{len(jobs)}] {data_key(data)}  {system}  run {run}"
        print(f"{head}: {_taken_over(document, same) or _told(record)}", flush=True)


def _settings(document: Record, options: argparse.Namespace, data: str, system: str, run: int) -> Record:
    """What makes a run this run; the checksum of its model is among it."""
    builds = document["builds"][data_key(data)]
    model = most_accurate(builds, SYSTEMS[system].models)
    return {
        "data": data_key(data),
        "system": system,
        "run": run,
        "threads": options.threads,
        "seconds": options.seconds,
        "cold_starts": options.cold_starts,
        "model": model,
        "digest": None if model is None else builds[model]["digest"],
    }


def _record(document: Record, options: argparse.Namespace, settings: Record) -> Record:
    """Make one run."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    if settings["model"] is None:
        builds = document["builds"][settings["data"]]
        reasons = [builds[model]["error"] for model in SYSTEMS[settings["system"]].models]
        result: Record = {"error": "no model: " + "; ".join(reasons)}
    else:
        with bound(options.threads):
            result = _run(options.build / settings["data"], settings)
    # The load is that of programs that waited for a processor, over the last minute.
    return {**settings, "figures": {}, **result, "load_before": load, "code": document["code"]}


def _run(folder: Path, settings: Record) -> Record:
    """Measure a model in a process of its own, then start fresh ones."""
    model, native = MODELS[settings["model"]], SYSTEMS[settings["system"]].native
    environment = environment_of(settings["threads"], native)
    job = {"kind": "measure", **settings, "folder": str(folder), "native": native}
    result = run_job(WORKER, job, environment)
    if result["error"] is not None:
        return result
    try:
        starts = [
            cold_start(COLD_STARTS[model.family], folder / model.file, result["text"], environment)
            for _ in range(settings["cold_starts"])
        ]
    except subprocess.CalledProcessError as error:
        return {"error": f"cold start: {(error.stderr.strip().splitlines() or [str(error)])[-1][:200]}"}
    result["figures"] |= {
        key: statistics.median(start[key] for start in starts)
        for key in ("cold_start_seconds", "interpreter_seconds", "cold_peak_bytes")
        if all(start[key] is not None for start in starts)
    }
    return {**result, "torch_loaded": any(start["torch_loaded"] for start in starts)}


def cold_start(code: str, path: Path, text: str, environment: Mapping[str, str]) -> Record:
    """Start a fresh interpreter whose code predicts ``text`` with the model at ``path``.

    Its seconds go from just before the process is started to the label; those of the interpreter, which are
    among them, to the first line of the script.
    """
    script = COLD_START.format(path=str(path.resolve()), text=text, code=code)
    asked = time()
    done = subprocess.run(
        [sys.executable, "-c", script], env=dict(environment), capture_output=True, text=True, check=True
    )
    began, ended, peak, torch_loaded = json.loads(done.stdout.splitlines()[-1])
    found = {"cold_start_seconds": ended - asked, "interpreter_seconds": began - asked}
    return {**found, "cold_peak_bytes": peak, "torch_loaded": torch_loaded}


# ---- processes ----


def environment_of(threads: int, native: bool | None = None) -> dict[str, str]:
    """Environment of a process with so many threads, and with the native core forbidden or not."""
    environment = {**os.environ, **{f"{library}_NUM_THREADS": str(threads) for library in THREADS_OF}}
    environment.pop("TOKEN2WAVE_NATIVE", None)
    return {**environment, "TOKEN2WAVE_NATIVE": "0"} if native is False else environment


@contextmanager
def bound(threads: int) -> Iterator[None]:
    """Let the processes that are started within have so many processors and no more, where that can be."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[-threads:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def run_job(script: Path, job: Record, environment: Mapping[str, str]) -> Record:
    """Let a script do a job in a process of its own, and read its answer; ``error`` is None or the reason."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        out = Path(folder, "result.json")
        command = [sys.executable, str(script), "--job", json.dumps(job), "--out", str(out)]
        done = subprocess.run(
            command, env={**environment, "TMPDIR": folder}, capture_output=True, text=True, errors="replace"
        )
        if out.is_file():
            found: Record = json.loads(out.read_text(encoding="utf-8"))
            return found
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    if done.returncode < 0:
        return {"error": f"stopped by signal {-done.returncode}, for lack of memory if it is 9: {last[:200]}"}
    return {"error": f"exit status {done.returncode}: {last[:200]}"}


# ---- figures ----


def _medians(runs: list[Record]) -> Record:
    """Median, smallest and largest of every figure, by data set and system; and what failed."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for run in runs:
        groups.setdefault((run["data"], run["system"]), []).append(run)
    medians: dict[str, Record] = {}
    for (data, system), group in groups.items():
        made = [run for run in group if run["error"] is None]
        figures = [run["figures"] for run in made]
        medians.setdefault(data, {})[system] = {
            "runs": len(made),
            "model": group[-1]["model"],
            "errors": list(dict.fromkeys(run["error"] for run in group if run["error"] is not None)),
            "torch_loaded": any(run["torch_loaded"] for run in made),
            "quickest": sorted({run["quickest"] for run in made}),
            "figures": {
                key: spread([each[key] for each in figures]) for key in (figures[0] if figures else ())
            },
        }
    return medians


def _told(record: Record) -> str:
    if record["error"] is not None:
        return f"failed: {record['error']}"
    figures = record["figures"]
    many, one = count(figures["texts_per_second"]), quantity(figures["latency_seconds"], "s")
    cold = duration(figures["cold_start_seconds"])
    return f"{percent(figures['accuracy'])}, {many} texts/s, one in {one}, cold start {cold}"


if __name__ == "__main__":
    sys.exit(main())
