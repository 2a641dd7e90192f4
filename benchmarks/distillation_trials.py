r"""Try settings of students on rows held back from the teacher and from them; no test set is read.

    python benchmarks/distillation_trials.py --name teacher --data ag_news --unlabelled FILE \\
        "" "teacher" "teacher unlabelled recipe.teacher_share=0.9" "teacher start"

Each argument is one variant: settings of ``token2wave train --set``, apart by blanks, and the words
``teacher``, ``unlabelled`` and ``start`` for the options of these names. The rows held back are those of
``distillation.py``. Writes ``results/sweeps/NAME.json`` after each variant, from which
``tools/render_results.py`` makes a table of ``docs/experiments.md``; variants that are there are kept.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from distillation import FRACTION, written_apart
from measuring import ROOT, write_document
from sweep import RESULTS

from token2wave.core import n_threads
from token2wave.data import encode_labels, load_splits
from token2wave.models.encoder_sources import MINILM
from token2wave.pipeline import train
from token2wave.training.presets import parse_setting
from token2wave.training.result import machine
from token2wave.versions import versions


def main() -> None:
    """Run the variants named on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", required=True)
    parser.add_argument("--data", default="ag_news")
    parser.add_argument("--teacher", default=MINILM)
    parser.add_argument("--unlabelled", type=Path)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "distillation")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("variants", nargs="*", default=[""])
    options = parser.parse_args()
    folder = options.build / options.data
    label_names = written_apart(load_splits(options.data), folder)
    splits = replace(load_splits(folder), test=None)
    assert splits.validation is not None
    truth = encode_labels(splits.validation, label_names)
    path = options.results / f"{options.name}.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else {}
    rows: dict[str, dict[str, Any]] = kept
    document = {
        "name": options.name,
        "preset": "small",
        "teacher": options.teacher,
        "seeds": [int(seed) for seed in options.seeds.split(",")],
        "measure": f"accuracy on {FRACTION:.0%} of the training rows held back",
        "rows": rows,
        "versions": versions(),
        "machine": machine(n_threads(), "cpu"),
    }
    words = {
        "teacher": ("teacher", options.teacher),
        "unlabelled": ("unlabelled", options.unlabelled),
        "start": ("init_from", options.teacher),
    }
    for variant in options.variants:
        if variant in rows:
            continue
        given = variant.split()
        arguments = dict(words[word] for word in given if word in words)
        settings = dict(parse_setting(word) for word in given if word not in words)
        found: dict[str, list[float]] = {"accuracy": [], "loss": [], "best_epoch": [], "seconds": []}
        for seed in document["seeds"]:
            start = time.perf_counter()
            result = train(splits, seed=seed, settings=settings, **arguments)
            shares = result.classifier.probabilities(splits.validation.texts)
            own = shares[np.arange(len(truth)), truth].astype(np.float64)
            found["accuracy"].append(float((shares.argmax(axis=1) == truth).mean()))
            found["loss"].append(float(-np.log(np.maximum(own, 1e-12)).mean()))
            found["best_epoch"].append(result.summary.best_epoch)
            found["seconds"].append(time.perf_counter() - start)
        rows[variant] = {options.data: found}
        write_document(path, document)
        print(variant or "(preset)", json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
