r"""Is a search for settings worth its time? Defaults against ``--time-budget``, on rows held out.

    python benchmarks/tuning.py --data trec,banking77,emotion,sst2,dbpedia14 --time-budget 60s
    python benchmarks/tuning.py --data trec,banking77 --candidates 15

The first asks for an idle machine; the second gives the same figures on any, however busy.
No test set is read: as in ``benchmarks/sweep.py``, rows of the training set take its place, which neither
training nor search sees. Writes ``results/tuning.json`` after every set, from which
``tools/render_results.py`` makes the table of ``docs/experiments.md``; sets that are in it already and not
named stay.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from sweep import FRACTION, HELD, held_out

from token2wave.core import n_threads
from token2wave.data import TextDataset
from token2wave.pipeline import train
from token2wave.training.result import Summary, machine
from token2wave.versions import versions

HOW = {"sst2": "whole", "imdb": "blocks"}
"""Where rows belong together, random ones would flatter what learns them by heart."""
RESULTS = Path(__file__).parent.parent / "results" / "tuning.json"


def measured(splits: TextDataset, seed: int, preset: str, **search: Any) -> dict[str, Any]:
    """Figures of one run."""
    summary: Summary = train(splits, seed=seed, preset=preset, **search).summary
    found: dict[str, Any] = {"accuracy": summary.accuracy, "seconds": summary.total_seconds}
    if summary.search is not None:
        trial = summary.search["trials"]
        found |= {
            "settings": summary.search["settings"],
            "n_tried": len(trial),
            "n_improvements": sum(one["outcome"] == "kept" for one in trial),
            "ended_by": summary.search["ended_by"],
        }
    return found


def table(document: dict[str, Any]) -> str:
    """A row for each data set."""
    lines = [
        "| data | rows held out | defaults | after a search | difference | tried | kept by the search |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in document["data"].items():
        before, after = (
            100 * statistics.mean(run["accuracy"] for run in found[kind]) for kind in ("defaults", "search")
        )
        trial = ", ".join(str(run["n_tried"]) for run in found["search"])
        kept = "; ".join(
            " ".join(f"`{key}={value}`" for key, value in run["settings"].items()) or "the defaults"
            for run in found["search"]
        )
        lines.append(
            f"| {name} | {found['rows']:,}{found['held']} | {before:.2f} | {after:.2f} "
            f"| {after - before:+.2f} | {trial} | {kept} |"
        )
    of = ", ".join(map(str, document["seeds"]))
    asked = " ".join(
        f"--{key.replace('_', '-')} {value}" for key, value in document["asked"].items() if value is not None
    )
    lines += [
        "",
        f"Preset `{document['preset']}`, `{asked}`, seeds {of}; accuracy in percent, on {FRACTION:.0%} of "
        "the training rows (or of those that are part of no other), which no training and no search saw.",
    ]
    if document["asked"]["time_budget"] is not None:
        where = f"{document['machine']['processor']}, {document['machine']['threads']} threads"
        lines[-1] += f" How many settings are tried depends on the machine: {where}."
    lines += ["", *(f"*{caveat}*" for found in document["data"].values() for caveat in found["caveats"])]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="names, apart by commas")
    parser.add_argument("--time-budget")
    parser.add_argument("--candidates", type=int)
    parser.add_argument("--seeds", default="0", help="numbers, apart by commas")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to write")
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    asked = {"time_budget": arguments.time_budget, "candidates": arguments.candidates}
    if not any(asked.values()):
        parser.error("expected --time-budget, --candidates, or both")
    document: dict[str, Any] = {
        "preset": arguments.preset,
        "asked": asked,
        "seeds": seeds,
        "data": {},
        "versions": versions(),
        "machine": machine(n_threads(), "cpu"),
    }
    if arguments.results.is_file():
        before = json.loads(arguments.results.read_text(encoding="utf-8"))
        if all(before[key] == document[key] for key in ("preset", "asked", "seeds")):
            document["data"] = before["data"]
    for name in arguments.data.split(","):
        how = HOW.get(name, "random")
        splits = held_out(name, how)
        assert splits.test is not None
        document["data"][name] = {
            "rows": len(splits.test),
            "held": HELD[how],
            "caveats": list(splits.caveats),
            "defaults": [measured(splits, seed, arguments.preset) for seed in seeds],
            "search": [measured(splits, seed, arguments.preset, **asked) for seed in seeds],
        }
        arguments.results.parent.mkdir(parents=True, exist_ok=True)
        arguments.results.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        print(table({**document, "data": {name: document["data"][name]}}).splitlines()[2], flush=True)


if __name__ == "__main__":
    main()
