r"""What a finished model costs: its size, texts a second, one text at a time, and the first one of a process.

    python benchmarks/prediction.py --data ag_news,imdb --runs 5 --threads 1

First every model is built, once for each data set, in ``build/prediction``; how long that takes is not of
interest here. Then the systems take turns, run 1 of all of them, then run 2: a process of its own that
predicts many texts and single ones, and after it fresh ones that import, load, and predict one text. In our
native core, the first process also explains texts, and updates the model with rows, from file to file. No two
run at once, and each is bound to as many processors as it may have threads. The result,
``results/benchmarks/prediction.json``, is written after each run; with ``--resume``, models and runs with
the same settings are not made again. What fails is written down with its reason, and the others go on.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import time
from typing import NamedTuple

from jobs import job_environment, run_job
from measuring import (
    BASELINE_PACKAGES,
    ROOT,
    Record,
    comma_list,
    command_line,
    describe_origin,
    make_parser,
    read_earlier,
    resume_note,
    run_in_turns,
    summarise_runs,
    write_document,
)
from prediction_worker import COLD_STARTS, MADE_FROM, MODELS, digest
from tables import quantity

from token2wave.formatting import count, duration, percent, size
from token2wave.storage.atomic import make_folder

SCHEMA = 1
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
    "small_no_prior": Measured(("small_no_prior",), native=True),
    "small_numpy": Measured(("small",), native=False),
    "fasttext": Measured(("fasttext_lr025", "fasttext_lr05")),
    "fasttext_quantised": Measured(("fasttext_quantised",)),
    "tfidf_svc": Measured(("tfidf_svc",)),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Build and measure what the command line asks for; 130 if interrupted."""
    options = _parser().parse_args(arguments)
    if unknown := [system for system in options.systems if system not in SYSTEMS]:
        sys.exit(f"error: expected some of {', '.join(SYSTEMS)}, found {unknown[0]!r}")
    path = options.results / f"{options.name}.json"
    document: Record = {
        "schema": SCHEMA,
        "name": options.name,
        "command": command_line(__file__, arguments),
        "settings": {
            key: getattr(options, key) for key in ("runs", "seed", "threads", "seconds", "cold_starts")
        },
        **describe_origin(options.threads, BASELINE_PACKAGES),
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
    earlier = []
    if options.resume and (old := read_earlier(path, document)) is not None:
        document |= {key: old[key] for key in ("data", "builds")}
        named = set(itertools.product(map(data_key, options.data), options.systems))
        earlier = old["runs"]
        document["runs"] = [run for run in earlier if (run["data"], run["system"]) not in named]
        document["medians"] = summarise_runs(document["runs"], _about_runs)
    try:
        for data in options.data:
            _build_all(document, options, data)
            write_document(path, document)
        jobs = []
        for data, run, system in itertools.product(options.data, range(1, options.runs + 1), options.systems):
            title = f"{data_key(data)}  {system}  run {run}"
            jobs.append((title, _settings(document, options, data, system, run)))
        measure = lambda settings: _measure(document, options, settings)  # noqa: E731
        run_in_turns(document, path, jobs, earlier, measure, _describe, _about_runs)
    except KeyboardInterrupt:
        print(f"interrupted; finished runs are in {path.name}, go on with --resume", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        __doc__, name="prediction", data=None, runs=5, seed=0, threads=1, build=ROOT / "build" / "prediction"
    )
    parser.add_argument(
        "--systems", type=comma_list, default=list(SYSTEMS), help=f"by commas; of {', '.join(SYSTEMS)}"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="to repeat what is quick for")
    parser.add_argument("--cold-starts", type=int, default=3, help="in each run")
    parser.add_argument("--resume", action="store_true", help="keep finished models and runs")
    return parser


def data_key(data: str) -> str:
    """What results call a data set: its name, or that of its folder."""
    return Path(data).name


def _build_all(document: Record, options: argparse.Namespace, data: str) -> None:
    """Build the models of a data set that are to be measured, and those that they are made from."""
    folder = options.build / data_key(data)
    make_folder(folder)
    environment = job_environment(options.threads)
    facts = run_job(WORKER, {"kind": "data", "data": data, "folder": str(folder)}, environment)
    if (reason := facts.pop("error")) is not None:
        sys.exit(f"error: {data_key(data)}: {reason}")
    document["data"][data_key(data)] = facts
    builds = document["builds"].setdefault(data_key(data), {})  # those that are not built now stay
    models = {model for system in options.systems for model in SYSTEMS[system].models}
    models |= {source for model in models for source in MADE_FROM.get(model, ())}
    for model in (model for model in MODELS if model in models):
        settings = {
            "data": data,
            "seed": options.seed,
            "threads": options.threads,
            "made_from": {source: builds[source].get("digest") for source in MADE_FROM.get(model, ())},
        }
        record = _earlier_build(folder, model, settings) if options.resume else None
        note = resume_note(document, record)
        if record is None:
            record = {**settings, "code": document["code"], **_build(builds, folder, model, settings)}
            write_document(folder / f"{model}.json", record)
            note = record["error"] or f"{size(record['bytes'])}, {percent(record['accuracy'])}"
        builds[model] = record
        print(f"{data_key(data)}  model {model}: {note}", flush=True)


def _earlier_build(folder: Path, model: str, settings: Record) -> Record | None:
    """Read the record of a model that was built with the same settings, if its file is still there."""
    path, file = folder / f"{model}.json", folder / MODELS[model].file
    if not (path.is_file() and file.is_file()):
        return None
    record: Record = json.loads(path.read_text(encoding="utf-8"))
    same = {**record, **settings} == record and record["error"] is None
    return record if same and record["digest"] == digest(file) else None


def _build(builds: Record, folder: Path, model: str, settings: Record) -> Record:
    """Build a model in a process of its own."""
    source = None
    if sources := MADE_FROM.get(model, ()):
        source = most_accurate(builds, sources)
        if source is None:
            return {"error": f"made from {' or '.join(sources)}, which failed"}
    job = {"kind": "build", "model": model, "folder": str(folder), "source": source, **settings}
    return run_job(WORKER, job, job_environment(settings["threads"]))


def most_accurate(builds: Record, models: Sequence[str]) -> str | None:
    """Choose the model with the highest accuracy, the first of equals; None if all of them failed."""
    made = [model for model in models if builds[model]["error"] is None]
    return max(made, key=lambda model: float(builds[model]["accuracy"]), default=None)


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


def _measure(document: Record, options: argparse.Namespace, settings: Record) -> Record:
    """Measure a model in a process of its own, then start fresh ones."""
    system = SYSTEMS[settings["system"]]
    if settings["model"] is None:
        builds = document["builds"][settings["data"]]
        return {"error": "no model: " + "; ".join(builds[model]["error"] for model in system.models)}
    model, folder = MODELS[settings["model"]], options.build / settings["data"]
    environment = job_environment(settings["threads"], system.native)
    with limited_processors(options.threads):
        job = {"kind": "measure", **settings, "folder": str(folder), "native": system.native}
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
    command, start = [sys.executable, "-c", script], time()
    process = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=True)
    began, ended, peak, torch_loaded = json.loads(process.stdout.splitlines()[-1])
    seconds = {"cold_start_seconds": ended - start, "interpreter_seconds": began - start}
    return {**seconds, "cold_peak_bytes": peak, "torch_loaded": torch_loaded}


@contextmanager
def limited_processors(threads: int) -> Iterator[None]:
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


def _about_runs(group: list[Record], finished: list[Record]) -> Record:
    return {
        "model": group[-1]["model"],
        "torch_loaded": any(run["torch_loaded"] for run in finished),
        "quickest": sorted({run["quickest"] for run in finished}),
    }


def _describe(record: Record) -> str:
    figures = record["figures"]
    speed, latency = count(figures["texts_per_second"]), quantity(figures["latency_seconds"], "s")
    cold = duration(figures["cold_start_seconds"])
    note = f"{percent(figures['accuracy'])}, {speed} texts/s, one in {latency}, cold start {cold}"
    if "update_seconds" in figures:
        note += f", {count(figures['explained_texts_per_second'])} explanations/s"
        update, processor = (
            quantity(figures[f"update_{key}"], "s") for key in ("seconds", "processor_seconds")
        )
        note += f", update of {figures['update_rows']} rows {update} ({processor} of a processor)"
    return note


if __name__ == "__main__":
    sys.exit(main())
