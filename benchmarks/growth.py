"""How cost grows: with the texts' length, the width, the vocabulary, the batch, and the number of texts.

    python benchmarks/growth.py                     # all studies, about 12 minutes on two cores
    python benchmarks/growth.py --quick             # a few points each, to see that all works
    python benchmarks/growth.py --only vocabulary,texts

Writes ``results/benchmarks/growth.json`` (with ``--quick``, ``growth-quick.json``) after each study: every
time, medians, and the slopes of least-squares lines on a log-log plot. Studies that the file holds already
stay, unless they are measured again; each says which code, machine and settings it comes from.
``tables.py`` and ``figures.py`` render it.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from growth_plan import FULL, QUICK, Plan
from growth_studies import batch_study, length_study, width_study
from growth_texts import texts_study
from growth_vocabulary import vocabulary_study
from measuring import RESULTS, code_state, write_document
from tables import describe_slopes

from token2wave.training.result import machine
from token2wave.versions import versions

SCHEMA = 1
STUDIES: dict[str, Callable[[Plan, int], dict[str, Any]]] = {
    "length": length_study,
    "width": width_study,
    "vocabulary": vocabulary_study,
    "batch": batch_study,
    "texts": texts_study,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the studies that the command line asks for."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    plan = QUICK if options.quick else FULL
    if options.runs is not None:
        plan = replace(plan, runs=options.runs)
    torch.set_num_threads(options.threads)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # for the native core, and processes started
    run = {
        "command": "python benchmarks/growth.py " + shlex.join(_public(given)),
        "quick": options.quick,
        "runs": plan.runs,
        "threads": options.threads,
        "seed": options.seed,
        "machine": machine(options.threads, "cpu"),
        "processors": os.cpu_count(),
        "versions": versions(),
        "code": code_state(),
    }
    run["command"] = run["command"].strip()
    path = options.results / ("growth-quick.json" if options.quick else "growth.json")
    measure_studies(options.only, plan, run, path)
    return 0


def measure_studies(names: Sequence[str], plan: Plan, run: dict[str, Any], path: Path) -> dict[str, Any]:
    """Make studies, and write the document after each.

    Args:
        names: of `STUDIES`.
        plan: points and repetitions.
        run: what the record says of this run; its seed is used.
        path: of the document.
    """
    document: dict[str, Any] = {"schema": SCHEMA, "name": "growth", **run, "studies": {}}
    if path.is_file():
        old = json.loads(path.read_text(encoding="utf-8"))
        if old.get("schema") == SCHEMA:
            document["studies"] = old["studies"]
    for name in names:
        start = time.perf_counter()
        found = STUDIES[name](plan, run["seed"])
        found["total_seconds"] = time.perf_counter() - start
        document["studies"][name] = {**found, "run": run}
        document["studies"] = {key: document["studies"][key] for key in STUDIES if key in document["studies"]}
        write_document(path, document)
        print(f"{found['title']}, {found['total_seconds']:.0f} s", flush=True)
        for line in describe_slopes(found):
            print(f"  {line}", flush=True)
    return document


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a few points and repetitions")
    parser.add_argument("--only", type=_names, default=list(STUDIES), help=f"by commas: {', '.join(STUDIES)}")
    parser.add_argument(
        "--runs", type=int, help=f"repetitions of each point; {FULL.runs}, quick {QUICK.runs}"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    return parser


def _names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in STUDIES:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(STUDIES)}, found {name!r}")
    return names


def _public(given: Sequence[str]) -> list[str]:
    """Leave out where the results go, which is nobody's concern."""
    kept, skip = [], False
    for argument in given:
        if not skip and not argument.startswith("--results"):
            kept.append(argument)
        skip = argument == "--results"
    return kept


if __name__ == "__main__":
    sys.exit(main())
