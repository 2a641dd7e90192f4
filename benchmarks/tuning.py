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

import json
from typing import Any

from measuring import ROOT, describe_origin, make_parser, write_document
from sweep import HELD, held_out
from tables import tuning_table

from token2wave.core import n_threads
from token2wave.data import TextDataset
from token2wave.pipeline import train
from token2wave.training.result import Summary

HOW = {"sst2": "whole", "imdb": "blocks"}
"""Where rows belong together, random ones would flatter what learns them by heart."""


def measure(splits: TextDataset, seed: int, preset: str, **search: Any) -> dict[str, Any]:
    """Figures of one run."""
    summary: Summary = train(splits, seed=seed, preset=preset, **search, baseline=False).summary
    result: dict[str, Any] = {"accuracy": summary.accuracy, "seconds": summary.total_seconds}
    if summary.search is not None:
        trials = summary.search["trials"]
        result |= {
            "settings": summary.search["settings"],
            "n_tried": len(trials),
            "n_improvements": sum(trial["outcome"] == "kept" for trial in trials),
            "ended_by": summary.search["ended_by"],
        }
    return result


def main() -> None:
    """Run what the command line names."""
    parser = make_parser(__doc__, data=None, seeds=[0], preset="small", results=ROOT / "results")
    parser.add_argument("--time-budget")
    parser.add_argument("--candidates", type=int)
    options = parser.parse_args()
    search = {"time_budget": options.time_budget, "candidates": options.candidates}
    if not any(search.values()):
        parser.error("expected --time-budget, --candidates, or both")
    settings = {"preset": options.preset, "asked": search, "seeds": options.seeds}
    document: dict[str, Any] = {**settings, "data": {}, **describe_origin(n_threads())}
    path = options.results / "tuning.json"
    if path.is_file():
        earlier = json.loads(path.read_text(encoding="utf-8"))
        if {key: earlier[key] for key in settings} == settings:
            document["data"] = earlier["data"]
    for name in options.data:
        how = HOW.get(name, "random")
        splits = held_out(name, how)
        assert splits.test is not None
        document["data"][name] = {
            "rows": len(splits.test),
            "held": HELD[how],
            "caveats": list(splits.caveats),
            "defaults": [measure(splits, seed, options.preset) for seed in options.seeds],
            "search": [measure(splits, seed, options.preset, **search) for seed in options.seeds],
        }
        write_document(path, document)
        print(tuning_table({**document, "data": {name: document["data"][name]}}).splitlines()[2], flush=True)


if __name__ == "__main__":
    main()
