r"""What users have, on the same texts, in one run: our presets beside fastText and TF-IDF.

    python benchmarks/compare.py --name classifiers --data ag_news,imdb,dbpedia14 --runs 3 --threads 2
    python benchmarks/compare.py --name quick --data debian-sections --systems fast,tfidf_svc,mine.py --runs 1

Every run is a process of its own, and no two run at once. The systems take turns: run 1 of all of them, then
run 2, so that a slow minute of the machine harms no single one. ``results/benchmarks/NAME.json`` is
written after each run; with ``--resume``, finished runs with the same settings are not made again. The reason
of a failure is recorded, and the other systems go on. A system sees training texts alone; the test texts
serve to report accuracy and the speed of prediction. Which of them were right is kept for paired intervals.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs import job_environment, run_job
from measuring import (
    BASELINE_PACKAGES,
    Record,
    comma_list,
    command_line,
    describe_origin,
    make_parser,
    read_earlier,
    run_in_turns,
)
from systems import ONE_RUN, SYSTEMS, key_of

from token2wave.formatting import duration, percent, size

SCHEMA = 1
WORKER = Path(__file__).with_name("worker.py")


def main(arguments: Sequence[str] | None = None) -> int:
    """Make all runs that the command line asks for; 130 if interrupted."""
    options = _parser().parse_args(arguments)
    for system in options.systems:
        if system not in SYSTEMS and not (system.endswith(".py") and Path(system).is_file()):
            sys.exit(f"error: expected one of {', '.join(SYSTEMS)} or a .py file, found {system!r}")
    path = options.results / f"{options.name}.json"
    document: Record = {
        "schema": SCHEMA,
        "name": options.name,
        "command": command_line(__file__, arguments),
        "settings": {key: getattr(options, key) for key in ("runs", "seed", "threads", "rows")},
        **describe_origin(options.threads, BASELINE_PACKAGES),
        "data": {},
        "systems": {},
        "medians": {},
        "runs": [],
    }
    earlier = []
    old = read_earlier(path, document, any_processor=options.accuracy_alone) if options.resume else None
    if old is not None:
        document |= {key: old[key] for key in ("data", "systems")}
        named = set(itertools.product(options.data, map(key_of, options.systems)))
        earlier = old["runs"]
        document["runs"] = [run for run in earlier if (run["data"], run["system"]) not in named]
    files = {key_of(system): system for system in options.systems}

    def measure(settings: Record) -> Record:
        """Make one run; facts of its data and system go into the document."""
        job = {**settings, "kind": "run", "system": files[settings["system"]]}
        answer = run_job(WORKER, job, job_environment(options.threads))
        if answer["error"] is None:
            document["data"][settings["data"]] = answer.pop("data")
            document["systems"][settings["system"]] = answer.pop("system")
        return {"notes": [], **answer}

    jobs = []
    for data, run, system in itertools.product(options.data, range(1, options.runs + 1), files):
        if run > 1 and system in ONE_RUN:
            continue
        settings = {"data": data, "system": system, "run": run, "seed": options.seed + run - 1}
        settings |= {"threads": options.threads, "rows": options.rows}
        jobs.append((f"{data}  {system}  run {run}", settings))
    try:
        run_in_turns(document, path, jobs, earlier, measure, _describe, _notes)
    except KeyboardInterrupt:
        print(f"interrupted; finished runs are in {path.name}, go on with --resume", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, name=None, data=None, runs=3, seed=0, threads=2)
    parser.add_argument(
        "--systems",
        type=comma_list,
        default=list(SYSTEMS),
        help=f"by commas; any of {', '.join(SYSTEMS)}, or a .py file as those in benchmarks/systems",
    )
    parser.add_argument("--rows", type=int, help="so many training and test rows at most, at random")
    parser.add_argument("--resume", action="store_true", help="keep the finished runs of the result")
    parser.add_argument(
        "--accuracy-alone",
        action="store_true",
        help="with --resume, also runs of another processor: only their accuracy can be compared",
    )
    return parser


def _notes(group: list[Record], finished: list[Record]) -> Record:
    return {"notes": list(dict.fromkeys(note for run in group for note in run["notes"]))}


def _describe(record: Record) -> str:
    figures = record["figures"]
    return (
        f"{percent(figures['accuracy'])}, training {duration(figures['train_seconds'])}, "
        f"total {duration(figures['total_seconds'])}, peak {size(figures['peak_memory_bytes'])}"
    )


if __name__ == "__main__":
    sys.exit(main())
