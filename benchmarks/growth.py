"""How cost grows: with the texts' length, the width, the vocabulary, the batch, the texts, and the classes.

    python benchmarks/growth.py                     # all studies, about 30 minutes on two cores
    python benchmarks/growth.py --quick             # a few points each, to see that all works
    python benchmarks/growth.py --only vocabulary,texts
    python benchmarks/growth.py --only train-rows --rows 10000000

Writes ``results/benchmarks/growth.json`` (with ``--quick``, ``growth-quick.json``) after each study: every
time, medians, and the slopes of least-squares lines on a log-log plot. Studies that the file holds already
stay, unless they are measured again; each says which code, machine and settings it comes from.
``tables.py`` and ``figures.py`` render it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from growth_plan import FULL, QUICK, Plan, with_rows
from growth_studies import batch_study, length_study, texts_study, width_study
from growth_training import AXES, training_study
from growth_vocabulary import vocabulary_study
from measuring import comma_list, command_line, describe_origin, make_parser, write_document
from tables import describe_slopes

SCHEMA = 1
STUDIES: dict[str, Callable[[Plan, int], dict[str, Any]]] = {
    "length": length_study,
    "width": width_study,
    "vocabulary": vocabulary_study,
    "batch": batch_study,
    "texts": texts_study,
    **{f"train-{axis.name}": training_study(axis) for axis in AXES},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the studies that the command line asks for."""
    options = _parser().parse_args(arguments)
    plan = QUICK if options.quick else FULL
    if options.runs is not None:
        plan = replace(plan, runs=options.runs)
    if options.rows is not None:
        plan = replace(plan, training=with_rows(plan.training, options.rows))
    torch.set_num_threads(options.threads)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # for the native core, and processes started
    run = {
        "command": command_line(__file__, arguments),
        "quick": options.quick,
        "runs": plan.runs,
        "threads": options.threads,
        "seed": options.seed,
        **describe_origin(options.threads),
    }
    path = options.results / ("growth-quick.json" if options.quick else "growth.json")
    measure_studies(options.only, plan, run, path)
    return 0


def measure_studies(names: Sequence[str], plan: Plan, run: dict[str, Any], path: Path) -> dict[str, Any]:
    """Make studies with the seed of ``run``, which is recorded, and write the document after each."""
    document: dict[str, Any] = {"schema": SCHEMA, "name": "growth", **run, "studies": {}}
    if path.is_file():
        old = json.loads(path.read_text(encoding="utf-8"))
        if old.get("schema") == SCHEMA:
            document["studies"] = old["studies"]
    for name in names:
        start = time.perf_counter()
        study = STUDIES[name](plan, run["seed"])
        study["total_seconds"] = time.perf_counter() - start
        document["studies"][name] = {**study, "run": run}
        document["studies"] = {key: document["studies"][key] for key in STUDIES if key in document["studies"]}
        write_document(path, document)
        lines = [f"{study['title']}, {study['total_seconds']:.0f} s", *describe_slopes(study)]
        print("\n  ".join(lines), flush=True)
    return document


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, threads=2, seed=0)
    parser.add_argument("--quick", action="store_true", help="a few points and repetitions")
    parser.add_argument("--only", type=_names, default=list(STUDIES), help=f"by commas: {', '.join(STUDIES)}")
    parser.add_argument("--rows", type=int, help="the most rows of train-rows, e.g. 10000000")
    runs = f"repetitions of each point; {FULL.runs}, quick {QUICK.runs}"
    parser.add_argument("--runs", type=int, help=runs)
    return parser


def _names(text: str) -> list[str]:
    names = comma_list(text)
    for name in names:
        if name not in STUDIES:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(STUDIES)}, found {name!r}")
    return names


if __name__ == "__main__":
    sys.exit(main())
