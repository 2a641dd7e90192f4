r"""What users have, on the same texts, in one run: our presets beside fastText and TF-IDF.

    python benchmarks/compare.py --name classifiers --data ag_news,imdb,dbpedia14 --runs 3 --threads 2
    python benchmarks/compare.py --name quick --data debian-sections --systems fast,tfidf_svc,mine.py --runs 1

Every run is a process of its own, and no two run at once. The systems take turns: run 1 of all of them, then
run 2, so that a slow minute of the machine harms no single one. ``results/benchmarks/NAME.json`` is
written after each run; with ``--resume``, runs that it holds with the same settings are not made again. A
system that fails is written down with its reason, and the others go on. A system sees training texts alone;
the test texts serve to report accuracy and the speed of prediction.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measuring import RESULTS, all_versions, code_state, spread, write_document
from systems import SYSTEMS, key_of

from token2wave.formatting import duration, percent, size
from token2wave.training.result import machine

SCHEMA = 1
RIVALS = ("scikit-learn", "scipy", "fasttext", "pybind11")
WORKER = Path(__file__).with_name("worker.py")
THREADS_OF = ("OMP", "MKL", "OPENBLAS", "RAYON", "NUMEXPR")
OUT_OF_TIME = "out of time"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make all runs that the command line asks for; 130 if interrupted."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    for system in options.systems:
        if system not in SYSTEMS and not (system.endswith(".py") and Path(system).is_file()):
            sys.exit(f"error: expected one of {', '.join(SYSTEMS)} or a .py file, found {system!r}")
    path = options.results / f"{options.name}.json"
    document = _document(options, "python benchmarks/compare.py " + shlex.join(given))
    if options.resume and path.is_file():
        _take_over(document, json.loads(path.read_text(encoding="utf-8")), options)
    jobs = [
        (data, system, run)
        for data in options.data
        for run in range(1, options.runs + 1)
        for system in options.systems
    ]
    try:
        for number, (data, system, run) in enumerate(jobs, start=1):
            head = f"[{number:>{len(str(len(jobs)))}}/{len(jobs)}] {data}  {key_of(system)}  run {run}"
            settings = _settings(options, data, system, run)
            if _finished(document, settings):
                print(f"{head}: taken over", flush=True)
                continue
            record = _record(document, options, settings, system)
            document["runs"].append(record)
            document["medians"] = _medians(document["runs"])
            write_document(path, document)
            print(f"{head}: {_told(record)}", flush=True)
    except KeyboardInterrupt:
        print(f"interrupted; finished runs are in {path.name}, go on with --resume", file=sys.stderr)
        return 130
    document["medians"] = _medians(document["runs"])
    write_document(path, document)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", required=True, help="of the result")
    parser.add_argument("--data", type=_names, required=True, help="data sets with a test set, by commas")
    parser.add_argument(
        "--systems",
        type=_names,
        default=list(SYSTEMS),
        help=f"by commas; any of {', '.join(SYSTEMS)}, or a .py file as those in benchmarks/systems",
    )
    parser.add_argument("--runs", type=int, default=3, help="of each system; the seed rises with each")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, help="so many training and test rows at most, at random")
    parser.add_argument("--limit-seconds", type=float, help="stop a run after so long")
    parser.add_argument("--resume", action="store_true", help="keep the finished runs of the result")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    return parser


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name for name in text.split(",") if name))


def _document(options: argparse.Namespace, command: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "name": options.name,
        "command": command,
        "settings": {
            key: getattr(options, key) for key in ("runs", "seed", "threads", "rows", "limit_seconds")
        },
        "machine": machine(options.threads, "cpu"),
        "processors": os.cpu_count(),
        "versions": all_versions(RIVALS),
        "code": code_state(),
        "data": {},
        "systems": {},
        "medians": {},
        "runs": [],
    }


def _take_over(document: dict[str, Any], old: dict[str, Any], options: argparse.Namespace) -> None:
    """Keep what an earlier start of the same comparison finished, also of data and systems not named now."""
    if old.get("schema") != SCHEMA:
        sys.exit(f"error: expected a result of schema {SCHEMA} to go on with, found {old.get('schema')!r}")
    if old["machine"]["processor"] != document["machine"]["processor"]:
        sys.exit("error: the result to go on with comes from another processor; choose another --name")
    document["data"], document["systems"] = old["data"], old["systems"]
    finished = [run for run in old["runs"] if run["error"] is None]
    document["runs"] = [
        run
        for run in finished
        if {**run, **_settings(options, run["data"], run["system"], run["run"])} == run
    ]
    if dropped := len(finished) - len(document["runs"]):
        print(f"note: {dropped} runs with other settings are left out")
    commits = {run["code"]["commit"] for run in document["runs"]} - {document["code"]["commit"]}
    if commits:
        print(f"note: some of the runs taken over are of other commits: {', '.join(map(str, commits))}")


def _settings(options: argparse.Namespace, data: str, system: str, run: int) -> dict[str, Any]:
    """What makes a run this run."""
    return {
        "data": data,
        "system": key_of(system),
        "run": run,
        "seed": options.seed + run - 1,
        "threads": options.threads,
        "rows": options.rows,
    }


def _finished(document: dict[str, Any], settings: dict[str, Any]) -> bool:
    return any(all(run[key] == value for key, value in settings.items()) for run in document["runs"])


def _record(
    document: dict[str, Any], options: argparse.Namespace, settings: dict[str, Any], system: str
) -> dict[str, Any]:
    """Make one run; facts of its data and system go into the document."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    same = [run for run in document["runs"] if _pair(run) == _pair(settings)]
    if any(run["error"] is not None and run["error"].startswith(OUT_OF_TIME) for run in same):
        result: dict[str, Any] = {"error": f"{OUT_OF_TIME} in an earlier run, and not tried again"}
    else:
        result = _run(settings, system, options.limit_seconds)
    if "data" in result:
        document["data"][settings["data"]] = result["data"]
        document["systems"][settings["system"]] = result["system"]
    return {
        **settings,
        "error": result.get("error"),
        "notes": result.get("notes", []),
        "figures": result.get("figures", {}),
        "load_before": load,  # programs that waited for a processor, over the last minute
        "code": document["code"],
    }


def _pair(run: dict[str, Any]) -> tuple[str, str]:
    return run["data"], run["system"]


def _run(settings: dict[str, Any], system: str, limit: float | None) -> dict[str, Any]:
    """Start the worker, wait for it, and read what it found."""
    threads = str(settings["threads"])
    environment = {**os.environ, **{f"{library}_NUM_THREADS": threads for library in THREADS_OF}}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        out = Path(folder, "result.json")
        command = [sys.executable, str(WORKER), "--system", system, "--out", str(out)]
        for key in ("data", "seed", "threads", "rows"):
            if settings[key] is not None:
                command += [f"--{key}", str(settings[key])]
        start = time.perf_counter()
        try:
            # Its temporary files go into our folder, so that none is left when it is stopped.
            done = subprocess.run(
                command,
                env={**environment, "TMPDIR": folder},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=limit,
            )
        except subprocess.TimeoutExpired:
            return {"error": f"{OUT_OF_TIME}: stopped after {duration(time.perf_counter() - start)}"}
        if out.is_file():
            found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
            return found
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    if done.returncode < 0:
        return {"error": f"stopped by signal {-done.returncode}, for lack of memory if it is 9: {last[:200]}"}
    return {"error": f"exit status {done.returncode}: {last[:200]}"}


def _medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Median, smallest and largest of every figure, by data set and system; and what failed."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(_pair(run), []).append(run)
    medians: dict[str, dict[str, Any]] = {}
    for (data, system), group in groups.items():
        made = [run["figures"] for run in group if run["error"] is None]
        medians.setdefault(data, {})[system] = {
            "runs": len(made),
            "errors": list(dict.fromkeys(run["error"] for run in group if run["error"] is not None)),
            "notes": list(dict.fromkeys(note for run in group for note in run["notes"])),
            "figures": {
                key: spread([figures[key] for figures in made])
                for key in (made[0] if made else ())
                if all(figures[key] is not None for figures in made)
            },
        }
    return medians


def _told(record: dict[str, Any]) -> str:
    if record["error"] is not None:
        return f"failed: {record['error']}"
    figures = record["figures"]
    return (
        f"{percent(figures['accuracy'])}, training {duration(figures['train_seconds'])}, "
        f"total {duration(figures['total_seconds'])}, peak {size(figures['peak_memory_bytes'])}"
    )


if __name__ == "__main__":
    sys.exit(main())
